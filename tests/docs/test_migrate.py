"""The page on migration: both programs say the same where all goes well, and ours also where it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest

from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo

from .blocks import marked
from .setups import AGENT_ID, analyst

REAL_TIME = True  # httpx brings an event loop's helpers of its own, and the old loops wait by the clock

Ask: TypeAlias = Callable[[str, str, str, str], Awaitable[str]]
PAGE = "docs/how-to/migrate.md"
BLOCKS = [block for block in (*marked("before"), *marked("after")) if block.place.startswith(PAGE)]
CODE = {(block.kind, block.argument): block.code for block in BLOCKS}


def program(kind: str, what: str) -> Ask:
    """The function of a block; the old loops wait for three milliseconds in place of seconds."""
    names: dict[str, Any] = {}
    code = CODE[kind, what].replace("asyncio.sleep(3)", "asyncio.sleep(0.003)")
    exec(compile(code, f"{kind}-{what}.py", "exec"), names)
    ask: Ask = names["ask"]
    return ask


WHOLE = "I will work through it.Done: 344 rows, 3 outliers."


def computing(seconds: float) -> Any:
    """A worker whose job stands in the headers of its answer already, where the old loop looks for it."""

    async def worker(ctx: Any) -> AsyncIterator[Any]:
        if ctx.job_result is None:
            yield ctx.background(asyncio.sleep, seconds, "described")
            yield ctx.text("I will work through it.")
        else:
            yield ctx.text("Done: 344 rows, 3 outliers.")

    return worker


@asynccontextmanager
async def emulated(worker: Any) -> AsyncIterator[tuple[WorkersEmulator, str]]:
    emulator = WorkersEmulator(api_key="key")
    emulator.worker(AGENT_ID)(worker)
    async with emulator.serve() as server:
        yield emulator, server.url


def test_each_program_is_there() -> None:
    assert set(CODE) == {("before", "httpx"), ("after", "httpx"), ("before", "aiohttp")}


@pytest.mark.parametrize("kind", ["before", "after"])
async def test_both_give_the_answer(kind: str) -> None:
    async with emulated(echo) as (_, url):
        assert await program(kind, "httpx")(url, "key", AGENT_ID, "Hello there") == "Hello there"


@pytest.mark.parametrize(("kind", "what"), [("before", "aiohttp"), ("after", "httpx")])
async def test_both_wait_for_a_job(kind: str, what: str) -> None:
    async with emulated(computing(0.05)) as (_, url):
        assert await program(kind, what)(url, "key", AGENT_ID, "Analyze this CSV") == WHOLE


@pytest.mark.parametrize(("what", "worker"), [("httpx", computing(0.05)), ("aiohttp", analyst(0.05))])
async def test_the_old_programs_returned_half_the_answer(what: str, worker: Any) -> None:
    """The one always, the other where the job starts after the answer's headers were sent."""
    for kind, which, text in (("before", what, "I will work through it."), ("after", "httpx", WHOLE)):
        async with emulated(worker) as (_, url):
            assert await program(kind, which)(url, "key", AGENT_ID, "Analyze this CSV") == text


@pytest.mark.parametrize("status", [429, 502])
async def test_the_old_loop_took_a_failed_poll_for_the_end_of_the_job(status: int) -> None:
    for kind, what, is_right in (("before", "aiohttp", False), ("after", "httpx", True)):
        async with emulated(computing(0.2)) as (emulator, url):
            emulator.faults.add(method="GET", status=status)
            try:
                text = await program(kind, what)(url, "key", AGENT_ID, "Analyze this CSV")
            except KeyError:
                text = "no run id on an answer that is none"
            assert (text == WHOLE) is is_right


async def test_the_old_loop_sent_a_resume_twice() -> None:
    for kind, what, is_repeated in (("before", "aiohttp", True), ("after", "httpx", False)):
        told: list[str | None] = []
        worker = computing(0.05)

        async def counting(ctx: Any, worker: Any = worker, told: list[str | None] = told) -> AsyncIterator[Any]:
            told.append(ctx.message)
            async for event in worker(ctx):
                yield event

        async with emulated(counting) as (emulator, url):
            emulator.faults.add(method="PUT", cut="fin", accept=True)
            asking = asyncio.ensure_future(program(kind, what)(url, "key", AGENT_ID, "Analyze this CSV"))
            if kind == "after":  # which looks into the history until that is quiet, and so for longer
                while told.count("") < 1:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
                asking.cancel()
                await asyncio.wait({asking})
            else:
                await asking
            assert (told.count("") > 1) is is_repeated
