"""One answer's body into events."""

from __future__ import annotations

import codecs
from typing import Literal

from ._log import log
from ._transport import Answer, Cut
from ._wire.answers import job_id_of, run_id_of
from ._wire.decode import EventDecoder
from ._wire.fold import Fold
from ._wire.jsontext import parse_line
from ._wire.lines import LineSplitter
from .errors import LineTooLongError
from .events import Event, TextDelta


class EventStream:
    """Reads an answer and adds its events to a list and a fold.

    Attributes:
        answer: The answer being read.
        run_id: The run id in its headers, if there was one.
        job_id: The job in its headers, if there was one.
        odd_end: Whether the body ended within a character or a line that is not JSON.
    """

    def __init__(
        self, answer: Answer, format: Literal["ndjson", "text"], decoder: EventDecoder, max_line: int, fold: Fold
    ) -> None:
        self.answer = answer
        self.run_id = run_id_of(answer.lookup)
        self.job_id = job_id_of(answer.lookup)
        self.odd_end = False
        self._decoder = decoder
        self._max_line = max_line
        self._fold = fold
        self._splitter = LineSplitter(max_line) if format == "ndjson" else None
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")

    async def read_into(self, events: list[Event]) -> bool:
        """Read once and add what that gives to ``events``; whether there may be more.

        A cancelled call loses nothing.

        Raises:
            Cut: The body ended too early; what it held has been added in earlier calls.
            LineTooLongError: A line is above the limit; what came before it has been added.
            MalformedEventError: The decoder is strict; what came before the line has been added.
            BodyTooLargeError: The body is above the limit.
        """
        try:
            data = await self.answer.read()
        except Cut:
            self._add_cut_line(events)
            raise
        if self._splitter is None:
            self._add_text(data, events)
        elif data:
            self._add_lines(self._splitter.feed(data), events)
            if self._splitter.too_long:
                raise LineTooLongError(
                    f"line {self._splitter.lines + 1} is longer than Limits.max_line ({self._max_line} bytes)",
                    run_id=self.run_id,
                )
        else:
            malformed = self._fold.malformed
            self._add_lines(self._splitter.finish(), events)
            self.odd_end = self._fold.malformed != malformed
        return bool(data)

    def _add_lines(self, lines: list[bytes], events: list[Event]) -> None:
        if not lines:
            return
        assert self._splitter is not None  # noqa: S101 - lines come from it
        malformed = self._fold.malformed
        added: list[Event] = []
        try:
            self._decoder.extend(added, lines, self._splitter.lines - len(lines) + 1)
        finally:
            self._fold.add(added)
            events.extend(added)
        if self._fold.malformed != malformed:
            log.warning("run %s: %d lines are not JSON", self.run_id, self._fold.malformed - malformed)

    def _add_text(self, data: bytes, events: list[Event]) -> None:
        if data:
            if text := self._characters.decode(data):
                added = [TextDelta(text)]
                self._fold.add(added)
                events.extend(added)
        else:
            self.odd_end = bool(self._characters.getstate()[0])

    def _add_cut_line(self, events: list[Event]) -> None:
        """Deliver a last line that is complete but for its newline; half an object is no event."""
        if self._splitter is not None:
            self._add_lines([line for line in self._splitter.finish() if type(parse_line(line)) is dict], events)
