"""What a turn has said so far, for readers who come back: numbered, compact and bounded."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from sys import getsizeof
from typing import Final

import attrs

from ..events import Event, TextDelta

__all__ = ["Replay"]

_PIECES: Final = 512
"""Pieces of text that one entry takes: the grain in which the oldest are dropped."""
_OVERHEAD: Final = 200
"""About how many bytes an entry takes beside what it holds."""
_LEAST: Final = 128 * 1024
"""Bytes up to which the latest event is held whatever the bound."""
_PIECE: Final = 8
"""The same of a piece of text, beside what Python says of it."""


def weight(event: Event, most: int) -> int:
    """Bytes of memory that an event holds, beside its line and a turn's result; beyond ``most`` not exactly."""
    size, left = _OVERHEAD, [getattr(event, each.name) for each in attrs.fields(type(event)) if each.name != "line"]
    while left and size <= most:
        item = left.pop()
        size += getsizeof(item)
        if type(item) is dict:
            left += item
            left += item.values()
        elif type(item) is list:
            left += item
    return size


class _Words:
    """Pieces of text that came one after another."""

    __slots__ = ("first", "pieces", "size")

    def __init__(self, first: int) -> None:
        self.first = first
        self.pieces: list[str] = []
        self.size = 0


class _Other:
    """Any other event; of the line that several share, one of them carries the weight."""

    __slots__ = ("event", "first", "line_size", "size")

    def __init__(self, first: int, event: Event, size: int) -> None:
        self.first = first
        self.event = event
        self.size = size
        self.line_size = 0

    def carry(self) -> int:
        """Carry the weight of the line, and return it."""
        self.line_size = getsizeof(self.event.line)
        self.size += self.line_size
        return self.line_size


class Replay:
    """The events of a turn by their numbers, counted from 1.

    Words are kept as pieces, and read as one event as far as they had come: who returns gets few events. Beyond the
    bound the oldest are dropped; the latest only where it is beyond that alone.

    Attributes:
        count: How many events came so far.
        came: About how many bytes of memory they took, all together.
    """

    __slots__ = ("_entries", "_line", "_max_bytes", "_size", "came", "count")

    def __init__(self, max_bytes: int, count: int = 0) -> None:
        """Start empty.

        Args:
            max_bytes: About how many bytes of memory the events may take.
            count: How many events had come before, of which none is held.
        """
        self.count: int = count
        self.came: int = 0
        self._line = b""  # the latest that an entry carries
        self._max_bytes = max_bytes
        self._size = 0
        self._entries: list[_Words | _Other] = []

    def can_hold(self, event: Event) -> bool:
        """Whether an event is within the bound, were it alone."""
        most = max(self._max_bytes, _LEAST)
        return weight(event, most) + getsizeof(event.line) <= most

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
            size = weight(event, max(self._max_bytes, _LEAST))
            entry = _Other(self.count, event, size)
            self._entries.append(entry)
            if event.line is not self._line:
                self._line = event.line
                size += entry.carry()
        self._size += size
        self.came += size
        if self._size > self._max_bytes:
            self._shrink()

    @property
    def first(self) -> int:
        """The number of the oldest event that is held; of the next one where none is."""
        return self._entries[0].first if self._entries else self.count + 1

    def skip(self, count: int) -> None:
        """Go on behind the event of that number: those before it did not come, and none of them is held."""
        self._entries.clear()
        self._size, self._line, self.count = 0, b"", count

    def _shrink(self) -> None:
        """Drop the oldest, an eighth more than is needed, so that it is seldom done."""
        dropped = 0
        while self._size > self._max_bytes * 7 // 8 and dropped < len(self._entries) - 1:
            self._drop(dropped)
            dropped += 1
        if self._size > max(self._max_bytes, _LEAST):
            self._drop(dropped)
            dropped += 1
        del self._entries[:dropped]

    def _drop(self, index: int) -> None:
        """Take an entry's weight off; the next one of its line carries that now."""
        entry = self._entries[index]
        self._size -= entry.size
        if isinstance(entry, _Other) and entry.line_size:
            others = (each for each in islice(self._entries, index + 1, None) if isinstance(each, _Other))
            heir = next(others, None)
            if heir is not None and heir.event.line is entry.event.line:
                self._size += heir.carry()
            elif entry.event.line is self._line:
                self._line = b""

    def after(self, number: int) -> tuple[int, Event]:
        """What follows the event of that number, which must not be the last.

        Returns:
            An event, and its number; of several pieces of text the last one's.

        Raises:
            LookupError: It has been dropped.
        """
        held = self.held_after(number)
        if isinstance(held, list):
            return number + len(held), TextDelta("".join(held))
        return number + 1, held

    def held_after(self, number: int) -> list[str] | Event:
        """What follows the event of that number, which must not be the last: pieces of text, or another event.

        Raises:
            LookupError: It has been dropped.
        """
        index = bisect_right(self._entries, number + 1, key=_first) - 1
        if index < 0:
            raise LookupError(number)
        entry = self._entries[index]
        return entry.event if isinstance(entry, _Other) else entry.pieces[number + 1 - entry.first :]


def _first(entry: _Words | _Other) -> int:
    return entry.first
