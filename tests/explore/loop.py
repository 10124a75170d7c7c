"""An event loop without sockets: its clock jumps to the next timer, and it says when nothing will ever happen again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final

from tests.support.virtual_time import EPOCH

HORIZON: Final = 3600.0
"""Seconds of virtual time after which whoever still waits is taken to wait for ever."""


class Deadlock(BaseException):
    """Nothing is ready and nothing ever will be, or the end is not in sight."""


class TimerLoop(asyncio.BaseEventLoop):
    """An event loop of tasks and timers alone.

    ``tests.support.virtual_time`` looks at real sockets before it lets the clock jump, which takes a millisecond. Here
    there are none, so thousands of runs take a second, and no run waits for what cannot come.

    Attributes:
        on_pass: Called before each pass of the loop, if set; it may make tasks ready.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = EPOCH
        self._selector = self  # the base class asks it for events
        self._clock_resolution = 1e-9
        self.on_pass: Callable[[], None] | None = None

    def time(self) -> float:
        """The virtual time, in seconds."""
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """Let the clock jump by ``timeout`` seconds; there are no events.

        Raises:
            Deadlock: There is no timer either.
        """
        if self.on_pass is not None:
            self.on_pass()
            if self._ready:  # type: ignore[attr-defined] # of the base class
                return []
        if timeout is None:
            raise Deadlock("nothing is ready, and nothing ever will be")
        if timeout > 0:
            self._now = max(self._now + timeout, math.nextafter(self._now, math.inf))
            if self._now > EPOCH + HORIZON:
                raise Deadlock(f"something still waits after {HORIZON:g} s")
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """No other thread ever has to wake it."""
