"""NDJSON lines into typed events, by a documented and tolerant table.

The Workers API publishes no schema of its events, so the shapes of the common agent services are read, and
whatever is not known becomes an :class:`~toolhouse_async.UnknownEvent` with all its data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, TypeAlias

import orjson

from .._nested import short
from ..errors import ConfigurationError, MalformedEventError
from ..events import ErrorEvent, Event, MalformedLine, TextDelta, ToolCall, ToolResult, UnknownEvent
from .jsontext import loads
from .writing import dumps

__all__ = ["EventDecoder", "Shape"]

Json: TypeAlias = dict[str, Any]
Shape: TypeAlias = Callable[[dict[str, Any], bytes], "Event | Iterable[Event] | None"]
"""What :meth:`EventDecoder.register` takes: the parsed line and its bytes in, events out."""

_TEXT_KEYS: Final = ("text", "delta", "content", "token")
_ID_KEYS: Final = ("id", "tool_call_id", "tool_use_id", "call_id", "toolCallId")
_NAME_KEYS: Final = ("name", "tool_name", "toolName", "toolCallName", "tool")
_ARGUMENT_KEYS: Final = ("arguments", "input", "args", "parameters")
_CONTENT_KEYS: Final = ("content", "output", "result", "response", "data")
_ERROR_KEYS: Final = ("message", "error", "detail")
_MISSING: Final = object()


def _first_text(obj: Json, keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = obj.get(key)
        if type(value) is str:
            return value
    return None


def _first_value(obj: Json, keys: tuple[str, ...]) -> Any:
    """The first value that is not null; null if only nulls are there, ``_MISSING`` if nothing is."""
    found: Any = _MISSING
    for key in keys:
        value = obj.get(key, _MISSING)
        if value is not _MISSING and value is not None:
            return value
        if value is None:
            found = None
    return found


def _id(obj: Json) -> str | None:
    for key in _ID_KEYS:
        value = obj.get(key)
        if type(value) is str:
            return value
        if type(value) is int:
            return str(value)
    return None


def _text(obj: Json, line: bytes) -> Event | None:
    text = _first_text(obj, _TEXT_KEYS)
    if text is None:
        for key in ("delta", "data"):
            nested = obj.get(key)
            if type(nested) is dict and (text := _first_text(nested, _TEXT_KEYS)) is not None:
                break
        else:
            return None
    return TextDelta(text, line=line)


def _tool_call(obj: Json, line: bytes) -> Event | None:
    name = _first_text(obj, _NAME_KEYS)
    arguments = next((obj[key] for key in _ARGUMENT_KEYS if obj.get(key) is not None), None)
    function = obj.get("function")
    if type(function) is dict:
        name = name if name is not None else _first_text(function, ("name",))
        arguments = function.get("arguments") if arguments is None else arguments
    if name is None:
        return None
    if type(arguments) is str:
        with suppress(ValueError):  # not JSON text: the words themselves are the argument
            arguments = loads(arguments.encode("utf-8", "surrogatepass"))
    return ToolCall(_id(obj), name, arguments, line=line)


def _tool_result(obj: Json, line: bytes) -> Event | None:
    content = _first_value(obj, _CONTENT_KEYS)
    if content is _MISSING:
        return None
    is_error = obj.get("is_error") is True or obj.get("isError") is True
    return ToolResult(_id(obj), _first_text(obj, _NAME_KEYS), content, is_error, line=line)


def _error(obj: Json, line: bytes) -> Event | None:
    said = _first_value(obj, _ERROR_KEYS)
    if said is _MISSING or said is None:
        return None
    code = obj.get("code")
    if type(said) is dict:
        code = said.get("code") if code is None else code
        inner = _first_text(said, _ERROR_KEYS)
        said = said if inner is None else inner
    return ErrorEvent(
        said if type(said) is str else _written(said), code if type(code) in (str, int) else None, line=line
    )


def _written(value: object) -> str:
    try:
        return dumps(value).decode()
    except ValueError:
        return short(value)  # deeper than can be written


def _unknown(obj: Json, line: bytes) -> Event:
    return UnknownEvent(_kind(obj), obj, line=line)


_TABLE: Final[tuple[tuple[str, Shape], ...]] = (
    (
        "text text_delta content content_delta delta message_delta output_text output_text_delta "
        "response_output_text_delta token",
        _text,
    ),
    ("tool_call tool_use function_call tool_call_start tool_input_available", _tool_call),
    (
        "tool_result tool_response tool_output function_call_output tool_call_result tool_output_available",
        _tool_result,
    ),
    ("error", _error),
)


def _kind(obj: Json) -> str | None:
    kind = obj.get("type")
    if type(kind) is not str:
        kind = obj.get("event")
    return kind if type(kind) is str else None


def _normal(type_name: str) -> str:
    return type_name.lower().replace("-", "_").replace(".", "_")


class EventDecoder:
    """Decodes the lines of NDJSON answers into events.

    One decoder may serve any number of clients and turns: it keeps no state of a stream.

    Args:
        strict: Raise :class:`~toolhouse_async.MalformedEventError` for a line that is not JSON, instead of
            giving a :class:`~toolhouse_async.MalformedLine`.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self._shapes: dict[str, Shape] = {name: shape for names, shape in _TABLE for name in names.split()}
        self._spellings: dict[str, Shape] = dict(self._shapes)  # as met on the wire; saves normalising each

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
        self._shapes[_normal(type_name)] = function
        self._spellings = dict(self._shapes)

    def decode(self, lines: Iterable[bytes], first: int = 1) -> list[Event]:
        """Decode lines, the first of which is number ``first`` of its stream.

        Raises:
            MalformedEventError: A line is not JSON and the decoder is strict.
        """
        events: list[Event] = []
        self.extend(events, lines, first)
        return events

    def extend(self, events: list[Event], lines: Iterable[bytes], first: int) -> None:
        """Like :meth:`decode`, adding to ``events``, which keeps what came before an error."""
        shapes, parse, new, add = self._spellings, orjson.loads, object.__new__, events.append
        for number, line in enumerate(lines, first):
            try:
                obj = parse(line)
            except orjson.JSONDecodeError:
                events.extend(self._refused(line, number))
                continue
            if type(obj) is dict:
                kind, text = obj.get("type"), obj.get("text")
                if type(text) is str and type(kind) is str and shapes.get(kind) is _text:
                    event = new(TextDelta)  # most events by far: set by hand, it is made in half the time
                    event.text = text
                    event.line = line
                    add(event)
                else:
                    events.extend(self._object(obj, line))
            else:
                add(_bare(obj, line))

    def _refused(self, line: bytes, number: int) -> Iterable[Event]:
        """A line that orjson refuses."""
        if not line.strip():
            return ()
        try:
            obj = loads(line)
        except ValueError as error:
            if self.strict:
                raise MalformedEventError(f"line {number} is not JSON: {error}") from None
            return (MalformedLine(line, number, str(error)),)
        return self._object(obj, line) if type(obj) is dict else (_bare(obj, line),)

    def _object(self, obj: Json, line: bytes) -> Iterable[Event]:
        kind = _kind(obj)
        if kind is None:
            return self._history_entry(obj, line)
        shape = self._spellings.get(kind) or self._shapes.get(_normal(kind))
        if shape is None:
            return (_unknown(obj, line),)
        if len(self._spellings) < 1000:
            self._spellings[kind] = shape
        return _shaped(shape, obj, line)

    def _history_entry(self, obj: Json, line: bytes) -> Iterable[Event]:
        """An object without a type: by ``role``, as entries of a history are."""
        events: list[Event] = []
        if obj.get("role") == "assistant":
            content, calls = obj.get("content"), obj.get("tool_calls")
            for block in content if type(content) is list else [content]:
                if type(block) is str:
                    events.append(TextDelta(block, line=line))
                elif type(block) is dict and _kind(block) is not None:
                    events.extend(self._object(block, line))
                elif type(block) is dict and type(text := block.get("text")) is str:
                    events.append(TextDelta(text, line=line))
                elif block is not None:
                    events.append(UnknownEvent(None, block, line=line))
            for call in calls if type(calls) is list else []:
                event = _tool_call(call, line) if type(call) is dict else None
                events.append(event or UnknownEvent("tool_call", call, line=line))
        elif obj.get("role") == "tool" and (result := _tool_result(obj, line)):
            events.append(result)
        return events or (_unknown(obj, line),)


def _bare(value: Any, line: bytes) -> Event:
    """A line that is JSON, and not an object."""
    return TextDelta(value, line=line) if type(value) is str else UnknownEvent(None, value, line=line)


def _shaped(shape: Shape, obj: Json, line: bytes) -> Iterable[Event]:
    made = shape(obj, line)
    if made is None:
        return (_unknown(obj, line),)
    if isinstance(made, Iterable):
        return made
    return (made,)
