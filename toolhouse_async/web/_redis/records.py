"""A turn's events as they stand in a stream of Redis.

An entry holds pieces of text, or events that came from one line. Its id is ``LAST-COUNT``: the number of its last
event, counted from 1, and how many it holds. So an id says what an entry follows, and where something is missing
between two. The last entry of a stream says how the turn ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from ..._values.eventjson import event_json, json_text
from ..._values.eventread import read_error, read_event
from ..._wire.ids import is_id
from ..._wire.jsontext import loads
from ...errors import OutcomeUnknownError, StoreError, StreamInterruptedError
from ...events import Event, TextDelta, TurnCompleted
from .._replay import Replay

__all__ = ["END", "End", "Entry", "entries_of", "pack", "unpack"]

END: Final = 1 << 53
"""The number of the last entry, above that of any event."""
BATCH: Final = 256 * 1024
"""About how many bytes are written at once."""
MOST: Final = 100
"""How many entries are written at once."""


@frozen
class Entry:
    """What stands in one entry.

    Attributes:
        last: The number of its last event.
        held: Its pieces of text, or its events.
    """

    last: int
    held: Sequence[str | Event]

    @property
    def before(self) -> int:
        """The number of the event before it."""
        return self.last - len(self.held)

    def events(self, had: int) -> list[Event]:
        """Its events behind one that was had, or all."""
        return [TextDelta(each) if isinstance(each, str) else each for each in self.held[max(0, had - self.before) :]]


@frozen
class End:
    """How a turn ended: its error, if it failed."""

    error: Exception | None


def pack(entry: Entry) -> list[bytes | int]:
    """Write an entry: its id, what kind of words it has, these, and the line of its events."""
    first, name = entry.held[0], f"{entry.last}-{len(entry.held)}".encode()
    if isinstance(first, str):
        return [name, b"w", json_text(list(entry.held)).encode(), b""]
    kind = b"r" if isinstance(first, TurnCompleted) else b"e"
    written = b",".join(event_json(each) for each in entry.held if not isinstance(each, str))
    return [name, kind, b"[%s]" % written, first.line]


def unpack(name: bytes, fields: Mapping[bytes, bytes]) -> Entry | End:
    """Read an entry.

    Raises:
        ValueError: Nobody can: it was not written by this library, or by another version.
    """
    last, _, count = name.partition(b"-")
    if int(last) == END:
        try:
            return End(_error(fields))
        except ValueError:
            return End(StoreError("the turn failed, and nobody can read why"))
    held = loads(fields.get(b"w") or fields.get(b"e") or fields.get(b"r") or b"")
    if not isinstance(held, list) or len(held) != int(count):
        raise ValueError("an entry of another length than its name says")
    if b"w" not in fields:
        line = fields.get(b"l", b"")
        held = [read_event(each, line) for each in held]
    elif not all(isinstance(each, str) for each in held):
        raise ValueError("words that are no text")
    return Entry(int(last), held)


def _error(fields: Mapping[bytes, bytes]) -> Exception | None:
    lost = fields.get(b"lost")
    if lost is None:
        error = fields.get(b"end", b"")
        return read_error(loads(error)) if error else None
    had_begun, _, run = lost.partition(b" ")
    run_id = run.decode("ascii", "replace")
    known = run_id if is_id(run_id) else None
    if had_begun == b"0":
        return OutcomeUnknownError(
            "the process that ran the turn is gone, and nobody knows whether its message was accepted", run_id=known
        )
    return StreamInterruptedError(
        "the process that ran the turn is gone; its message was accepted, and the history has what came of it",
        run_id=known,
        safe_to_retry=False,
    )


def entries_of(replay: Replay, written: int) -> list[Entry]:
    """What is to be written next: what is held behind the event of that number, up to some size."""
    entries: list[Entry] = []
    number, size = max(written, replay.first - 1), 0
    while number < replay.count and size < BATCH and len(entries) < MOST:
        held = replay.held_after(number)
        if isinstance(held, list):
            entry = Entry(number + len(held), held)
            size += sum(map(len, held))
        else:
            entry = _of_one_line(replay, number, held)
            size += len(held.line) + 1000 * len(entry.held)
        entries.append(entry)
        number = entry.last
    return entries


def _of_one_line(replay: Replay, number: int, first: Event) -> Entry:
    events = [first]
    number += 1
    while first.line and number < replay.count:
        following: Any = replay.held_after(number)
        if isinstance(following, list) or following.line is not first.line or isinstance(following, TurnCompleted):
            break
        events.append(following)
        number += 1
    return Entry(number, events)
