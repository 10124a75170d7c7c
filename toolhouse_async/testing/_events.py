"""What a worker may yield, and how it stands in an NDJSON answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from attrs import field, frozen

from ..events import ErrorEvent, TextDelta, ToolCall, ToolResult, UnknownEvent

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BackgroundCall", "StreamEvent", "WorkerEvent", "ndjson_object"]


@frozen
class BackgroundCall:
    """A function that is to run as a background job; made by ``WorkerContext.background``."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = field(repr=False)


StreamEvent: TypeAlias = TextDelta | ToolCall | ToolResult | ErrorEvent | UnknownEvent
"""An event that is sent on an NDJSON stream."""

WorkerEvent: TypeAlias = StreamEvent | BackgroundCall
"""What a worker yields."""


def ndjson_object(event: StreamEvent) -> Any:
    """Return the JSON value that stands for ``event`` on an NDJSON stream.

    The documents give no schema (an open question of the protocol), so the shapes are the emulator's own
    choice: an object with a ``type`` of ``text``, ``tool_call``, ``tool_result`` or ``error``. The data of an
    ``UnknownEvent`` is sent as it is.
    """
    match event:
        case TextDelta(text):
            return {"type": "text", "text": text}
        case ToolCall(id, name, arguments):
            return {"type": "tool_call", "id": id, "name": name, "arguments": arguments}
        case ToolResult(id, name, content, is_error):
            return {
                "type": "tool_result",
                "tool_call_id": id,
                "name": name,
                "content": content,
                "is_error": is_error,
            }
        case ErrorEvent(message, code):
            return {"type": "error", "message": message, "code": code}
        case _:
            return event.data


def ndjson_line(value: Any) -> bytes:
    """Return ``value`` as a line of NDJSON."""
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def as_text(value: Any) -> str:
    """Return ``value`` if it is text, else as JSON, else (for what JSON cannot say) as ``repr`` shows it."""
    return value if isinstance(value, str) else orjson.dumps(value, default=repr).decode()
