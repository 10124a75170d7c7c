"""What tests of the store on a PostgreSQL server share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.support.postgres_server import PostgresServer
from toolhouse_async.stores import PostgresSessionStore


@contextmanager
def stopped(server: PostgresServer) -> Iterator[None]:
    """The server is killed, and started again behind the block."""
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def hanging(server: PostgresServer) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.go_on()


@contextmanager
def locked(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else is changing every entry, and has not said whether they will."""
    with psycopg.connect(dsn) as other:
        other.execute("SELECT * FROM toolhouse_sessions FOR UPDATE")
        yield other


async def until(what: Callable[[], Any]) -> None:
    while not what():
        await asyncio.sleep(0.005)


def waiting(dsn: str) -> list[tuple[object, ...]]:
    """The statements that wait for a lock of somebody else."""
    with psycopg.connect(dsn) as other:
        return other.execute(
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%toolhouse_sessions%'"
        ).fetchall()


def pids(store: PostgresSessionStore) -> list[int]:
    return [connection.info.backend_pid for connection in store._connections._free]
