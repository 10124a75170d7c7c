"""Tables of pandas and polars as the rows of a batch."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import polars as pl
import pytest

from toolhouse_async import AsyncToolhouse, ConfigurationError
from toolhouse_async._batch.rows import DICTS, RECORDS, Questions
from toolhouse_async.stores import MemorySessionStore

pl.DataFrame().lazy().collect()  # polars opens files for itself then, and keeps them

VALUES = {"a": [1.5, math.nan], "b": ["x", None]}
TABLES = f"; of a table of pandas pass {RECORDS}, of polars {DICTS}"


def test_what_errors_name_for_a_table_of_pandas_serves_one_with_missing_values() -> None:
    frame = pd.DataFrame(VALUES)
    with pytest.raises(ConfigurationError) as caught:
        Questions(None, "{a}").ask(frame.to_dict("records")[1])
    assert (
        str(caught.value)
        == f"row 0 (counted from 0): {{a}} has no value, but nan: fill it, or leave the row out{TABLES}"
    )
    rows = eval(RECORDS, {"frame": frame})
    assert [Questions(None, "{a} {b}").ask(row).message for row in rows] == ["1.5 x", " "]


async def test_what_errors_name_for_a_table_of_polars_serves_one_with_missing_values() -> None:
    frame = pl.DataFrame(VALUES)
    with pytest.raises(ConfigurationError) as caught:
        Questions(None, "{a}").ask(frame.to_dicts()[1])
    assert (
        str(caught.value)
        == f"row 0 (counted from 0): {{a}} has no value, but nan: fill it, or leave the row out{TABLES}"
    )
    async with AsyncToolhouse("key") as client:
        with pytest.raises(ConfigurationError) as caught:
            client.batch("a", frame, store=MemorySessionStore(), name="b", template="{a}")
        assert str(caught.value).endswith(f": pass {DICTS}")
    expression, _, rest = DICTS.partition(", ")
    assert rest == "with '' in place of None"
    records = eval(expression, {"frame": frame})
    rows = [{name: "" if value is None else value for name, value in row.items()} for row in records]
    assert [Questions(None, "{a} {b}").ask(row).message for row in rows] == ["1.5 x", " "]


@pytest.mark.parametrize(
    "row",
    [
        next(pd.DataFrame(VALUES).itertuples()),
        next(pd.DataFrame(VALUES).iterrows())[1],
        pl.DataFrame(VALUES).row(0),
    ],
    ids=["itertuples", "iterrows", "rows"],
)
def test_rows_that_are_no_records_are_told_of_both(row: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Questions(None, "{a}").ask(row)
    assert str(caught.value).endswith(TABLES)


def test_the_row_of_a_file_is_of_no_table() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Questions(None, "{a}").ask({"a": math.nan}, "line 1")
    assert str(caught.value) == "line 1: {a} has no value, but nan: fill it, or leave the row out"


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        (pd.Series(["x", None], dtype=object), "None"),
        (pd.Series(["x", math.nan], dtype=object), "nan"),
        (pd.Series(["x", pd.NA], dtype="string"), "<NA>"),
        (pl.Series(["x", None]), "None"),
    ],
)
@pytest.mark.parametrize("template", [None, "say {}"])
def test_what_is_missing_in_a_column_is_told(rows: Any, shown: str, template: str | None) -> None:
    questions = Questions(None, template)
    text, missing = rows
    questions.ask(text)
    with pytest.raises(ConfigurationError) as caught:
        questions.ask(missing)
    assert str(caught.value) == (f"row 1 (counted from 0): it has no value, but {shown}: fill it, or leave the row out")


def test_a_row_of_a_row_is_no_value() -> None:
    """Such objects compare item by item, and do not say whether they are themselves."""
    with pytest.raises(ConfigurationError, match="a row must be a string or a mapping, not DataFrame"):
        Questions(None, "{a}").ask(pd.DataFrame(VALUES))
    assert Questions(None, "{a.size}").ask({"a": pd.Series([1])}).message == "1"
    assert Questions(None, "{a[0]}").ask({"a": pd.Series([1])}).message == "1"
    assert "1" in Questions(None, "{a}").ask({"a": pd.Series([1])}).message
