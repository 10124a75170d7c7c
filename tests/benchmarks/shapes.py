"""One event of words in each shape that the decoding table reads, and the events of tools among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _chat_chunk(text: str) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def _block_delta(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def _responses(text: str) -> dict[str, Any]:
    place = {"sequence_number": 1, "item_id": "m1", "output_index": 0, "content_index": 0}
    return {"type": "response.output_text.delta", **place, "delta": text}


SHAPES: dict[str, Callable[[str], Any]] = {
    "text": lambda text: {"type": "text", "text": text},
    "content": lambda text: {"type": "text", "content": text},
    "delta": lambda text: {"type": "text_delta", "delta": text},
    "token": lambda text: {"type": "token", "token": text},
    "nested": lambda text: {"type": "token", "data": {"text": text}},
    "textDelta": lambda text: {"type": "text-delta", "textDelta": text},
    "ai_sdk_5": lambda text: {"type": "text-delta", "id": "0", "delta": text},
    "ag_ui": lambda text: {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": text},
    "anthropic": _block_delta,
    "responses": _responses,
    "chat_chunk": _chat_chunk,
    "ollama_chat": lambda text: {"model": "m", "message": {"role": "assistant", "content": text}, "done": False},
    "ollama_generate": lambda text: {"model": "m", "response": text, "done": False},
    "entry": lambda text: {"role": "assistant", "content": text},
    "string": lambda text: text,
    "unknown": lambda text: {"type": "status", "state": text},
    "registered": lambda text: {"type": "mine", "words": text},
}
"""Words in each shape."""
NOT_OF_THE_TABLE = ("unknown", "registered")
"""Shapes that are no words by the decoding table; the second is for ``EventDecoder.register``."""

TOOLS: tuple[Callable[[int], Any], ...] = (
    lambda number: {
        "type": "tool-call",
        "toolCallId": f"call-{number}",
        "toolName": "search",
        "args": {"query": f"number {number}", "limit": 5},
    },
    lambda number: {
        "type": "tool-result",
        "toolCallId": f"call-{number}",
        "toolName": "search",
        "result": {"found": ["first", "second"], "total": number},
    },
)
"""A call of a tool and its result, by their number."""
