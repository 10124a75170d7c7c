"""A claim that is made at once, by what the last look has found."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from toolhouse_async import StoreError
from toolhouse_async._keyed.lease import Lease
from toolhouse_async.stores import MemorySessionStore


class World:
    """A store, and leases of several processes on one of its keys."""

    def __init__(self) -> None:
        self.store = MemorySessionStore()
        self.hangs = self.is_down = False
        self.background: list[asyncio.Task[None]] = []

    async def read(self, key: str) -> Any:
        return await self.store.read(key)

    async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        if self.is_down:
            raise StoreError("the store is down")
        done = await self.store.swap(key, old, new)
        if self.hangs:
            self.hangs = False
            await asyncio.Event().wait()
        return done

    def spawn(self, step: Coroutine[Any, Any, None]) -> None:
        self.background.append(asyncio.ensure_future(step))

    def lease(self) -> Lease:
        store: Any = self
        return Lease(store, "key", 5.0, patience=1.0, spawn=self.spawn, on_lost=lambda error: None)


async def test_what_somebody_has_is_not_claimed() -> None:
    world = World()
    first, second = world.lease(), world.lease()
    await first.look()
    assert await first.claim(writes=True)
    await second.look()
    assert not second.is_free
    assert not await second.claim(writes=True)
    await first.release()
    await asyncio.gather(*world.background)


async def test_who_was_quicker_has_it() -> None:
    world = World()
    first, second = world.lease(), world.lease()
    for lease in (first, second):
        await lease.look()
        assert lease.is_free
    assert await first.claim(writes=True)
    assert not await second.claim(writes=True)
    await first.release()
    await asyncio.gather(*world.background)


async def test_a_claim_that_is_cancelled_is_given_up() -> None:
    world = World()
    lease = world.lease()
    await lease.look()
    world.hangs = True
    claiming = asyncio.ensure_future(lease.claim(writes=True))
    while world.hangs:
        await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.wait({claiming})
    assert claiming.cancelled()
    await asyncio.gather(*world.background)
    other = world.lease()
    await other.look()
    assert other.is_free


async def test_a_store_that_fails_for_long_is_told_of_once_until_it_works_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    lease = world.lease()
    await lease.look()
    assert await lease.claim(writes=True)
    for outage in (1, 2):
        world.is_down = True
        await asyncio.sleep(60)
        assert caplog.messages == ["the lease of a key could not be renewed: the store is down"] * outage
        world.is_down = False
        await asyncio.sleep(5)
    await lease.release()
    await asyncio.gather(*world.background)
