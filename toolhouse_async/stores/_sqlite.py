"""A store in a file, for the processes of one machine."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from .._values.nested import half_made
from ..errors import ClosedError, ConfigurationError, StoreError
from ._home import Home
from ._protocol import Reading

try:
    import aiosqlite
except ImportError:
    raise ConfigurationError("SQLiteSessionStore needs aiosqlite: pip install 'toolhouse-async[sqlite]'") from None

T = TypeVar("T")

BUSY: Final = 10.0
"""Seconds to wait for another process that is writing."""
PAGE: Final = 500
APPLICATION: Final = 0x74686173
"""What marks the file as ours, in SQLite's own field for that."""
INHERITED: Final[list[object]] = []
"""Connections of a process that this one was forked from: not even to be closed by collecting them."""
MIGRATIONS: Final = ("CREATE TABLE sessions (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",)
"""What leads from each version of the schema to the next; the file's ``user_version`` counts those that were made."""
LASTING: Final = frozenset(
    {
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CORRUPT,
    }
)
"""Failures that do not pass by themselves, as SQLite numbers them …"""
LASTING_OF_SYSTEM: Final = frozenset(
    {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
)
"""… and as the system does."""


class SQLiteSessionStore:
    """Keeps sessions in a SQLite file: for any number of processes on one machine. Needs the extra ``[sqlite]``.

    The file is made where there is none, readable by its owner alone, and brought up to this version's schema; a file
    of a later version is refused. It is in WAL mode, so readers and the writer do not wait for each other, and its
    folder must be on a disk of this machine, not on a network's. Every change is on the disk before it is answered.
    Its clock is the machine's: if that is set forward by more than a lease, leases end early; if it is set back, they
    end by how long they have not been renewed.

    A file that is removed or replaced while it is open fails every use from then on (``StoreError``).

    It is opened at its first use and closed by :meth:`aclose`, ``async with``, or with its event loop. It keeps no
    process from ending. A process made by ``fork`` needs a store of its own.

    Args:
        path: The file; its folder must exist. ``":memory:"`` is refused: see :class:`MemorySessionStore`.

    Raises:
        ConfigurationError: ``path`` is no path of a file, or aiosqlite is not installed; or, at its use, it was opened
            before the process was forked.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        text = os.fspath(path)
        if not isinstance(text, str) or not text or text == ":memory:" or "\0" in text:
            raise ConfigurationError(f"path must be the path of a file, not {path!r:.200}")
        self._path = Path(text)
        self._opening: asyncio.Task[aiosqlite.Connection] | None = None
        self._life: AsyncGenerator[aiosqlite.Connection, None] | None = None
        self._connection: aiosqlite.Connection | None = None
        self._file: tuple[Path, os.stat_result]  # that the connection has open
        self._home = Home()
        self._closed = False

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @half_made
    def __repr__(self) -> str:
        return f"<SQLiteSessionStore {self._path}>"

    async def read(self, key: str) -> Reading:
        """See :meth:`SessionStore.read`."""
        rows = await self._execute("SELECT value FROM sessions WHERE key = ?", _encoded(key))
        return Reading(rows[0][0] if rows else None, time.time())

    async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        """See :meth:`SessionStore.swap`. Each is one statement, and thereby one transaction."""
        name = _encoded(key)
        if old is None and new is None:
            return not await self._execute("SELECT 1 FROM sessions WHERE key = ?", name)
        if old is None:
            made = "INSERT INTO sessions (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING 1"
            return bool(await self._execute(made, name, new))
        if new is None:
            return bool(await self._execute("DELETE FROM sessions WHERE key = ? AND value = ? RETURNING 1", name, old))
        changed = "UPDATE sessions SET value = ? WHERE key = ? AND value = ? RETURNING 1"
        return bool(await self._execute(changed, new, name, old))

    async def entries(self, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        """See :meth:`SessionStore.entries`. In the order of the keys' UTF-8."""
        start = _encoded(prefix)
        page = "SELECT key, value FROM sessions WHERE key >= ? ORDER BY key LIMIT ?"
        last = start
        while rows := await self._execute(page, last, PAGE):
            for key, value in rows:
                if not key.startswith(start):
                    return
                yield key.decode("utf-8", "surrogatepass"), value
            last = rows[-1][0] + b"\0"
            if len(rows) < PAGE:
                return

    async def aclose(self) -> None:
        """See :meth:`SessionStore.aclose`. Later calls are refused with ``ClosedError``."""
        self._closed = True
        if self._home.is_elsewhere:  # to close it here is not for us: SQLite forbids that
            INHERITED.append(self._life)
            self._let_go(self._connection)
        if self._opening is not None and self._opening.get_loop() is asyncio.get_running_loop():
            with suppress(StoreError):
                await asyncio.shield(self._opening)
        life, self._life = self._life, None
        if life is not None:
            await life.aclose()

    async def _execute(self, statement: str, *values: object) -> list[Any]:
        connection = await self._open()
        rows = list(await _translated(partial(connection.execute_fetchall, statement, values), self._path))
        self._check_still_there()
        return rows

    def _check_still_there(self) -> None:
        """Check that others find what was written: SQLite itself goes on in a file that has no name any more."""
        path, opened = self._file
        with suppress(PermissionError):
            if not _is_file(path, opened):
                failure = StoreError(
                    f"{self._path} was removed or replaced while it was open, and what was written since is lost: "
                    "put it back, or begin with a new file, and start again"
                )
                failure.is_lasting = True
                raise failure

    async def _open(self) -> aiosqlite.Connection:
        if self._closed:
            raise ClosedError("the store is closed")
        self._home.check_process()
        if self._connection is not None:
            if _thread_of(self._connection).is_alive():
                return self._connection
            self._let_go(self._connection)  # it was at work when its event loop was closed
        loop = asyncio.get_running_loop()
        if self._opening is None or self._opening.get_loop() is not loop:
            # In a task of its own: a connection that is being made cannot be cancelled without losing it.
            self._opening = loop.create_task(self._begin())
            self._opening.add_done_callback(self._begun)
        return await asyncio.shield(self._opening)

    async def _begin(self) -> aiosqlite.Connection:
        # An event loop closes the asynchronous generators that are left when it ends, and the file with them.
        self._life = self._living()
        connection: aiosqlite.Connection = await _translated(partial(anext, self._life), self._path)
        self._connection = connection
        return connection

    def _begun(self, opening: asyncio.Task[aiosqlite.Connection]) -> None:
        if (opening.cancelled() or opening.exception() is not None) and self._opening is opening:
            self._opening = None  # the next use tries again

    async def _living(self) -> AsyncGenerator[aiosqlite.Connection, None]:
        path = self._private()
        made = aiosqlite.connect(path, timeout=BUSY, isolation_level=None)
        thread = _thread_of(made)
        thread.daemon = True  # not every program closes its event loop, and all are to end
        try:
            await made
        except BaseException:
            while thread.is_alive():  # noqa: ASYNC110 - it has yet to say that it ends, and needs the loop for that
                await asyncio.sleep(0.001)
            raise
        try:
            self._file = path, path.stat()
            await _prepare(made, self._path)
            yield made
        finally:
            self._let_go(made)
            await made.close()

    def _let_go(self, connection: aiosqlite.Connection | None) -> None:
        if self._connection is connection:  # else another was opened in its place
            self._connection = self._opening = self._life = None

    def _private(self) -> Path:
        """The file, made for its owner alone where there is none; SQLite gives those beside it the same mode.

        A link that leads to no file yet is followed first: SQLite would make the file, readable by all.
        """
        path = Path(os.path.realpath(self._path))
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            pass
        except OSError as error:
            lasts = error.errno in LASTING_OF_SYSTEM
            raise _failure(f"{self._path} cannot be made: {error.strerror}", lasts=lasts) from None
        return path


def _is_file(path: Path, opened: os.stat_result) -> bool:
    """Whether it is still this file that is at a path."""
    try:
        return os.path.samestat(path.stat(), opened)
    except (FileNotFoundError, NotADirectoryError):
        return False


async def _prepare(connection: aiosqlite.Connection, path: Path) -> None:
    """Set the connection up, and bring the file up to this version."""
    await _use_wal(connection)
    await connection.execute_fetchall("PRAGMA synchronous = FULL")
    await connection.execute_fetchall("BEGIN IMMEDIATE")
    try:
        ((application,),) = await connection.execute_fetchall("PRAGMA application_id")
        ((version,),) = await connection.execute_fetchall("PRAGMA user_version")
        ((tables,),) = await connection.execute_fetchall("SELECT count(*) FROM sqlite_schema")
        _check_file(path, application, version, tables)
        for statement in MIGRATIONS[version:]:
            await connection.execute_fetchall(statement)
        if version < len(MIGRATIONS):
            await connection.execute_fetchall(f"PRAGMA application_id = {APPLICATION}")
            await connection.execute_fetchall(f"PRAGMA user_version = {len(MIGRATIONS)}")
    except BaseException:
        await connection.rollback()
        raise
    await connection.commit()


def _check_file(path: Path, application: int, version: int, tables: int) -> None:
    if application != APPLICATION and tables:
        raise _failure(f"{path} is a database of something else", lasts=True)
    if version > len(MIGRATIONS):
        raise _failure(f"{path} is of version {version}, and this library knows {len(MIGRATIONS)}", lasts=True)


async def _use_wal(connection: aiosqlite.Connection) -> None:
    """Set the file to WAL mode; SQLite itself does not wait where another process is just doing the same."""
    give_up = time.monotonic() + 2 * BUSY
    while True:
        try:
            await connection.execute_fetchall("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _is_lasting(error) or time.monotonic() > give_up:
                raise
        else:
            return
        await asyncio.sleep(0.02)


async def _translated(call: Callable[[], Awaitable[T]], path: Path) -> T:
    """Make a call whose failure is the store's, and names its file."""
    lasts = False
    try:
        return await call()
    except sqlite3.Error as error:
        why, lasts = f"{type(error).__name__}: {error}", _is_lasting(error)
    except ValueError as error:  # what aiosqlite says of a closed connection
        why = str(error)
    failure = StoreError(f"SQLite: {why} ({path})")
    failure.is_lasting = lasts
    raise failure


def _failure(why: str, *, lasts: bool) -> StoreError:
    """What it is that the file cannot be used."""
    failure = StoreError(why, safe_to_retry=True)
    failure.is_lasting = lasts
    return failure


def _is_lasting(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in LASTING


def _thread_of(connection: aiosqlite.Connection) -> threading.Thread:
    """The connection's thread: it was one itself in earlier versions of aiosqlite."""
    either: Any = connection
    thread: threading.Thread = getattr(either, "_thread", either)
    return thread


def _encoded(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")
