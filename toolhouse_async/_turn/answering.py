"""One answer's body into events."""

from __future__ import annotations

import codecs
from collections import deque
from typing import Final, Literal

from .._wire.decode import EventDecoder
from .._wire.framed import is_whole
from .._wire.learned import Stream
from .._wire.lines import LineSplitter
from ..errors import LineTooLongError
from ..events import Event, TextDelta, ToolCall, ToolResult
from .fold import Fold

_Characters: Final = codecs.getincrementaldecoder("utf-8")


class Answering:
    """Makes an answer's bytes into events, which it adds to a list and a fold; reads nothing itself.

    Attributes:
        odd_end: Whether the body ended within a character, or a line that could not be read as JSON.
    """

    __slots__ = ("_characters", "_decoder", "_fold", "_max_line", "_splitter", "_stream", "odd_end")

    def __init__(self, format_: Literal["ndjson", "text"], decoder: EventDecoder, max_line: int, fold: Fold) -> None:
        self.odd_end: bool = False
        self._decoder = decoder
        self._max_line = max_line
        self._fold = fold
        self._stream = Stream()
        self._splitter: LineSplitter | None = None
        self._characters: codecs.IncrementalDecoder | None = None
        if format_ == "ndjson":
            self._splitter = LineSplitter(max_line)
        else:
            self._characters = _Characters("replace")

    @property
    def shows_no_tools(self) -> bool:
        """Whether tools may have been called that the answer does not tell of: text has the worker's words alone."""
        return self._splitter is None

    def feed(self, data: bytes, events: deque[Event]) -> None:
        """Add what the next bytes give to ``events``.

        Raises:
            LineTooLongError: A line is above the limit; what came before it has been added.
            MalformedEventError: The decoder is strict; what came before the line has been added.
        """
        if self._characters is not None:
            if text := self._characters.decode(data):
                self._fold.say(text)
                events.append(TextDelta(text))
            return
        splitter = self._splitter
        assert splitter is not None  # noqa: S101 - there is one or the other
        lines = splitter.feed(data)
        if len(lines) == 1 and (event := self._decoder.read_alone(lines[0], self._stream)) is not None:
            if type(event) is TextDelta:
                self._fold.say(event.text)
            else:
                self._fold.add(event)
            events.append(event)
        elif lines:
            self._add_lines(lines, splitter, events)
        if splitter.too_long:
            raise LineTooLongError(f"line {splitter.lines + 1} is longer than Limits.max_line ({self._max_line} bytes)")

    def end(self, events: deque[Event]) -> None:
        """The body is at its end: add a last line without a newline.

        Raises:
            MalformedEventError: As for :meth:`feed`.
        """
        if self._characters is not None:
            self.odd_end = bool(self._characters.getstate()[0])
            return
        splitter = self._splitter
        assert splitter is not None  # noqa: S101 - there is one or the other
        lines = splitter.finish()
        if lines or self._stream.begun or self._stream.pending:
            malformed = self._fold.malformed
            self._add_lines(lines, splitter, events, is_last=True)
            self.odd_end = self._fold.malformed != malformed

    def cut(self, events: deque[Event]) -> None:
        """The body was cut: add a last line that is complete but for its newline; half an object is no event."""
        if self._splitter is not None:
            lines = [line for line in self._splitter.finish() if is_whole(line)]
            self._add_lines(lines, self._splitter, events, is_last=True, is_cut=True)

    def _add_lines(
        self,
        lines: list[bytes],
        splitter: LineSplitter,
        events: deque[Event],
        *,
        is_last: bool = False,
        is_cut: bool = False,
    ) -> None:
        added: list[Event] = []
        stream = self._stream
        try:
            self._decoder.extend(added, lines, splitter.lines - len(lines) + 1, stream)
            if is_last:
                self._decoder.finish(added, stream, is_cut=is_cut)
        finally:
            if added:
                ends_in_tools = bool(stream.others) and isinstance(added[-1], ToolCall | ToolResult)
                self._fold.take(*stream.drain(), ends_in_tools=ends_in_tools)
                events.extend(added)
