from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.answers import client_of, history, said
from tests.support.raw_server import RawServer, response, silence
from toolhouse_async import (
    AsyncToolhouse,
    AuthenticationError,
    BackgroundJobWaiter,
    ClosedError,
    ConfigurationError,
    JobStarted,
    JobToken,
    PollingPolicy,
    TurnCompleted,
)

TOKEN = JobToken("a", "r1", "j1", 0)
FOREVER = PollingPolicy(deadline=None)


@asynccontextmanager
async def talk(script: Any, **options: Any) -> AsyncIterator[tuple[RawServer, AsyncToolhouse]]:
    async with RawServer(script) as server, client_of(server, **options) as toolhouse:
        yield server, toolhouse


async def test_it_shows_whom_it_waits_for() -> None:
    async with talk([]) as (_, toolhouse):
        waiter = toolhouse.wait_for_job(TOKEN, polling=FOREVER)
        assert repr(waiter) == "<BackgroundJobWaiter for agent a, run r1>"
        assert inspect.isawaitable(waiter)


@pytest.mark.parametrize(
    "bad", [{"timeout": -1}, {"timeout": "5"}, {"resume_message": None}, {"resume_message": 7}, {"polling": 5}]
)
async def test_wrong_arguments(bad: Any) -> None:
    async with talk([]) as (_, toolhouse):
        session = toolhouse.session("a", run_id="r1")
        for make in (session.wait_for_job, lambda **bad: BackgroundJobWaiter(session, **bad)):
            with pytest.raises(ConfigurationError):
                make(**bad)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (None, "not NoneType: a turn whose token is None has left no job"),
        (TOKEN.to_json(), r"not str: JobToken\.from_json\(text\) makes a token of its JSON text"),
        (TOKEN.to_json().encode(), r"not bytes: JobToken\.from_json\(text\)"),
        (json.loads(TOKEN.to_json()), r"not dict: JobToken\.from_json\(text\)"),
        (5, "not int$"),
    ],
    ids=["none", "text", "bytes", "mapping", "number"],
)
async def test_what_is_no_token(wrong: Any, why: str) -> None:
    async with talk([]) as (_, toolhouse):
        with pytest.raises(ConfigurationError, match=why):
            toolhouse.wait_for_job(wrong)


async def test_it_may_be_awaited_again() -> None:
    async with talk([history(), said("x")]) as (server, toolhouse):
        waiter = toolhouse.wait_for_job(TOKEN, polling=FOREVER)
        assert await waiter is await waiter
        assert len(server.requests) == 2


async def test_wait_then_await() -> None:
    """The contract is silent: ``wait`` is all of it, what comes after needs another waiter."""
    async with talk([history(("user", "x")), history(), said("x")]) as (server, toolhouse):
        waiter = toolhouse.wait_for_job(TOKEN, polling=FOREVER)
        status = await waiter.wait()
        assert (status.running, len(status.history or ())) == (False, 1)
        assert await waiter.wait() is status
        with pytest.raises(ClosedError):
            await waiter
        assert (await toolhouse.wait_for_job(TOKEN, polling=FOREVER)).text == "x"
        assert [request.method for request in server.requests] == ["GET", "GET", "PUT"]


async def test_closed_before_the_job_was_over() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: object) -> None:
        writer.write(history(job="j1"))

    async with talk(script) as (server, toolhouse):
        for ask in (lambda w: w.wait(), lambda w: w.result()):
            waiter = toolhouse.wait_for_job(TOKEN, polling=FOREVER)
            waiting = asyncio.ensure_future(ask(waiter))
            await asyncio.sleep(100)
            await waiter.aclose()
            await waiter.aclose()
            with pytest.raises(ClosedError):
                await waiting
            with pytest.raises(ClosedError):
                await ask(waiter)
        asked = len(server.requests)
        await asyncio.sleep(100)
        assert len(server.requests) == asked


async def test_an_error_is_raised_by_wait_too() -> None:
    async with talk([response(401, chunked=False)]) as (_, toolhouse):
        waiter = toolhouse.wait_for_job(TOKEN, polling=FOREVER)
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                await waiter.wait()


async def test_cancelling_one_who_waits_closes_the_waiter_alone() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: object) -> None:
        await silence(reader)

    async with talk(script) as (server, toolhouse):
        waiter = toolhouse.wait_for_job(TOKEN, polling=FOREVER)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await waiter.wait()
        with pytest.raises(ClosedError):
            await waiter.wait()
        await asyncio.sleep(1)
        assert server.open_connections == 0


async def test_an_abandoned_waiter_is_named() -> None:
    async with talk([history(job="j1")]) as (_, toolhouse):
        waiters = [toolhouse.wait_for_job(TOKEN, polling=FOREVER)]
        await anext(waiters[0])
        with pytest.warns(ResourceWarning, match="<BackgroundJobWaiter for agent a, run r1> was abandoned"):
            waiters.clear()


async def test_a_job_that_is_known_is_announced_at_once() -> None:
    async with talk([]) as (server, toolhouse):
        waiter = toolhouse.wait_for_job(TOKEN, polling=FOREVER)
        assert await anext(waiter) == JobStarted("j1")
        assert server.requests == []
        await waiter.aclose()


async def test_it_keeps_its_session() -> None:
    async with talk([history(), said("x")]) as (_, toolhouse):
        events = [event async for event in toolhouse.session("a", run_id="r1").wait_for_job()]
        assert isinstance(events[-1], TurnCompleted)


async def test_a_waiter_whose_step_was_collected_is_closed() -> None:
    async with talk([silence]) as (_, toolhouse):
        waiter = toolhouse.wait_for_job(TOKEN, polling=FOREVER)
        step = waiter.wait()
        step.send(None)
        step.close()
        with pytest.raises(ClosedError, match="before the job was over"):
            await waiter.wait()
