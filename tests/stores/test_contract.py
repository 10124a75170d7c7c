"""What every store does: one suite for all."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.support.stores import Place
from toolhouse_async.stores import SessionStore

REAL_TIME = True

KEYS = [
    "",
    "telegram:42",
    "\0",
    "a\0b",
    "a\0",
    "\N{SLIGHTLY SMILING FACE}\N{ZERO WIDTH JOINER}",
    "\ud83d",
    "e\N{COMBINING ACUTE ACCENT}",
    "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "*",
    "[a-z]?\\",
    "a/b",
    "%_",
    "\n\r\t",
    "k" * 10_240,
    "K",
    "k",
]


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Any]:
    async with place.open() as store:
        yield store


async def value(store: SessionStore, key: str) -> bytes | None:
    return (await store.read(key)).value


async def test_an_entry_is_made_changed_and_taken_away(store: Any) -> None:
    assert await value(store, "k") is None
    assert await store.swap("k", None, b"1")
    assert await value(store, "k") == b"1"
    assert await store.swap("k", b"1", b"2")
    assert await value(store, "k") == b"2"
    assert await store.swap("k", b"2", None)
    assert await value(store, "k") is None


async def test_only_what_stands_there_is_changed(store: Any) -> None:
    for standing, old, new in itertools.product((None, b"1", b""), (None, b"1", b"2", b""), (None, b"1", b"2", b"")):
        key = case = repr((standing, old, new))
        if standing is not None:
            assert await store.swap(key, None, standing), case
        done = await store.swap(key, old, new)
        assert done is (old == standing), case
        assert await value(store, key) == (new if done else standing), case


async def test_keys_are_any_strings_and_all_different(store: Any) -> None:
    for number, key in enumerate(KEYS):
        assert await store.swap(key, None, b"%d" % number), repr(key)
    for number, key in enumerate(KEYS):
        assert await value(store, key) == b"%d" % number, repr(key)
    assert sorted([entry async for entry in store.entries("")]) == sorted(
        (key, b"%d" % number) for number, key in enumerate(KEYS)
    )


@pytest.mark.parametrize("data", [bytes(range(256)), b"\0" * 100_000, b"\xff"])
async def test_entries_are_any_bytes(store: Any, data: bytes) -> None:
    assert await store.swap("k", None, data)
    assert await value(store, "k") == data
    assert await store.swap("k", data, b"x")


@pytest.mark.parametrize("prefix", ["a", "a/", "*", "[", "\ud83d", "a\0", "\\"])
async def test_entries_are_found_by_how_they_begin(store: Any, prefix: str) -> None:
    keys = [f"{start}{end}" for start in ("a", "a/", "A/", "*", "[", "\ud83d", "a\0", "\\", "b") for end in "xy*"]
    for key in keys:
        assert await store.swap(key, None, key.encode("utf-8", "surrogatepass"))
    found = [entry async for entry in store.entries(prefix)]
    assert sorted(key for key, _ in found) == sorted(key for key in keys if key.startswith(prefix))
    assert all(data == key.encode("utf-8", "surrogatepass") for key, data in found)


async def test_more_entries_than_a_page(store: Any) -> None:
    keys = [f"p/{number}" for number in range(1203)]
    for start in range(0, len(keys), 100):
        await asyncio.gather(*(store.swap(key, None, b"x") for key in keys[start : start + 100]))
    assert sorted([key async for key, _ in store.entries("p/")]) == sorted(keys)
    begun = [key async for key, _ in _first(store.entries("p/"), 3)]
    assert len(begun) == 3


async def _first(entries: Any, count: int) -> Any:
    async for entry in entries:
        yield entry
        count -= 1
        if not count:
            break
    await entries.aclose()


async def test_of_many_who_change_an_entry_at_once_one_does(place: Place) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(place.open()) for _ in range(4)]
        old: bytes | None = None
        for round_ in range(20):
            news = [b"%d-%d" % (round_, number) for number in range(12)]
            done = await asyncio.gather(*(stores[number % 4].swap("k", old, new) for number, new in enumerate(news)))
            assert sum(done) == 1
            old = await value(stores[0], "k")
            assert old == news[done.index(True)]


async def test_what_one_writes_the_other_reads(place: Place) -> None:
    async with place.open() as one, place.open() as two:
        assert await one.swap("k", None, b"1")
        assert await value(two, "k") == b"1"
        assert await two.swap("k", b"1", b"2")
        assert await value(one, "k") == b"2"


async def test_its_clock_goes_on(store: Any) -> None:
    before = time.monotonic()
    first = (await store.read("k")).time
    await asyncio.sleep(0.05)
    second = (await store.read("k")).time
    assert 0.045 <= second - first <= time.monotonic() - before + 0.005


async def test_all_who_use_it_have_one_clock(place: Place) -> None:
    async with place.open() as one, place.open() as two:
        times = [(await store.read("k")).time for store in (one, two, one, two)]
        assert times == sorted(times)


async def test_what_is_cancelled_is_done_or_not(store: Any) -> None:
    """And the store goes on as before."""
    for spins in range(12):
        key = f"c/{spins}"
        task = asyncio.ensure_future(store.swap(key, None, b"x"))
        for _ in range(spins):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.005)
        assert await value(store, key) in (None, b"x")
        assert await store.swap(key, await value(store, key), b"y")
        assert await value(store, key) == b"y"


async def test_closing_twice(place: Place) -> None:
    async with place.open() as store:
        await store.swap("k", None, b"x")
        await asyncio.gather(store.aclose(), store.aclose())
        await store.aclose()
    async with place.open() as again:
        assert await value(again, "k") == b"x"
