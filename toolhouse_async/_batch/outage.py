"""When to try again while the service is away, and when the next message may begin."""

from __future__ import annotations

from typing import Final

FIRST: Final = 1.0
"""Seconds of the first pause."""
LONGEST: Final = 60.0
"""Seconds of the longest, where the service has not asked for more."""
MOST_ASKED: Final = 3600.0
"""Seconds that the service is given at most where it asks for a pause: it may be back sooner than it said."""


class Outage:
    """Whether the service is away, and until when nothing is tried.

    Attributes:
        is_on: Whether it is away, for all that is known.
        until: When to try again.
    """

    def __init__(self) -> None:
        self.is_on: bool = False
        self.until: float = 0.0
        self._since = 0.0
        self._asked_until = 0.0
        self._failures = 0

    def failed(self, now: float, *, began: float, asked: float | None, draw: float) -> bool:
        """Something has met with the service being away.

        Args:
            now: The time.
            began: When it began: what began before the pause says nothing of the service behind it.
            asked: Seconds that the service asks to wait, if it does.
            draw: A random number from 0 to 1.

        Returns:
            Whether it is tried later, for that.
        """
        asked = min(asked or 0.0, MOST_ASKED)
        self._asked_until = max(self._asked_until, now + asked)
        if self.is_on and began < self._since:
            is_later = now + asked > self.until and asked > 0
            self.until = max(self.until, now + asked)
            return is_later
        self.is_on, self._since = True, now
        pause = min(LONGEST, FIRST * 2.0 ** min(self._failures, 30)) * (0.5 + 0.5 * draw)
        self._failures += 1
        self.until = now + max(pause, asked)
        return True

    def worked(self, now: float) -> None:
        """The service has answered a message; where it has asked for a pause, that lasts all the same."""
        if now >= self._asked_until:
            self.is_on, self._failures = False, 0


class Pace:
    """So many messages a second, evenly."""

    def __init__(self, rate: float | None) -> None:
        """Set the pace.

        Args:
            rate: Messages a second; ``None``: as many as there are.
        """
        self._interval = 0.0 if rate is None else 1.0 / rate
        self._next = 0.0

    def place(self, now: float) -> float:
        """Take the next place: when its message may begin."""
        at = max(now, self._next)
        self._next = at + self._interval
        return at
