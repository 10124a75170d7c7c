"""The decoding table: which lines give which events. The reference page is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, TypeAlias

from ..events import Event
from .fields import Json, error, failed_tool, text, tool_result
from .streamed import Streamed

Made: TypeAlias = "Event | Iterable[Event] | None"
"""What a shape makes of a line; ``None`` where it is not of it."""

Shape: TypeAlias = Callable[[dict[str, Any], bytes], Made]
"""What :meth:`EventDecoder.register` takes: the parsed line and its bytes in, events out."""


class OfStream(NamedTuple):
    """A shape that is read beside what came before it in its stream."""

    read: Callable[[Streamed, Json, bytes], Event | Iterable[Event] | None]


class Whole(NamedTuple):
    """A shape that holds whole messages, which may have been said in pieces before.

    Attributes:
        entries: Finds them, as entries of a history or items of an answer.
        sums_up: Whether it says once more all that was said before, and is new only where nothing was.
    """

    entries: Callable[[Json], list[Any]]
    sums_up: bool = False


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        source: Whose types these are; empty for those that many use.
        event: What they give, in words for the reference; an event's name alone where it is always that.
        types: The types, in lower case, ``-`` and ``.`` being ``_``.
        shape: What reads them.
    """

    source: str
    event: str
    types: str
    shape: Shape | OfStream | Whole


def _message(obj: Json) -> list[Any]:
    return [obj] if obj.get("role") == "assistant" else []


def _item(obj: Json) -> list[Any]:
    return [obj.get("item")]


def answer_items(obj: Json) -> list[Any]:
    """The items of an answer of OpenAI's Responses, or of the line that holds it."""
    response = obj.get("response")
    items = (response if type(response) is dict else obj).get("output")
    return items if type(items) is list else []


_PIECE: Final = "a piece of a call"

TABLE: Final = (
    Row(
        "",
        "TextDelta",
        "text text_delta content content_delta delta message_delta output_text output_text_delta "
        "response_output_text_delta token",
        text,
    ),
    Row("", "ToolCall", "tool_call tool_use function_call tool_input_available", OfStream(Streamed.call)),
    Row("", "ToolCall", "tool_call_start", OfStream(Streamed.call_start)),
    Row(
        "",
        "ToolResult",
        "tool_result tool_response tool_output function_call_output tool_call_result tool_output_available",
        tool_result,
    ),
    Row("", "ErrorEvent", "error run_error response_failed abort", error),
    Row("AI SDK", "ToolResult", "tool_error tool_output_error tool_input_error", failed_tool),
    Row("AI SDK", _PIECE, "tool_call_streaming_start tool_input_start", OfStream(Streamed.input_start)),
    Row("AI SDK", _PIECE, "tool_call_delta tool_input_delta", OfStream(Streamed.input_delta)),
    Row("AG-UI", "a message in somebody's name begins", "text_message_start", OfStream(Streamed.message_start)),
    Row("AG-UI", "TextDelta", "text_message_content text_message_chunk", OfStream(Streamed.message_text)),
    Row("AG-UI", "it ends", "text_message_end", OfStream(Streamed.message_end)),
    Row("AG-UI", _PIECE, "tool_call_args", OfStream(Streamed.call_args)),
    Row("AG-UI", "the call once more, with its arguments", "tool_call_end", OfStream(Streamed.call_end)),
    Row("AG-UI", f"{_PIECE}, which comes when it is whole", "tool_call_chunk", OfStream(Streamed.call_chunk)),
    Row("Anthropic Messages", f"TextDelta, or {_PIECE}", "content_block_delta", OfStream(Streamed.block_delta)),
    Row(
        "Anthropic Messages",
        "TextDelta or ToolResult; of a call, its beginning",
        "content_block_start",
        OfStream(Streamed.block_start),
    ),
    Row("Anthropic Messages", "the call that is whole", "content_block_stop", OfStream(Streamed.block_stop)),
    Row("Anthropic Messages", "what of a whole message is new", "message", Whole(_message)),
    Row("OpenAI Responses", "TextDelta", "response_refusal_delta", text),
    Row("OpenAI Responses", "calls and results; of a message, what is new", "response_output_item_done", Whole(_item)),
    Row(
        "OpenAI Responses",
        "words, calls and results where none came before",
        "response_completed response_incomplete",
        Whole(answer_items, sums_up=True),
    ),
)
"""Types of lines."""

SHAPES: Final[dict[str, Shape | OfStream | Whole]] = {name: row.shape for row in TABLE for name in row.types.split()}

WHOLE_WORDS: Final = frozenset({"text", "content", "output_text"})
"""Types that other services send for a whole message behind its pieces, which are of other types."""

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
