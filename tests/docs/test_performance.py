"""What the page on performance says is what the code does and what was measured."""

from __future__ import annotations

import json
import re
import sys

import pytest

from toolhouse_async import PollingPolicy
from toolhouse_async._wire.pauses import first_poll, next_poll

from .blocks import ROOT

PAGE = ROOT / "docs" / "explanation" / "performance.md"
TEXT = PAGE.read_text("utf-8")
FIGURES = json.loads((PAGE.with_suffix("") / "figures.json").read_text("utf-8"))
JOBS = re.findall(r"^\| (\d+) (s|min) \| (\d+) times \| (\d+) s \|$", TEXT, re.MULTILINE)


def test_every_figure_is_on_the_page() -> None:
    begins = [each for argument in re.findall(r"\{performance-table\} (.+)", TEXT) for each in argument.split(" or ")]
    measures = {row["measure"] for row in FIGURES["rows"]}
    assert [measure for measure in measures if not measure.startswith(tuple(begins))] == []
    assert [begin for begin in begins if not any(measure.startswith(begin) for measure in measures)] == []


def test_every_picture_is_there() -> None:
    shown = set(re.findall(r"!\[[^]]+\]\(performance/([a-z0-9-]+\.svg)\)", TEXT))
    assert shown == {file.name for file in PAGE.with_suffix("").glob("*.svg")}


def test_the_figures_say_how_they_were_made() -> None:
    assert {"python", "libraries"} <= FIGURES["machine"].keys()
    assert {curve["name"] for curve in FIGURES["curves"]} == {"rate", "turns", "waiters", "waiters-lag", "lines"}


@pytest.mark.parametrize(("number", "unit", "polls", "late"), JOBS)
def test_how_often_a_job_is_polled(number: str, unit: str, polls: str, late: str) -> None:
    policy, seconds = PollingPolicy(), int(number) * {"s": 1, "min": 60}[unit]
    at, count, pause = first_poll(policy, 0.5), 1, 0.0
    while at < seconds:
        pause = next_poll(policy, at, None, 0.5)
        at, count = at + pause, count + 1
    assert (count, round(pause)) == (int(polls), int(late))


def test_there_are_jobs_to_check() -> None:
    assert len(JOBS) == 5


def test_numbers_are_shown_with_the_digits_that_mean_something() -> None:
    sys.path.insert(0, str(ROOT / "docs" / "_ext"))
    try:
        from performance_rows import cells, number
    finally:
        sys.path.pop(0)
    assert [number(each) for each in (1234.5, 12.345, 0.012345, 64.0)] == ["1,234", "12.3", "0.0123", "64"]
    row = {"measure": "m", "contestant": "ours", "figure": 2.0, "unit": "µs", "against": "floor", "other": 1.0}
    assert cells({**row, "ratio": 2.0, "bar": 1.5, "met": False}) == (
        "m", "ours", "2 µs", "floor: 1 µs", "2.00", "≤ 1.5", "no",
    )  # fmt: skip
