"""The bytes of streamed answers: the same words in the format of each client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice

import orjson

from .plans import Plan
from .shapes import SHAPES, TOOLS

JOB_ID = "job-1"
HISTORY = b'[{"role":"user","content":"go"}]'


def word(number: int) -> str:
    """A word of about the length of a token."""
    return f"word {number} "


def openai_event(text: str) -> bytes:
    """One chunk of a chat completion, as an event of an SSE stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def langgraph_event(text: str) -> bytes:
    """One message chunk of a LangGraph run, as an event of an SSE stream."""
    chunk = [{"content": text, "type": "AIMessageChunk", "id": "m1"}, {"langgraph_node": "agent"}]
    return b"event: messages\r\ndata: " + orjson.dumps(chunk) + b"\r\n\r\n"


def anthropic_event(text: str) -> bytes:
    """One delta of a message, as an event of an SSE stream."""
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return b"event: content_block_delta\ndata: " + orjson.dumps(delta) + b"\n\n"


EVENT: dict[str, Callable[[str], bytes]] = {
    "anthropic": anthropic_event,
    "openai": openai_event,
    "langgraph": langgraph_event,
}
LAST_EVENT = {"openai": b"data: [DONE]\n\n"}


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def end(format_: str) -> bytes:
    """What ends a body."""
    last = LAST_EVENT.get(format_)
    return (chunk(last) if last else b"") + b"0\r\n\r\n"


def head(format_: str, run: int) -> bytes:
    """The head of a streamed answer."""
    content_type = b"application/x-ndjson" if format_ == "ndjson" else b"text/event-stream"
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nX-Toolhouse-Run-ID: run-%d\r\nTransfer-Encoding: chunked\r\n\r\n"
    ) % (content_type, run)


def writer(format_: str, plan: Plan) -> Callable[[str], bytes]:
    """What writes one event of words."""
    return EVENT[format_] if format_ in EVENT else lambda text: line(SHAPES[plan.shape](text))


def line(value: object) -> bytes:
    """One event as a line of NDJSON; bytes are a line already."""
    return (value if isinstance(value, bytes) else orjson.dumps(value)) + b"\n"


def _events(format_: str, plan: Plan) -> Iterator[bytes]:
    words, more = writer(format_, plan), "x" * plan.padding
    for number in range(plan.count):
        place = number % plan.tools if plan.tools else 2
        yield line(TOOLS[place](number - place)) if place < len(TOOLS) else words(word(number) + more)


def chunks(format_: str, plan: Plan) -> Iterator[bytes]:
    """The chunks of a body: as many events as the plan says, so many of them in each."""
    events = _events(format_, plan)
    while data := b"".join(islice(events, plan.per_chunk)):
        yield chunk(data)


@cache
def whole(format_: str, plan: Plan) -> bytes:
    """A whole body, to be written at once."""
    return b"".join(chunks(format_, plan)) + end(format_)


@cache
def poll_answer() -> bytes:
    """The answer to a poll of a run whose job is running."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-toolhouse-job-id: %b\r\nContent-Length: %d\r\n\r\n%b"
    ) % (JOB_ID.encode(), len(HISTORY), HISTORY)
