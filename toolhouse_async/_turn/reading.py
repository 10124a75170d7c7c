"""A reading of a history: messages, and what stands behind each."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, unique
from typing import NamedTuple

from .._values.nested import flatten
from .._values.results import Message
from .._wire.entries import End, how_it_ends, is_message
from .heard import Heard, Said, key_of, squeezed


def fingerprint(entries: Sequence[Message]) -> str:
    """What stands for entries of a history."""
    return key_of("".join(key_of(repr(flatten(entry.raw))) for entry in entries))


class Reply(NamedTuple):
    """What a history shows of the answer to a message.

    Attributes:
        text: The worker's words in it, ``""`` while there are none.
        end: What stands last in it.
        size: Entries of it.
    """

    text: str
    end: End
    size: int


@unique
class Sight(Enum):
    """What one reading proves of a message."""

    ARRIVED = "it stands there"
    ABSENT = "all that came before it stands there, and nothing else"
    LAGS = "not all that came before it stands there yet"
    ODD = "what stands there is not what was said and heard"


class Segment:
    """A message with words, and all that stands behind it up to the next one; the first has none."""

    __slots__ = ("_text", "entries", "key", "message")

    def __init__(self, message: Message | None) -> None:
        self.message = message
        self.key = None if message is None else key_of(message.text)
        self.entries: list[Message] = []
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The worker's words in it, without white space."""
        if self._text is None:
            self._text = "".join(squeezed(entry.text) for entry in self.entries if entry.role == "assistant")
        return self._text

    @property
    def empty_messages(self) -> int:
        """How many messages without words stand in it."""
        return sum(map(is_message, self.entries))

    @property
    def last_empty(self) -> int:
        """How many messages without words stand behind the worker's last words in it."""
        many = 0
        for entry in reversed(self.entries):
            if entry.role == "assistant" and entry.text:
                break
            many += is_message(entry)
        return many

    def sight_of(self, heard: Heard, *, is_last: bool) -> Sight:
        """Whether the worker's words in it are what was heard."""
        size = len(self.text)
        if size < heard.size + heard.more:
            return Sight.LAGS if is_last else Sight.ODD
        fits = heard.begins(self.text) and (size == heard.size or not heard.whole)
        return Sight.ARRIVED if fits else Sight.ODD

    def reply(self, skipped: int, *, is_last: bool) -> Reply:
        """The answer behind the first characters of the worker's words, white space left aside."""
        pieces: list[str] = []
        behind: list[Message] = []
        for entry in self.entries:
            words = entry.text if entry.role == "assistant" else ""
            size = len(squeezed(words))
            if skipped and size <= skipped:
                skipped -= size
                continue
            if skipped:
                words, skipped = _without(words, skipped), 0
            pieces.append(words)
            behind.append(entry)
        while behind and is_message(behind[0]):
            del behind[0]  # the empty message itself
        end = how_it_ends(behind)
        if end is End.TOOL and not is_last:
            end = End.NOTHING  # somebody has gone on, so the run does not wait
        return Reply("".join(pieces), end, len(behind))


def _without(words: str, skipped: int) -> str:
    """A text without its first characters, white space left aside; there are more."""
    index = 0
    while skipped or words[index].isspace():
        skipped -= not words[index].isspace()
        index += 1
    return words[index:]


class Group(NamedTuple):
    """A message with words, and those without that were said behind it; the first may have none with words."""

    members: list[Said]

    @property
    def head(self) -> Said | None:
        return None if self.members[0].is_empty else self.members[0]

    @property
    def heard(self) -> Heard | None:
        """What was heard behind all of it."""
        return self.members[-1].heard

    def matches(self, segment: Segment, *, is_last: bool) -> Sight:
        """Whether a segment is what was said and heard."""
        head, heard = self.head, self.heard
        if head is not None and segment.key != head.key:
            return Sight.ODD
        return Sight.ARRIVED if heard is None else segment.sight_of(heard, is_last=is_last)


def why_moved(history: Sequence[Message], seen: tuple[int, str]) -> Sight | None:
    """Why a history does not begin with what was seen of it; ``None`` if it does."""
    length, seen_entries = seen
    if len(history) < length:
        return Sight.LAGS
    return None if fingerprint(history[:length]) == seen_entries else Sight.ODD


def segments_of(history: Sequence[Message]) -> list[Segment]:
    """Part a history at its messages with words; the first segment holds what stands before them."""
    segments = [Segment(None)]
    for entry in history:
        if is_message(entry) and entry.text:
            segments.append(Segment(entry))
        else:
            segments[-1].entries.append(entry)
    return segments
