"""How fast rows come to an end, and how long the others will take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

RECENT: Final = 60.0
"""Seconds that the rate looks back, where rows come to an end often enough."""
FEWEST: Final = 20
"""Rows that it looks back on at least: where each takes minutes, a minute says nothing."""
STEP: Final = 0.5
"""Seconds that are kept as one."""
SHORTEST: Final = 1.0
"""Seconds after which there is a rate: what the first rows of a moment took says little of the next."""


class Speed:
    """The rows that have come to an end lately."""

    def __init__(self, time: Callable[[], float]) -> None:
        """Begin with none.

        Args:
            time: Tells the time, in seconds.
        """
        self._time = time
        self._over = 0
        self._last = 0.0  # when a row came to its end
        self._points: deque[tuple[float, int]] = deque()  # when, and how many were over before and then

    def began(self) -> None:
        """Note that a row is being worked on; time counts from the first."""
        if not self._points:
            self._points.append((self._time(), 0))

    def ended(self) -> None:
        """Note that a row which was worked on has come to its end."""
        now, points = self._time(), self._points
        self._over += 1
        self._last = now
        if now >= points[-1][0] + STEP:
            points.append((now, self._over))
        while points[0][0] < now - RECENT and points[1][1] <= self._over - FEWEST:
            points.popleft()

    @property
    def rate(self) -> float | None:
        """Rows a second; ``None`` before one can tell."""
        if not self._over:
            return None
        since, before = self._points[0]
        seconds = self._time() - since
        return (self._over - before) / seconds if seconds >= SHORTEST else None

    def seconds_left(self, rows: int | None) -> float | None:
        """How long so many rows will take at this rate; ``None`` where one cannot tell.

        No less than the time for which none has come to its end: after many quick rows the last one may hang.
        """
        if rows == 0:
            return 0.0
        rate = self.rate
        return None if rows is None or not rate else max(rows / rate, self._time() - self._last)
