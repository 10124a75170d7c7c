"""Ctrl-C that ends one thing and not the program."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

__all__ = ["Interrupted", "Interrupts"]

T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818 - no error
    """Ctrl-C ended what was awaited."""


class Interrupts:
    """Takes Ctrl-C (SIGINT) within its ``with`` block: it ends what :meth:`until` awaits.

    One that comes between two such calls ends the next one before it begins.
    """

    def __init__(self) -> None:
        self._came = False
        self._stop: Callable[[], None] | None = None
        self._before: Any = None

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(self._interrupt))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    async def until(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something that Ctrl-C cancels.

        Raises:
            Interrupted: It did.
        """
        if self._came:
            self._came = False
            work.close()
            raise Interrupted
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(None)

        def stop() -> None:
            if limit.when() is None:  # else it is being cancelled already
                limit.reschedule(loop.time())

        try:
            async with limit:
                self._stop = stop
                try:
                    return await work
                finally:
                    self._stop = None
        except TimeoutError:
            if limit.expired():
                raise Interrupted from None
            raise

    def _interrupt(self) -> None:
        if self._stop is None:
            self._came = True
        else:
            self._stop()
