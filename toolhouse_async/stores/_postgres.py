"""A store on a PostgreSQL server, for many machines."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from hashlib import sha256
from types import TracebackType
from typing import Any, Final, LiteralString, Self

from ..errors import ClosedError, ConfigurationError, StoreError
from ._home import Home
from ._protocol import Reading

try:
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.errors import (
        DeadlockDetected,
        DuplicateObject,
        DuplicateTable,
        ReadOnlySqlTransaction,
        SerializationFailure,
        UndefinedTable,
        UniqueViolation,
    )

    from ._connections import Connections
except ImportError:
    raise ConfigurationError("PostgresSessionStore needs psycopg: pip install 'toolhouse-async[postgres]'") from None

PAGE: Final = 500
ATTEMPTS: Final = 5
"""How often a statement is sent that has done nothing, for a reason that passes."""
HEAD: Final = 1024
"""Bytes of a key that are in the index, which takes no more than 2,704; of the rest it has a digest."""
LASTING: Final = ("3F", "42")
"""Classes of SQLSTATE that do not pass by themselves: no schema; no right, no such column."""
DEFAULTS: Final[Mapping[str, str]] = {
    "connect_timeout": "2",
    "fallback_application_name": "toolhouse-async",
    "target_session_attrs": "read-write",
}
"""What holds where the DSN says nothing. A server that only reads is none to keep sessions on."""

TABLE: Final = """
CREATE TABLE IF NOT EXISTS toolhouse_sessions (
    head bytea NOT NULL,
    digest bytea NOT NULL,
    tail bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (head, digest)
)"""
READ: Final = """
SELECT (SELECT value FROM toolhouse_sessions WHERE head = %b AND digest = %b),
    extract(epoch FROM clock_timestamp())::float8"""
FIND: Final = "SELECT 1 FROM toolhouse_sessions WHERE head = %b AND digest = %b"
MAKE: Final = """
INSERT INTO toolhouse_sessions (head, digest, tail, value) VALUES (%b, %b, %b, %b)
ON CONFLICT DO NOTHING RETURNING 1"""
CHANGE: Final = """
UPDATE toolhouse_sessions SET value = %b WHERE head = %b AND digest = %b AND value = %b RETURNING 1"""
TAKE_AWAY: Final = "DELETE FROM toolhouse_sessions WHERE head = %b AND digest = %b AND value = %b RETURNING 1"
LIST: Final = """
SELECT head, digest, tail, value FROM toolhouse_sessions WHERE (head, digest) >= (%b, %b)
ORDER BY head, digest LIMIT %b"""

ENCODE: Final = (
    "characters such as / ? @ in its user's name or password must be encoded: urllib.parse.quote(password, safe='')"
)


class PostgresSessionStore:
    """Keeps sessions on a PostgreSQL server: for any number of processes on any machines.

    Needs the extra ``[postgres]``. The sessions are in the table ``toolhouse_sessions``, in the first schema of the
    role's ``search_path``. It is made at the first use, where the role may create tables; else somebody makes it
    beforehand. Each change is one statement, and thereby one transaction; the clock is the server's.
    ``synchronous_commit`` must not be ``off`` for the role, nor ``fsync`` for the server, or the last changes are lost
    when the server is killed. Up to five connections are open, made when they are needed; an answer may take five
    seconds. They bear no state from one transaction to the next, so PgBouncer may stand between, in any of its modes.

    **What a fail-over can lose.** Nothing where a standby is synchronous: ``synchronous_standby_names`` names it, and
    ``synchronous_commit`` is ``on`` or ``remote_apply``. Else the server that takes over may not have had the last
    changes; then each key stands as it stood before them, as with :class:`RedisSessionStore`. Name all servers in the
    DSN, as in ``postgresql://bot@one,two/sessions``: the store uses the one that can be written.

    One event loop uses a store, of any kind but Windows' ``ProactorEventLoop``. :meth:`aclose` or ``async with`` closes
    its connections, once what is under way has ended.

    Args:
        dsn: ``postgresql://user:password@host:port/database?options``, or ``host=… dbname=…``, as libpq takes it: with
            several hosts, ``sslmode=verify-full``, sockets, ``service=``, password files and the environment's
            ``PGPASSWORD``. Names and passwords in a URL are percent-encoded. Where it says nothing else, a host may
            take two seconds to connect (``connect_timeout``) and must be one that can be written
            (``target_session_attrs=read-write``).

    Raises:
        ConfigurationError: The DSN is none, or psycopg is not installed; or, at its use, it belongs to another event
            loop, or to the process that this one was forked from.
    """

    def __init__(self, dsn: str) -> None:
        self._connections = Connections(_conninfo(dsn))
        self._home = Home()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def read(self, key: str) -> Reading:
        """See :meth:`SessionStore.read`."""
        head, digest, _ = _place(key)
        ((value, time),) = await self._ask(READ, head, digest)
        return Reading(value, time)

    async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        """See :meth:`SessionStore.swap`."""
        head, digest, tail = _place(key)
        if old is None and new is None:
            return not await self._ask(FIND, head, digest)
        if old is None:
            return bool(await self._ask(MAKE, head, digest, tail, new))
        if new is None:
            return bool(await self._ask(TAKE_AWAY, head, digest, old))
        return bool(await self._ask(CHANGE, new, head, digest, old))

    async def entries(self, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        """See :meth:`SessionStore.entries`. In the order of the first 1,024 bytes of the keys' UTF-8."""
        start = _encoded(prefix)
        at = start[:HEAD], b""
        while rows := await self._ask(LIST, *at, PAGE):
            for head, _, tail, value in rows:
                if not head.startswith(start[:HEAD]):
                    return
                if (name := head + tail).startswith(start):
                    yield name.decode("utf-8", "surrogatepass"), value
            if len(rows) < PAGE:
                return
            head, digest, *_ = rows[-1]
            at = head, digest + b"\0"

    async def aclose(self) -> None:
        """See :meth:`SessionStore.aclose`. Later calls are refused with ``ClosedError``."""
        self._closed = True
        if self._home.is_elsewhere:
            return  # its connections are the other process's
        if self._home.is_closed:
            await self._connections.drop()
            return
        self._home.check()
        await self._connections.aclose()

    async def _ask(self, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        if self._closed:
            raise ClosedError("the store is closed")
        self._home.check()
        try:
            return await self._ask_again(statement, values)
        except (Error, OSError, UnicodeError) as error:  # of a name of a host, the last
            why, lasts = _told(error), isinstance(error, Error) and (error.sqlstate or "").startswith(LASTING)
        failure = StoreError(f"PostgreSQL: {why:.600}")
        failure.is_lasting = lasts
        raise failure

    async def _ask_again(self, statement: LiteralString, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """Ask, and again where the server has changed nothing for a reason that can be removed or passes."""
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._connections.ask(statement, values)
            except UndefinedTable:
                # "If not exists" does not help those that are just making it in another process.
                with suppress(UniqueViolation, DuplicateTable, DuplicateObject):
                    await self._connections.ask(TABLE)
            except ReadOnlySqlTransaction:  # another server has taken over
                await self._connections.drop()
            except (SerializationFailure, DeadlockDetected):  # where the database's default is not "read committed"
                pass
        return await self._connections.ask(statement, values)


def _told(error: Exception) -> str:
    """What an error says, without its details: those quote what stands in the table."""
    why = (isinstance(error, Error) and error.diag.message_primary) or str(error)
    return " ".join(f"{type(error).__name__}: {why}".split())


def _conninfo(dsn: str) -> str:
    """The connections' settings by a DSN.

    Raises:
        ConfigurationError: It is none. Nothing of it is in the error, since any part may be of a password.
    """
    why = _fault(dsn)
    conninfo = ""
    if not why:
        try:
            settings = {**DEFAULTS, **conninfo_to_dict(dsn)}
            conninfo = make_conninfo("", **settings)
        except (Error, UnicodeError):
            why = f"libpq does not understand it; {ENCODE}"
        else:
            why = _fault_of(settings)
    if why:
        raise ConfigurationError(f"not the DSN of a PostgreSQL server: {why}")
    return conninfo


def _fault(dsn: object) -> str:
    """What is wrong with a DSN as it stands; empty if libpq will take each part of it for what it is."""
    if not isinstance(dsn, str):
        return f"it must be a string, not {type(dsn).__name__}"
    if "\0" in dsn:
        return "it contains NUL"
    if url := re.match("postgres(ql)?://([^/?@]*@)?", dsn):
        # libpq takes a password for a host, or a host for a database, and shows it, where an @ stands further behind.
        return ENCODE if "@" in dsn[url.end() :] else ""
    if re.match(r"[\w+]*://", dsn) or "=" not in dsn:
        return "it must begin with postgresql://, or be of the form host=… dbname=…"
    return ""


def _fault_of(settings: Mapping[str, object]) -> str:
    """What is wrong with settings that libpq would show where it refuses them, as with a password without a host."""
    if not re.fullmatch(r"[\d,]*", str(settings.get("port", ""))):
        return f"its port must be a number; {ENCODE}"
    if not re.fullmatch(r"-?\d+", str(settings["connect_timeout"])):
        return "its connect_timeout must be a whole number of seconds"
    return ""


def _place(key: str) -> tuple[bytes, bytes, bytes]:
    """Where a key's entry is: the beginning of its name, a digest of the rest, and that rest."""
    name = _encoded(key)
    head, tail = name[:HEAD], name[HEAD:]
    return head, sha256(tail).digest() if tail else b"", tail


def _encoded(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")
