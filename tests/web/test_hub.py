"""What a hub in memory does by itself; what every hub does is in ``test_hubs.py``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from toolhouse_async import (
    AsyncToolhouse,
    ClosedError,
    ConfigurationError,
    SessionBusyError,
    SessionManager,
    TurnCompleted,
)
from toolhouse_async.web import TurnHub, ndjson, sse

from .support import AGENT, World, no_connections, read_sse, whole, world_and_client


@asynccontextmanager
async def hub_and_more(**options: Any) -> AsyncIterator[tuple[World, AsyncToolhouse, TurnHub]]:
    async with world_and_client() as (world, client), TurnHub(**options) as hub:
        yield world, client, hub


async def soon() -> None:
    """Let everybody come to rest; on the virtual clock."""
    await asyncio.sleep(5)


async def test_stopped_before_it_began_it_sends_nothing() -> None:
    async with hub_and_more() as (world, client, hub):
        async with SessionManager(client, AGENT) as manager:
            for turn in (client.stream(AGENT, "x"), manager.stream("k", "x")):
                running = hub.start("k", turn)
                await running.stop()
                with pytest.raises(ClosedError):
                    await anext(running.follow())
        assert world.accepted == []


async def test_without_an_event_loop_it_starts_nothing() -> None:
    """As in a plain ``def`` endpoint, which frameworks run in a thread."""
    async with hub_and_more() as (world, client, hub):
        before = hub.start("k", client.stream(AGENT, "x"))
        await before.result()
        turn = client.stream(AGENT, "y")
        with pytest.raises(ConfigurationError, match="async def"):
            await asyncio.to_thread(hub.start, "k", turn)
        assert hub.get("k") is before
        assert (await hub.start("k", turn).result()).text == "y"
        assert world.accepted == ["x", "y"]


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


async def test_leaving_a_reader() -> None:
    async with hub_and_more() as (_, client, hub):
        running = hub.start("k", client.stream(AGENT, "words 3"))
        reader = running.follow()
        await anext(reader)
        await reader.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(reader)
        assert isinstance([event async for event in running.follow()][-1], TurnCompleted)


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
        running.live.wake()
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
