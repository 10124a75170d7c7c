"""The server of a batch's store is restarted in the middle: each row is asked once, and none is lost."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.batch.support import AGENT, World, client_of, texts
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer, find_redis
from tests.support.stores import new_schema
from toolhouse_async.stores import PostgresSessionStore, RedisSessionStore

REAL_TIME = True
ROWS = [f"row {number}" for number in range(30)]


@pytest.fixture
def redis_that_saves() -> Iterator[RedisServer]:
    folder = Path(tempfile.mkdtemp(prefix="redis"))
    server = RedisServer(find_redis(), folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


async def asked(store: Any, stop: Callable[[], object], start: Callable[[], None]) -> None:
    world = World()
    async with (
        world.emulator.serve() as server,
        client_of(server) as client,
        store,
        client.batch(AGENT, ROWS, store=store, name="b", concurrency=4, lease=10) as batch,
    ):
        items = []
        async for item in batch:
            items.append(item)
            if len(items) in (5, 20):
                await asyncio.to_thread(stop)
                await asyncio.sleep(1)
                await asyncio.to_thread(start)
        again = [item async for item in client.batch(AGENT, ROWS, store=store, name="b")]
    assert world.told == dict.fromkeys(ROWS, 1)
    assert sorted(texts(items)) == sorted(f"you said {row}" for row in ROWS)
    assert sorted(again, key=lambda item: item.key) == sorted(items, key=lambda item: item.key)


async def test_redis(redis_that_saves: RedisServer) -> None:
    server = redis_that_saves

    def stop() -> None:
        with redis.Redis.from_url(server.url) as client, suppress(redis.ConnectionError):
            client.shutdown(save=True)
        server.process.wait()

    await asked(RedisSessionStore(server.url), stop, server.start)


async def test_postgres(postgres_server: PostgresServer) -> None:
    store = PostgresSessionStore(new_schema(postgres_server))
    await asked(store, postgres_server.stop, postgres_server.start)
