"""NDJSON lines into typed events, by a documented and tolerant table.

The Workers API publishes no schema of its events, so the shapes of the common agent services are read, and
whatever is not known becomes an :class:`~toolhouse_async.UnknownEvent` with all its data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from ..errors import ConfigurationError, MalformedEventError
from ..events import ErrorEvent, Event, MalformedLine, TextDelta, UnknownEvent
from .fields import Json, error, failed_tool, is_error, text, tool_call, tool_result
from .jsontext import loads, parse_line
from .shapes import PARTS, SHAPES, OfStream, Shape, part
from .streamed import StreamedCalls
from .words import block_text, is_thought, normal

__all__ = ["EventDecoder", "Shape", "is_whole"]


def _unknown(obj: Json, line: bytes) -> Event:
    return UnknownEvent(_kind(obj), obj, line=line)


def _kind(obj: Json) -> str | None:
    kind = obj.get("type")
    if type(kind) is not str:
        kind = obj.get("event")
    return kind if type(kind) is str else None


class EventDecoder:
    """Decodes the lines of NDJSON answers into events.

    One decoder may serve any number of clients and turns: it keeps no state of a stream.

    Args:
        strict: Raise :class:`~toolhouse_async.MalformedEventError` for a line that is not JSON, instead of
            giving a :class:`~toolhouse_async.MalformedLine`.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self._shapes: dict[str, Shape | OfStream] = dict(SHAPES)
        self._spellings = dict(self._shapes)  # as met on the wire; saves normalising each

    def register(self, type_name: str, function: Shape) -> None:
        """Add or replace the shape of a type.

        Args:
            type_name: The value of ``type`` (or ``event``); case does not matter, and ``-`` and ``.`` are ``_``.
            function: Called with the parsed object and its line; returns an event, several, or ``None`` for
                "unknown". What it raises ends the turn.

        Raises:
            ConfigurationError: ``type_name`` is not a non-empty string, or ``function`` cannot be called.
        """
        if not isinstance(type_name, str) or not type_name or not callable(function):
            raise ConfigurationError("register() takes the name of a type and a function(obj, line)")
        self._shapes[normal(type_name)] = function
        self._spellings = dict(self._shapes)

    def decode(self, lines: Iterable[bytes], first: int = 1) -> list[Event]:
        """Decode lines, the first of which is number ``first`` of its stream.

        A call whose arguments come in pieces is whole if all its lines are here.

        Raises:
            MalformedEventError: A line is not JSON and the decoder is strict.
        """
        events: list[Event] = []
        calls = StreamedCalls()
        self.extend(events, lines, first, calls)
        return events + calls.finish()

    def extend(
        self, events: list[Event], lines: Iterable[bytes], first: int, calls: StreamedCalls | None = None
    ) -> None:
        """Like :meth:`decode`, adding to ``events``, which keeps what came before an error.

        ``calls`` are those that the stream has begun so far; whoever reads it finishes them at its end.
        """
        calls = StreamedCalls() if calls is None else calls
        shapes, parse, new, add = self._spellings, orjson.loads, object.__new__, events.append
        for number, line in enumerate(lines, first):
            try:
                obj = parse(line)
            except orjson.JSONDecodeError:
                events.extend(self._refused(line, number, calls))
                continue
            if type(obj) is dict:
                kind, said = obj.get("type"), obj.get("text")
                if type(said) is str and type(kind) is str and shapes.get(kind) is text:
                    event = new(TextDelta)  # most events by far: set by hand, it is made in half the time
                    event.text = said
                    event.line = line
                    add(event)
                else:
                    events.extend(calls.before(self._object(obj, line, calls)))
            else:
                add(_bare(obj, line))

    def _refused(self, line: bytes, number: int, calls: StreamedCalls) -> Iterable[Event]:
        """A line that orjson refuses."""
        if not line.strip():
            calls.event = None
            return ()
        try:
            value = loads(line)
        except ValueError as refusal:
            reason = str(refusal)
        else:
            return self._value(value, line, calls)
        made = self._prefixed(line, calls)
        if made is None and self.strict:
            raise MalformedEventError(f"line {number} is not JSON: {reason}")
        return (MalformedLine(line, number, reason),) if made is None else made

    def _value(self, value: Any, line: bytes, calls: StreamedCalls) -> Iterable[Event]:
        return calls.before(self._object(value, line, calls)) if type(value) is dict else (_bare(value, line),)

    def _prefixed(self, line: bytes, calls: StreamedCalls) -> Iterable[Event] | None:
        """A line of Server-Sent Events or of the AI SDK's data stream; ``None`` for any other."""
        begin, colon, rest = line.partition(b":")
        try:
            name, said = begin.strip().decode("ascii"), rest.decode().strip()
            if name in PARTS and colon:
                return calls.before((part(name, loads(rest), line),))
            if name == "data" and said not in ("", "[DONE]"):
                return self._data(loads(rest), line, calls)
        except ValueError:
            return None
        if name not in ("", "data", "event", "id", "retry") or not colon:
            return None
        calls.event = said if name == "event" else calls.event
        finished = calls.finish() if said == "[DONE]" else []
        return [*finished, UnknownEvent(None, f"{name}: {said}", line=line)]

    def _data(self, value: Any, line: bytes, calls: StreamedCalls) -> Iterable[Event]:
        """The data of a Server-Sent Event, whose type may have stood on a line before."""
        named, calls.event = calls.event, None
        if named and type(value) is dict and _kind(value) is None and normal(named) in self._shapes:
            value = {**value, "event": named}
        return self._value(value, line, calls)

    def _object(self, obj: Json, line: bytes, calls: StreamedCalls) -> Sequence[Event]:
        kind = _kind(obj)
        if kind is None:
            return self._untyped(obj, line, calls)
        shape = self._spellings.get(kind) or self._shapes.get(normal(kind))
        if shape is None:
            return (error(obj, line) if is_error(obj) else _unknown(obj, line),)
        if len(self._spellings) < 1000:
            self._spellings[kind] = shape
        made = shape.read(calls, obj, line) if isinstance(shape, OfStream) else shape(obj, line)
        if made is None:
            is_ours = shape is SHAPES.get(normal(kind))
            return (error(obj, line) if is_ours and is_error(obj) else _unknown(obj, line),)
        return list(made) if isinstance(made, Iterable) else (made,)

    def _untyped(self, obj: Json, line: bytes, calls: StreamedCalls) -> Sequence[Event]:
        """An object without a type: an entry of a history, a chunk of a chat, or an error."""
        made: list[Event] = []
        message = obj.get("message")
        if "role" in obj:
            made = self._history_entry(obj, line, calls)
        elif "choices" in obj:
            made += calls.chat_chunk(obj, line) or ()
        elif type(message) is dict and ("role" in message or "done" in obj):
            made = self._history_entry({"role": "assistant", **message}, line, calls)
            made = [event for event in made if type(event) is not TextDelta or event.text]
        elif type(obj.get("response")) is str and "done" in obj:
            made = [TextDelta(obj["response"], line=line)] if obj["response"] else []
        if not any(type(event) is ErrorEvent for event in made) and is_error(obj):
            made.append(error(obj, line))
        return made or (_unknown(obj, line),)

    def _history_entry(self, obj: Json, line: bytes, calls: StreamedCalls) -> list[Event]:
        """An object with a role, as entries of a history are."""
        events: list[Event] = []
        role, content, asked = obj.get("role"), obj.get("content"), obj.get("tool_calls")
        blocks: list[Any] = content if type(content) is list else [content]
        if role == "assistant":
            for block in blocks:
                events += self._block(block, line, calls)
            for call in asked if type(asked) is list else []:
                event = tool_call(call, line) if type(call) is dict else None
                events.append(event or UnknownEvent("tool_call", call, line=line))
        elif role in ("tool", "user") and any(self._is_result(block) for block in blocks):
            for block in blocks:
                events += self._block(block, line, calls) if self._is_result(block) else ()
        elif role == "tool" and (result := tool_result(obj, line)):
            events.append(result)
        return events

    def _is_result(self, block: Any) -> bool:
        """Whether a block of an entry is a tool's result, with an id of its own."""
        kind = _kind(block) if type(block) is dict else None
        return kind is not None and SHAPES.get(normal(kind)) in (tool_result, failed_tool)

    def _block(self, block: Any, line: bytes, calls: StreamedCalls) -> Sequence[Event]:
        if block is None:
            return ()
        kind = _kind(block) if type(block) is dict else None
        if kind is not None and normal(kind) in self._shapes and not is_thought(block):
            return self._object(block, line, calls)
        said = block_text(block)
        if said is not None:
            return (TextDelta(said, line=line),)
        return (UnknownEvent(kind, block, line=line),)


def _bare(value: Any, line: bytes) -> Event:
    """A line that is JSON, and not an object."""
    return TextDelta(value, line=line) if type(value) is str else UnknownEvent(None, value, line=line)


def is_whole(line: bytes) -> bool:
    """Whether a line that a cut has left without its newline is complete: an object, alone or behind a prefix."""
    value = parse_line(line)
    if value is None:
        begin, _, rest = line.partition(b":")
        if begin.strip() == b"data" or begin.decode("latin-1") in PARTS:
            value = parse_line(rest)
            return type(value) in (dict, list, str)
    return type(value) is dict
