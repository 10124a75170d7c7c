"""Every limit of time on every kind of event loop: the right error comes, and no limit is lost."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.faults.test_connect import FullQueue
from tests.support.answers import history, said
from tests.support.raw_server import Request, ndjson, response, silence
from toolhouse_async import (
    ClosedError,
    ConnectTimeoutError,
    ContactLostError,
    IdleTimeoutError,
    JobWaitTimeoutError,
    Limits,
    PollingPolicy,
    ResponseTimeoutError,
    StreamInterruptedError,
    Timeouts,
    TurnTimeoutError,
)
from toolhouse_async.manager import SessionManager
from toolhouse_async.stores import MemorySessionStore
from toolhouse_async.web import sse

from .support import HANGS, LIMIT, open_end, silent, talk

TIMES = 40
"""Requests one after another."""

UNEVEN = LIMIT + 0.0004
"""Some loops round to milliseconds, and find at once what is due within half of one."""


async def test_a_response_limit_holds_for_each_of_many_requests() -> None:
    async with talk(silent, timeouts=Timeouts(response=UNEVEN)) as client:
        for _ in range(TIMES):
            with pytest.raises(ResponseTimeoutError):
                await client.run("a", "x")


async def test_an_idle_limit_holds_for_each_of_many_answers() -> None:
    async with talk(open_end, timeouts=Timeouts(idle=UNEVEN)) as client:
        for _ in range(TIMES // 4):
            with pytest.raises(IdleTimeoutError):
                await client.run("a", "x", recover=False)


async def test_a_turns_timeout_holds_for_each_of_many_turns() -> None:
    async with talk(open_end) as client:
        for number in range(TIMES // 2):
            with pytest.raises(TurnTimeoutError):
                await client.run("a", "x", timeout=LIMIT + 0.0005 * number)  # some loops round to milliseconds


async def test_limits_of_many_at_once() -> None:
    async with talk(open_end, timeouts=Timeouts(idle=LIMIT)) as client:
        asked = [client.run("a", "x", recover=False, timeout=UNEVEN if n % 2 else None) for n in range(TIMES)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(each) for each in found} <= {IdleTimeoutError, TurnTimeoutError}


async def test_a_limit_of_connecting() -> None:
    with FullQueue(socket.AF_INET, "127.0.0.1") as nobody:
        url = f"http://127.0.0.1:{nobody.address[1]}"
        async with talk(silent, timeouts=Timeouts(connect=LIMIT)) as client:
            client._transport._base_url = url
            for _ in range(3):
                with pytest.raises(ConnectTimeoutError):
                    await client.run("a", "x")


async def test_a_limit_of_waiting_for_a_connection() -> None:
    one = Limits(max_connections=1)
    async with talk(open_end, timeouts=Timeouts(pool=LIMIT), limits=one) as client, client.stream("a", "x"):
        for _ in range(3):
            with pytest.raises(ConnectTimeoutError, match="pool"):
                await client.run("a", "x")


async def test_a_limit_of_a_poll() -> None:
    async with talk(silent, timeouts=Timeouts(response=LIMIT)) as client:
        with pytest.raises(ContactLostError):
            await client.session("a", run_id="r1").wait_for_job()


async def test_a_limit_of_a_history_that_stops() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(response(body=ndjson([]), ends=False))
        await silence(reader)

    async with talk(script, timeouts=Timeouts(idle=LIMIT)) as client:
        with pytest.raises(StreamInterruptedError):
            await client.history("a", "r1")


async def test_a_deadline_of_a_job() -> None:
    async with talk(open_end) as client:
        policy = PollingPolicy(min_interval=0.01, max_interval=0.02, deadline=LIMIT)
        for _ in range(3):
            with pytest.raises(JobWaitTimeoutError):
                await client.session("a", run_id="r1").wait_for_job(polling=policy)
            with pytest.raises(JobWaitTimeoutError):
                await client.session("a", run_id="r1").wait_for_job(timeout=LIMIT)


async def test_a_lease_is_renewed() -> None:
    store = MemorySessionStore()
    async with (
        talk(open_end) as client,
        SessionManager(client, "a", store=store, lease=2 * LIMIT) as manager,
        manager.checkout("key"),
    ):
        for _ in range(3):
            before = (await store.read("a/key")).value
            while (await store.read("a/key")).value == before:
                await asyncio.sleep(LIMIT / 5)


async def test_a_lease_ends() -> None:
    store = MemorySessionStore()
    async with talk(open_end) as client, SessionManager(client, "a", store=store, lease=LIMIT) as manager:
        async with manager.checkout("key"):
            standing = (await store.read("a/key")).value
        assert await store.swap("a/key", (await store.read("a/key")).value, standing)  # as if its process had stopped
        async with manager.checkout("key"):
            pass


async def test_a_heartbeat_of_a_web_stream() -> None:
    async with talk(open_end) as client:
        stream = sse(client.stream("a", "x"), heartbeat=LIMIT)
        beats = 0
        async for piece in stream:
            beats += piece == b":\n\n"
            if beats == 3:
                break
        await stream.aclose()


@pytest.mark.parametrize("script", [silent, open_end])
async def test_cancelling(script: Any) -> None:
    async with talk(script) as client:
        for step in (client.run("a", "x"), client.session("a", run_id="r1").wait_for_job().result()):
            reading = asyncio.ensure_future(step)
            await asyncio.sleep(LIMIT)
            reading.cancel()
            await asyncio.wait([reading])
            assert reading.cancelled()


@pytest.mark.parametrize("script", [silent, open_end])
async def test_closing_from_another_task(script: Any) -> None:
    async with talk(script) as client:
        turn = client.stream("a", "x")
        waiter = client.session("a", run_id="r1").wait_for_job()
        for closed in (turn, waiter):
            reading = asyncio.ensure_future(closed.result())
            await asyncio.sleep(LIMIT)
            await closed.aclose()
            with pytest.raises(ClosedError):
                await reading
        reading = asyncio.ensure_future(client.run("a", "x"))
        await asyncio.sleep(LIMIT)
        await client.aclose()
        with pytest.raises(ClosedError):
            await reading


async def test_a_whole_conversation() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        if request.method == "GET":
            writer.write(history(("user", "x"), ("assistant", "x")))
        else:
            writer.write(said("x", job="j1" if request.json()["message"] == "x" else None))

    async with talk(script) as client:
        result = await client.run("a", "x", timeout=HANGS)
        assert (result.text, len(result.jobs)) == ("xx", 1)
