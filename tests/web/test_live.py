"""What follows a turn in one process."""

from __future__ import annotations

import asyncio

import pytest

from toolhouse_async import TextDelta, UnknownEvent
from toolhouse_async.web._live import BehindError, Live


async def test_how_it_ended_is_said_once() -> None:
    live = Live(1000)
    live.end(ZeroDivisionError("first"))
    live.end(None)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="first"):
            await live.next(0)


async def test_an_error_that_is_a_lookup_error_is_none_of_ours() -> None:
    live = Live(1000)
    live.end(KeyError("a decoder's own"))
    with pytest.raises(KeyError):
        await live.next(0)


async def test_what_came_before_is_not_kept() -> None:
    live = Live(1000, 5)
    with pytest.raises(BehindError):
        await live.next(3)
    await live.add(TextDelta("six"))
    assert await live.next(5) == (6, TextDelta("six"))
    live.replay.skip(9)
    live.wake()
    with pytest.raises(BehindError):
        await live.next(6)


async def test_who_is_ahead_waits_for_what_follows() -> None:
    live = Live(1000)
    ahead = asyncio.ensure_future(live.next(2))
    for word in "abc":
        await live.add(TextDelta(word))
        await asyncio.sleep(0)
    assert await ahead == (3, TextDelta("c"))


async def test_one_that_cannot_be_kept_is_for_those_who_had_all_before_it() -> None:
    live = Live(1000)
    large = UnknownEvent("x", "y" * 300_000)
    await live.add(TextDelta("a"))
    readers = [asyncio.ensure_future(live.next(had)) for had in (1, 7)]
    await asyncio.sleep(0)
    await live.add(large)
    await asyncio.sleep(0)
    assert await readers[0] == (2, large)
    live.end(None)
    with pytest.raises(StopAsyncIteration):
        await readers[1]


async def test_waiting_for_whatever_there_is() -> None:
    live = Live(1000)
    waiting = asyncio.ensure_future(live.wait(0, once=True))
    await asyncio.sleep(0)
    live.wake()
    assert await waiting is None
    assert live.replay.count == 0
