from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from tests.support.answers import KEY, client_of, history, said
from tests.support.raw_server import RawServer, silence
from toolhouse_async import (
    AsyncToolhouse,
    BackgroundJobWaiter,
    ClosedError,
    ConfigurationError,
    EventDecoder,
    Turn,
)
from toolhouse_async._held import EventReader


async def test_turns_and_waiters_are_readers() -> None:
    async with AsyncToolhouse(KEY) as toolhouse:
        turn = toolhouse.stream("a", "x")
        waiter = toolhouse.session("a", run_id="r1").wait_for_job()
        assert isinstance(turn, EventReader)
        assert isinstance(waiter, EventReader)
        assert aiter(turn) is turn
        assert aiter(waiter) is waiter


async def test_one_that_was_never_made_or_never_stepped_does_not_warn() -> None:
    async with AsyncToolhouse(KEY) as toolhouse:
        session = toolhouse.session("a")
        with pytest.raises(ConfigurationError):
            BackgroundJobWaiter(session)
        toolhouse.stream("a", "x")
        gc.collect()


async def test_one_that_ended_in_any_way_does_not_warn() -> None:
    async with RawServer([said("x")] * 3) as server, client_of(server) as toolhouse:
        await toolhouse.stream("a", "x").result()
        async for _ in toolhouse.stream("a", "x"):
            pass
        turn = toolhouse.stream("a", "x")
        await anext(turn)
        await turn.aclose()
        del turn
        gc.collect()


async def test_an_abandoned_one_gives_its_place_to_the_next() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Any) -> None:
        if request.json()["message"] == "first":
            writer.write(said("x", ends=False))
            await silence(reader)
        writer.write(said("y"))

    async with RawServer(script) as server, client_of(server) as toolhouse:
        session = toolhouse.session("a", run_id="r1")
        held: list[Turn] = [session.stream("first")]
        await anext(held[0])
        waiting = asyncio.ensure_future(session.send("second"))
        await asyncio.sleep(10)
        assert len(server.requests) == 1
        with pytest.warns(ResourceWarning, match="was abandoned"):
            held.clear()
        assert (await waiting).text == "y"


async def test_a_reader_that_is_cancelled_is_over() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Any) -> None:
        writer.write(said("x", ends=False))
        await silence(reader)

    async with RawServer(script) as server, client_of(server) as toolhouse:
        turn = toolhouse.stream("a", "x")
        await anext(turn)
        await anext(turn)
        reading = asyncio.ensure_future(anext(turn))
        await asyncio.sleep(5)
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
        with pytest.raises(ClosedError, match="was cancelled"):
            await anext(turn)
        await asyncio.sleep(1)
        assert server.open_connections == 0


HEARTBEAT = 0.5


async def stays_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Any) -> None:
    if request.method == "GET":
        await silence(reader)
    writer.write(said("x", ends=False))
    await silence(reader)


async def test_a_step_that_is_given_up_does_not_look_like_the_end() -> None:
    async with RawServer(stays_open) as server, client_of(server) as toolhouse:
        turn = toolhouse.stream("a", "x")
        words = toolhouse.stream("a", "x").text_stream
        waiter = toolhouse.session("a", run_id="r1").wait_for_job()
        for steps in (turn, words, waiter):
            with pytest.raises(TimeoutError):
                while True:
                    await asyncio.wait_for(anext(steps), HEARTBEAT)
            with pytest.raises(ClosedError, match="was cancelled"):
                await anext(steps)
        for reader in (turn, waiter):
            with pytest.raises(ClosedError):
                await reader.result()
        turn = toolhouse.stream("a", "x")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(turn.result(), HEARTBEAT)
        with pytest.raises(ClosedError):
            async for _ in turn:
                pass


async def test_a_step_that_is_given_up_before_anything_was_sent_says_so() -> None:
    async with RawServer(stays_open) as server, client_of(server) as toolhouse:
        first = toolhouse.session("a", run_id="r1").stream("x")
        await anext(first)
        second = toolhouse.session("a", run_id="r1").stream("y")
        reading = asyncio.ensure_future(anext(second))
        await asyncio.sleep(1)
        reading.cancel()
        await asyncio.wait([reading])
        with pytest.raises(ClosedError) as caught:
            await anext(second)
        assert caught.value.safe_to_retry is True
        await first.aclose()


async def test_one_that_fails_by_somebody_elses_error_does_not_look_like_the_end() -> None:
    def shape(obj: object, line: bytes) -> None:
        raise LookupError

    decoder = EventDecoder()
    decoder.register("text", shape)
    async with RawServer([said("x")]) as server, client_of(server, decoder=decoder) as toolhouse:
        turn = toolhouse.stream("a", "x")
        with pytest.raises(LookupError):
            async for _ in turn:
                pass
        with pytest.raises(ClosedError, match="by LookupError"):
            await anext(turn)


async def test_a_waiter_that_has_only_waited_gives_no_events() -> None:
    async with RawServer([history()]) as server, client_of(server) as toolhouse:
        waiter = toolhouse.session("a", run_id="r1").wait_for_job()
        assert not (await waiter.wait()).running
        for step in (anext, BackgroundJobWaiter.result):
            with pytest.raises(ClosedError):
                await step(waiter)


async def test_closing_in_the_moment_of_cancelling_does_not_swallow_it() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Any) -> None:
        await silence(reader)

    async with RawServer(script) as server, client_of(server) as toolhouse:
        turn = toolhouse.stream("a", "x")
        reading = asyncio.ensure_future(turn.result())
        await asyncio.sleep(5)
        await turn.aclose()
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
