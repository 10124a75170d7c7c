"""Batches on every store, in real time: most are servers. So nothing here takes as long as it says, but for a lease."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.support.stores import Place
from toolhouse_async import Batch, BatchProgress, ToolCall, ToolExchange, TurnResult
from toolhouse_async._wire import records
from toolhouse_async.stores import SessionStore

from .support import AGENT, Mortal, World, all_of, client_of, texts

REAL_TIME = True

ROWS = ["tool one", "job two", *(f"row {number}" for number in range(20))]
KEYS = ["", "\0", "a/b", "*", "%", "\N{SLIGHTLY SMILING FACE}", "k" * 2_000]


def hurried() -> World:
    """A world whose answers and jobs take no time."""
    return World(rest=lambda seconds: asyncio.sleep(0))


async def test_two_processes_share_the_rows(place: Place) -> None:
    both_work = asyncio.Event()
    world = World(rest=lambda seconds: both_work.wait())
    world.on_told = lambda: both_work.set() if world.now > 4 else None
    async with world.emulator.serve() as server, AsyncExitStack() as stack:
        batches = []
        for _ in range(2):
            client = await stack.enter_async_context(client_of(server))
            store: Any = await stack.enter_async_context(place.open())
            batches.append(client.batch(AGENT, ROWS, store=store, name="b", concurrency=4, lease=5))
        both = await asyncio.gather(*map(all_of, batches))
        assert world.told == dict.fromkeys(ROWS, 1)
        assert both[0] == both[1]
        assert {item.status for item in both[0]} == {"done"}
        assert await batches[0].read_progress() == BatchProgress(len(ROWS), len(ROWS), 0, 0, 0)


async def test_what_was_left_goes_on_when_its_lease_has_run_out(place: Place) -> None:
    world = hurried()
    rows = ["slow", "b"]
    async with world.emulator.serve() as server, client_of(server) as client, place.open() as store:
        async with client_of(server) as dying:
            mortal = Mortal(store, dies_at=0, does_it=False)
            dead = dying.batch(AGENT, rows, store=mortal, name="b", lease=0.5)
            stepped = asyncio.Event()
            mortal.on_done = stepped.set
            await anext(dead)
            while not await has_run(dead, store):
                await stepped.wait()
                stepped.clear()
            mortal.die()
            left = {*dead._engine.tasks, *dead._engine.shared.house.tasks}
            dead._engine.cancel()
            while left:  # it stops without a word
                await asyncio.wait(left, timeout=0.1)
                left = set(dead._engine.shared.house.tasks)
                for task in left:
                    task.cancel()
        world.go_on.set()
        items = await all_of(client.batch(AGENT, rows, store=store, name="b"))
        assert texts(items) == ["you said slow", "you said b"]
        assert world.told == dict.fromkeys(rows, 1)


async def has_run(batch: Batch, store: SessionStore) -> bool:
    """Whether the store knows the run of a batch's first row, as it does once the answer has begun."""
    value = (await store.read(f"{batch._journal.prefix}0")).value
    return value is not None and records.loads(value).run_id is not None


@pytest.mark.parametrize("name", ["b", "a/b%", "\N{SLIGHTLY SMILING FACE}"])
async def test_names_and_keys_are_any_strings(place: Place, name: str) -> None:
    world = hurried()
    async with world.emulator.serve() as server, client_of(server) as client, place.open() as store:
        for _ in range(2):
            batch = client.batch(AGENT, map(str, range(len(KEYS))), store=store, name=name)
            items = await all_of(batch)
            assert len(items) == len(KEYS)
            keyed = client.batch(
                AGENT, map(str, range(len(KEYS))), store=store, name=name + "/", key=lambda row, index: KEYS[index]
            )
            assert {item.key for item in await all_of(keyed)} == set(KEYS)
        assert world.told == dict.fromkeys(map(str, range(len(KEYS))), 2)


async def test_failed_rows_are_listed_and_done_again(place: Place) -> None:
    world = hurried()
    async with world.emulator.serve() as server, client_of(server) as client, place.open() as store:
        world.emulator.faults.add(method="POST", status=422, times=3)
        await all_of(client.batch(AGENT, ["a", "b", "c", "d"], store=store, name="b"))
        batch = client.batch(AGENT, ["a", "b", "c", "d"], store=store, name="b")
        assert (await batch.read_progress()).failed == 3
        failed = [item async for item in batch._journal.without_answer()]
        assert {(item.row, item.status, type(item.error).__name__) for item in failed} == {
            (None, "failed", "UnprocessableEntityError")
        }
        assert await batch.retry_failed() == 3
        assert {item.status for item in await all_of(batch)} == {"done"}


async def test_large_results_are_kept_whole(place: Place) -> None:
    world = hurried()
    text = "\N{SNOWMAN}" * 700_000

    @world.emulator.worker("large")
    async def large(ctx: Any) -> Any:
        yield ctx.tool_call("tool", {"text": text, "more": list(range(1000))})
        yield ctx.text(text)

    async with world.emulator.serve() as server, client_of(server) as client, place.open() as store:
        results = []
        for _ in range(2):
            (item,) = await all_of(client.batch("large", ["x"], store=store, name="b", settle=False))
            results.append(item.result)
    assert results[0] == results[1]
    assert isinstance(results[1], TurnResult)
    assert results[1].text == text
    ((call),) = results[1].tool_calls
    assert isinstance(call, ToolExchange)
    assert isinstance(call.call, ToolCall)
