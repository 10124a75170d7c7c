"""The one JSON form of events: on the command line, and on the way to a browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from .. import events as ev

__all__ = ["event_json", "json_text"]


def event_json(event: ev.Event, fields: Mapping[str, Any] | None = None) -> bytes:
    """Write an event as a line of JSON: its class as ``event``, then its fields.

    Where the data is beyond the JSON library, as are objects nested hundreds deep, ``line`` holds the event as
    received instead.

    Args:
        event: The event.
        fields: What stands for its fields; default all. They must be such that they can be written.
    """
    name = type(event).__name__
    if fields is not None:
        return orjson.dumps({"event": name, **fields}, default=_fields)
    try:
        return orjson.dumps(event, default=_fields)
    except orjson.JSONEncodeError:
        return orjson.dumps({"event": name, "line": _received(event), "repr": repr(event)})


def json_text(value: Any, event: ev.Event) -> str:
    """Write a value of an event as JSON text; where that cannot be done, the event's line as received."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return _received(event)


def _received(event: ev.Event) -> str:
    return event.line.decode(errors="replace")


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
