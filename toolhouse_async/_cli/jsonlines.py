"""Events as lines of JSON."""

from __future__ import annotations

import attrs
import orjson

from .. import events as ev
from .terminal import HARMFUL

__all__ = ["event_line"]


def event_line(event: ev.Event) -> str:
    """Write an event as a line of JSON: its class as ``event``, then its fields.

    What a terminal would obey is written as JSON's own escapes. Where the data is beyond the JSON library, as
    are objects nested hundreds deep, ``line`` holds the event as received instead.
    """
    try:
        line = orjson.dumps(event, default=_fields)
    except orjson.JSONEncodeError:
        received = event.line.decode(errors="replace")
        line = orjson.dumps({"event": type(event).__name__, "line": received, "repr": repr(event)})
    return HARMFUL.sub(lambda match: f"\\u{ord(match[0]):04x}", line.decode()) + "\n"


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
