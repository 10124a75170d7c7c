"""Refusals with 409 behind which no job stands: how often, and for how long, a message is sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._wire.pauses import CONFLICT_PAUSES

if TYPE_CHECKING:
    from .._values.results import Message
    from ..errors import ConflictError


class Conflicts:
    """The refusals of one message in a row; a few are borne, and more while the worker is seen to speak.

    Attributes:
        latest: The last of them.
        grew: Whether the history had grown by then since the one before.
    """

    __slots__ = ("_many", "_seen", "_since", "grew", "latest")

    def __init__(self, first: ConflictError) -> None:
        self.latest: ConflictError = first
        self.grew: bool = False
        self._many = 0
        self._since: float | None = None  # when the first of them was looked into
        self._seen: tuple[int, int] | None = None  # how large the history was at the refusal before

    def pause(self, history: tuple[Message, ...], now: float, limit: float | None) -> float | None:
        """Count the latest; the seconds after which to send again, ``None`` where it is enough.

        Args:
            history: What the run held right after it.
            now: The time.
            limit: Seconds for which a growing history is reason to go on; ``None`` for ever.
        """
        seen, self._seen = self._seen, (len(history), sum(len(entry.text) for entry in history))
        if self._since is None:
            self._since = now
        self.grew = seen is not None and self._seen > seen and (limit is None or now - self._since < limit)
        if self.grew:
            self._many = max(self._many - 1, 0)
        if self._many == len(CONFLICT_PAUSES):
            return None
        self._many += 1
        return CONFLICT_PAUSES[self._many - 1]
