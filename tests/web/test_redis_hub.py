"""A hub on a Redis server: processes that die, a server that is away, names, bounds and connections."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from tests.support.answers import RUN, text
from tests.support.answers import client_of as client_of_worker
from tests.support.raw_server import RawServer, response
from tests.support.raw_server import ndjson as ndjson_lines
from tests.support.redis_server import RedisServer, find_redis, silent
from toolhouse_async import (
    AsyncToolhouse,
    ClosedError,
    ConfigurationError,
    EventsDroppedError,
    LeaseLostError,
    OutcomeUnknownError,
    SessionBusyError,
    StoreError,
    StreamInterruptedError,
    TextDelta,
    ToolCall,
    TurnCompleted,
    web,
)
from toolhouse_async.stores import _server as connections
from toolhouse_async.web import RedisTurnHub, failure, sse
from toolhouse_async.web._redis import publisher as publishing
from toolhouse_async.web._redis.server import PAGE

from .hubs import QUICK, anyio_backend, until, warm_loops
from .support import AGENT, World, no_connections, read_sse, whole, words, world_and_client

__all__ = ["anyio_backend", "warm_loops"]

LEASE = 0.4


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that this test may stop."""
    program = find_redis()
    folder = Path(tempfile.mkdtemp(prefix="redis"))
    server = RedisServer(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@asynccontextmanager
async def two(
    server: RedisServer, **options: Any
) -> AsyncIterator[tuple[World, AsyncToolhouse, RedisTurnHub, RedisTurnHub]]:
    """A world, a client, and two hubs as in two processes."""
    options = {"prefix": uuid4().hex, "lease": LEASE, **options}
    async with (
        world_and_client(**QUICK) as (world, client),
        RedisTurnHub(server.url, **options) as near,
        RedisTurnHub(server.url, **options) as far,
    ):
        yield world, client, near, far


async def found(hub: RedisTurnHub, name: str = "k") -> Any:
    """A turn that there is."""
    turn = await hub.get(name)
    assert turn is not None
    return turn


async def has_said(reader: Any, text: str) -> None:
    """Read until a word has come."""
    async for event in reader:
        if isinstance(event, TextDelta) and text in event.text:
            return
    raise AssertionError(text)


async def silence(hub: RedisTurnHub) -> None:
    """Let a process give no more signs of life, and write nothing, as one that was killed."""
    await end(*hub._watch._tasks, *(each.task for each in hub._publishers.values()))


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, again where that is swallowed."""
    while not all(task.done() for task in tasks):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=0.05)


def client_of(server: RedisServer) -> Redis:
    return Redis.from_url(server.url)


# Processes that die


async def test_readers_are_told_that_a_process_is_gone(redis_server: RedisServer) -> None:
    async with two(redis_server) as (world, client, near, far):
        await near.start("k", client.stream(AGENT, "wait"), note="wait")
        turn = await found(far)
        reader = asyncio.ensure_future(whole(sse(turn.follow())))
        await has_said(turn.follow(), "first")
        await silence(near)
        sent = read_sse(await reader)
        assert words(sent) == "first "
        assert sent[-1].name == "TurnFailed"
        assert sent[-1].data["error"] == "StreamInterruptedError"
        assert sent[-1].data["safe_to_retry"] is False
        again = await found(far)
        assert isinstance(again.error, StreamInterruptedError)
        assert again.is_over
        assert again.error.run_id == again.run_id
        with pytest.raises(StreamInterruptedError):
            await again.result()
        # Another process goes on with it.
        world.go_on.set()
        result = await client.recover(again.agent_id, again.run_id, again.note)
        assert result.text == "first second"
        await far.start("k", client.stream(AGENT, "x"))


async def test_readers_are_told_that_nobody_knows_of_the_message(redis_server: RedisServer) -> None:
    async with two(redis_server) as (_, client, near, far):
        await silence(near)
        publisher = await begun_in_vain(near, client)
        with pytest.raises(OutcomeUnknownError) as caught:
            await anext((await found(far)).follow())
        assert caught.value.safe_to_retry is None
        with pytest.raises(OutcomeUnknownError):
            await (await found(far)).result()
        assert publisher.turn_id == (await found(far)).id


async def test_who_stops_a_turn_waits_until_its_process_is_known_to_be_gone(redis_server: RedisServer) -> None:
    async with two(redis_server) as (_, client, near, far):
        await near.start("k", client.stream(AGENT, "wait"))
        turn = await found(far)
        await has_said(turn.follow(), "first")
        await silence(near)
        await turn.stop()
        assert isinstance(turn.error, StreamInterruptedError)


async def test_readers_are_told_that_a_process_has_stopped(redis_server: RedisServer) -> None:
    async with two(redis_server) as (world, client, near, far):
        running = await near.start("k", client.stream(AGENT, "wait"), note="wait")
        turn = await found(far)
        reader = asyncio.ensure_future(whole(sse(turn.follow())))
        await has_said(turn.follow(), "first")
        await near.aclose()
        with pytest.raises(ClosedError):
            await running.result()
        sent = read_sse(await reader)
        assert words(sent) == "first "
        assert (sent[-1].data["error"], sent[-1].data["safe_to_retry"]) == ("StreamInterruptedError", False)
        again = await found(far)
        assert isinstance(again.error, StreamInterruptedError)
        assert again.error.run_id == again.run_id == running.run_id
        world.go_on.set()
        assert (await client.recover(again.agent_id, again.run_id, again.note)).text == "first second"


async def test_what_a_user_stopped_was_not_left_by_its_process(redis_server: RedisServer) -> None:
    async with two(redis_server) as (_, client, near, far):
        running = await near.start("k", client.stream(AGENT, "wait"))
        await has_said((await found(far)).follow(), "first")
        await running.stop()
        await near.aclose()
        assert isinstance((await found(far)).error, ClosedError)


async def test_readers_are_told_whether_a_message_was_sent_when_its_process_stopped(redis_server: RedisServer) -> None:
    async with two(redis_server) as (world, client, near, far):
        session = client.session(AGENT)
        await near.start("k", session.stream("wait"))
        await has_said((await found(far)).follow(), "first")
        await near.start("queued", session.stream("x"))
        fault = world.emulator.faults.add(method="POST", cut="silence")
        await near.start("unanswered", client.stream(AGENT, "x"))
        await until(lambda: fault.hits == 1)
        await near.aclose()
        queued, unanswered = [await found(far, name) for name in ("queued", "unanswered")]
        assert isinstance(queued.error, ClosedError)
        assert queued.error.safe_to_retry is True
        assert isinstance(unanswered.error, OutcomeUnknownError)
        assert unanswered.error.safe_to_retry is None


async def begun_in_vain(hub: RedisTurnHub, client: AsyncToolhouse) -> publishing.Publisher:
    """A name that was taken by a process that died before its message was sent."""
    publisher = publishing.Publisher(
        hub._server, name="k", turn_id="t" * 16, owner="o", note="", agent_id=AGENT, max_bytes=1000
    )
    assert await publisher.claim()
    assert await publisher.claim()  # as after an answer that was lost
    return publisher


async def test_who_starts_a_turn_finds_that_a_process_is_gone(redis_server: RedisServer) -> None:
    async with two(redis_server) as (_, client, near, far):
        await begun_in_vain(near, client)
        with pytest.raises(SessionBusyError):
            await far.start("k", client.stream(AGENT, "x"))

        async def starts() -> bool:
            try:
                await far.start("k", client.stream(AGENT, "x"))
            except SessionBusyError:
                return False
            return True

        await until(starts)


async def test_who_forgets_a_turn_waits_until_its_process_is_known_to_be_gone(redis_server: RedisServer) -> None:
    prefix = uuid4().hex
    async with two(redis_server, prefix=prefix) as (_, client, near, far):
        await begun_in_vain(near, client)
        no_sign_of_life(redis_server, prefix)
        await far.forget("k")
        assert await far.get("k") is None


async def test_a_turn_whose_process_gives_signs_of_life_again_is_not_forgotten(redis_server: RedisServer) -> None:
    prefix = uuid4().hex
    async with two(redis_server, prefix=prefix) as (world, client, near, far):
        running = await near.start("k", client.stream(AGENT, "wait"))
        await has_said(running.follow(), "first")
        no_sign_of_life(redis_server, prefix)
        with pytest.raises(SessionBusyError):
            await far.forget("k")
        world.go_on.set()
        assert (await running.result()).text == "first second"


def no_sign_of_life(server: RedisServer, prefix: str) -> None:
    """Let the time be over for which the process of a turn counts as alive, and nobody have seen that."""
    with client_of(server) as redis:
        redis.hset(f"{prefix}:turn:k", "beat", 0)


async def test_a_server_that_was_away_takes_nobody_for_dead(server: RedisServer) -> None:
    async with two(server) as (world, client, near, far):
        await near.start("k", client.stream(AGENT, "wait"))
        turn = await found(far)
        reader = asyncio.ensure_future(whole(sse(turn.follow())))
        await has_said(turn.follow(), "first")
        server.pause()
        await asyncio.sleep(3 * LEASE)
        server.go_on()
        world.go_on.set()
        sent = read_sse(await reader)
        assert (words(sent), sent[-1].name) == ("first second", "TurnCompleted")


async def test_a_process_that_comes_back_too_late_stops_its_turn(redis_server: RedisServer) -> None:
    async with two(redis_server) as (world, client, near, far):
        running = await near.start("k", client.stream(AGENT, "wait"))
        await has_said(running.follow(), "first")
        await end(*near._watch._tasks)

        async def is_over() -> bool:
            return bool((await found(far)).is_over)

        await until(is_over)
        near._watch._tasks = []
        near._watch.begin()
        with pytest.raises(LeaseLostError):
            await running.result()
        await no_connections(world)
        async with asyncio.timeout(20):
            await until(lambda: not near._publishers)


async def test_a_process_that_writes_too_late_stops_its_turn(redis_server: RedisServer) -> None:
    async with two(redis_server) as (world, client, near, far):
        running = await near.start("k", client.stream(AGENT, "wait"))
        await has_said(running.follow(), "first")
        await end(*near._watch._tasks)

        async def is_over() -> bool:
            return bool((await found(far)).is_over)

        await until(is_over)
        other = await far.start("k", client.stream(AGENT, "x"))  # the name has another by now
        world.go_on.set()
        await until(lambda: not near._publishers)
        assert running.is_over
        assert words(read_sse(await whole(sse(other.follow())))) == "x"
        assert (await found(near)).id == other.id


async def test_a_process_that_was_taken_for_dead_starts_a_turn_of_that_name(redis_server: RedisServer) -> None:
    async with two(redis_server) as (world, client, near, far):
        before = await near.start("k", client.stream(AGENT, "wait"))
        await has_said(before.follow(), "first")
        await end(*near._watch._tasks)

        async def is_over() -> bool:
            return bool((await found(far)).is_over)

        await until(is_over)
        after = await near.start("k", client.stream(AGENT, "wait"))
        await has_said(after.follow(), "first")
        world.go_on.set()
        await until(lambda: before.is_over and after.is_over)
        assert (await after.result()).text == "first second"
        await until(lambda: not near._publishers)
        assert (await (await found(far)).result()).text == "first second"


async def test_closing_ends_a_turn_too_whose_name_another_has_taken(redis_server: RedisServer) -> None:
    async with two(redis_server) as (_, client, near, far):
        before = await near.start("k", client.stream(AGENT, "wait"))
        await has_said(before.follow(), "first")
        await end(*near._watch._tasks)

        async def is_over() -> bool:
            return bool((await found(far)).is_over)

        await until(is_over)
        after = await near.start("k", client.stream(AGENT, "wait"))
        publishing = {each.task for each in near._all}
        await near.aclose()
        assert before.is_over
        assert after.is_over
        assert len(publishing) == 2
        assert all(task.done() for task in publishing)


async def test_a_name_that_another_took_while_the_server_knew_nothing(server: RedisServer) -> None:
    async with two(server) as (world, client, near, far):
        running = await near.start("k", client.stream(AGENT, "wait"))
        await has_said((await found(far)).follow(), "first")
        await end(*near._watch._tasks)
        with client_of(server) as redis:
            redis.flushall()
        other = await far.start("k", client.stream(AGENT, "wait"))
        near._publishers["k"].told(-1)  # as it was answered before
        with pytest.raises(LeaseLostError):
            await running.result()
        world.go_on.set()
        assert (await other.result()).text == "first second"


# A server that is away, and one that forgets


async def test_a_server_that_has_forgotten_all_is_told_again(server: RedisServer, caplog: Any) -> None:
    async with two(server) as (world, client, near, far):
        await near.start("k", client.stream(AGENT, "wait"), note="n")
        turn = await found(far)
        reader = asyncio.ensure_future(whole(sse(turn.follow())))
        await has_said(turn.follow(), "first")
        server.stop()
        server.start()

        async def is_there() -> bool:
            known = await far.get("k")
            return known is not None and known.note == "n"

        await until(is_there)
        late = asyncio.ensure_future(whole(sse((await found(far)).follow())))
        await has_said((await found(far)).follow(), "first")
        world.go_on.set()
        for stream in (await reader, await late):
            sent = read_sse(stream)
            assert (words(sent), sent[-1].name) == ("first second", "TurnCompleted")
        assert "lost a turn" in caplog.text or "cannot be written" in caplog.text


async def test_what_is_said_while_the_server_is_away_is_written_later(server: RedisServer) -> None:
    async with two(server) as (world, client, near, far):
        running = await near.start("k", client.stream(AGENT, "wait"))
        turn = await found(far)
        await has_said(turn.follow(), "first")
        server.stop()
        world.go_on.set()
        assert (await running.result()).text == "first second"
        with pytest.raises(StoreError):
            await far.get("k")
        server.start()
        assert (await turn.result()).text == "first second"
        sent = read_sse(await whole(sse((await found(far)).follow())))
        assert (words(sent), sent[-1].name) == ("first second", "TurnCompleted")


async def test_what_had_to_be_dropped_meanwhile_is_told(server: RedisServer) -> None:
    async with two(server, max_bytes=2000) as (_, client, near, far):
        running = await near.start("k", client.stream(AGENT, "words 1000"))
        turn = await found(far)
        with silent(server, near, far, patience=0.2):
            await asyncio.wait({running.task})
        assert "word999" in (await turn.result()).text
        with pytest.raises(EventsDroppedError):
            async for _ in (await found(far)).follow():
                pass


async def test_all_had_to_be_dropped_meanwhile(server: RedisServer) -> None:
    large = {"type": "x", "data": "y" * 500_000}
    body = response(headers={RUN: "r1"}, body=ndjson_lines(text("a"), large, large, large, text("b")))
    parts = (body[:1_100_000], body[1_100_000:-20], body[-20:])
    go_on = [asyncio.Event() for _ in parts]

    async def answer(_: Any, writer: asyncio.StreamWriter, __: Any) -> None:
        for go, part in zip(go_on, parts, strict=True):
            await go.wait()
            writer.write(part)

    async with (
        two(server, max_bytes=2000) as (_, _client, near, far),
        RawServer(answer) as worker,
        client_of_worker(worker) as client,
    ):
        running = await near.start("k", client.stream("a", "x", settle=False))
        with silent(server, near, far, patience=0.2):
            go_on[0].set()
            await until(lambda: running.live.replay.count == 4)
        await until(lambda: not near._publishers["k"]._is_failing)
        go_on[1].set()
        await until(lambda: running.live.replay.count == 5)
        go_on[2].set()
        turn = await found(far)
        assert (await turn.result()).text == (await running.result()).text
        with pytest.raises(EventsDroppedError):
            async for _ in (await found(far)).follow():
                pass


async def test_a_server_has_forgotten_all_when_an_event_beyond_the_bound_comes(
    server: RedisServer,
) -> None:
    body = response(headers={RUN: "r1"}, body=ndjson_lines(text("a"), {"type": "x", "data": "y" * 500_000}, text("b")))
    go_on = asyncio.Event()

    async def answer(_: Any, writer: asyncio.StreamWriter, __: Any) -> None:
        writer.write(body[:-100_000])
        await go_on.wait()
        writer.write(body[-100_000:])

    async with (
        two(server, max_bytes=2000) as (_, _client, near, far),
        RawServer(answer) as worker,
        client_of_worker(worker) as client,
    ):
        running = await near.start("k", client.stream("a", "x", settle=False))
        await has_said((await found(far)).follow(), "a")
        with client_of(server) as redis:
            redis.flushall()
        go_on.set()
        assert (await running.result()).text == "ab"
        await until(lambda: not near._publishers)
        assert (await (await found(far)).result()).text == "ab"


async def test_a_server_that_stays_away_costs_the_end(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with two(server, keep=0.3) as (world, client, near, _):
        running = await near.start("k", client.stream(AGENT, "wait"))
        await has_said(running.follow(), "first")
        server.stop()
        world.go_on.set()
        assert (await running.result()).text == "first second"
        await until(lambda: not near._publishers)
        assert any("could not be written" in each.message for each in caplog.records if each.levelno == logging.ERROR)


async def test_without_a_server_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.1)
    async with world_and_client(**QUICK) as (world, client), RedisTurnHub("redis://127.0.0.1:1") as hub:
        with pytest.raises(StoreError) as caught:
            await hub.start("k", client.stream(AGENT, "x"))
        assert caught.value.safe_to_retry
        assert "Nothing was sent" in failure(caught.value)["message"]
        for call in (hub.get, hub.forget):
            with pytest.raises(StoreError) as caught:
                await call("k")
            told = failure(caught.value)  # a page that follows a turn must not send its message again
            assert told["safe_to_retry"] is None
            assert "cannot be reached" in told["message"]
        assert world.accepted == []


async def test_without_its_server_a_turn_is_found_and_stopped_where_it_runs(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.1)
    async with two(server) as (_, client, near, far):
        running = await near.start("k", client.stream(AGENT, "wait"))
        elsewhere = await found(far)
        server.stop()
        for call in (far.get("k"), elsewhere.stop(), near.forget("k")):
            with pytest.raises(StoreError):
                await call
        assert await near.get("k") is running
        await running.stop()
        assert isinstance(running.error, ClosedError)
        server.start()  # where the hubs write, and close, at once


async def test_a_turn_that_nobody_knows_any_more(server: RedisServer) -> None:
    """Its process is gone, and the server has forgotten it."""
    async with two(server) as (_, client, near, far):
        await near.start("k", client.stream(AGENT, "wait"))
        turn = await found(far)
        await has_said(turn.follow(), "first")
        reading = asyncio.ensure_future(whole(sse(turn.follow(f"{turn.id}-2"))))
        behind = turn.follow()
        await silence(near)
        server.stop()
        server.start()
        assert read_sse(await reading)[-1].data["error"] == "EventsDroppedError"
        with pytest.raises(EventsDroppedError):
            async for _ in behind:
                pass
        with pytest.raises(EventsDroppedError):
            await turn.result()


async def test_who_reads_just_before_what_was_lost_is_written_again_has_all_of_it(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(server) as (world, client, near, far):
        await near.start("k", client.stream(AGENT, "wait"))

        async def has_come() -> bool:
            standing = await far._server.get("k")
            return standing is not None and standing.count == 2

        await until(has_come)
        turn = await found(far)
        page, early = far._server.page, [True]

        async def of_before(turn_id: str, had: int) -> Any:
            return [] if early and early.pop() else await page(turn_id, had)

        monkeypatch.setattr(far._server, "page", of_before)
        world.go_on.set()
        assert words(read_sse(await whole(sse(turn.follow(), heartbeat=None)))) == "first second"
        assert not early


async def test_who_is_behind_waits_for_a_server_that_is_away(server: RedisServer) -> None:
    async with two(server) as (world, client, near, far):
        await near.start("k", client.stream(AGENT, "wait"))

        async def has_come() -> bool:
            standing = await far._server.get("k")
            return standing is not None and standing.count == 2

        await until(has_come)
        turn = await found(far)
        server.stop()
        reading = asyncio.ensure_future(whole(sse(turn.follow(), heartbeat=None)))
        await asyncio.sleep(2 * LEASE)
        assert not reading.done()
        server.start()
        world.go_on.set()
        assert words(read_sse(await reading)) == "first second"


async def test_a_result_that_is_not_there_any_more(server: RedisServer) -> None:
    async with two(server) as (_, client, near, far):
        await (await near.start("k", client.stream(AGENT, "x"))).result()
        await until(lambda: not near._publishers)
        turn = await found(far)
        with client_of(server) as redis:
            redis.flushall()
        with pytest.raises(EventsDroppedError):
            await turn.result()
        with pytest.raises(EventsDroppedError):
            await anext(turn.follow())


async def test_stopping_where_the_server_has_forgotten_that(server: RedisServer) -> None:
    async with two(server) as (world, client, near, far):
        await near.start("k", client.stream(AGENT, "wait"))
        turn = await found(far)
        await has_said(turn.follow(), "first")
        stopping = asyncio.ensure_future(turn.stop())
        with client_of(server) as redis:
            redis.flushall()
        await stopping
        assert isinstance(turn.error, ClosedError)
        await no_connections(world)


# Closing, cancelling


async def test_closing_leaves_turns_elsewhere_alone(redis_server: RedisServer) -> None:
    async with two(redis_server) as (world, client, near, far):
        running = await near.start("k", client.stream(AGENT, "wait"))
        turn = await found(far)
        await has_said(turn.follow(), "first")
        stream, shown = sse(turn.follow()), b""
        while b"first" not in shown:
            shown += await anext(stream)
        reading = asyncio.ensure_future(whole(stream))
        waiting = asyncio.ensure_future(turn.result())
        first = turn.follow()
        await has_said(first, "first")
        await far.aclose()
        sent = read_sse(shown + await reading)
        assert [each.name for each in sent][-1] == "TextDelta"  # as a lost connection: it may come back elsewhere
        with pytest.raises(ClosedError):
            await waiting
        with pytest.raises(StopAsyncIteration):
            await anext(first)
        with pytest.raises(ClosedError):
            await far.get("k")
        world.go_on.set()
        assert (await running.result()).text == "first second"


async def test_who_is_behind_gets_no_more_either(redis_server: RedisServer) -> None:
    async with two(redis_server) as (_, client, near, far):
        await near.start("k", client.stream(AGENT, "wait"))

        async def has_come() -> bool:
            standing = await far._server.get("k")
            return standing is not None and standing.count == 2

        await until(has_come)
        behind = (await found(far)).follow()
        await far.aclose()
        assert [event async for event in behind] == []


async def test_closing_does_not_wait_for_a_server_that_is_away(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolhouse_async.web._redis.hub.PATIENCE", 0.1)
    async with two(server) as (_, client, near, _):
        await near.start("k", client.stream(AGENT, "wait"))
        server.stop()
        await near.aclose()


@pytest.mark.parametrize("passes", range(0, 30, 3))
async def test_a_start_that_is_cancelled_leaves_the_name_free(redis_server: RedisServer, passes: int) -> None:
    async with two(redis_server) as (world, client, near, far):
        starting = asyncio.ensure_future(near.start("k", client.stream(AGENT, "never")))
        for _ in range(passes):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait({starting})
        if starting.cancelled():
            await until(lambda: not near._releases)
            assert await far.get("k") is None
            assert world.accepted == []
        await near.aclose()


async def test_closed_while_a_turn_is_being_started(redis_server: RedisServer) -> None:
    async with two(redis_server) as (world, client, near, _):
        starting = asyncio.ensure_future(near.start("k", client.stream(AGENT, "never")))
        await asyncio.sleep(0)
        await near.aclose()
        with pytest.raises(ClosedError):
            await starting
        assert world.accepted == []


# Names, rights, bounds, connections


async def test_hubs_of_different_prefixes_do_not_see_each_other(server: RedisServer) -> None:
    async with world_and_client(**QUICK) as (_, client):
        hubs = [RedisTurnHub(server.url, prefix=prefix) for prefix in ("a", "a:turn", "a%3Aturn", "")]
        for hub in hubs:
            assert await hub.get("k") is None
            assert (await (await hub.start("k", client.stream(AGENT, "x"))).result()).text == "x"
        for hub in hubs:
            await hub.aclose()


async def test_names_begin_with_the_prefix_and_all_of_them_expire(server: RedisServer) -> None:
    async with world_and_client(**QUICK) as (_, client), RedisTurnHub(server.url) as hub:
        running = await hub.start("ada", client.stream(AGENT, "wait"))
        await has_said(running.follow(), "first")
        await running.stop()
        async with RedisTurnHub(server.url) as other:
            await (await other.start("bob", client.stream(AGENT, "wait"))).stop()
            turn = await found(hub, "bob")
            await turn.stop()
        with client_of(server) as redis:
            names = redis.keys("*")
            assert names
            assert {name.partition(b":")[0] for name in names} == {b"toolhouse-hub"}
            assert [redis.pttl(name) > 0 for name in names] == [True] * len(names)


async def test_the_rights_that_it_needs(server: RedisServer) -> None:
    """As the documentation lists them."""
    with client_of(server) as redis:
        from tests.docs.blocks import marked  # reads all pages, which no other test here needs

        (command,) = marked("redis-rights")
        redis.execute_command(*command.code.split())
    url = server.url.replace("unix://", "unix://hub:password@")
    async with world_and_client(**QUICK) as (world, client), RedisTurnHub(url) as near, RedisTurnHub(url) as far:
        await near.start("k", client.stream(AGENT, "wait"))
        turn = await found(far)
        await has_said(turn.follow(), "first")
        await turn.stop()
        await far.forget("k")
        running = await near.start("k", client.stream(AGENT, "words 3"))
        await running.result()
        assert (await (await found(far)).result()).text == "word0 word1 word2 "
        assert world.accepted == ["wait", "words 3"]


async def test_the_later_protocol_of_redis(server: RedisServer) -> None:
    async with world_and_client(**QUICK) as (world, client):
        url = f"{server.url}?protocol=3"
        async with RedisTurnHub(url) as near, RedisTurnHub(url) as far:
            await near.start("k", client.stream(AGENT, "wait"))
            turn = await found(far)
            reading = asyncio.ensure_future(whole(sse(turn.follow())))
            await has_said(turn.follow(), "first")
            world.go_on.set()
            assert words(read_sse(await reading)) == "first second"


async def test_a_turn_takes_bounded_memory(server: RedisServer) -> None:
    async with two(server, max_bytes=10_000) as (_, client, near, _):
        running = await near.start("k", client.stream(AGENT, "words 10000"))
        await running.result()
        await until(lambda: not near._publishers)
        with client_of(server) as redis:
            (name,) = redis.keys("*:events:*")
            memory = redis.memory_usage(name, samples=0)
        result = len((await running.result()).text)
        assert memory < 2 * 10_000 + 2.5 * result  # the result has the words twice: all together, and by rounds


async def test_many_readers_share_connections(server: RedisServer) -> None:
    readers = 1000
    async with two(server) as (world, client, near, far):
        await near.start("k", client.stream(AGENT, "wait"))
        turn = await found(far)
        await has_said(turn.follow(), "first")
        following = [sse(turn.follow(f"{turn.id}-2"), heartbeat=None) for _ in range(readers)]
        reading = [asyncio.ensure_future(whole(each)) for each in following]
        await until(lambda: len(turn.readers) == readers)
        with client_of(server) as redis:
            clients = redis.client_list()
        assert len(clients) <= 12
        assert sum(each["cmd"] == "xread" for each in clients) <= 2
        world.go_on.set()
        for stream in await asyncio.gather(*reading):
            assert words(read_sse(stream)) == "second"


async def test_what_nobody_can_read(server: RedisServer) -> None:
    async with two(server) as (_, client, near, far):
        await near.start("k", client.stream(AGENT, "wait"))
        turn = await found(far)
        await has_said(turn.follow(), "first")
        with client_of(server) as redis:
            (name,) = redis.keys("*:events:*")
            live = turn.follow(f"{turn.id}-2")
            following = asyncio.ensure_future(anext(live))
            await until(lambda: turn.readers)
            redis.xadd(name, {"w": "no JSON"}, id="3-1")
            with pytest.raises(EventsDroppedError):
                await following
            redis.xadd(name, {"end": "no JSON"}, id="9007199254740992-0")
            with pytest.raises(StoreError):
                await anext(turn.follow(f"{turn.id}-3"))


# Where it is used


def test_one_event_loop_uses_it(server: RedisServer) -> None:
    hub = RedisTurnHub(server.url)
    with asyncio.Runner() as one, asyncio.Runner() as other:
        assert one.run(hub.get("k")) is None
        with pytest.raises(ConfigurationError, match="hub"):
            other.run(hub.get("k"))
        one.run(hub.aclose())


@pytest.mark.parametrize("name", ["keep", "max_bytes", "max_turns", "lease"])
def test_settings_are_numbers_above_0(name: str) -> None:
    options: dict[str, Any] = {name: 0}
    with pytest.raises(ConfigurationError, match=name):
        RedisTurnHub("redis://localhost", **options)


def test_without_its_library() -> None:
    code = "import sys; sys.modules['redis'] = None; from toolhouse_async.web import TurnHub, RedisTurnHub"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigurationError: RedisSessionStore and RedisTurnHub need redis" in done.stderr


def test_nothing_else_is_loaded() -> None:
    with pytest.raises(AttributeError, match="NoHub"):
        _ = web.NoHub


def test_it_is_loaded_when_it_is_used() -> None:
    code = "import sys, toolhouse_async.web as web; print('redis' in sys.modules, web.RedisTurnHub, hasattr(web, 'No'))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.startswith("False <class")
    assert done.stdout.endswith("False\n")


async def test_a_turn_that_is_over_is_read_by_many_pages(server: RedisServer) -> None:
    async with two(server) as (_, client, near, far):
        running = await near.start("k", client.stream(AGENT, "looks 100"))
        result = await running.result()
        await until(lambda: not near._publishers)
        turn = await found(far)
        with client_of(server) as redis:
            (name,) = redis.keys("*:events:*")
            assert redis.xlen(name) > 2 * PAGE
        events = [event async for event in turn.follow()]
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == result.text
        assert [event.arguments for event in events if isinstance(event, ToolCall)] == [{"at": n} for n in range(100)]
        assert isinstance(events[-1], TurnCompleted)
        assert events[-1].result == result
