"""Against what the examples run: each setup serves a worker, and gives the names that an example may use."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest

from tests.support.redis_server import RedisServer, find_redis
from tests.support.stores import running_postgres
from toolhouse_async import AsyncToolhouse, ErrorEvent, UnknownEvent
from toolhouse_async.testing import WorkerContext, WorkerEvent, WorkersEmulator
from toolhouse_async.testing.workers import echo
from toolhouse_async.web import RedisTurnHub

from .blocks import ROOT

AGENT_ID = "your-worker"
JOB_SECONDS = 40.0
OUTLIERS = '[{"row": 17, "value": 59.6}, {"row": 230, "value": 32.1}]'

Names: TypeAlias = dict[str, Any]
Setup: TypeAlias = Callable[[], AbstractAsyncContextManager[Names]]


def analyst(seconds: float) -> Callable[[WorkerContext], AsyncIterator[WorkerEvent]]:
    """A worker that analyses a CSV in one background job of that length, and answers in JSON where asked to."""

    async def worker(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
        if ctx.job_result is not None:
            yield ctx.text("Done: 344 rows, 3 outliers.")
        elif "JSON" in (ctx.message or ""):
            yield ctx.text(f"Here they are:\n```json\n{OUTLIERS}\n```")
        else:
            yield ctx.text("I will work through it.")
            yield ctx.tool_call("code_interpreter", {"code": "describe('data.csv')"})
            yield ctx.background(asyncio.sleep, seconds, "described")

    return worker


async def picky(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
    """A worker that does not like empty messages."""
    yield ctx.text(f"You asked: {ctx.message}") if ctx.message else ErrorEvent("nothing was asked")


async def forgetful(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
    """A worker that gives JSON when it is asked a second time."""
    yield ctx.text(OUTLIERS if "Your last answer" in (ctx.message or "") else "Rows 17 and 230 stand out.")


async def custom(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
    """A worker with an event of its own."""
    yield UnknownEvent("status", {"type": "status", "state": "looking"})
    yield ctx.text("It left this morning.")


def says(text: str, *, after: float = 0.0, between: float = 0.0) -> Any:
    """A worker that says the same words to every message, the first and the further ones after so many seconds."""

    async def worker(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
        await asyncio.sleep(after)
        for number, word in enumerate(re.findall(r"\S+\s*", text)):
            await asyncio.sleep(between if number else 0.0)
            yield ctx.text(word)

    return worker


async def editor(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
    """A worker that makes one text of several lines."""
    yield ctx.text(" ".join((ctx.message or "").splitlines()[1:]))


async def translator(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
    """A worker that takes two seconds for a sentence, and shouts."""
    await asyncio.sleep(2)
    yield ctx.text((ctx.message or "").upper())


TEAM = {
    "economist": says("Prices will fall.", after=3),
    "historian": says("They fell in 1637.", after=5),
    "novelist": says("It was a cold spring. Nobody bought tulips. The end.", between=1),
    "philosopher": says("What is a price? And what is a tulip?", after=8, between=1.5),
    "editor": editor,
    "translator": translator,
}
"""Workers by their ids."""


@asynccontextmanager
async def serving(worker: Any, **fault: Any) -> AsyncIterator[Names]:
    """An emulator with one worker or several, the environment that leads to it, and an open client."""
    emulator = WorkersEmulator()
    for agent_id, each in worker.items() if isinstance(worker, dict) else [(AGENT_ID, worker)]:
        emulator.worker(agent_id)(each)
    if fault:
        emulator.faults.add(**fault)
    async with emulator.serve() as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TOOLHOUSE_BASE_URL", server.url)
            patch.setenv("TOOLHOUSE_API_KEY", "key-of-the-example")
            async with AsyncToolhouse() as toolhouse:
                yield {"toolhouse": toolhouse, "AGENT_ID": AGENT_ID}


@asynccontextmanager
async def detached() -> AsyncIterator[Names]:
    """A job that was left running, its token in a file."""
    async with serving(analyst(JOB_SECONDS)) as names:
        result = await names["toolhouse"].run(AGENT_ID, "Analyze this CSV", background="detach")
        Path("job.json").write_text(result.token.to_json())
        yield names


@asynccontextmanager
async def questions() -> AsyncIterator[Names]:
    """A file of questions, one of them empty."""
    Path("questions.txt").write_text("What is 2 + 2?\n\nName a colour.\n")
    async with serving(picky) as names:
        yield names


@asynccontextmanager
async def with_postgres() -> AsyncIterator[Names]:
    """A PostgreSQL server that the environment names."""
    with running_postgres() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", server.dsn)
        loop: Any = asyncio.get_running_loop()
        with loop.real_time():
            async with serving(analyst(JOB_SECONDS)) as names:
                yield names


@asynccontextmanager
async def redis(worker: Any = echo) -> AsyncIterator[Names]:
    """A Redis server, in real time."""
    loop: Any = asyncio.get_running_loop()
    folder = Path(tempfile.mkdtemp(prefix="redis"))
    server = RedisServer(find_redis(), folder)
    try:
        server.start()
        with loop.real_time():
            async with serving(worker) as names:
                yield {**names, "REDIS_URL": server.url}
    finally:
        server.stop()
        shutil.rmtree(folder)


@asynccontextmanager
async def orphaned() -> AsyncIterator[Names]:
    """A turn on a Redis server whose process has long been gone, and for which nobody has asked since."""
    lease = 0.2
    async with redis(says("Prices will fall.", between=1)) as names:
        async with RedisTurnHub(names["REDIS_URL"], lease=lease) as hub:
            question = "Will tulips be dear?"
            running = await hub.start("ada", names["toolhouse"].stream(AGENT_ID, question), note=question)
            await anext(running.follow())
            while not (standing := await hub._server.get("ada")) or not standing.count:
                await asyncio.sleep(0.02)  # what it has said is written
            await hub._watch.aclose()
            hub._publishers["ada"].task.cancel()
            await asyncio.sleep(2 * lease)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(cast("Any", RedisTurnHub.__init__).__kwdefaults__, "lease", lease)
            yield names
        async with RedisTurnHub(names["REDIS_URL"]) as hub:
            assert await hub.get("ada") is None  # whoever has recovered the answer has no use for the failed turn


@asynccontextmanager
async def nothing() -> AsyncIterator[Names]:
    """An example that brings everything itself."""
    yield {}


@asynccontextmanager
async def in_the_bots_folder() -> AsyncIterator[Names]:
    """A program beside the files of the bots, which finds them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs" / "examples" / "bots"))
        yield {}


SETUPS: dict[str, Setup] = {
    "analyst": lambda: serving(analyst(JOB_SECONDS)),
    "bots": in_the_bots_folder,
    "custom": lambda: serving(custom),
    "contact-lost": lambda: serving(analyst(JOB_SECONDS), method="GET", status=502, skip=1, times=25),
    "cut": lambda: serving(echo, method="POST", cut="rst", cut_after=70),
    "detached": detached,
    "first-lost": lambda: serving(echo, method="POST", cut="fin"),
    "forgetful": lambda: serving(forgetful),
    "long-job": lambda: serving(analyst(JOB_SECONDS)),
    "lost": lambda: serving(echo, method="PUT", cut="fin", accept=True),
    "nothing": nothing,
    "orphaned": orphaned,
    "picky": lambda: serving(picky),
    "postgres": with_postgres,
    "questions": questions,
    "redis": redis,
    "setting": lambda: serving(echo),
    "team": lambda: serving(TEAM),
    "unavailable": lambda: serving(echo, status=503, times=None),
    "wrong-key": lambda: serving(echo, status=401),
}
