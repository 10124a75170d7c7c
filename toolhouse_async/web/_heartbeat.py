"""The next item of an async iterator, or none within some seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Generic, TypeVar

from .._held import EventReader
from ..errors import ClosedError

__all__ = ["Paced"]

T = TypeVar("T")


class Paced(Generic[T]):
    """Reads an iterator with an eye on the clock: what is on its way goes on while the reader does something else.

    Needs a task where it has to wait, since cancelling a turn's step would end the turn; takes what is there already
    without one.
    """

    __slots__ = ("_ready", "_seconds", "_source", "_step")

    def __init__(self, source: AsyncIterator[T], seconds: float | None) -> None:
        """Prepare to read.

        Args:
            source: The iterator.
            seconds: How long to wait at most; ``None`` for ever, and without a task.
        """
        self._source = source
        self._seconds = seconds
        self._step: asyncio.Task[T] | None = None
        self._ready: Any = source._events if isinstance(source, EventReader) else ()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    async def next(self) -> T | None:
        """Return the next item; ``None`` if there is none yet.

        Raises:
            StopAsyncIteration: There is none any more.
            ClosedError: :meth:`stop` was called meanwhile.

        Cancelling cancels what is on its way.
        """
        if self._seconds is None or (self._step is None and self._ready):
            return await anext(self._source)
        if self._step is None:
            self._step = asyncio.ensure_future(_step(self._source))
        step = self._step
        try:
            done, _ = await asyncio.wait({step}, timeout=self._seconds)
        except asyncio.CancelledError:
            await self.stop()
            raise
        if self._step is not step or step.cancelled():
            raise ClosedError("the stream was closed")
        if not done:
            return None
        self._step = None
        return step.result()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return self._step is None or self._step.done()

    async def stop(self) -> None:
        """Cancel what is on its way, and wait until that has ended."""
        step = self._step
        if step is not None:
            step.cancel()
            await asyncio.wait({step})  # cancelled once more, it stays on its way to its own end
            self._step = None
            if not step.cancelled():
                step.exception()  # it ended in the same moment: nobody is left to be told

    def abandon(self) -> None:
        """Let it end by itself; for whoever cannot wait, in whatever thread."""
        if self._step is not None:
            with suppress(RuntimeError):  # the event loop may be gone
                self._step.get_loop().call_soon_threadsafe(self._step.cancel)


async def _step(source: AsyncIterator[T]) -> T:
    return await anext(source)
