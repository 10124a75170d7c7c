"""How lines with the same fields are read, once it is known in which fields things are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from ..events import Event, ToolCall, ToolResult
from .fields import ARGUMENT_KEYS, CONTENT_KEYS, ID_KEYS, NAME_KEYS, TEXT_KEYS, Json, parsed

Plan: TypeAlias = Callable[[Json, bytes], "Event | None"]
"""Reads a line of one type; ``None`` where it is not as the line was by which the plan was made."""

WordsPlan: TypeAlias = tuple[str, int, tuple[str, ...]]
"""Where lines of one type have their words: the field, the number of fields, and all of them."""

_NEW: Final = object.__new__
_MATTERS: Final = ("role", "thought", "function", "is_error", "isError", "error", "errorText")
"""Fields beside which nothing is planned."""


def _key(obj: Json, keys: tuple[str, ...]) -> str:
    """The first of the keys that is there; ``""`` if none is."""
    return next((key for key in keys if key in obj), "")


def _is_plain(obj: Json) -> bool:
    return not any(key in obj for key in _MATTERS)


def words(kind: str, obj: Json) -> WordsPlan | None:
    """How lines of words are read."""
    field = _key(obj, TEXT_KEYS)
    if obj.get("type") != kind or type(obj.get(field)) is not str or not _is_plain(obj):
        return None
    return field, len(obj), tuple(obj)


def call(obj: Json) -> Plan | None:
    """How calls of a tool are read."""
    id_key, name_key, arguments_key = (_key(obj, keys) for keys in (ID_KEYS, NAME_KEYS, ARGUMENT_KEYS))
    if not (id_key and name_key and arguments_key and _is_plain(obj)):
        return None
    names, size = tuple(obj), len(obj)
    is_exact = size == 4  # an object of so many fields that has these three, and a type, has nothing else

    def read(obj: Json, line: bytes) -> Event | None:
        if len(obj) != size or not (is_exact or tuple(obj) == names):
            return None
        id_, name, arguments = obj.get(id_key), obj.get(name_key), obj.get(arguments_key)
        if type(id_) is not str or type(name) is not str or arguments is None:
            return None
        event = _NEW(ToolCall)  # set by hand, as words are
        event.id = id_
        event.name = name
        event.arguments = parsed(arguments) if type(arguments) is str else arguments
        event.line = line
        return event

    return read


def result(obj: Json) -> Plan | None:
    """How results of a tool are read."""
    id_key, name_key, content_key = (_key(obj, keys) for keys in (ID_KEYS, NAME_KEYS, CONTENT_KEYS))
    if not (id_key and content_key and _is_plain(obj)):
        return None
    names = tuple(obj)

    def read(obj: Json, line: bytes) -> Event | None:
        if tuple(obj) != names:
            return None
        id_, name, content = obj[id_key], obj[name_key] if name_key else None, obj[content_key]
        if type(id_) is not str or (name_key and type(name) is not str) or content is None:
            return None
        if type(content) is dict and "type" in content:
            return None  # which may say that it is an error
        event = _NEW(ToolResult)
        event.id = id_
        event.name = name
        event.content = content
        event.is_error = False
        event.line = line
        return event

    return read
