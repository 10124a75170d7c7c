"""The store on a Redis server: one that restarts or does not answer, and what a URL may be."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.redis_server import RedisServer, find_redis
from toolhouse_async import ClosedError, ConfigurationError, StoreError
from toolhouse_async.stores import RedisSessionStore
from toolhouse_async.stores import _redis as module

REAL_TIME = True


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


@pytest.fixture
async def store(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisSessionStore]:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    async with RedisSessionStore(server.url) as store:
        yield store


async def test_its_names_begin_with_the_prefix(server: RedisServer, store: RedisSessionStore) -> None:
    async with RedisSessionStore(server.url, prefix="*other\\") as other:
        for each in (store, other):
            assert await each.swap("k", None, b"x")
        assert [key async for key, _ in other.entries("")] == ["k"]
        assert sorted(await store._client.keys("*")) == [b"*other\\:k", b"toolhouse:k"]


PREFIXES = [
    "app",
    "app2",
    "app:",
    "app:2",
    "app%3A",
    "app%",
    "app%25",
    "",
    ":",
    "ap",
    "a[bp]p",
    "app*",
    "APP",
    "ä",
    "\ud800",
]


async def test_stores_of_different_prefixes_do_not_see_each_other(server: RedisServer) -> None:
    """Whatever begins with what: neither by listing, nor by a key that makes up for the difference."""
    keys = ["", "2", ":", "2:k", "k", ":2:k", "%3A:k", "%", "p:k"]
    stores = {prefix: RedisSessionStore(server.url, prefix=prefix) for prefix in PREFIXES}
    for prefix, store in stores.items():
        for key in keys:
            assert (await store.read(key)).value is None, (prefix, key)
            assert await store.swap(key, None, f"{prefix!a} {key}".encode())
    for prefix, store in stores.items():
        found = {key: value async for key, value in store.entries("")}
        assert found == {key: f"{prefix!a} {key}".encode() for key in keys}
        await store.aclose()


async def test_a_server_that_was_restarted_is_used_again(server: RedisServer, store: RedisSessionStore) -> None:
    assert await store.swap("k", None, b"x")
    server.stop()
    for call in (lambda: store.read("k"), lambda: store.swap("k", b"x", b"y")):
        with pytest.raises(StoreError, match="Redis"):
            await call()
    with pytest.raises(StoreError, match="Redis"):
        await anext(store.entries(""))
    server.start()
    assert (await store.read("k")).value is None  # this one keeps nothing
    assert await store.swap("k", None, b"x")


async def test_a_server_that_does_not_answer(server: RedisServer, store: RedisSessionStore) -> None:
    await store.read("k")
    server.pause()
    try:
        with pytest.raises(StoreError, match="Timeout"):
            await store.read("k")
    finally:
        server.go_on()
    assert await store.swap("k", None, b"x")


async def test_more_callers_than_connections(store: RedisSessionStore) -> None:
    done = await asyncio.gather(*(store.swap(f"k{number}", None, b"x") for number in range(20 * module.CONNECTIONS)))
    assert all(done)
    clients = await store._client.client_list()
    assert len(clients) <= module.CONNECTIONS


async def test_an_entry_that_is_taken_away_while_they_are_listed(
    store: RedisSessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in "ab":
        await store.swap(key, None, b"x")
    scan = store._client.scan

    async def then_one_goes(*args: object, **options: object) -> object:
        found = await scan(*args, **options)
        await store.swap("a", b"x", None)
        return found

    monkeypatch.setattr(store._client, "scan", then_one_goes)
    assert [key async for key, _ in store.entries("")] == ["b"]


async def test_a_closed_one_is_not_used(server: RedisServer) -> None:
    store = RedisSessionStore(server.url)
    await store.read("k")
    await store.aclose()
    with pytest.raises(ClosedError):
        await store.read("k")
    with pytest.raises(ClosedError):
        await anext(store.entries(""))


@pytest.mark.parametrize(
    "bad", ["", "localhost", "http://user:hunter2@host/", "redis://host:port", 7, "redis://h?decode_responses=true"]
)
def test_what_is_no_url(bad: str) -> None:
    with pytest.raises(ConfigurationError, match="URL") as caught:
        RedisSessionStore(bad)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["rediss://:hunter2@redis.example:6380/1", "redis://127.0.0.1:1"])
async def test_a_url_is_not_used_before_it_is_needed(url: str) -> None:
    store = RedisSessionStore(url)
    assert "hunter2" not in repr(store)
    await store.aclose()


async def test_nobody_listens() -> None:
    async with RedisSessionStore("redis://127.0.0.1:1") as store:
        with pytest.raises(StoreError, match="Connect"):
            await store.read("k")


def test_without_its_library() -> None:
    code = "import sys; sys.modules['redis'] = None; from toolhouse_async.stores import RedisSessionStore"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigurationError: RedisSessionStore needs redis" in done.stderr
    assert "pip install 'toolhouse-async[redis]'" in done.stderr
