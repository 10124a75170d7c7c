"""What the objects on a line hold: text, calls, results and errors, by the names of their fields."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, TypeAlias

from .._values.nested import short
from ..events import ErrorEvent, TextDelta, ToolCall, ToolResult
from .jsontext import loads
from .words import is_thought
from .writing import dumps

Json: TypeAlias = dict[str, Any]

TEXT_KEYS: Final = ("text", "delta", "content", "token", "textDelta")
ID_KEYS: Final = ("id", "tool_call_id", "tool_use_id", "call_id", "toolCallId")
NAME_KEYS: Final = ("name", "tool_name", "toolName", "toolCallName", "tool")
ARGUMENT_KEYS: Final = ("arguments", "input", "args", "parameters")
CONTENT_KEYS: Final = ("content", "output", "result", "response", "data")
ERROR_KEYS: Final = ("message", "error", "errorText", "detail", "reason", "text")
ERROR_OBJECTS: Final = ("error", "message", "data", "response", "detail")

UNSAID: Final = "the worker reports an error and does not say which"
"""The message of an error that has none."""

_NOT_OF_ERRORS: Final = frozenset(
    (
        *("delta", "content", "token", "textDelta", "role", "choices", "function", "tool_calls"),
        *("output", "result", "is_error", "isError"),
        *ID_KEYS[1:],
        *NAME_KEYS[1:],
        *ARGUMENT_KEYS,
    )
)
"""Fields by which a line is something else than an error; many errors have an id or a name."""
_MISSING: Final = object()

_NOT_THE_WORKER: Final = ("user", "human", "system", "developer", "tool", "function")
"""Roles whose words are not the worker's; a tuple, since a role on the wire may be anything."""


def first_text(obj: Json, keys: tuple[str, ...]) -> str | None:
    """The first of these fields that is text."""
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


def id_of(obj: Json, keys: tuple[str, ...] = ID_KEYS) -> str | None:
    """The id of a call or a result."""
    for key in keys:
        value = obj.get(key)
        if type(value) is str:
            return value
        if type(value) is int:
            return str(value)
    return None


def is_of_others(obj: Json) -> bool:
    """Whether an object says that its words are somebody else's, or a thought."""
    return obj.get("thought") is True or obj.get("role") in _NOT_THE_WORKER


def text(obj: Json, line: bytes) -> TextDelta | None:
    """A piece of the worker's words."""
    if is_of_others(obj):
        return None
    said = first_text(obj, TEXT_KEYS)
    if said is None:
        for key in ("delta", "data"):
            nested = obj.get(key)
            if type(nested) is dict and not is_thought(nested) and (said := first_text(nested, TEXT_KEYS)) is not None:
                break
        else:
            return None
    return TextDelta(said, line=line)


def tool_call(obj: Json, line: bytes) -> ToolCall | None:
    """A call of a tool."""
    name = first_text(obj, NAME_KEYS)
    arguments = next((obj[key] for key in ARGUMENT_KEYS if obj.get(key) is not None), None)
    function = obj.get("function")
    if type(function) is dict:
        name = name if name is not None else first_text(function, ("name",))
        arguments = function.get("arguments") if arguments is None else arguments
    if name is None:
        return None
    return ToolCall(id_of(obj), name, parsed(arguments), line=line)


def parsed(arguments: Any) -> Any:
    """Arguments, parsed where they are JSON text; else the words themselves are the argument."""
    if type(arguments) is str:
        with suppress(ValueError):
            return loads(arguments.encode("utf-8", "surrogatepass"))
    return arguments


def tool_result(obj: Json, line: bytes) -> ToolResult | None:
    """A tool's answer; one that has nothing but an error failed."""
    content = _first_value(obj, CONTENT_KEYS)
    if content is _MISSING or content is None:
        failed = failed_tool(obj, line) if obj.get("error") or obj.get("errorText") else None
        if failed is not None or content is _MISSING:
            return failed
    return ToolResult(id_of(obj), first_text(obj, NAME_KEYS), content, _has_failed(obj, content), line=line)


def _has_failed(obj: Json, content: Any) -> bool:
    """Whether a result is an error: it says so, or its content does by its type (as ``error-text``)."""
    if obj.get("is_error") is True or obj.get("isError") is True:
        return True
    kind = content.get("type") if type(content) is dict else None
    return type(kind) is str and (kind in ("error-text", "error-json") or kind.endswith("_tool_result_error"))


def failed_tool(obj: Json, line: bytes) -> ToolResult | None:
    """The answer of a tool that failed."""
    content = _first_value(obj, ("error", "errorText", *CONTENT_KEYS, "message"))
    if content is _MISSING:
        return None
    return ToolResult(id_of(obj), first_text(obj, NAME_KEYS), content, True, line=line)


def error(obj: Json, line: bytes) -> ErrorEvent:
    """An error, in words that are found, or in a fixed sentence."""
    said, code = _error_in(obj, 3)
    if said is None:
        odd = _first_value(obj, (*ERROR_KEYS, "data", "response"))
        said = UNSAID if odd is _MISSING or odd is True or not odd else _written(odd).strip() or UNSAID
    return ErrorEvent(said, code, line=line)


def _error_in(obj: Json, depth: int) -> tuple[str | None, str | int | None]:
    """The message and the code of an error, from the object or one within it."""
    said = next((value for key in ERROR_KEYS if type(value := obj.get(key)) is str and value.strip()), None)
    code = obj.get("code")
    code = code if type(code) in (str, int) else None
    for key in ERROR_OBJECTS:
        if depth and (said is None or code is None) and type(nested := obj.get(key)) is dict:
            inner_said, inner_code = _error_in(nested, depth - 1)
            said, code = said if said is not None else inner_said, code if code is not None else inner_code
    return said, code


def is_error(obj: Json) -> bool:
    """Whether an object that is nothing else has an error."""
    return bool(obj.get("error") or obj.get("errorText")) and not _NOT_OF_ERRORS & obj.keys()


def _written(value: object) -> str:
    if type(value) is str:
        return value
    try:
        return dumps(value).decode()
    except ValueError:
        return short(value)  # deeper than can be written
