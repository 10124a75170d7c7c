"""Many messages to one worker, a bounded number at a time."""

from __future__ import annotations

import asyncio
import warnings
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeAlias

from ._source import Source
from ._values.results import MapItem, TurnResult
from .errors import ClosedError

Ask: TypeAlias = Callable[[str | None], Awaitable[TurnResult]]


class MapIterator:
    """The items of :meth:`AsyncToolhouse.map`, as they are done or in the order of the messages.

    ``async with`` (or :meth:`aclose`) ends the turns under way when it is left early. Cancelling one who waits for
    the next item does the same.
    """

    def __init__(
        self,
        ask: Ask,
        messages: Iterable[str | None] | AsyncIterable[str | None],
        *,
        check: Callable[[], None],
        concurrency: int,
        ordered: bool,
    ) -> None:
        self._ask = ask
        self._check = check
        self._wake = asyncio.Event()
        self._source = Source(messages, self._wake.set)
        self._concurrency = concurrency
        self._ordered = ordered
        self._pulled = 0
        self._running: set[asyncio.Task[MapItem]] = set()
        self._ready: deque[asyncio.Task[MapItem]] = deque()  # to be given out, in that order
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def __anext__(self) -> MapItem:
        if self._closed:
            raise ClosedError("the map is closed")
        self._check()
        try:
            while True:
                self._fill()
                if self._ready and self._ready[0].done():
                    return self._ready.popleft().result()
                if self._source.is_over and not self._running and not self._ready:
                    error, self._source.error = self._source.error, None
                    if error is not None:
                        raise error
                    raise StopAsyncIteration
                self._wake.clear()
                await self._wake.wait()
        except asyncio.CancelledError:
            await self.aclose()
            raise

    def _fill(self) -> None:
        """Start turns while there is room; finished ones that nobody took count too, up to as many again."""
        while len(self._running) < self._concurrency and len(self._running | set(self._ready)) < 2 * self._concurrency:
            taken = self._source.take()
            if taken is None:
                return
            self._start(*taken)

    def _start(self, message: str | None) -> None:
        task = asyncio.ensure_future(_item(self._ask, self._pulled, message))
        self._pulled += 1
        self._running.add(task)
        if self._ordered:
            self._ready.append(task)
        task.add_done_callback(_done(self._running, None if self._ordered else self._ready, self._wake))

    async def aclose(self) -> None:
        """End the turns under way and wait until they have closed. Idempotent."""
        tasks: set[asyncio.Task[Any]] = {*self._running, *([self._source.pull] if self._source.pull else [])}
        if tasks:
            self._check()
        self._closed = True
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def __del__(self) -> None:
        running = getattr(self, "_running", None)
        if running and not self._closed:
            warnings.warn("a map was abandoned; use 'async with' or aclose()", ResourceWarning, 2, source=self)
            for task in list(running):
                if not task.get_loop().is_closed():
                    task.cancel()


async def _item(ask: Ask, index: int, message: str | None) -> MapItem:
    try:
        return MapItem(index, message, await ask(message))
    except Exception as error:  # noqa: BLE001 - one failure, of whatever kind, never ends the batch
        return MapItem(index, message, None, error)


def _done(
    running: set[asyncio.Task[MapItem]], ready: deque[asyncio.Task[MapItem]] | None, wake: asyncio.Event
) -> Callable[[asyncio.Task[MapItem]], None]:
    """What a finished task does; it holds no reference to the iterator, which may be abandoned."""

    def finished(task: asyncio.Task[MapItem]) -> None:
        running.discard(task)
        if ready is not None and not task.cancelled():
            ready.append(task)
        wake.set()

    return finished
