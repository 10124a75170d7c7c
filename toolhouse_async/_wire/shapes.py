"""The decoding table: which types of lines give which events. The reference page has it too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, TypeAlias

from ..events import Event, TextDelta, UnknownEvent
from .fields import Json, error, failed_tool, text, tool_call, tool_result
from .streamed import StreamedCalls

Shape: TypeAlias = Callable[[dict[str, Any], bytes], "Event | Iterable[Event] | None"]
"""What :meth:`EventDecoder.register` takes: the parsed line and its bytes in, events out."""


class OfStream(NamedTuple):
    """A shape that is read beside what came before it in its stream."""

    read: Callable[[StreamedCalls, Json, bytes], Event | Iterable[Event] | None]


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        source: Whose types these are; empty for those that many use.
        event: What they give; empty where it depends on the line, or on those before it.
        types: The types, in lower case, ``-`` and ``.`` being ``_``.
        shape: What reads them.
    """

    source: str
    event: str
    types: str
    shape: Shape | OfStream


def _message_text(obj: Json, line: bytes) -> Event | None:
    return text(obj, line) if obj.get("role", "assistant") == "assistant" else None


def _output_item(obj: Json, line: bytes) -> Event | None:
    """A whole item of an answer, of which the words have come before."""
    item = obj.get("item")
    if type(item) is not dict:
        return None
    named = {**item, "id": item.get("call_id") or item.get("id")}  # the results have the call's id, not the item's
    if item.get("type") in ("function_call", "custom_tool_call"):
        return tool_call(named, line)
    return tool_result(named, line) if str(item.get("type")).endswith("call_output") else None


TABLE: Final = (
    Row(
        "",
        "TextDelta",
        "text text_delta content content_delta delta message_delta output_text output_text_delta "
        "response_output_text_delta token",
        text,
    ),
    Row("", "ToolCall", "tool_call tool_use function_call tool_input_available", tool_call),
    Row("", "ToolCall", "tool_call_start", OfStream(StreamedCalls.call_start)),
    Row(
        "",
        "ToolResult",
        "tool_result tool_response tool_output function_call_output tool_call_result tool_output_available",
        tool_result,
    ),
    Row("", "ErrorEvent", "error run_error response_failed abort", error),
    Row("AI SDK", "ToolResult", "tool_error tool_output_error tool_input_error", failed_tool),
    Row("AG-UI", "TextDelta", "text_message_content text_message_chunk", _message_text),
    Row("AG-UI", "", "tool_call_args", OfStream(StreamedCalls.call_args)),
    Row("AG-UI", "", "tool_call_end", OfStream(StreamedCalls.call_end)),
    Row("AG-UI", "", "tool_call_chunk", OfStream(StreamedCalls.call_chunk)),
    Row("Anthropic Messages", "", "content_block_delta", OfStream(StreamedCalls.block_delta)),
    Row("Anthropic Messages", "", "content_block_start", OfStream(StreamedCalls.block_start)),
    Row("Anthropic Messages", "", "content_block_stop", OfStream(StreamedCalls.block_stop)),
    Row("OpenAI Responses", "", "response_output_item_done", _output_item),
)
"""Types of lines."""

SHAPES: Final[dict[str, Shape | OfStream]] = {name: row.shape for row in TABLE for name in row.types.split()}

PARTS: Final = {
    "0": "text",
    "2": "data",
    "3": "error",
    "8": "message_annotations",
    "9": "tool_call",
    "a": "tool_result",
    "b": "tool_call_streaming_start",
    "c": "tool_call_delta",
    "d": "finish_message",
    "e": "finish_step",
    "f": "start_step",
    "g": "reasoning",
    "h": "source",
    "i": "redacted_reasoning",
    "j": "reasoning_signature",
    "k": "file",
}
"""The AI SDK's data stream: what stands before the colon of a line, and the type that it means."""


def part(code: str, value: Any, line: bytes) -> Event:
    """Read a line of the AI SDK's data stream."""
    kind = PARTS[code]
    if kind == "text" and type(value) is str:
        return TextDelta(value, line=line)
    if kind == "error":
        return error({"error": value}, line)
    shape = _PART_SHAPES.get(kind)
    made = shape(value, line) if shape is not None and type(value) is dict else None
    return UnknownEvent(kind, value, line=line) if made is None else made


_PART_SHAPES: Final[dict[str, Callable[[Json, bytes], Event | None]]] = {
    "tool_call": tool_call,
    "tool_result": tool_result,
}
