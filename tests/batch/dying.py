"""A process that dies at one of its steps; the next one asks nothing twice and loses nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from toolhouse_async import OutcomeUnknownError
from toolhouse_async.stores import MemorySessionStore

from .support import AGENT, Mortal, World, all_of, client_of, texts

ROWS = ["one", "job two", "tool three", "four", "error five"]
WANTED = ["you said one", "you said job two[computed]", "you said tool three", "you said four", "failed: WorkerError"]
PASSES = (0, 1, 5, 20)
"""Passes of the event loop after a message in which the process goes on before it dies."""


async def live(store: Mortal, server: Any, given: list[Any]) -> None:
    """Run a batch until it is over or the process has died."""

    async def run() -> None:
        async with (
            client_of(server) as client,
            client.batch(AGENT, ROWS, store=store, name="b", concurrency=2) as batch,
        ):
            async for item in batch:
                given.append(item)

    running, dying = asyncio.ensure_future(run()), asyncio.ensure_future(store.died.wait())
    await asyncio.wait({running, dying}, return_when=asyncio.FIRST_COMPLETED)
    dying.cancel()
    running.cancel()
    await asyncio.wait({running, dying})
    if not running.cancelled():
        running.result()


async def check(world: World, server: Any, store: MemorySessionStore, given: list[Any]) -> None:
    """Go on in another process, and see to it that all is well."""
    async with client_of(server) as client:
        items = await all_of(client.batch(AGENT, ROWS, store=store, name="b", concurrency=2))
        again = await all_of(client.batch(AGENT, ROWS, store=store, name="b", concurrency=2))
    assert [item.row for item in items] == ROWS
    assert world.twice == []
    assert world.resumes <= 1
    for item, text, wanted in zip(items, texts(items), WANTED, strict=True):
        if item.status == "unknown":
            assert isinstance(item.error, OutcomeUnknownError)
        else:
            assert world.told[item.row] == 1
            # the history does not say that the worker has failed: what it had said before is its answer there
            assert text == wanted or (item.row == "error five" and text in ("you ", "failed: StreamInterruptedError"))
    assert [(item.status, item.result, repr(item.error)) for item in again] == [
        (item.status, item.result, repr(item.error)) for item in items
    ]
    of_key = {item.key: item for item in items}
    for item in given:  # what was given out before is given out again
        assert of_key[item.key].result == item.result
        assert of_key[item.key].status == item.status


async def count_steps() -> int:
    world, store = World(), MemorySessionStore()
    async with world.emulator.serve() as server:
        mortal = Mortal(store, dies_at=0, does_it=False)
        given: list[Any] = []
        await live(mortal, server, given)
        assert len(given) == len(ROWS)
        await check(world, server, store, given)
        return mortal.steps


async def at_step(step: int, does_it: bool) -> int:
    """Die at a step of the store, and go on; how many rows are of unknown outcome then."""
    world, store = World(), MemorySessionStore()
    async with world.emulator.serve() as server:
        given: list[Any] = []
        await live(Mortal(store, dies_at=step, does_it=does_it), server, given)
        await check(world, server, store, given)
        return sum(b'"unknown"' in entry for entry in store._entries.values())


async def at_message(number: int, passes: int) -> None:
    """Die so many passes of the event loop after the service has accepted the message of that number, and go on."""
    world, store = World(), MemorySessionStore()
    async with world.emulator.serve() as server:
        mortal = Mortal(store, dies_at=0, does_it=False)
        dying: list[asyncio.Task[None]] = []

        async def die() -> None:
            for _ in range(passes):
                await asyncio.sleep(0)
            mortal.die()

        def told() -> None:
            if world.told.total() == number:
                dying.append(asyncio.ensure_future(die()))

        world.on_told = told
        given: list[Any] = []
        await live(mortal, server, given)
        await check(world, server, store, given)
        await asyncio.gather(*dying)
