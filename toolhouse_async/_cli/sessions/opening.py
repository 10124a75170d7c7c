"""The store that ``--store`` names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from ...errors import ConfigurationError

if TYPE_CHECKING:
    from ...stores import PostgresSessionStore, RedisSessionStore, SQLiteSessionStore

__all__ = ["Named", "open_store"]


@frozen
class Named:
    """The options that say which store is meant: ``--store``, and ``--prefix`` of one on a Redis server."""

    store: str | None
    prefix: str | None


def open_store(
    named: Named, *, may_be_new: bool = False
) -> PostgresSessionStore | RedisSessionStore | SQLiteSessionStore:
    """Open a store.

    Args:
        named: Which.
        may_be_new: Whether a file is made that is not there.

    Raises:
        ConfigurationError: None is named, it is not there, its URL is none, or its extra is not installed.
    """
    where = named.store
    if not where:
        raise ConfigurationError("no store: pass --store, or set TOOLHOUSE_STORE")
    scheme = where.partition("://")[0].lower() if "://" in where else ""
    if scheme in ("redis", "rediss", "unix"):
        from ...stores import RedisSessionStore

        return RedisSessionStore(where) if named.prefix is None else RedisSessionStore(where, prefix=named.prefix)
    if named.prefix is not None:
        raise ConfigurationError("--prefix is for stores on a Redis server")
    if scheme in ("postgres", "postgresql"):
        from ...stores import PostgresSessionStore

        return PostgresSessionStore(where)
    if scheme:
        raise ConfigurationError(
            "--store takes a SQLite file, or a URL of redis://, rediss://, unix:// or postgresql://"
        )
    path = Path(where)
    if not may_be_new and not path.is_file():  # else a slip in its name would make a new one
        raise ConfigurationError(f"there is no file {where!r:.500}: --store takes the one that your program uses")
    from ...stores import SQLiteSessionStore

    return SQLiteSessionStore(path)
