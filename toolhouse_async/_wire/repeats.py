"""What a stream has said so far: whether a whole message at its end was said in pieces before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final, TypeAlias
from zlib import crc32

from ..events import Event, TextDelta, ToolCall, ToolResult, UnknownEvent

_Words: TypeAlias = tuple[int, int]
"""What stands for words: their bytes, and a checksum of them."""

_FEW: Final = 100

_NONE: Final[_Words] = (0, 0)


def _followed(words: _Words, text: str) -> _Words:
    if not text:
        return words
    data = text.encode("utf-8", "surrogatepass")
    return words[0] + len(data), crc32(data, words[1])


class Repeats:
    """The words, calls and results of a stream, in order. The words themselves are not kept.

    Attributes:
        texts: The words since they were taken last, each as it came.
        others: The events since then that are neither words nor unknown.
        unknown: How many have been unknown since then.
        mark: How many of the texts came before the latest of a tool's events; -1 where that has been reckoned in.
        called: The ids of calls that were no part of a whole message.
        in_pieces: Whether some of all words came in pieces, as far as they have been counted.
        is_whole: Whether what is taken next is a whole message.
    """

    __slots__ = (
        "_all", "_backlog", "_counted", "_repeated", "_since", "_summed", "_sums_up", "_things",
        "called", "in_pieces", "is_whole", "mark", "others", "texts", "unknown",
    )  # fmt: skip

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.others: list[Event] = []
        self.unknown: int = 0
        self._backlog: list[list[str]] = []  # words that were given out and are not yet in these:
        self._counted = 0  # how many of the texts are in these:
        self._all = _NONE  # all words of the stream …
        self._since = _NONE  # … and those since a tool, or a whole message
        self._repeated = _NONE  # the whole message that was said last, having been said in pieces
        self.mark: int = -1
        self.called: dict[str | None, None] | None = None
        self.in_pieces: bool = False
        self.is_whole: bool = False
        self._things = 0  # how often tools' calls and results have come
        self._summed = (0, 0)  # how much there was when an answer was summed up
        self._sums_up = False  # whether what is taken next does so

    def take(self, events: Sequence[Event]) -> None:
        """Note what comes next."""
        for event in events:
            kind = type(event)
            if kind is TextDelta:
                self.texts.append(event.text)  # type: ignore[union-attr]
                continue
            if kind is UnknownEvent:
                self.unknown += 1
                continue
            self.others.append(event)
            if kind is ToolCall or kind is ToolResult:
                self.mark = len(self.texts)
                if kind is ToolCall and not self.is_whole:
                    self.note(event.id)  # type: ignore[union-attr]
        if self.is_whole:
            self.count(in_pieces=False)
            self._since, self.is_whole = _NONE, False
        if self._sums_up:
            self._summed, self._sums_up = self._extent, False

    def pass_over(self, many: int) -> None:
        """Note so many events that are unknown."""
        self.unknown += many

    def note(self, call_id: str | None) -> None:
        """Note a call that is no part of a whole message."""
        if self.called is None:
            self.called = {}
        self.called[call_id] = None

    def count(self, *, in_pieces: bool = True) -> None:
        """Reckon in the latest words."""
        if self._backlog:
            given, self._backlog = self._backlog, []
            self._reckon(list(chain.from_iterable(given)), None, in_pieces=True)
        counted = self._counted
        if counted == len(self.texts) and self.mark < 0:
            return
        self._counted = len(self.texts)
        self._reckon(self.texts[counted:] if counted else self.texts, counted, in_pieces=in_pieces)

    def _reckon(self, new: list[str], counted: int | None, *, in_pieces: bool) -> None:
        """Reckon in words, before which so many stand that are not given out; ``None`` for those that are."""
        text, mark = "".join(new), self.mark
        is_all = self._since is self._all
        self._all = _followed(self._all, text)
        if counted is not None and counted <= mark:
            self._things += 1
            self.mark, self._since = -1, _NONE
            text, is_all = "".join(new[mark - counted :]), False
        self._since = self._all if is_all else _followed(self._since, text)
        self.in_pieces = self.in_pieces or (in_pieces and bool(new))

    def drain(self) -> tuple[list[str], list[Event], int]:
        """Give out the words since the last time, the other events, and how many were unknown."""
        texts, others, unknown = self.texts, self.others, self.unknown
        if self._counted or self.mark >= 0 or len(texts) > _FEW or len(self._backlog) > _FEW:
            self.count()
            self._counted = 0
        elif texts:
            self._backlog.append(texts)  # not worth a sum yet
        self.texts, self.unknown = [], 0
        if others:
            self.others = []
        return texts, others, unknown

    def give(self, text: str) -> None:
        """Note words that are given out at once, all before them having been."""
        backlog = self._backlog
        backlog.append([text])
        if len(backlog) > _FEW:
            self.count()

    def give_tool(self, event: Event) -> None:
        """Note a tool's event that is given out at once, all before it having been."""
        self.mark = 0
        if type(event) is ToolCall:
            self.note(event.id)
        self.count()

    def fresh(self, events: Sequence[Event]) -> Sequence[Event]:
        """What is new in a whole message: nothing of it, if its words have just been said in pieces."""
        self.count()
        said = _followed(_NONE, "".join(event.text for event in events if type(event) is TextDelta))
        if said == _NONE:
            return events
        is_all = said == self._all and self.in_pieces
        if is_all or said == self._since or (said == self._repeated and self._since == _NONE):
            self._repeated, self._since = said, _NONE
            return [event for event in events if not self._was_said(event)]
        self.is_whole = True
        return events

    def sum_up(self) -> bool:
        """Note that what has been said is said once more, all of it; whether nothing has been since the last time."""
        self._sums_up = True
        return self._extent == self._summed

    @property
    def has_summed_up(self) -> bool:
        """Whether an answer was summed up, so that the next that is depends on what has been said since."""
        return self._summed != (0, 0)

    def _was_said(self, event: Event) -> bool:
        return type(event) is TextDelta or (type(event) is ToolCall and event.id in (self.called or ()))

    @property
    def _extent(self) -> tuple[int, int]:
        """How much has been said and done so far."""
        self.count()
        return self._all[0], self._things
