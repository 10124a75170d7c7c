"""What a turn says, for all in one process who follow it: as it comes, and from where they were."""

from __future__ import annotations

import asyncio
import re
from copy import copy
from typing import Final, Protocol, Self

from ..errors import ConfigurationError
from ..events import Event
from ._replay import Replay

__all__ = ["BehindError", "HubReader", "Live", "Source", "had_of"]

PASSES: Final = 3
"""Passes of the event loop in which those who follow may take what came before an event that cannot be kept."""
_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


class BehindError(Exception):
    """What a reader wants is not kept any more."""


class Live:
    """A turn's events as they come, the latest of which are kept, and those who wait for the next.

    Attributes:
        replay: What is kept.
        is_over: Whether nothing more comes.
        error: Why it ended, if it failed.
    """

    def __init__(self, max_bytes: int, count: int = 0) -> None:
        """Begin.

        Args:
            max_bytes: How many bytes of memory the kept events may take.
            count: How many events had come before, of which none is kept.
        """
        self.replay: Replay = Replay(max_bytes, count)
        self.is_over: bool = False
        self.error: Exception | None = None
        self._waiting: set[asyncio.Future[tuple[int, Event] | None]] = set()

    async def add(self, event: Event) -> None:
        """Add the next event. One that cannot be kept is given to those who have had all before it."""
        if self.replay.can_hold(event):
            self.replay.add(event)
            self.wake()
            return
        for _ in range(PASSES):
            await asyncio.sleep(0)
        self.replay.add(event)
        self.wake(event)
        await asyncio.sleep(0)  # they take it before another one comes

    def end(self, error: Exception | None) -> None:
        """Say that nothing more comes."""
        if not self.is_over:
            self.is_over, self.error = True, error
            self.wake()

    def wake(self, event: Event | None = None) -> None:
        """Let all look again who wait, or give them the event that came last."""
        told = None if event is None else (self.replay.count, event)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(told)
        self._waiting.clear()

    async def wait(self, had: int, *, once: bool = False) -> Event | None:
        """Wait until there is more than was had, or nothing more comes.

        Args:
            had: How many events were had.
            once: Whether to return at the next :meth:`wake`, whatever it is for.

        Returns:
            The event behind that, where it is one that is not kept; else ``None``.
        """
        while had >= self.replay.count and not self.is_over:
            waiter: asyncio.Future[tuple[int, Event] | None] = asyncio.get_running_loop().create_future()
            self._waiting.add(waiter)
            try:
                told = await waiter
            finally:
                self._waiting.discard(waiter)
            if told is not None and told[0] == had + 1:
                return told[1]
            if once:
                break
        return None

    async def next(self, had: int) -> tuple[int, Event]:
        """Return what follows the event of that number, and its own number.

        Raises:
            StopAsyncIteration: Nothing does: it is over.
            BehindError: It is not kept any more.
            Exception: Nothing does: it failed.
        """
        event = await self.wait(had)
        if event is not None:
            return had + 1, event
        if had >= self.replay.count:
            self.raise_error()
            raise StopAsyncIteration
        try:
            return self.replay.after(had)
        except LookupError:
            raise BehindError from None

    def raise_error(self) -> None:
        """Raise why it failed, if it did: for each reader a copy, since a traceback belongs to one of them."""
        if self.error is not None:
            raise copy(self.error)


class Source(Protocol):
    """Where a reader has a turn's events from."""

    async def next(self, had: int) -> tuple[int, Event]:
        """Return what follows the event of that number, and its own number; as :meth:`Live.next`, but for what is lost.

        Raises:
            EventsDroppedError: It is not kept any more.
        """
        ...


class HubReader:
    """An async iterator of the events of a turn in a hub: what was missed first, words together, then as they come.

    Leaving it does nothing to the turn. Where what was missed has been dropped it raises
    :class:`~toolhouse_async.EventsDroppedError`.
    """

    __slots__ = ("_had", "_id", "_source")

    def __init__(self, source: Source, turn_id: str, had: int) -> None:
        """Made by the ``follow`` of a turn in a hub."""
        self._source: Source | None = source
        self._id = turn_id
        self._had = had

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event.

        May be cancelled; the next call goes on where this one was.
        """
        if self._source is None:
            raise StopAsyncIteration
        try:
            self._had, event = await self._source.next(self._had)
        except Exception:
            self._source = None
            raise
        return event

    @property
    def last_id(self) -> str:
        """The id of the event that was given last: a reader who comes back passes it to :meth:`HubTurn.follow`."""
        return f"{self._id}-{self._had}"

    async def aclose(self) -> None:
        """Leave the turn, which goes on. Idempotent."""
        self._source = None


def had_of(after: str | None, turn_id: str) -> int:
    """How many events of a turn a reader has had who comes with that id; none where it is of another turn, or none.

    Raises:
        ConfigurationError: It is neither a string nor ``None``.
    """
    if after is not None and not isinstance(after, str):
        raise ConfigurationError(
            f"after must be the id of an event, as last_id and Last-Event-ID have it, or None, not {after!r:.80}"
        )
    turn, _, number = (after or "").rpartition("-")
    return int(number) if turn == turn_id and _NUMBER.fullmatch(number) else 0
