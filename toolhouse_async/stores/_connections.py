"""A few connections to a PostgreSQL server, made when they are needed and shared by all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection, Error, OperationalError
from psycopg.pq import TransactionStatus

from ..errors import ClosedError

CONNECTIONS: Final = 5
PATIENCE: Final = 5.0
"""Seconds that an answer may take."""
GRACE: Final = 1.0
"""Seconds that the server has to end a statement that nobody waits for any more."""

Connection = AsyncConnection[tuple[Any, ...]]


class Connections:
    """Up to :data:`CONNECTIONS` connections to one server, each for one statement at a time.

    Nothing lasts on them from one statement to the next, no prepared statement either: so a pooler may stand between
    that gives each transaction to another connection of its own. Each statement is a transaction.

    Args:
        conninfo: Where the server is, as libpq takes it.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._free: list[Connection] = []
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._closing = asyncio.Lock()
        self._is_closed = False

    async def ask(self, statement: LiteralString, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that a statement gives.

        If it is cancelled, the statement has ended before it is left, done or not. A server that does not say so within
        :data:`GRACE` is not waited for; then nobody knows.

        Raises:
            psycopg.Error: The server refuses, or cannot be reached, or the connection broke.
            TimeoutError: There was no answer within :data:`PATIENCE`.
            ClosedError: They are closed.
        """
        async with self._places:
            if self._is_closed:
                raise ClosedError("the store is closed")
            connection = await self._take()
            try:
                return await _answer(connection, statement, values)
            finally:
                await self._give_back(connection)

    async def drop(self) -> None:
        """Close those that nobody uses: the next are made anew, to wherever the server's name leads then."""
        while self._free:
            await self._free.pop().close()

    async def aclose(self) -> None:
        """Close them all, once what is under way has ended; what waits for a connection is refused. Idempotent."""
        self._is_closed = True
        await self.drop()
        async with self._closing, AsyncExitStack() as places:
            for _ in range(CONNECTIONS):  # who has all places knows that nobody asks any more
                await places.enter_async_context(self._places)

    async def _take(self) -> Connection:
        while self._free:
            connection = self._free.pop()
            if _is_alive(connection):
                return connection
            await connection.close()
        return await AsyncConnection.connect(self._conninfo, autocommit=True, prepare_threshold=None)

    async def _give_back(self, connection: Connection) -> None:
        if self._is_closed or connection.info.transaction_status is not TransactionStatus.IDLE:
            await connection.close()
        else:
            self._free.append(connection)


async def _answer(connection: Connection, statement: LiteralString, values: Sequence[object]) -> list[tuple[Any, ...]]:
    fetching = asyncio.ensure_future(_fetch(connection, statement, values))
    is_late = False
    try:
        await asyncio.wait({fetching}, timeout=PATIENCE)
        is_late = not fetching.done()
    finally:
        if not fetching.done():
            await _stop(connection, fetching)
        if not fetching.cancelled():
            fetching.exception()  # which nobody asks for, where it failed just when it was given up
    if is_late and (fetching.cancelled() or fetching.exception()):
        raise TimeoutError(f"no answer within {PATIENCE:g} s")
    return fetching.result()


async def _fetch(connection: Connection, statement: LiteralString, values: Sequence[object]) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(statement, values, binary=True)
    return await cursor.fetchall() if cursor.description else []


async def _stop(connection: Connection, fetching: asyncio.Future[list[tuple[Any, ...]]]) -> None:
    """End a statement that is under way, so that it changes nothing behind the back of whoever gave up on it."""
    has_ended = False
    try:
        async with asyncio.timeout(GRACE):
            while not fetching.done():
                # More than once: who had not begun with the statement yet does not take the request for this one.
                await connection.cancel_safe()
                await asyncio.wait({fetching}, timeout=GRACE / 20)
        has_ended = True
    except (TimeoutError, Error):
        pass  # the server hangs, or is gone
    finally:
        if not has_ended:
            await _abandon(connection, fetching)


async def _abandon(connection: Connection, fetching: asyncio.Future[list[tuple[Any, ...]]]) -> None:
    while not fetching.done():  # when it is cancelled first, psycopg waits for the server once more
        fetching.cancel()
        await asyncio.sleep(0)
    await connection.close()  # a request that is late would end the next statement


def _is_alive(connection: Connection) -> bool:
    """Whether the server has not closed a connection while nobody used it, as one does that is restarted."""
    try:
        for _ in range(2):  # its last words are read by the first, the end behind them by the second
            connection.pgconn.consume_input()
    except OperationalError:
        return False
    return True
