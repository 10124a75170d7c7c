"""The ``csv-analyst`` workers: they read a CSV file, analyse it in background jobs and report.

They say what the file holds and nothing that they did not find there: every figure in their words is calculated.
They differ only in when a job shows: ``csv-analyst`` takes the documented course, in which the job's id stands in the
headers of the answer that begins it; with ``csv-analyst-midstream`` these headers are gone by then.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast

from ..events import ToolCall
from .analysis import PENGUINS
from .analysis.dialect import Dialect, detect_dialect
from .analysis.encoding import CSVError
from .findings import findings, outliers, overview

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from ..testing import WorkerContext, WorkerEvent
    from .analysis.report import Intervals, Profile

__all__ = ["csv_analyst", "csv_analyst_midstream"]

_PACE: Final = 0.015
"""Seconds between words, so that they can be read as they come."""

_log: Final = logging.getLogger("toolhouse_async.csv_analyst")


class _Finished(TypedDict):
    """What a background job leaves for the resume; plain JSON, since the history keeps it too."""

    tool_call_id: str | None
    path: str
    content: dict[str, Any]


async def csv_analyst(context: WorkerContext) -> AsyncIterator[WorkerEvent]:
    """Answer any message with an analysis of a CSV file; the headers of an answer name the job that it begins.

    A message that asks for JSON behind such an analysis is answered with its outliers, without a further job.

    ``vars["csv_path"]`` names the file (without it: the penguins), ``vars["column"]`` the histogram's
    column. The first background job profiles the file, the second resamples its measurements.
    """
    async with aclosing(_answer(context, announced=True)) as events:
        async for event in events:
            yield event


async def csv_analyst_midstream(context: WorkerContext) -> AsyncIterator[WorkerEvent]:
    """Answer as ``csv_analyst`` does, but begin each job at the answer's end: only reading the run shows it."""
    async with aclosing(_answer(context, announced=False)) as events:
        async for event in events:
            yield event


async def _answer(context: WorkerContext, *, announced: bool) -> AsyncGenerator[WorkerEvent]:
    """What the worker yields.

    A job that is announced is yielded before anything else, since the headers go out with the first event. It begins
    its work at the answer's end all the same, where its call stands.
    """
    called = asyncio.Event()
    steps = _begin if context.job_result is None or context.job_failed else _go_on
    try:
        async with aclosing(steps(context, called, announced=announced)) as events:
            async for event in events:
                if isinstance(event, str):
                    for word in event.split(" "):
                        yield context.text(f"{word} ")
                        await asyncio.sleep(_PACE)
                else:
                    yield event
    finally:
        called.set()  # also where the answer was broken off, or its job would never end


async def _begin(
    context: WorkerContext, called: asyncio.Event, *, announced: bool
) -> AsyncGenerator[WorkerEvent | str]:
    """The answer to a message, with sentences in place of their words."""
    if "json" in (context.message or "").lower() and (profile := _profiled(context.history)) is not None:
        found = outliers(profile)
        yield f"{'These values lie' if found else 'No value lies'} far outside the middle half of a column:"
        yield f"\n```json\n{json.dumps(found, indent=2)}\n```"
        return
    path, column = str(context.vars.get("csv_path") or PENGUINS), context.vars.get("column")
    call = _code_call(context, path, *(["--column", str(column)] if column else []))
    dialect: Dialect | None = None
    problem = ""
    try:
        dialect = await asyncio.to_thread(detect_dialect, Path(path))
    except CSVError as error:
        problem = str(error)
    if dialect is not None and announced:
        yield context.background(_work, call, called)
    yield f"I'll look at {Path(path).name} first."
    read = context.tool_call("read_file", {"path": path})
    yield read
    if dialect is None:
        yield context.tool_result(read, {"error": problem}, is_error=True)
        yield f"I cannot read it: {problem}."
        return
    yield context.tool_result(read, _preview(dialect))
    width = len(dialect.names)
    yield f"It has {width} column{'s' * (width != 1)}. I'll work through all its rows in the background."
    yield call
    if not announced:
        yield context.background(_work, call, called)


async def _go_on(
    context: WorkerContext, called: asyncio.Event, *, announced: bool
) -> AsyncGenerator[WorkerEvent | str]:
    """The answer to a resume, likewise."""
    done = cast("_Finished", context.job_result)
    call, content = ToolCall(done["tool_call_id"], "code_interpreter"), done["content"]
    if "error" in content:
        yield context.tool_result(call, content, is_error=True)
        yield f"I could not analyse the file: {content['error']}."
    elif "intervals" in content:
        yield context.tool_result(call, content)
        yield findings(cast("Intervals", content))
    else:
        profile = cast("Profile", content)
        next_call = _code_call(context, done["path"], "--intervals") if profile["histogram"] is not None else None
        if next_call is not None and announced:
            yield context.background(_work, next_call, called)
        yield context.tool_result(call, content)
        yield overview(profile)
        if next_call is not None:
            yield "Next I resample the measurements, to see how far they can be trusted."
            yield next_call
            if not announced:
                yield context.background(_work, next_call, called)


def _profiled(history: list[dict[str, Any]]) -> Profile | None:
    """What the last job that profiled a file in this conversation left in its history."""
    for entry in reversed(history):
        if entry["role"] == "tool" and '"columns"' in entry["content"]:
            content = json.loads(entry["content"]).get("content", {})
            if "columns" in content and "rows" in content:
                return cast("Profile", content)
    return None


def _preview(dialect: Dialect) -> dict[str, Any]:
    return {
        "encoding": dialect.encoding,
        "separator": dialect.separator,
        "decimal": dialect.decimal,
        "columns": list(dialect.names),
        "first_rows": [[cell[:80] for cell in row] for row in dialect.first],
    }


def _code_call(context: WorkerContext, path: str, *options: str) -> ToolCall:
    return context.tool_call("code_interpreter", {"module": "analyse_csv", "options": list(options), "path": path})


async def _work(call: ToolCall, called: asyncio.Event) -> _Finished:
    """Run the analysis that a call describes, once it is called; its process ends with this task and this process."""
    await called.wait()
    path: str = call.arguments["path"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # a file called csv.py where the user stands is none of our modules
        "-m",
        "toolhouse_async._cli.analyse_csv",
        "--exit-with-parent",
        *call.arguments["options"],
        "--",
        path,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None  # noqa: S101 - as asked for above
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    try:
        output, last_words = await asyncio.gather(process.stdout.read(), _follow(process.stderr))
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        process.stdin.close()
    if status not in (0, 2) or not output:
        return _Finished(
            tool_call_id=call.id,
            path=path,
            content={"error": f"the analysis ended with exit status {status}: {last_words}"},
        )
    return _Finished(tool_call_id=call.id, path=path, content=json.loads(output))


async def _follow(stderr: asyncio.StreamReader) -> str:
    """Log progress as it comes and return the last line that was none."""
    last = ""
    while line := (await stderr.readline()).decode(errors="replace").strip():
        try:
            progress = json.loads(line)
            _log.info("%s rows read, %.0f%% of the file", f"{progress['rows']:,}", progress["share"] * 100)
        except (ValueError, KeyError, TypeError):
            last = line
    return last
