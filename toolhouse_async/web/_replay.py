"""What a turn has said so far, for readers who come back: numbered, compact and bounded."""

from __future__ import annotations

from bisect import bisect_right
from sys import getsizeof
from typing import Final

from ..events import Event, StreamRecovered, TextDelta

__all__ = ["Replay"]

_PIECES: Final = 512
"""Pieces of text that one entry takes: the grain in which the oldest are dropped."""
_OVERHEAD: Final = 200
"""About how many bytes an event takes beside its line."""
_PIECE: Final = 8
"""The same of a piece of text, beside what Python says of it."""
_PARSED: Final = 8
"""How many times the length of its line an event may take: as received, and parsed."""


class _Words:
    """Pieces of text that came one after another."""

    __slots__ = ("first", "pieces", "size")

    def __init__(self, first: int) -> None:
        self.first = first
        self.pieces: list[str] = []
        self.size = 0


class _Other:
    """Any other event."""

    __slots__ = ("event", "first", "size")

    def __init__(self, first: int, event: Event) -> None:
        self.first = first
        self.event = event
        self.size = _OVERHEAD + _PARSED * len(event.line)
        if isinstance(event, StreamRecovered):
            self.size += getsizeof(event.text) + getsizeof(event.missing)


class Replay:
    """The events of a turn by their numbers, counted from 1.

    Words are kept as pieces, and read as one event as far as they had come: who returns gets few events. Beyond the
    bound the oldest are dropped, never the latest.

    Attributes:
        count: How many events came so far.
    """

    __slots__ = ("_entries", "_max_bytes", "_size", "count")

    def __init__(self, max_bytes: int) -> None:
        """Start empty.

        Args:
            max_bytes: About how many bytes of memory the events may take.
        """
        self.count = 0
        self._max_bytes = max_bytes
        self._size = 0
        self._entries: list[_Words | _Other] = []

    def add(self, event: Event) -> None:
        """Add the next event."""
        self.count += 1
        if type(event) is TextDelta:
            last = self._entries[-1] if self._entries else None
            if not isinstance(last, _Words) or len(last.pieces) == _PIECES or last.size > self._max_bytes // 8:
                last = _Words(self.count)
                self._entries.append(last)
            last.pieces.append(event.text)
            size = getsizeof(event.text) + _PIECE
            last.size += size
        else:
            entry = _Other(self.count, event)
            self._entries.append(entry)
            size = entry.size
        self._size += size
        if self._size > self._max_bytes:
            self._shrink()

    def _shrink(self) -> None:
        """Drop the oldest, an eighth more than is needed, so that it is seldom done."""
        dropped = 0
        while self._size > self._max_bytes * 7 // 8 and dropped < len(self._entries) - 1:
            self._size -= self._entries[dropped].size
            dropped += 1
        del self._entries[:dropped]

    def after(self, number: int) -> tuple[int, Event]:
        """What follows the event of that number, which must not be the last.

        Returns:
            An event, and its number; of several pieces of text the last one's.

        Raises:
            LookupError: It has been dropped.
        """
        index = bisect_right(self._entries, number + 1, key=_first) - 1
        if index < 0:
            raise LookupError(number)
        entry = self._entries[index]
        if isinstance(entry, _Other):
            return entry.first, entry.event
        pieces = entry.pieces[number + 1 - entry.first :]
        return number + len(pieces), TextDelta("".join(pieces))


def _first(entry: _Words | _Other) -> int:
    return entry.first
