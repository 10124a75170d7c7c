"""The one JSON form of events: on the command line, and on the way to a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import orjson

from .. import events as ev

__all__ = ["event_json", "json_text"]


def event_json(event: ev.Event, fields: Mapping[str, Any] | None = None) -> bytes:
    """Write an event as a line of JSON: its class as ``event``, then its fields.

    Its length is in proportion to what the event itself holds, whatever line it came from and however many came from
    that. Data may be nested to any depth; integers may have as many digits as Python writes (4300 by default).

    Args:
        event: The event.
        fields: What stands for its fields; default all. They must be such that they can be written.
    """
    if fields is not None:
        return orjson.dumps({"event": type(event).__name__, **fields}, default=_fields)
    return _written(event)


def json_text(value: Any) -> str:
    """Write a value of an event as JSON text."""
    return _written(value).decode()


def _written(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=_fields)
    except orjson.JSONEncodeError:
        return b"".join(_pieces(value))


class _Mark(bytes):
    """A piece of JSON between values."""


def _pieces(value: Any) -> Iterator[bytes]:
    """Write what the JSON library refuses: what is nested too deep for it, and integers that are too large."""
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is _Mark:
            yield item
        elif kind is dict:
            stack.append(_Mark(b"}"))
            for key, each in reversed(item.items()):
                stack += (each, _Mark(_leaf(str(key)) + b":"), _Mark(b","))
            stack[-1] = _Mark(b"{" if item else b"{}")
        elif kind in (list, tuple):
            stack.append(_Mark(b"]"))
            for each in reversed(item):
                stack += (each, _Mark(b","))
            stack[-1] = _Mark(b"[" if item else b"[]")
        elif item is None or isinstance(item, str | int | float):
            yield _leaf(item)
        else:
            stack.append(_parts(item))


def _leaf(item: str | float | None) -> bytes:
    try:
        return orjson.dumps(item)
    except orjson.JSONEncodeError:  # an integer above 64 bits, or half a character that stands alone
        return json.dumps(item).encode()


def _parts(value: object) -> object:
    try:
        return _fields(value)
    except TypeError:  # which a decoder of the user's has made
        return f"<{type(value).__name__}>"


def _fields(value: object) -> object:
    """What JSON has no form for: objects of the library, and the bytes of a line."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    kind = type(value)
    if not attrs.has(kind):
        raise TypeError(kind.__name__)
    fields = {a.name: getattr(value, a.name) for a in attrs.fields(kind)}
    if not isinstance(value, ev.Event):
        return fields
    if not isinstance(value, ev.MalformedLine):  # which is nothing but its line
        del fields["line"]
    return {"event": kind.__name__, **fields}
