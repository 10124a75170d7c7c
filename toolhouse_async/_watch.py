"""Time limits that are seldom reached: one timer of the event loop for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable


class Watch:
    """Calls functions at times of the loop, unless they are dropped before.

    Every request and every answer has limits that it almost never comes to. A timer each would cost as much as
    the reading of a short answer. Here the loop's one timer stands at a time that none of the limits comes before;
    setting and dropping a limit is a change to a dictionary.
    """

    __slots__ = ("_limits", "_loop", "_timer")

    def __init__(self) -> None:
        self._limits: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def time(self) -> Callable[[], float]:
        """The clock of the event loop that uses it first."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.time

    def at(self, key: Hashable, when: float, function: Callable[[], None]) -> None:
        """Have ``function`` called at ``when``, in place of what was set for ``key``."""
        self._limits[key] = (when, function)
        timer = self._timer
        if timer is None or when < timer.when():
            self._set_timer(when)

    def drop(self, key: Hashable) -> None:
        """Forget what was set for ``key``, if anything was."""
        self._limits.pop(key, None)

    def close(self) -> None:
        """Forget everything."""
        self._limits.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._look)

    def _look(self) -> None:
        timer, self._timer = self._timer, None
        now = 0.0 if timer is None else timer.when()  # a timer may be early by a rounding
        reached = [(when, key) for key, (when, _) in self._limits.items() if when <= now]
        for _, key in sorted(reached, key=lambda each: each[0]):
            if key in self._limits:  # else dropped by one before
                self._limits.pop(key)[1]()
        if self._limits:
            earliest = min(when for when, _ in self._limits.values())
            if self._timer is None or earliest < self._timer.when():
                self._set_timer(earliest)
