"""A batch, as users hold it."""

from __future__ import annotations

import asyncio
import math
import random
import warnings
from collections.abc import AsyncIterable, Callable, Iterable, Sized
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from .._keyed.house import House
from .._session import make_options
from .._source import check_items
from .._values.batches import BatchItem, BatchProgress
from .._values.nested import half_made
from .._values.numeric import plain_number
from .._values.options import check_count, check_seconds
from ..errors import ClosedError, ConfigurationError
from ..stores._protocol import check_store
from .engine import Engine
from .gate import Gate
from .journal import BatchJournal
from .outage import Pace
from .rows import DICTS, RECORDS, Questions
from .speed import Speed
from .store import WatchedStore
from .work import Shared

if TYPE_CHECKING:
    from .._run.conversation import Conversation
    from .._values.options import TurnOptions
    from ..stores import SessionStore


OPTIONS: Final = ("store", "name", "key", "template", "concurrency", "rate", "retry_unknown", "lease")
"""What :meth:`AsyncToolhouse.batch` takes beside the options of a turn."""


class Batch:
    """Many questions to one worker, each asked once, whatever dies; made by :meth:`AsyncToolhouse.batch`.

    Iterating it gives a :class:`~toolhouse_async.BatchItem` for each row as it is done, in whatever order, those that
    were done before from the store. Before a message is sent, the store knows of it; its run id as soon as the service
    has given it; and its result before the item is given out. So whatever stops, the next start goes on: what was
    answered is not asked again, an answer under way is read from the history, and of a message that was just being
    sent it is said that nobody knows (``"unknown"``). Rows that another process has are left to it, and come when it
    is done with them.

    While the service is away, the batch waits, and no row fails for it that was provably not sent. Any other failure
    is its row's, and never ends the batch. What does end it, once all that is under way was given out:
    :exc:`~toolhouse_async.ConfigurationError` for a row whose message has changed, whose key was there before, or
    which does not fit the template; what ``rows`` itself raises; :exc:`~toolhouse_async.StoreError` for a store that
    fails for good. One that is away for a while is waited for.

    Use it as an async context manager. Leaving the block early, or cancelling who waits for the next item, ends what
    is under way in such a way that a later start goes on with it. A block in which nothing was iterated has sent
    nothing.
    """

    def __init__(
        self,
        conversations: Callable[[str | None], Conversation],
        rows: Iterable[Any] | AsyncIterable[Any],
        store: SessionStore,
        name: str,
        key: Callable[[Any, int], str] | None,
        template: str | None,
        concurrency: int,
        rate: float | None,
        retry_unknown: bool,
        lease: float,
        options: TurnOptions,
    ) -> None:
        concurrency = check_count(concurrency, "concurrency")
        length = float(check_seconds(lease, "lease"))
        pace = plain_number(rate)
        if pace is not None and (type(pace) not in (int, float) or not 0 < pace < math.inf):
            raise ConfigurationError(f"rate must be messages a second above zero, or None, not {rate!r:.80}")
        if not isinstance(retry_unknown, bool):
            raise ConfigurationError(f"retry_unknown must be True or False, not {retry_unknown!r:.80}")
        of_table = DICTS if hasattr(rows, "to_dicts") else RECORDS
        check_items("rows", rows, "strings or mappings", of_table)
        check_store(store)
        make_options(options, OPTIONS)
        conversation = conversations(None)
        self._core = conversation.core
        self._journal = BatchJournal(store, name)
        watched = WatchedStore(store, lambda: gate.is_stopped)
        house = House(self._journal.prefix, watched, None, restarts=False, length=length, patience=math.inf)
        gate = Gate(Pace(pace), is_there=lambda: shared.is_there(), chance=random.Random())  # noqa: S311 - spreads pauses
        core = self._core
        speed = Speed(lambda: core.time())  # whose clock is that of the loop that uses it first
        shared = Shared(house, conversations, options, gate, retry_unknown, speed)
        self._engine = Engine(
            shared,
            self._journal,
            Questions(key, template),
            rows,
            agent_id=conversation.agent_id,
            total=len(rows) if isinstance(rows, Sized) else None,
            concurrency=concurrency,
        )

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @half_made
    def __repr__(self) -> str:
        return f"<Batch {self._journal.name!r:.200}>"

    async def __anext__(self) -> BatchItem:
        engine = self._engine
        if engine.is_closed:
            raise ClosedError("the batch is closed")
        self._core.check_usable()
        try:
            item = await engine.next()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if item is None:
            raise StopAsyncIteration
        return item

    @property
    def progress(self) -> BatchProgress:
        """How far this iteration has come, with the rows that it has read so far; costs nothing."""
        return self._engine.progress

    async def read_progress(self) -> BatchProgress:
        """Read from the store how far the batch has come in all processes and starts together; it needs no rows.

        It counts every row that was ever asked, while ``total`` is the number of rows in the latest start that has read
        them all: once rows were taken out of the input, the counts may be more than the total.

        Raises:
            StoreError: The store failed, or an entry cannot be read.

        May be cancelled and repeated at will.
        """
        return await self._journal.progress()

    async def retry_failed(self) -> int:
        """Have all rows that failed done again: by this batch's iteration, if it has not come to them, or by the next.

        A row whose message the service has accepted, and whose answer was not to be had, is not asked again: its answer
        is looked for once more. To send its message anew, though the worker has had it, give the row another key, or a
        batch of another name. All others may then have another message. It needs no rows.

        Returns:
            How many.

        Raises:
            StoreError: The store failed, or an entry cannot be read.

        May be cancelled and repeated at will.
        """
        return (await self._journal.retry_failed()).failed

    def stop(self) -> None:
        """Begin no more rows; the iteration goes on until those under way are done, and ends then.

        Called before the iteration begins, it lets that give all rows that are over in the store, and nothing is asked.

        Call it on the batch's event loop, from any task or from a signal handler of the loop's. A row that waits for
        the service to come back is not waited for; the next start goes on with it. A store that is away is waited for
        some seconds more; then the iteration ends by its ``StoreError``.
        """
        self._engine.stop()

    async def aclose(self) -> None:
        """End what is under way, and wait until it is written down how far it has come. Idempotent.

        A store that is away is waited for some seconds; after that it says what it knew, and leases end by themselves.
        """
        if self._engine.tasks:
            self._core.check_loop()
        await self._engine.aclose()

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None and engine.tasks and not engine.is_closed:
            warnings.warn("a batch was abandoned; use 'async with' or aclose()", ResourceWarning, 2, source=self)
            engine.cancel()
