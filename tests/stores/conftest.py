"""The places where sessions are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.postgres_server import PostgresServer
from tests.support.stores import new_schema, place, postgres_server, redis_server
from toolhouse_async.stores import PostgresSessionStore

__all__ = ["place", "postgres_server", "redis_server"]


@pytest.fixture
def dsn(postgres_server: PostgresServer) -> str:
    """A schema with nothing in it, on a PostgreSQL server."""
    return new_schema(postgres_server)


@pytest.fixture
async def postgres_store(dsn: str) -> AsyncIterator[PostgresSessionStore]:
    """A store there."""
    async with PostgresSessionStore(dsn) as store:
        yield store
