"""``toolhouse-async demo``: a whole turn, jobs and resumes included, on an embedded Workers API."""

from __future__ import annotations

import asyncio
from secrets import token_urlsafe
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from rich.text import Text

from .. import AsyncToolhouse
from ..testing import WorkersEmulator
from .analysis.dialect import detect_dialect
from .analysis.encoding import CSVError
from .csv_analyst import csv_analyst
from .figures import histogram_lines, intervals_table, profile_tables
from .terminal import fail, make_console, make_marks, one_line
from .view import TurnView

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console, RenderableType

    from .. import TurnResult
    from .analysis.report import Histogram, Intervals, Profile

__all__ = ["demo"]

_QUESTION = "Analyze this CSV and plot a histogram"
_WORKER = "csv-analyst"


async def demo(path: Path, column: str | None) -> int:
    """Ask the worker ``csv-analyst`` about a file and show what happens.

    Args:
        path: The CSV file; absolute, since the worker reads it by this name.
        column: The histogram's column; ``None`` leaves the choice to the worker.

    Returns:
        The exit status: 0, or 2 for a file or a column that cannot be analysed.

    Cancelling ends the turn, the emulator and the analysis with its process.
    """
    try:
        await asyncio.to_thread(_check, path, column)
    except CSVError as error:
        fail(str(error))
        return 2
    console = make_console()
    result = await _turn(console, path, column)
    contents = [_object(exchange.result.content) for exchange in result.tool_calls if exchange.result]
    if problem := next((content["error"] for content in contents if "error" in content), None):
        fail(str(problem))
        return 2
    _figures(console, contents)
    return 0


def _check(path: Path, column: str | None) -> None:
    """Find at once what the worker would find in the middle of its answer."""
    names = detect_dialect(path).names
    if column is not None and column not in names:
        raise CSVError(f'{path} has no column "{column}"; it has: {", ".join(map(repr, names[:20]))}')


def _object(content: object) -> dict[str, Any]:
    """What a tool returned if it is an object, else an empty one."""
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


async def _turn(console: Console, path: Path, column: str | None) -> TurnResult:
    key = token_urlsafe()  # the worker reads any file for whoever has it
    emulator = WorkersEmulator(api_key=key)
    emulator.worker(_WORKER)(csv_analyst)
    variables = {"csv_path": str(path), **({"column": column} if column else {})}
    began = monotonic()
    async with (
        emulator.serve() as server,
        AsyncToolhouse(key, base_url=server.url) as toolhouse,
        toolhouse.session(_WORKER, vars=variables) as session,
        session.stream(_QUESTION) as turn,
    ):
        console.print(Text(f"{_WORKER}, served by the embedded Workers API on {server.url}", "dim"))
        console.print(Text(f"{_QUESTION}: {one_line(path.name)}\n", "bold"))
        with TurnView(console) as view:
            async for event in turn:
                view.show(event)
        result = await turn.result()
    jobs, seconds = len(result.jobs), monotonic() - began
    counted = f"{jobs} background job{'s' * (jobs != 1)}"
    summary = f"{seconds:.1f} s, {counted} waited for and resumed, {len(result.tool_calls)} tool calls"
    console.print(Text(f"\n{make_marks(console).done} turn completed: ", "green") + Text(summary, "dim"))
    return result


def _figures(console: Console, contents: list[dict[str, Any]]) -> None:
    """Print what the worker's tools returned, as tables and a histogram."""
    marks = make_marks(console)
    tables: list[RenderableType] = []
    histogram: Histogram | None = None
    for content in contents:
        if "histogram" in content:
            profile = cast("Profile", content)
            tables += profile_tables(profile, marks)
            histogram = profile["histogram"]
        elif "intervals" in content:
            tables.append(intervals_table(cast("Intervals", content), marks))
    for table in tables:
        console.print()
        console.print(table)
    if histogram is not None:
        console.print()
        for line in histogram_lines(histogram, marks, console.width):
            console.print(line, soft_wrap=True)
