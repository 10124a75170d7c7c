"""The bytes of streamed answers: the same words in the format of each client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import orjson

JOB_ID = "job-1"
HISTORY = b'[{"role":"user","content":"go"}]'


def word(number: int) -> str:
    """A word of about the length of a token."""
    return f"word {number} "


def ndjson_event(text: str) -> bytes:
    """One text event as the Workers API sends it."""
    return orjson.dumps({"type": "text", "text": text}) + b"\n"


def openai_event(text: str) -> bytes:
    """One chunk of a chat completion, as an event of an SSE stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def langgraph_event(text: str) -> bytes:
    """One message chunk of a LangGraph run, as an event of an SSE stream."""
    chunk = [{"content": text, "type": "AIMessageChunk", "id": "m1"}, {"langgraph_node": "agent"}]
    return b"event: messages\r\ndata: " + orjson.dumps(chunk) + b"\r\n\r\n"


EVENT: dict[str, Callable[[str], bytes]] = {
    "ndjson": ndjson_event,
    "openai": openai_event,
    "langgraph": langgraph_event,
}
LAST_EVENT = {"ndjson": b"", "openai": b"data: [DONE]\n\n", "langgraph": b""}


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def end(format_: str) -> bytes:
    """What ends a body."""
    last = LAST_EVENT[format_]
    return (chunk(last) if last else b"") + b"0\r\n\r\n"


def head(format_: str, run: int) -> bytes:
    """The head of a streamed answer."""
    content_type = b"application/x-ndjson" if format_ == "ndjson" else b"text/event-stream"
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nX-Toolhouse-Run-ID: run-%d\r\nTransfer-Encoding: chunked\r\n\r\n"
    ) % (content_type, run)


def chunks(format_: str, per_chunk: int, count: int, padding: int = 0) -> Iterator[bytes]:
    """The chunks of a body: ``count`` events, ``per_chunk`` of them in each, each longer by ``padding`` bytes."""
    event, more = EVENT[format_], "x" * padding
    for start in range(0, count, per_chunk):
        numbers = range(start, min(start + per_chunk, count))
        yield chunk(b"".join(event(word(number) + more) for number in numbers))


@cache
def whole(format_: str, per_chunk: int, count: int, padding: int = 0) -> bytes:
    """A whole body, to be written at once."""
    return b"".join(chunks(format_, per_chunk, count, padding)) + end(format_)


@cache
def poll_answer() -> bytes:
    """The answer to a poll of a run whose job is running."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-toolhouse-job-id: %b\r\nContent-Length: %d\r\n\r\n%b"
    ) % (JOB_ID.encode(), len(HISTORY), HISTORY)
