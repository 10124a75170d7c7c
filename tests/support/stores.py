"""The stores that tests run against, and stores that fail when they are told to."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from toolhouse_async import StoreError
from toolhouse_async.stores import (
    MemorySessionStore,
    PostgresSessionStore,
    Reading,
    RedisSessionStore,
    SessionStore,
    SQLiteSessionStore,
)

from .postgres_server import PostgresServer, find_postgres
from .redis_server import RedisServer, find_redis

KINDS = ("memory", "sqlite", "redis", "postgres")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A server for all tests of this process; each uses a prefix of its own."""
    program = find_redis()
    folder = Path(tempfile.mkdtemp(prefix="redis"))
    server = RedisServer(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextmanager
def running_postgres(primary: PostgresServer | None = None) -> Iterator[PostgresServer]:
    """A server that runs within the block, with nothing on it; or the standby of another."""
    programs = find_postgres()
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    server = PostgresServer(programs, folder)
    try:
        server.make(primary)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for all tests of this process; each uses a schema of its own."""
    with running_postgres() as server:
        yield server


def new_schema(server: PostgresServer) -> str:
    """The DSN of a schema with nothing in it."""
    name = f"s{uuid4().hex}"
    server.sql(f"CREATE SCHEMA {name}")
    return f"{server.dsn} options='-c search_path={name}'"


def redis_rights() -> list[str]:
    """The command that gives a user the rights that a store needs, as the documentation has it."""
    from tests.docs.blocks import marked  # reads all pages, which few tests need

    (command,) = marked("redis-store-rights")
    return command.code.split()


def restricted(server: RedisServer, prefix: str) -> str:
    """The URL of a Redis server for a user who has the rights that a store with a prefix needs."""
    rights = [word.replace("~toolhouse:", f"~{prefix}:") for word in redis_rights()[3:]]
    with Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", prefix, *rights)
    return server.url.replace("unix://", f"unix://{prefix}:password@")


class Place:
    """One place where sessions are kept, which several stores can open, as several processes do."""

    def __init__(self, kind: str, folder: Path, request: pytest.FixtureRequest) -> None:
        self.kind = kind
        self._path = folder / "sessions.db"
        self._memory = MemorySessionStore()
        self._prefix = uuid4().hex
        self._url = restricted(request.getfixturevalue("redis_server"), self._prefix) if kind == "redis" else ""
        self._dsn = new_schema(request.getfixturevalue("postgres_server")) if kind == "postgres" else ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Any]:
        """A store."""
        if self.kind == "memory":
            yield self._memory
        elif self.kind == "sqlite":
            async with SQLiteSessionStore(self._path) as store:
                yield store
        elif self.kind == "redis":
            async with RedisSessionStore(self._url, prefix=self._prefix) as store:
                yield store
        else:
            async with PostgresSessionStore(self._dsn) as store:
                yield store


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place of each kind, with nothing in it."""
    return Place(request.param, tmp_path, request)


class Troubled:
    """Another store, as it looks through a connection that may be bad.

    Attributes:
        down: Whether it fails.
        failures: How many of the next calls fail.
        swaps: How many changes were asked for.
        is_mute: Whether a change is made whose answer is lost.
        denies: Whether a change is made and said not to be, as where a driver asks again by itself.
        ahead: Seconds by which its clock is ahead.
        held: What changes wait for, if they do.
    """

    def __init__(self, store: SessionStore) -> None:
        self.store = store
        self.down = False
        self.failures = 0
        self.swaps = 0
        self.is_mute = False
        self.denies = False
        self.ahead = 0.0
        self.held: asyncio.Event | None = None

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
        elif not self.down:
            return
        raise StoreError("the store is down")

    async def read(self, key: str) -> Reading:
        await asyncio.sleep(0)
        self._fail()
        value, time = await self.store.read(key)
        await asyncio.sleep(0)
        return Reading(value, time + self.ahead)

    async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        self.swaps += 1
        if self.held is not None:
            await self.held.wait()
        await asyncio.sleep(0)
        self._fail()
        done = await self.store.swap(key, old, new)
        await asyncio.sleep(0)
        if self.is_mute:
            raise StoreError("the answer was lost")
        return done and not self.denies

    async def entries(self, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        self._fail()
        async for entry in self.store.entries(prefix):
            yield entry

    async def aclose(self) -> None:
        await self.store.aclose()
