"""Time limits that are seldom reached: one timer of the event loop for all of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final, TypeAlias

PASSES: Final = 6
"""Passes of the event loop between a limit's time and its function.

In the first, sockets are read (some loops read before they ring, others after); then whoever waits for the bytes goes
on; then, by a few futures more, whoever waits for them.
"""


_Limit: TypeAlias = tuple[float, Callable[[], None], Callable[[], bool]]
"""When it is reached, what is called then, and whether what it waits for may be in a socket by then."""


def _always() -> bool:
    return True


class Watch:
    """Calls functions at times of the loop, unless they are dropped before.

    Every request and every answer has limits that it almost never comes to. A timer each would cost as much as
    the reading of a short answer. Here the loop's one timer stands at a time that none of the limits comes before;
    setting and dropping a limit is a change to a dictionary.

    A limit counts time in which the loop could read. Where the loop was held up past a limit, what it waits for may
    be in the socket already: so the loop is let to read once more before a function is called.

    Times are compared with the loop's clock alone. A timer may ring early or late, and the handles of some loops do
    not tell their time.

    Attributes:
        time: The clock of the event loop that asks for it first.
    """

    __slots__ = ("_limits", "_timer", "_timer_at", "time")

    def __init__(self) -> None:
        self._limits: dict[Hashable, _Limit] = {}
        self._timer: asyncio.Handle | None = None
        self._timer_at = math.inf  # where there is none
        self.time: Callable[[], float] = self._first_time

    def _first_time(self) -> float:
        self.time = asyncio.get_running_loop().time
        return self.time()

    def at(
        self, key: Hashable, when: float, function: Callable[[], None], *, may_read: Callable[[], bool] = _always
    ) -> None:
        """Have a function called at a time.

        Args:
            key: What it is set for, in place of what was set for it before.
            when: The loop's time.
            function: What is called.
            may_read: Whether what it waits for may be in a socket by then; else it is called at once.
        """
        self._limits[key] = (when, function, may_read)
        if when < self._timer_at:
            self._set_timer(when)

    def drop(self, key: Hashable) -> None:
        """Forget what was set for ``key``, if anything was."""
        self._limits.pop(key, None)

    def within(self, seconds: float | None) -> AbstractAsyncContextManager[None]:
        """Bound what is awaited in a block, as ``asyncio.timeout`` does; ``None`` does not.

        Where the loop was held up past the limit, the block has as much more as it came late: what is awaited may be
        an exchange, as a handshake is, and not only what lies in a socket.

        Raises:
            TimeoutError: It took longer.
        """
        return _Within(self, seconds)

    def close(self) -> None:
        """Forget everything."""
        self._limits.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_at = None, math.inf

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = asyncio.get_running_loop().call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer_at = -math.inf  # until all is called, nothing that is set needs another timer
        self._call(self.time(), PASSES)

    def _call(self, until: float, passes: int) -> None:
        """Call what was to be called until then; what may have something to read, so many passes later."""
        reached = [(key, limit) for key, limit in self._limits.items() if limit[0] <= until]
        reads_on = False
        try:
            for key, limit in sorted(reached, key=lambda each: each[1][0]):
                if self._limits.get(key) is not limit:
                    continue  # dropped or moved by one before
                _, function, may_read = limit
                if passes and may_read():
                    reads_on = True
                else:
                    del self._limits[key]
                    function()
        finally:  # the loop reports one that fails; the others have their time all the same
            self._timer = None
            if reads_on:
                self._timer = asyncio.get_running_loop().call_soon(self._call, until, passes - 1)
            elif self._limits:
                self._set_timer(min(when for when, _, _ in self._limits.values()))
            else:
                self._timer_at = math.inf


class _Within(AbstractAsyncContextManager[None]):
    """A block with a limit. No generator, which a loop that is stopped and dropped would have to close."""

    __slots__ = ("_cancelling", "_is_over", "_seconds", "_task", "_watch", "_when")

    def __init__(self, watch: Watch, seconds: float | None) -> None:
        self._watch = watch
        self._seconds = seconds
        self._when = 0.0
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0  # how often others had asked for its cancellation before
        self._is_over = False

    async def __aenter__(self) -> None:
        if self._seconds is not None:
            task = self._task = asyncio.current_task()
            assert task is not None  # noqa: S101 - only a task awaits
            self._cancelling = task.cancelling()
            self._when = self._watch.time() + self._seconds
            self._watch.at(self, self._when, self._reached)

    def _reached(self) -> None:
        now = self._watch.time()
        self._watch.at(self, now + (now - self._when), self._over)

    def _over(self) -> None:
        assert self._task is not None  # noqa: S101 - it has set the limit
        self._is_over = True
        self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task = self._task
        if task is not None:
            self._watch.drop(self)
            if self._is_over and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error
