"""What turns and waiters share: one reader takes events from an engine."""

from __future__ import annotations

import asyncio
import warnings
from asyncio import get_running_loop
from typing import Self

from ._exchange import Exchange
from ._results import TurnResult
from .errors import ClosedError
from .events import Event


class EventReader:
    """An async iterator of events that opens at its first step and closes itself at the end or on an error."""

    __slots__ = ("__weakref__", "_engine", "_events", "_loop", "_raised")

    def __init__(self, engine: Exchange) -> None:
        self._engine = engine
        self._events = engine.events
        self._loop: asyncio.AbstractEventLoop | None = None  # on which an event was taken
        self._raised = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event.

        Cancelling closes the connection; what had been received and not taken is lost with the reader.
        """
        events = self._events
        while not events:
            if self._engine.is_over:
                self._raise_once()
                raise StopAsyncIteration
            await self._engine.advance()
        if get_running_loop() is not self._loop:
            self._loop = self._engine.check_loop()
        return events.popleft()

    def _raise_once(self) -> None:
        """Raise why it has no result to the reader, unless they have had it."""
        if self._raised:
            return
        error = self._engine.error
        if error is None and self._engine.result is None:
            error = ClosedError("closed before its end")
        if error is not None:
            self._raised = True
            raise error

    async def result(self) -> TurnResult:
        """Read to the end without keeping the events, and return the result.

        May be called at any time and again; an error is raised each time.

        Raises:
            ToolhouseError: The turn failed; see the tree in :mod:`toolhouse_async.errors`.
            ClosedError: It was closed before its end.
        """
        engine = self._engine
        if not engine.is_over:
            engine.check_loop()
        while not engine.is_over:
            self._events.clear()
            await engine.advance()
        self._events.clear()
        self._raised = True
        if engine.error is not None:
            raise engine.error
        if engine.result is None:
            raise ClosedError("closed before its end")
        return engine.result

    async def aclose(self) -> None:
        """Close it, from any task; one that is waiting for its next event gets ``ClosedError``. Idempotent."""
        if not self._engine.is_over:
            self._engine.check_loop()
            self._engine.interrupt(ClosedError("closed before its end"))

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)  # missing if __init__ failed
        if engine is None or engine.is_over or not engine.begun:
            return
        name = repr(self)
        engine.abandon()
        warnings.warn(f"{name} was abandoned; use 'async with' or aclose()", ResourceWarning, 2, source=self)
