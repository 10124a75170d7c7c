"""Where keyed sessions are kept: in memory, in a file, on a Redis or a PostgreSQL server, or in a store that you write.

The stores are loaded on first use, since each may need a library of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .._extras import leave_out
from ._protocol import Reading, SessionStore

if TYPE_CHECKING:
    from ._memory import MemorySessionStore
    from ._postgres import PostgresSessionStore
    from ._redis import RedisSessionStore
    from ._sqlite import SQLiteSessionStore

__all__ = [
    "MemorySessionStore",
    "PostgresSessionStore",
    "Reading",
    "RedisSessionStore",
    "SQLiteSessionStore",
    "SessionStore",
]
leave_out(__all__, {"PostgresSessionStore": "psycopg", "RedisSessionStore": "redis", "SQLiteSessionStore": "aiosqlite"})

_HOMES = {
    "MemorySessionStore": "_memory",
    "PostgresSessionStore": "_postgres",
    "RedisSessionStore": "_redis",
    "SQLiteSessionStore": "_sqlite",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)
