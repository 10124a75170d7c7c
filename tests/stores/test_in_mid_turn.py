"""Stores that fail while a worker speaks: its words are shown as they come, and what is said of the store is true."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.manager.support import AGENT, World, client_of
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer, find_redis
from tests.support.stores import Troubled, new_schema
from toolhouse_async import JobStarted, LeaseLostError, SessionManager, StoreError, TextDelta, TurnStarted
from toolhouse_async.stores import MemorySessionStore, PostgresSessionStore, RedisSessionStore, SQLiteSessionStore
from toolhouse_async.web import failure

REAL_TIME = True

LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""
SOON = 3.0
"""Seconds within which words must be there; a store that is waited for takes three times as long."""


@pytest.fixture
def server() -> Iterator[RedisServer]:
    folder = Path(tempfile.mkdtemp(prefix="redis"))
    server = RedisServer(find_redis(), folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@asynccontextmanager
async def managed(store: Any, **options: Any) -> AsyncIterator[tuple[World, SessionManager]]:
    world = World()
    async with (
        world.emulator.serve() as served,
        client_of(served) as client,
        store,
        SessionManager(client, AGENT, store=store, **options) as manager,
    ):
        yield world, manager


class Locked:
    """A SQLite file that another program is writing to, within the block."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        command = [sys.executable, "-c", LOCK, str(self._path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"locked\n"

    def __exit__(self, *_: object) -> None:
        self._process.communicate(b"\n", timeout=20)


class Hanging:
    """A server that answers nobody, within the block."""

    def __init__(self, server: RedisServer | PostgresServer) -> None:
        self._server = server

    def __enter__(self) -> None:
        self._server.pause()

    def __exit__(self, *_: object) -> None:
        self._server.go_on()


async def check_words_come(world: World, manager: SessionManager, trouble: Any) -> None:
    """Words are there at once while the store is in trouble, and all is written down once it is not."""
    async with manager.stream("k", "slow") as turn:
        # The message is noted; what comes next is not, for a while.
        sending = asyncio.ensure_future(anext(turn))
        await world.is_slow.wait()
        with trouble:
            began = time.monotonic()
            assert isinstance(await sending, TurnStarted)
            assert isinstance(await anext(turn), TextDelta)
            assert time.monotonic() - began < SOON
        world.go_on.set()
        assert (await turn.result()).text == "1:slow"
    assert (await manager.send("k", "again")).text == "2:again"
    assert len(world.told) == 1


async def test_words_come_while_another_program_has_locked_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    async with managed(SQLiteSessionStore(path)) as (world, manager):
        await manager.send("other", "x")
        world.told.clear()
        await check_words_come(world, manager, Locked(path))


async def test_words_come_while_redis_hangs(server: RedisServer) -> None:
    async with managed(RedisSessionStore(server.url)) as (world, manager):
        await check_words_come(world, manager, Hanging(server))


async def test_words_come_while_postgres_hangs(postgres_server: PostgresServer) -> None:
    async with managed(PostgresSessionStore(new_schema(postgres_server))) as (world, manager):
        await check_words_come(world, manager, Hanging(postgres_server))


class Restarting:
    """A server that is killed, and back at the end of the block."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def __enter__(self) -> None:
        self._server.stop()

    def __exit__(self, *_: object) -> None:
        self._server.start()


async def test_words_come_while_postgres_is_restarted(postgres_server: PostgresServer) -> None:
    async with managed(PostgresSessionStore(new_schema(postgres_server))) as (world, manager):
        await check_words_come(world, manager, Restarting(postgres_server))


async def test_a_job_is_shown_while_redis_hangs(server: RedisServer) -> None:
    async with managed(RedisSessionStore(server.url)) as (world, manager), manager.stream("k", "job") as turn:
        assert isinstance(await anext(turn), TurnStarted)
        server.pause()
        began = time.monotonic()
        while not isinstance(await anext(turn), JobStarted):
            pass
        assert time.monotonic() - began < SOON
        server.go_on()
        world.go_on.set()
        assert (await turn.result()).text == "1:job[computed]2:"


@pytest.mark.parametrize("where", ["streaming", "before a resume"])
async def test_a_redis_that_restarts_empty(server: RedisServer, where: str) -> None:
    async with managed(RedisSessionStore(server.url), lease=3) as (world, manager):
        message = "slow" if where == "streaming" else "job"
        turn = manager.stream("k", message)
        async for event in turn:
            if isinstance(event, JobStarted) or (message == "slow" and isinstance(event, TextDelta)):
                break
        server.stop()
        server.start()
        if where != "streaming":
            world.go_on.set()
        with pytest.raises(LeaseLostError, match="emptied") as caught:
            await turn.result()
        error = caught.value
        assert error.has_vanished
        assert error.partial is not None
        assert error.partial.text == ("1:" if message == "slow" else "1:job")
        assert error.run_id == error.partial.run_id is not None
        told = failure(error)["message"]
        assert "elsewhere" not in told
        assert "gone" in told
        assert world.accepted == [message]
        await turn.aclose()
        world.go_on.set()
        assert (await manager.send("k", "x")).text == "1:x"  # a conversation that nobody remembers begins anew


async def test_a_key_that_was_taken_is_continued_elsewhere() -> None:
    async with managed(MemorySessionStore(), lease=0.5) as (_, manager):
        async with manager.stream("k", "slow") as turn:
            assert isinstance(await anext(turn), TurnStarted)
            await manager.unlock("k")
            with pytest.raises(LeaseLostError, match="unlocked") as caught:
                await turn.result()
        assert not caught.value.has_vanished
        assert caught.value.partial is not None
        assert "elsewhere" in failure(caught.value)["message"]


async def test_a_store_that_fails_before_anything_is_sent_brings_no_result() -> None:
    store = Troubled(MemorySessionStore())
    store.down = True
    world = World()
    async with world.emulator.serve() as served, client_of(served) as client:
        manager = SessionManager(client, AGENT, store=store, lease=0.2)
        with pytest.raises(StoreError) as caught:
            await manager.send("k", "x")
        assert caught.value.partial is None
        store.down = False
        await manager.aclose()
