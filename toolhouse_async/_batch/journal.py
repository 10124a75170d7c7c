"""A batch as the store has it: its rows' names, its head, and what can be said and done without the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from .._values.batches import BatchItem, BatchProgress
from .._values.results import TurnResult
from .._wire import outcomes, records
from .._wire.records import Record, Row
from ..errors import ConfigurationError, StoreError
from .steps import Standing, standing_of

if TYPE_CHECKING:
    from ..stores import SessionStore

VERSION: Final = 1
_HEADS: Final = "batches:"


class Head(NamedTuple):
    """What a store keeps of a batch as a whole.

    Attributes:
        agent_id: The worker.
        total: How many rows it has; ``None`` while nobody has read them to the end.
        is_keyed: Whether its rows have keys of their own; else their places are their keys.
    """

    agent_id: str
    total: int | None
    is_keyed: bool


class Retried(NamedTuple):
    """Rows that failed and are to be done again.

    Attributes:
        failed: How many there are.
        accepted: How many of them have had their message accepted: no message of theirs is sent again.
    """

    failed: int
    accepted: int


class BatchJournal:
    """The entries of one batch in a store.

    Attributes:
        name: The batch's name.
        prefix: What the names of its rows begin with. No agent id has a colon, so no key of a
            :class:`~toolhouse_async.SessionManager` begins so.
    """

    def __init__(self, store: SessionStore, name: str) -> None:
        """Choose a batch.

        Raises:
            ConfigurationError: ``name`` is none.
        """
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"the name of a batch must be a string that is not empty, not {name!r:.80}")
        # No name is the beginning of another: each ends with its only slash.
        written = name.replace("%", "%25").replace("/", "%2F")
        self.name = name
        self.prefix = f"batch:{written}/"
        self._head = f"{_HEADS}{written}"
        self._store = store

    async def head(self) -> Head | None:
        """What the store keeps of the batch as a whole; ``None`` if it knows none of that name.

        Raises:
            StoreError: The store failed, or the entry cannot be read.
        """
        return _head((await self._store.read(self._head)).value)

    async def begin(self, agent_id: str, total: int | None, *, is_keyed: bool) -> None:
        """Note that a batch has begun, or goes on; and how many rows it has, once that is known.

        Raises:
            ConfigurationError: The batch asks another worker, or names its rows in the other way.
            StoreError: The store failed.
        """
        while True:
            standing = (await self._store.read(self._head)).value
            head = _head(standing)
            if head is not None and head.agent_id != agent_id:
                raise ConfigurationError(
                    f"the batch {self.name!r:.200} asks the worker {head.agent_id}, not {agent_id}: give this one "
                    "another name"
                )
            if head is not None and head.is_keyed != is_keyed:
                way = "keys of their own" if head.is_keyed else "their places for keys"
                raise ConfigurationError(
                    f"the rows of the batch {self.name!r:.200} have {way}, and would all be asked again by other "
                    "ones: leave key= (on the command line: --key) as it was, or give this batch another name"
                )
            wanted = Head(agent_id, total if total is not None or head is None else head.total, is_keyed)
            if head == wanted:
                return
            data = orjson.dumps({"v": VERSION, **wanted._asdict()})
            if await self._store.swap(self._head, standing, data):
                return

    async def progress(self) -> BatchProgress:
        """How far the batch has come, in all processes.

        Raises:
            StoreError: The store failed, or an entry cannot be read.
        """
        head = await self.head()
        counts: Counter[str] = Counter()
        now = (await self._store.read(self._head)).time
        async for _, _, record in self._rows():
            row = record.row
            if row is not None and row.status != "open":
                counts[row.status] += 1
            elif not records.is_free(record, now, is_stale=False):
                counts["running"] += 1
        total = None if head is None else head.total
        return BatchProgress(total, counts["done"], counts["failed"], counts["unknown"], counts["running"])

    async def without_answer(self) -> AsyncIterator[BatchItem]:
        """The rows that have failed, and those whose fate is unknown, in any order; ``row`` is ``None`` in each.

        Raises:
            StoreError: The store failed, or an entry cannot be read.
        """
        async for name, _, record in self._rows():
            row = record.row
            if row is None or row.status not in ("failed", "unknown"):
                continue
            outcome = outcomes.loads(row.outcome)
            error = None if isinstance(outcome, TurnResult) else outcome
            status: Any = row.status
            yield BatchItem(name[len(self.prefix) :], None, status, error=error, from_store=True)

    async def retry_failed(self) -> Retried:
        """Have all rows that failed done again; see :meth:`Batch.retry_failed`.

        Raises:
            StoreError: The store failed, or an entry cannot be read.
        """
        count = accepted = 0
        async for name, value, record in self._rows():
            row = record.row
            if row is None or row.status != "failed":
                continue
            again = record._replace(row=Row(row.digest, "open", ""))
            if await self._store.swap(name, value, records.dumps(again)):  # not where another process was quicker
                count += 1
                accepted += standing_of(again) is Standing.ACCEPTED
        return Retried(count, accepted)

    async def _rows(self) -> AsyncIterator[tuple[str, bytes, Record]]:
        async for name, value in self._store.entries(self.prefix):
            yield name, value, records.loads(value)


async def names(store: SessionStore) -> AsyncIterator[str]:
    """The names of all batches in a store, in any order.

    Raises:
        StoreError: The store failed.
    """
    async for entry, _ in store.entries(_HEADS):
        yield entry.removeprefix(_HEADS).replace("%2F", "/").replace("%25", "%")


def _head(data: bytes | None) -> Head | None:
    """Read a head.

    Raises:
        StoreError: It is none, or one of a later version.
    """
    if data is None:
        return None
    try:
        written = orjson.loads(data)
        if written.pop("v") == VERSION:
            head = Head(**written)
            is_total = head.total is None or type(head.total) is int
            if isinstance(head.agent_id, str) and is_total and type(head.is_keyed) is bool:
                return head
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise StoreError("the store's entry of this batch cannot be read: it is none, or of a later version")
