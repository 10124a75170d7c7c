"""Lines that are no objects of JSON: fields of Server-Sent Events, and the AI SDK's data stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..errors import MalformedEventError
from ..events import Event, MalformedLine, TextDelta, UnknownEvent
from .fields import error, text
from .jsontext import loads, parse_line
from .learned import Stream
from .objects import ObjectReader, kind_of
from .shapes import PARTS, SHAPES
from .words import normal

_MOST_PENDING: Final = 100
"""Lines of data that may have to be put together."""


class LineReader(ObjectReader):
    """Reads such lines, and the JSON that stands in them.

    Args:
        strict: Raise for a line that cannot be read as JSON, instead of giving a ``MalformedLine``.
    """

    def __init__(self, *, strict: bool) -> None:
        super().__init__()
        self.strict: bool = strict

    def _add(self, made: Sequence[Event], events: list[Event], stream: Stream) -> None:
        made = stream.before(made)
        stream.take(made)
        events += made

    def _refused(self, line: bytes, number: int, events: list[Event], stream: Stream) -> None:
        """A line that orjson refuses."""
        begin, colon, _ = line.partition(b":")
        name = begin.strip()
        if stream.pending and (name != b"data" or not colon):
            self._put_together(events, stream)
        if not line.strip():
            stream.event = None
        elif name == b"data" and colon:
            self._data(line, number, events, stream)
        else:
            self._other(line, number, events, stream)

    def _other(self, line: bytes, number: int, events: list[Event], stream: Stream) -> None:
        """A line that is no data of Server-Sent Events."""
        try:
            value = loads(line)
        except ValueError as refusal:
            made = self._part(line, line, stream) or self._field(line, stream)
            if made is None:
                self._malformed(line, number, str(refusal), events, stream)
                return
        else:
            made = self._value(value, line, stream)
        self._add(made, events, stream)

    def _malformed(self, line: bytes, number: int, reason: str, events: list[Event], stream: Stream) -> None:
        if self.strict:
            raise MalformedEventError(f"line {number} could not be read as JSON: {reason}")
        self._add((MalformedLine(line, number, reason),), events, stream)

    def _part(self, text: bytes, line: bytes, stream: Stream) -> Sequence[Event] | None:
        """A line of the AI SDK's data stream."""
        begin, colon, rest = text.partition(b":")
        kind = PARTS.get(begin.strip().decode("latin-1")) if colon else None
        if kind is None:
            return None
        try:
            value = loads(rest)
        except ValueError:
            return None
        if kind == "text" and type(value) is str:
            return self._in_pieces((TextDelta(value, line=line),), stream)
        if kind == "error":
            return (error({"error": value}, line),)
        shape = SHAPES.get(kind) if type(value) is dict and kind != "text" else None
        made = None if shape is None else self._made(shape, value, line, stream)
        return made or (UnknownEvent(kind, value, line=line),)

    def _field(self, line: bytes, stream: Stream) -> Sequence[Event] | None:
        """A line of Server-Sent Events that is no data: a comment, or one that names an event."""
        begin, colon, rest = line.partition(b":")
        try:
            name, said = begin.strip().decode("ascii"), rest.decode().strip()
        except ValueError:
            return None
        if name not in ("", "event", "id", "retry") or not colon:
            return None
        stream.event = said if name == "event" else stream.event
        return (UnknownEvent(None, f"{name}: {said}", line=line),)

    def _data(self, line: bytes, number: int, events: list[Event], stream: Stream) -> None:
        """A line of data of Server-Sent Events; data that are none by themselves may go on with the next line."""
        said = line.partition(b":")[2].strip()
        if said in (b"", b"[DONE]"):
            self._put_together(events, stream)
            done = UnknownEvent(None, f"data: {said.decode()}", line=line)
            self._add([*(stream.finish() if said else ()), done], events, stream)
            return
        made = None if stream.pending else self._of_data(said, line, stream)
        if made is not None:
            self._add(made, events, stream)
            return
        stream.pending = (*stream.pending, (line, number))
        may_go_on = said[:1] in b'{["' or stream.event
        if len(stream.pending) >= _MOST_PENDING or (len(stream.pending) == 1 and not may_go_on):
            self._put_together(events, stream)

    def _of_data(self, said: bytes, line: bytes, stream: Stream) -> Sequence[Event] | None:
        """Data of Server-Sent Events, whose type may have stood on a line before; ``None`` if they are not whole."""
        try:
            value = loads(said)
        except ValueError:
            return self._part(said, line, stream)
        named, stream.event = stream.event, None
        if named and normal(named) in self._shapes:
            if type(value) is dict and kind_of(value) is None:
                value = {**value, "event": named}
            elif type(value) in (int, float, bool) and self._shapes[normal(named)] is text:
                value = said.decode()
        return self._value(value, line, stream)

    def _put_together(self, events: list[Event], stream: Stream, *, is_cut: bool = False) -> None:
        """Read data that came on several lines; where they are nothing together, each by itself."""
        pending, stream.pending = stream.pending, ()
        if not pending:
            return
        pieces = [line.partition(b":")[2].removeprefix(b" ") for line, _ in pending]
        last = pending[-1][0]
        made = self._of_data(b"\n".join(pieces), last, stream) or self._plain(b"\n".join(pieces), last, stream)
        if made is not None:
            self._add([UnknownEvent(None, _shown(line), line=line) for line, _ in pending[:-1]], events, stream)
            self._add(made, events, stream)
            return
        for line, number in pending:
            made = self._of_data(line.partition(b":")[2].strip(), line, stream)
            if made is not None:
                self._add(made, events, stream)
            elif not is_cut:
                self._malformed(line, number, "the data of an event could not be read as JSON", events, stream)

    def _plain(self, said: bytes, line: bytes, stream: Stream) -> Sequence[Event] | None:
        """Data that are plain words, of an event that is known to have such."""
        shape = None if stream.event is None else self._shapes.get(normal(stream.event))
        if shape not in (text, error):
            return None
        stream.event = None
        words = said.decode(errors="replace")
        if shape is text:
            return self._in_pieces((TextDelta(words, line=line),), stream)
        return (error({"error": words}, line),)


def _shown(line: bytes) -> str:
    return line.decode(errors="replace")


def is_whole(line: bytes) -> bool:
    """Whether a line that a cut has left without its newline is complete: an object, alone or behind a prefix."""
    value = parse_line(line)
    if value is None:
        begin, _, rest = line.partition(b":")
        if begin.strip() == b"data":
            return is_whole(rest.strip()) or type(parse_line(rest)) in (list, str)
        if begin.strip().decode("latin-1") in PARTS:
            value = parse_line(rest)
            return type(value) in (dict, list, str)
    return type(value) is dict
