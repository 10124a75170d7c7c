"""What every hub does: in one process, on a Redis server, and on a server for what another process runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from tests.support.answers import RUN, client_of, text
from tests.support.raw_server import RawServer, response
from tests.support.raw_server import ndjson as ndjson_lines
from toolhouse_async import (
    AsyncToolhouse,
    ClosedError,
    ConfigurationError,
    EventsDroppedError,
    NotFoundError,
    SessionBusyError,
    SessionManager,
    TextDelta,
    TurnCompleted,
    WorkerError,
)
from toolhouse_async._driver import Driver
from toolhouse_async._turn.commands import Command
from toolhouse_async.web import TurnHub, ag_ui, failure, ndjson, sse

from .hubs import KINDS, Hub, anyio_backend, hubs, settled, until, warm_loops
from .support import AGENT, World, no_connections, read_sse, whole, words

__all__ = ["anyio_backend", "warm_loops"]
Open = Callable[..., AbstractAsyncContextManager[tuple[World, AsyncToolhouse, Hub]]]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_hub(kind: str, request: pytest.FixtureRequest) -> Open:
    server = None if kind == "memory" else request.getfixturevalue("redis_server")
    return lambda **options: hubs(kind, server, **options)


async def said(reader: Any, text: str) -> None:
    """Read until these words have come."""
    have = ""
    async for event in reader:
        if isinstance(event, TextDelta):
            have += event.text
            if have == text:
                return
    raise AssertionError(have)


async def test_a_turn_goes_on_without_readers(open_hub: Open) -> None:
    async with open_hub() as (world, client, hub):
        running = await hub.start("k", client.stream(AGENT, "wait"), note="wait")
        reader = running.follow()
        await said(reader, "first ")
        await reader.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(reader)
        assert not running.is_over
        world.go_on.set()
        result = await running.result()
        assert result.text == "first second"
        assert running.is_over
        assert running.error is None
        assert (running.name, running.note) == ("k", "wait")
        assert (running.agent_id, running.run_id) == (AGENT, result.run_id)
        assert (await running.result()) == result
        assert world.accepted == ["wait"]


async def test_several_readers_get_the_same(open_hub: Open) -> None:
    async with open_hub() as (world, client, hub):
        running = await hub.start("k", client.stream(AGENT, "wait"))
        readers = [asyncio.ensure_future(whole(sse(running.follow()))) for _ in range(3)]
        await said(running.follow(), "first ")
        late = asyncio.ensure_future(whole(sse(running.follow())))
        world.go_on.set()
        streams = [read_sse(stream) for stream in await asyncio.gather(*readers, late)]
        assert [words(sent) for sent in streams] == ["first second"] * 4
        assert [sent[-1].name for sent in streams] == ["TurnCompleted"] * 4
        assert len({sent[-1].id for sent in streams}) == 1
        again = await hub.get("k")
        after = read_sse(await whole(sse(again.follow())))  # when it is over
        assert (words(after), after[-1].name) == ("first second", "TurnCompleted")


@pytest.mark.parametrize("had", range(8))
async def test_who_returns_misses_and_repeats_nothing(open_hub: Open, had: int) -> None:
    async with open_hub() as (_, client, hub):
        running = await hub.start("k", client.stream(AGENT, "words 5"))
        await running.result()
        running = await hub.get("k")
        all_of_it = read_sse(await whole(sse(running.follow())))
        assert [each.name for each in all_of_it] == ["TurnStarted", "TextDelta", "TurnCompleted"]
        after = f"{running.id}-{had}"
        rest = read_sse(await whole(sse(running.follow(after))))
        told = [f"word{number} " for number in range(5)]
        assert words(rest) == "".join(told[max(0, had - 1) :])
        assert (rest[-1:] == all_of_it[-1:]) is (had < 7)


async def test_who_returns_while_it_runs_goes_on_live(open_hub: Open) -> None:
    async with open_hub() as (world, client, hub):
        running = await hub.start("k", client.stream(AGENT, "wait"))
        first = sse(running.follow())
        had = read_sse(await anext(first) + await anext(first))
        await first.aclose()
        assert not running.is_over
        rest = asyncio.ensure_future(whole(sse(running.follow(had[-1].id))))
        world.go_on.set()
        sent = read_sse(await rest)
        assert words(had) + words(sent) == "first second"
        assert {each.id for each in had} & {each.id for each in sent} == set()


@pytest.mark.parametrize("after", [None, "", "7", "-", "x-3", "\0", "-3", "٣", "9" * 30])
async def test_an_id_of_another_turn_reads_from_the_start(open_hub: Open, after: str | None) -> None:
    async with open_hub() as (_, client, hub):
        running = await hub.start("k", client.stream(AGENT, "words 2"))
        sent = read_sse(await whole(sse(running.follow(after))))
        assert (sent[0].name, words(sent)) == ("TurnStarted", "word0 word1 ")
        for strange in (f"{running.id}-", f"{running.id}--1", f"{running.id}-x", f"{running.id}-٣"):
            assert words(read_sse(await whole(sse(running.follow(strange))))) == "word0 word1 "
        beyond = running.follow(f"{running.id}-999")
        assert [event async for event in beyond] == []


@pytest.mark.parametrize("wrong", [None, 3, b"k"])
async def test_a_name_that_is_none_finds_no_turn(open_hub: Open, wrong: Any) -> None:
    async with open_hub() as (_, _, hub):
        for ask in (hub.get, hub.forget):
            with pytest.raises(ConfigurationError, match=f"a turn's name must be a string, not {type(wrong).__name__}"):
                await ask(wrong)


@pytest.mark.parametrize("wrong", [0, 3, b"3"])
async def test_an_id_that_is_none_is_refused_at_the_call(open_hub: Open, wrong: Any) -> None:
    async with open_hub() as (_, client, hub):
        running = await hub.start("k", client.stream(AGENT, "words 3"))
        with pytest.raises(ConfigurationError, match=f"Last-Event-ID have it, or None, not {wrong!r}"):
            running.follow(wrong)
        await running.result()


async def test_a_turn_of_the_same_name_follows_one_that_is_over(open_hub: Open) -> None:
    async with open_hub() as (_, client, hub):
        one = await hub.start("k", client.stream(AGENT, "one"))
        reader = one.follow()
        await one.result()
        two = await hub.start("k", client.stream(AGENT, "two"))
        assert (await hub.get("k")).id == two.id
        assert two.id != one.id
        assert words(read_sse(await whole(sse(two.follow(f"{one.id}-2"))))) == "two"
        assert [event.text async for event in reader if isinstance(event, TextDelta)] == ["one"]


async def test_a_running_turn_is_not_replaced(open_hub: Open) -> None:
    async with open_hub() as (world, client, hub):
        running = await hub.start("k", client.stream(AGENT, "wait"))
        for either in (hub.near, hub.far):
            with pytest.raises(SessionBusyError) as caught:
                await settled(either.start("k", client.stream(AGENT, "x")))
            assert caught.value.safe_to_retry
            with pytest.raises(SessionBusyError):
                await settled(either.forget("k"))
        await said(running.follow(), "first ")
        assert world.accepted == ["wait"]


async def test_one_turn_of_a_name_that_is_started_twice_at_once(open_hub: Open) -> None:
    async with open_hub() as (world, client, hub):
        begun = [
            asyncio.ensure_future(async_start(each, client.stream(AGENT, "wait"))) for each in (hub.near, hub.far) * 2
        ]
        await asyncio.wait(begun)
        errors = [each.exception() for each in begun]
        assert sum(error is None for error in errors) == 1
        assert sum(isinstance(error, SessionBusyError) for error in errors) == 3
        world.go_on.set()
        await (await hub.get("k")).result()
        assert world.accepted == ["wait"]


async def async_start(hub: Any, turn: Any) -> Any:
    return await settled(hub.start("k", turn))


async def test_stopping(open_hub: Open) -> None:
    async with open_hub() as (world, client, hub):
        running = await hub.start("k", client.stream(AGENT, "wait"))
        await said(running.follow(), "first ")
        reader = asyncio.ensure_future(whole(sse(running.follow())))
        await running.stop()
        await running.stop()
        sent = read_sse(await reader)
        assert words(sent) == "first "
        assert sent[-1].data["error"] == "ClosedError"
        with pytest.raises(ClosedError):
            await running.result()
        await no_connections(world)
        assert (await hub.start("k", client.stream(AGENT, "x"))).name == "k"


async def test_each_reader_gets_the_error(open_hub: Open) -> None:
    async with open_hub() as (_, client, hub):
        running = await hub.start("k", client.stream(AGENT, "fail"))
        readers = [running.follow() for _ in range(2)]
        errors = []
        for reader in readers:
            with pytest.raises(WorkerError) as caught:
                while True:
                    await anext(reader)
            errors.append(caught.value)
            with pytest.raises(StopAsyncIteration):
                await anext(reader)
        assert errors[0] is not errors[1]
        assert errors[0].partial is not None
        assert errors[0].partial.text == "half "
        assert isinstance(running.error, WorkerError)
        with pytest.raises(WorkerError):
            await running.result()
        assert isinstance((await hub.get("k")).error, WorkerError)


async def test_a_turn_that_fails_without_readers_is_logged_once(
    open_hub: Open, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_hub() as (_, client, hub):
        running = await hub.start("k", client.stream(AGENT, "fail"))
        with pytest.raises(WorkerError):
            await running.result()
        stopped = await hub.start("stopped", client.stream(AGENT, "wait"))
        await stopped.stop()
        told = [each for each in caplog.records if "a turn in a hub failed" in each.getMessage()]
        assert [(each.levelname, "WorkerError" in each.getMessage()) for each in told] == [("WARNING", True)]


async def test_an_error_of_others_reaches_the_readers(
    open_hub: Open, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_hub() as (_, client, hub):
        turn = client.stream(AGENT, "x")

        async def broken(driver: Driver, todo: Command) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(Driver, "_do", broken)
        running = await hub.start("k", turn)
        with pytest.raises(RuntimeError if kind == "elsewhere" else ZeroDivisionError):
            await anext(running.follow())
        assert "ZeroDivisionError" in caplog.text


async def test_a_turn_that_is_over_is_kept_for_a_while(open_hub: Open) -> None:
    async with open_hub(keep=1) as (_, client, hub):
        running = await hub.start("k", client.stream(AGENT, "x"))
        await running.result()
        assert (await hub.get("k")).id == running.id

        async def is_gone() -> bool:
            return await hub.get("k") is None

        await until(is_gone)


async def test_a_name_that_nobody_knows(open_hub: Open) -> None:
    async with open_hub() as (_, _client, hub):
        for name in ("", "k", "\ud800", "a" * 5000, "\0:*"):
            assert await hub.get(name) is None
            await hub.forget(name)


async def test_what_was_dropped_is_told(open_hub: Open) -> None:
    async with open_hub(max_bytes=2000) as (_, client, hub):
        running = await hub.start("k", client.stream(AGENT, "words 1000"))
        await running.result()
        running = await hub.get("k")
        with pytest.raises(EventsDroppedError):
            await anext(running.follow())
        sent = read_sse(await whole(sse(running.follow(f"{running.id}-990"))))
        assert words(sent).startswith("word989 ")
        assert sent[-1].name == "TurnCompleted"
        (told,) = read_sse(await whole(sse(running.follow())))
        assert told.data["error"] == "EventsDroppedError"


async def test_an_event_beyond_the_bound_is_given_to_those_who_follow(open_hub: Open) -> None:
    """And not kept for those who come back later, who are told so."""
    large = {"type": "x", "data": "y" * 500_000}
    line = response(headers={RUN: "r1"}, body=ndjson_lines(text("a"), large, text("b")))
    async with (
        open_hub(max_bytes=100_000) as (_, _client, hub),
        RawServer([line]) as server,
        client_of(server) as client,
    ):
        running = await hub.start("k", client.stream("a", "x"))
        readers = [asyncio.ensure_future(whole(sse(running.follow()))) for _ in range(2)]
        await running.result()
        for stream in await asyncio.gather(*readers):
            sent = read_sse(stream)
            assert [each.name for each in sent][2:] == ["UnknownEvent", "TextDelta", "TurnCompleted"]
            assert [each.id for each in sent] == [f"{running.id}-{number}" for number in range(1, 6)]
            assert len(sent[2].data["data"]["data"]) == 500_000
        running = await hub.get("k")
        with pytest.raises(EventsDroppedError):
            await anext(running.follow())
        sent = read_sse(await whole(sse(running.follow(f"{running.id}-3"))))
        assert [each.name for each in sent] == ["TextDelta", "TurnCompleted"]


async def test_events_beyond_the_bound_that_come_at_once_are_given_to_those_who_follow(open_hub: Open) -> None:
    large = {"type": "x", "data": "y" * 500_000}
    call = {"type": "tool_use", "id": "1", "name": "look", "input": {"at": "y" * 500_000}}
    calls = {"role": "assistant", "content": [call, {**call, "id": "2", "input": {}}]}
    body = ndjson_lines(text("a"), large, large, text("b"), calls)
    async with (
        open_hub(max_bytes=100_000) as (_, _client, hub),
        RawServer([response(headers={RUN: "r1"}, body=body)]) as server,
        client_of(server) as client,
    ):
        running = await hub.start("k", client.stream("a", "x", settle=False, background="detach"))
        readers = [asyncio.ensure_future(whole(sse(running.follow()))) for _ in range(2)]
        await running.result()
        names = ["TurnStarted", "TextDelta", *["UnknownEvent"] * 2, "TextDelta", *["ToolCall"] * 2, "TurnCompleted"]
        for stream in await asyncio.gather(*readers):
            assert [each.name for each in read_sse(stream)] == names


async def test_forgetting_a_turn_that_is_over(open_hub: Open) -> None:
    async with open_hub() as (_, client, hub):
        running = await hub.start("k", client.stream(AGENT, "wait"))
        with pytest.raises(SessionBusyError):
            await hub.forget("k")
        await running.stop()
        await hub.forget("k")
        await hub.forget("k")
        assert await hub.get("k") is None


async def test_closing_stops_what_runs(open_hub: Open) -> None:
    async with open_hub() as (world, client, hub):
        running = [await hub.start(name, client.stream(AGENT, "wait")) for name in "ab"]
        for each in running:
            await said(each.follow(), "first ")
        readers = [asyncio.ensure_future(whole(sse(each.follow()))) for each in running]
        assert sorted(hub.near) == ["a", "b"]
        await asyncio.gather(hub.near.aclose(), hub.near.aclose())
        await hub.near.aclose()
        error = "ClosedError" if hub.near is hub.far else "StreamInterruptedError"
        assert [read_sse(stream)[-1].data["error"] for stream in await asyncio.gather(*readers)] == [error] * 2
        assert len(hub.near) == 0
        with pytest.raises(ClosedError):
            await settled(hub.near.start("d", client.stream(AGENT, "x")))
        await no_connections(world)


async def test_closing_the_client_ends_its_turns(open_hub: Open) -> None:
    async with open_hub() as (_, client, hub):
        running = await hub.start("k", client.stream(AGENT, "wait"))
        await said(running.follow(), "first ")
        await client.aclose()
        with pytest.raises(ClosedError):
            await running.result()


async def test_who_waits_for_the_result_may_leave(open_hub: Open) -> None:
    async with open_hub() as (world, client, hub):
        running = await hub.start("k", client.stream(AGENT, "wait"))
        waiting = asyncio.ensure_future(running.result())
        reading = asyncio.ensure_future(whole(ndjson(running.follow(), heartbeat=None)))
        await said(running.follow(), "first ")
        for task in (waiting, reading):
            task.cancel()
            await asyncio.wait({task})
        assert not running.is_over
        world.go_on.set()
        assert (await running.result()).text == "first second"


async def test_a_job_goes_on_in_a_hub_and_a_waiter_runs_there_too(open_hub: Open) -> None:
    async with open_hub() as (world, client, hub):
        result = await client.run(AGENT, "job", background="detach")
        assert result.token is not None
        running = await hub.start("k", client.wait_for_job(result.token))
        assert "running" in repr(running)
        world.go_on.set()
        names = [each.name for each in read_sse(await whole(sse(running.follow())))]
        assert {"JobFinished", "TurnResumed", "TurnCompleted"} <= set(names)
        await until(lambda: "over" in repr(running))
        assert world.accepted == ["job", ""]


async def test_a_keyed_turn_in_a_hub(open_hub: Open) -> None:
    async with open_hub() as (world, client, hub), SessionManager(client, AGENT) as manager:
        for message in ("one", "two"):
            running = await hub.start("k", manager.stream("k", message))
            assert words(read_sse(await whole(sse(running.follow())))) == message
        assert [request.method for request in world.server.accepted] == ["POST", "PUT"]


async def test_ag_ui_of_a_hub(open_hub: Open) -> None:
    async with open_hub() as (_, client, hub):
        running = await hub.start("k", client.stream(AGENT, "words 3"))
        stream = (await whole(ag_ui(running.follow(), thread_id="t", run_id="r"))).decode()
        assert stream.index("RUN_STARTED") < stream.index("word0 ") < stream.index("RUN_FINISHED")


async def test_events_are_the_same_everywhere(open_hub: Open) -> None:
    async with open_hub() as (_, client, hub):
        running = await hub.start("k", client.stream(AGENT, "tools here"))
        events = [event async for event in running.follow()]
        assert isinstance(events[-1], TurnCompleted)
        assert events[-1].result == await running.result()
        assert next(each.raw for each in events if type(each).__name__ == "ToolCall")["arguments"]
        async with TurnHub() as plain:
            wanted = [event async for event in plain.start("k", client.stream(AGENT, "tools here")).follow()]
        assert [type(each) for each in events] == [type(each) for each in wanted]


async def test_a_turn_that_cannot_begin(open_hub: Open) -> None:
    async with open_hub() as (_, client, hub):
        running = await hub.start("k", client.stream("nobody", "x"))
        with pytest.raises(NotFoundError):
            await running.result()


async def test_of_a_turn_that_was_read_the_end_is_told(open_hub: Open) -> None:
    async with open_hub() as (world, client, hub):
        for message, last in (("words 3", "TurnCompleted"), ("fail", "TurnFailed")):
            turn = client.stream(AGENT, message)
            await whole(ndjson(turn))
            running = await hub.start("k", turn)
            assert [each.name for each in read_sse(await whole(sse(running.follow())))] == [last]
        assert world.accepted == ["words 3", "fail"]


async def test_a_hub_runs_turns_alone_and_so_many(open_hub: Open) -> None:
    async with open_hub(max_turns=2) as (_, client, hub):
        with pytest.raises(ConfigurationError, match="str"):
            await settled(hub.near.start("k", "words"))
        for name in (None, 5, b"k"):  # as of a cookie that is not there: all who have none would share a turn
            with pytest.raises(ConfigurationError, match=f"a turn's name must be a string, not {type(name).__name__}"):
                await settled(hub.near.start(name, client.stream(AGENT, "never")))
        with pytest.raises(ConfigurationError, match="a turn's note must be a string, not int"):
            await settled(hub.near.start("k", client.stream(AGENT, "never"), note=5))
        for name in "ab":
            await hub.start(name, client.stream(AGENT, "wait"))
        with pytest.raises(SessionBusyError, match="the hub has 2 turns running, which is its max_turns") as caught:
            await settled(hub.near.start("c", client.stream(AGENT, "never")))
        assert caught.value.is_hub_full
        assert "Too many people" in failure(caught.value)["message"]  # and not: wait for your own
        with pytest.raises(SessionBusyError, match="a turn of this name is running") as caught:
            await settled(hub.near.start("a", client.stream(AGENT, "never")))  # a second click, not one too many
        assert not caught.value.is_hub_full
