"""Answers get to their rows by the page's lines, whatever a worker calls their fields; needs pandas and polars."""

from __future__ import annotations

import ast
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from toolhouse_async import BatchItem, TurnResult, WorkerError

from .blocks import marked
from .setups import SETUPS

(LINES,) = [block.code for block in marked("fragment") if "import pandas" in block.code]
(POLARS,) = [block.code for block in marked("fragment") if "pl.DataFrame" in block.code]
pl.DataFrame().lazy().collect()  # polars opens files for itself then, and keeps them


def joined(*answers: object) -> Any:
    """A frame of three rows by the page's lines, the last ones of which have these answers."""
    return names_after(*map(json.dumps, answers))["table"]


def joined_in_polars(*answers: object) -> Any:
    """The same in polars."""
    names = names_after(*map(json.dumps, answers))
    names |= {"pl": pl, "frame": pl.DataFrame(names["frame"].to_dict("list"))}
    exec(POLARS, names)
    return names["table"]


def names_after(*texts: str, error: Exception | None = None) -> dict[str, Any]:
    """What the page's lines leave, where the last rows have these answers, and the one before them this error."""
    frame = pd.DataFrame({"id": [1, 2, 3], "file": ["north", "south", "west"]})
    rows = frame.to_dict("records")[::-1]
    items = {
        str(row["id"]): BatchItem(str(row["id"]), row, "done", result=TurnResult("a", "r", text=text, rounds=(text,)))
        for row, text in zip(rows, texts, strict=False)
    }
    if error is not None:
        row = rows[len(texts)]
        items[str(row["id"])] = BatchItem(str(row["id"]), row, "failed", error=error)
    names: dict[str, Any] = {"frame": frame, "items": items}
    exec(LINES, names)
    return names


def test_an_answer_stays_with_its_row_whatever_its_fields_are_called() -> None:
    frame = joined({"id": 1, "file": "mine", "words": "of west"}, {"id": 3, "words": "of south"})
    assert [*frame["id"]] == [1, 2, 3]
    assert [*frame["file"]] == ["north", "south", "west"]
    assert [*frame["answer_words"]][1:] == ["of south", "of west"]
    assert frame["answer_words"].isna()[0]
    assert [*frame["answer_id"]][1:] == [3, 1]


@pytest.mark.parametrize("table", [joined, joined_in_polars])
def test_no_row_is_done(table: Callable[..., Any]) -> None:
    assert [*table().columns] == ["id", "file"]


def test_the_cell_that_joins_may_be_run_again() -> None:
    names = names_after('{"words": "of west"}')
    exec(LINES, names)
    assert [*names["table"].columns] == ["id", "file", "answer_words"]


def test_answers_stay_with_their_rows_in_polars_too() -> None:
    assert joined_in_polars({"id": 1, "file": "mine", "n": 5}, {"id": 3, "n": "five", "more": [1]}).rows(
        named=True
    ) == [
        {"id": 1, "file": "north", "answer_id": None, "answer_file": None, "answer_n": None, "answer_more": None},
        {"id": 2, "file": "south", "answer_id": 3, "answer_file": None, "answer_n": "five", "answer_more": [1]},
        {"id": 3, "file": "west", "answer_id": 1, "answer_file": "mine", "answer_n": "5", "answer_more": None},
    ]


def test_answers_without_a_json_object_and_rows_without_an_answer_stand_apart() -> None:
    error = WorkerError("nothing was asked")
    names = names_after("no JSON", '[{"words": "of south"}]', error=error)
    assert [*names["table"].columns] == ["id", "file"]
    assert "no JSON" in str(names["failed"]["3"])
    assert names["failed"]["2"] == [{"words": "of south"}]
    assert names["failed"]["1"] is error
    names = names_after('{"words": "of west"}', "no JSON")
    assert [*names["table"]["answer_words"]][2:] == ["of west"]


async def test_the_cell_of_a_batch_leaves_interrupts_to_whoever_had_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel has a handler of its own: with Python's in its place, what is awaited next ends the kernel."""
    (cell,) = [block.code for block in marked("example") if "batch.stop" in block.code and "answers.db" in block.code]
    heard: list[int] = []
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        async with SETUPS["analyst"]() as names:
            await eval(compile(cell, "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True), names)
        assert len(names["items"]) == 2
        signal.raise_signal(signal.SIGINT)
        assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)
