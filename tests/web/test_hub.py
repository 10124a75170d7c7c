from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from toolhouse_async.web import TurnHub, ag_ui, ndjson, sse

from .support import AGENT, World, no_connections, read_sse, whole, words, world_and_client


@asynccontextmanager
async def hub_and_more(**options: Any) -> AsyncIterator[tuple[World, AsyncToolhouse, TurnHub]]:
    async with world_and_client() as (world, client), TurnHub(**options) as hub:
        yield world, client, hub


async def soon() -> None:
    """Let everybody come to rest; on the virtual clock."""
    await asyncio.sleep(5)


async def test_a_turn_goes_on_without_readers() -> None:
    async with hub_and_more() as (world, client, hub):
        running = hub.start("k", client.stream(AGENT, "wait"))
        reader = running.follow()
        await anext(reader)
        await anext(reader)
        del reader
        gc.collect()
        world.go_on.set()
        result = await running.result()
        assert result.text == "first second"
        assert running.is_over
        assert world.accepted == ["wait"]


async def test_several_readers_get_the_same() -> None:
    async with hub_and_more() as (world, client, hub):
        running = hub.start("k", client.stream(AGENT, "wait"))
        readers = [asyncio.ensure_future(whole(sse(running.follow()))) for _ in range(3)]
        await soon()
        late = asyncio.ensure_future(whole(sse(running.follow())))
        await soon()
        world.go_on.set()
        streams = [read_sse(stream) for stream in await asyncio.gather(*readers, late)]
        assert [words(sent) for sent in streams] == ["first second"] * 4
        assert [sent[-1].name for sent in streams] == ["TurnCompleted"] * 4
        assert len({sent[-1].id for sent in streams}) == 1
        after = read_sse(await whole(sse(running.follow())))  # when it is over
        assert (words(after), after[-1].name) == ("first second", "TurnCompleted")


@pytest.mark.parametrize("had", range(8))
async def test_who_returns_misses_and_repeats_nothing(had: int) -> None:
    async with hub_and_more() as (_, client, hub):
        running = hub.start("k", client.stream(AGENT, "words 5"))
        await running.result()
        all_of_it = read_sse(await whole(sse(running.follow())))
        assert [each.name for each in all_of_it] == ["TurnStarted", "TextDelta", "TurnCompleted"]
        after = f"{running.id}-{had}"
        rest = read_sse(await whole(sse(running.follow(after))))
        said = [f"word{number} " for number in range(5)]
        assert words(rest) == "".join(said[max(0, had - 1) :])
        assert (rest[-1:] == all_of_it[-1:]) is (had < 7)


async def test_who_returns_while_it_runs_goes_on_live() -> None:
    async with hub_and_more() as (world, client, hub):
        running = hub.start("k", client.stream(AGENT, "wait"))
        first = sse(running.follow())
        had = read_sse(await anext(first) + await anext(first))
        await first.aclose()
        assert not running.is_over
        rest = asyncio.ensure_future(whole(sse(running.follow(had[-1].id))))
        await soon()
        world.go_on.set()
        sent = read_sse(await rest)
        assert words(had) + words(sent) == "first second"
        assert {each.id for each in had} & {each.id for each in sent} == set()


@pytest.mark.parametrize("after", [None, "", "7", "-", "x-3", "\0", "-3", "٣", "9" * 30])
async def test_an_id_of_another_turn_reads_from_the_start(after: str | None) -> None:
    async with hub_and_more() as (_, client, hub):
        running = hub.start("k", client.stream(AGENT, "words 2"))
        sent = read_sse(await whole(sse(running.follow(after))))
        assert (sent[0].name, words(sent)) == ("TurnStarted", "word0 word1 ")
        for strange in (f"{running.id}-", f"{running.id}--1", f"{running.id}-x", f"{running.id}-٣"):
            assert words(read_sse(await whole(sse(running.follow(strange))))) == "word0 word1 "
        beyond = running.follow(f"{running.id}-999")
        assert [event async for event in beyond] == []


async def test_a_turn_of_the_same_name_follows_one_that_is_over() -> None:
    async with hub_and_more() as (_, client, hub):
        one = hub.start("k", client.stream(AGENT, "one"))
        reader = one.follow()
        await one.result()
        two = hub.start("k", client.stream(AGENT, "two"))
        assert hub.get("k") is two
        assert two.id != one.id
        assert words(read_sse(await whole(sse(two.follow(f"{one.id}-2"))))) == "two"
        assert [event.text async for event in reader if isinstance(event, TextDelta)] == ["one"]


async def test_a_running_turn_is_not_replaced() -> None:
    async with hub_and_more() as (world, client, hub):
        hub.start("k", client.stream(AGENT, "wait"))
        with pytest.raises(SessionBusyError) as caught:
            hub.start("k", client.stream(AGENT, "x"))
        assert caught.value.safe_to_retry
        await soon()
        assert world.accepted == ["wait"]


async def test_stopping() -> None:
    async with hub_and_more() as (world, client, hub):
        running = hub.start("k", client.stream(AGENT, "wait"))
        reader = asyncio.ensure_future(whole(sse(running.follow())))
        await soon()
        await running.stop()
        await running.stop()
        sent = read_sse(await reader)
        assert words(sent) == "first "
        assert sent[-1].data["error"] == "ClosedError"
        with pytest.raises(ClosedError):
            await running.result()
        await no_connections(world)
        assert hub.start("k", client.stream(AGENT, "x")).name == "k"


async def test_stopped_before_it_began_it_sends_nothing() -> None:
    async with hub_and_more() as (world, client, hub):
        async with SessionManager(client, AGENT) as manager:
            for turn in (client.stream(AGENT, "x"), manager.stream("k", "x")):
                running = hub.start("k", turn)
                await running.stop()
                with pytest.raises(ClosedError):
                    await anext(running.follow())
        assert world.accepted == []


async def test_each_reader_gets_the_error() -> None:
    async with hub_and_more() as (_, client, hub):
        running = hub.start("k", client.stream(AGENT, "fail"))
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


async def test_an_error_of_others_reaches_the_readers(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hub_and_more() as (_, client, hub):
        turn = client.stream(AGENT, "x")

        async def broken(driver: Driver, todo: Command) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(Driver, "_do", broken)
        running = hub.start("k", turn)
        with pytest.raises(ZeroDivisionError):
            await anext(running.follow())
        assert "ZeroDivisionError" in caplog.text


async def test_a_turn_that_is_over_is_kept_for_a_while() -> None:
    async with hub_and_more(keep=60) as (_, client, hub):
        running = hub.start("k", client.stream(AGENT, "x"))
        await running.result()
        await asyncio.sleep(59)
        assert hub.get("k") is running
        assert list(hub) == ["k"]
        await asyncio.sleep(2)
        assert hub.get("k") is None
        assert len(hub) == 0


async def test_a_hub_holds_a_bounded_number_of_turns() -> None:
    async with hub_and_more(max_turns=3) as (world, client, hub):
        for name in "abc":
            await hub.start(name, client.stream(AGENT, name)).result()
            await soon()
        hub.start("d", client.stream(AGENT, "wait"))
        assert list(hub) == ["b", "c", "d"]
        for name in "bc":
            hub.start(name, client.stream(AGENT, "wait"))
        with pytest.raises(SessionBusyError, match="3 turns"):
            hub.start("e", client.stream(AGENT, "never"))
        await soon()
        assert "never" not in world.accepted


async def test_what_was_dropped_is_told() -> None:
    async with hub_and_more(max_bytes=2000) as (_, client, hub):
        running = hub.start("k", client.stream(AGENT, "words 1000"))
        await running.result()
        with pytest.raises(EventsDroppedError):
            await anext(running.follow())
        sent = read_sse(await whole(sse(running.follow(f"{running.id}-990"))))
        assert words(sent).startswith("word989 ")
        assert sent[-1].name == "TurnCompleted"
        (told,) = read_sse(await whole(sse(running.follow())))
        assert told.data["error"] == "EventsDroppedError"


async def test_an_event_beyond_the_bound_is_given_to_those_who_follow() -> None:
    """And not kept for those who come back later, who are told so."""
    large = {"type": "x", "data": "y" * 500_000}
    line = response(headers={RUN: "r1"}, body=ndjson_lines(text("a"), large, text("b")))
    async with RawServer([line]) as server, client_of(server) as client, TurnHub(max_bytes=100_000) as hub:
        running = hub.start("k", client.stream("a", "x"))
        readers = [asyncio.ensure_future(whole(sse(running.follow()))) for _ in range(2)]
        await running.result()
        for stream in await asyncio.gather(*readers):
            sent = read_sse(stream)
            assert [each.name for each in sent][2:] == ["UnknownEvent", "TextDelta", "TurnCompleted"]
            assert [each.id for each in sent] == [f"{running.id}-{number}" for number in range(1, 6)]
            assert len(sent[2].data["data"]["data"]) == 500_000
        with pytest.raises(EventsDroppedError):
            await anext(running.follow())
        sent = read_sse(await whole(sse(running.follow(f"{running.id}-3"))))
        assert [each.name for each in sent] == ["TextDelta", "TurnCompleted"]


async def test_forgetting_a_turn_that_is_over() -> None:
    async with hub_and_more() as (_, client, hub):
        running = hub.start("k", client.stream(AGENT, "wait"))
        with pytest.raises(SessionBusyError):
            hub.forget("k")
        await running.stop()
        hub.forget("k")
        hub.forget("k")
        assert hub.get("k") is None


async def test_closing_stops_all_and_forgets_all() -> None:
    async with hub_and_more() as (world, client, hub):
        readers = [
            asyncio.ensure_future(whole(sse(hub.start(name, client.stream(AGENT, "wait")).follow()))) for name in "ab"
        ]
        done = hub.start("c", client.stream(AGENT, "x"))
        await done.result()
        await soon()
        await hub.aclose()
        await hub.aclose()
        assert [read_sse(stream)[-1].data["error"] for stream in await asyncio.gather(*readers)] == ["ClosedError"] * 2
        assert len(hub) == 0
        with pytest.raises(ClosedError):
            hub.start("d", client.stream(AGENT, "x"))
        await no_connections(world)


async def test_closed_twice_at_once_and_while_turns_expire() -> None:
    async with hub_and_more(keep=1) as (_, client, hub):
        done = hub.start("done", client.stream(AGENT, "x"))
        await done.result()
        hub.start("running", client.stream(AGENT, "wait"))
        await asyncio.sleep(0.5)
        await asyncio.gather(hub.aclose(), hub.aclose())
        assert len(hub) == 0


async def test_closing_the_client_ends_its_turns() -> None:
    async with hub_and_more() as (_, client, hub):
        running = hub.start("k", client.stream(AGENT, "wait"))
        await soon()
        await client.aclose()
        with pytest.raises(ClosedError):
            await running.result()


async def test_who_waits_for_the_result_may_leave() -> None:
    async with hub_and_more() as (world, client, hub):
        running = hub.start("k", client.stream(AGENT, "wait"))
        waiting = asyncio.ensure_future(running.result())
        reading = asyncio.ensure_future(whole(ndjson(running.follow())))
        await soon()
        for task in (waiting, reading):
            task.cancel()
            await asyncio.wait({task})
        assert not running.is_over
        world.go_on.set()
        assert (await running.result()).text == "first second"


async def test_a_job_goes_on_in_a_hub_and_a_waiter_runs_there_too() -> None:
    async with hub_and_more() as (world, client, hub):
        result = await client.run(AGENT, "job", background="detach")
        assert result.token is not None
        running = hub.start("k", client.wait_for_job(result.token))
        assert "running" in repr(running)
        await soon()
        world.go_on.set()
        names = [each.name for each in read_sse(await whole(sse(running.follow())))]
        assert {"JobFinished", "TurnResumed", "TurnCompleted"} <= set(names)
        assert "over" in repr(running)
        assert world.accepted == ["job", ""]


async def test_a_keyed_turn_in_a_hub() -> None:
    async with hub_and_more() as (world, client, hub), SessionManager(client, AGENT) as manager:
        for message in ("one", "two"):
            running = hub.start("k", manager.stream("k", message))
            assert words(read_sse(await whole(sse(running.follow())))) == message
        assert [request.method for request in world.server.accepted] == ["POST", "PUT"]


async def test_ag_ui_of_a_hub() -> None:
    async with hub_and_more() as (_, client, hub):
        running = hub.start("k", client.stream(AGENT, "words 3"))
        stream = (await whole(ag_ui(running.follow(), thread_id="t", run_id="r"))).decode()
        assert stream.index("RUN_STARTED") < stream.index("word0 word1 word2 ") < stream.index("RUN_FINISHED")


async def test_leaving_a_reader() -> None:
    async with hub_and_more() as (_, client, hub):
        running = hub.start("k", client.stream(AGENT, "words 3"))
        reader = running.follow()
        await anext(reader)
        await reader.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(reader)
        assert isinstance([event async for event in running.follow()][-1], TurnCompleted)


async def test_a_turn_that_cannot_begin() -> None:
    async with hub_and_more() as (_, client, hub):
        running = hub.start("k", client.stream("nobody", "x"))
        with pytest.raises(NotFoundError):
            await running.result()


@pytest.mark.parametrize("name", ["keep", "max_bytes", "max_turns"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "3", True, None])
def test_settings_are_numbers_above_0(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        TurnHub(**{name: value})


async def test_a_hub_runs_turns_alone() -> None:
    async with TurnHub() as hub:
        with pytest.raises(ConfigurationError, match="str"):
            hub.start("k", "words")  # type: ignore[arg-type]


async def test_replaced_in_the_moment_it_is_over() -> None:
    async with hub_and_more(keep=60) as (_, client, hub):
        one = hub.start("k", client.stream(AGENT, "one"))
        while not one.is_over:
            await asyncio.sleep(0)
        two = hub.start("k", client.stream(AGENT, "wait"))
        await asyncio.sleep(61)
        assert hub.get("k") is two


async def test_a_reader_is_cancelled_in_the_moment_of_an_event() -> None:
    async with hub_and_more() as (world, client, hub):
        running = hub.start("k", client.stream(AGENT, "wait"))
        reading = asyncio.ensure_future(whole(ndjson(running.follow(), heartbeat=None)))
        await soon()
        reading.cancel()
        running._wake()
        await asyncio.wait({reading})
        assert reading.cancelled()
        world.go_on.set()
        assert (await running.result()).text == "first second"


async def test_a_cancelled_hub_task_ends_its_readers() -> None:
    """As the end of an event loop does it."""
    async with hub_and_more() as (_, client, hub):
        running = hub.start("k", client.stream(AGENT, "wait"))
        await soon()
        running.task.cancel()
        await asyncio.wait({running.task})
        reader = running.follow()
        with pytest.raises(ClosedError):
            while True:
                await anext(reader)
