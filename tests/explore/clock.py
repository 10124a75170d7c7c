"""The time of the state that is being advanced."""

from __future__ import annotations

from typing import Final

EPOCH: Final = 1000.0


class Clock:
    """A clock that is set.

    Attributes:
        now: The time.
    """

    def __init__(self) -> None:
        self.now = EPOCH

    def time(self) -> float:
        """The time."""
        return self.now


CLOCK: Final = Clock()
