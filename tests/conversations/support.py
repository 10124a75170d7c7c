"""What the conversation tests share: answers of the Workers API, a server that gives them, and what to look at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeAlias

from attrs import frozen

from tests.support.raw_server import RawServer, Request, chunk, ndjson, response, silence
from toolhouse_async import AsyncToolhouse, Event, TextDelta
from toolhouse_async.testing import EmulatorServer

KEY = "canary-key"
AGENT = "worker"
RUN = "run-1"
JOB = "job-1"
RUN_HEADER = "X-Toolhouse-Run-ID"
JOB_HEADER = "x-toolhouse-job-id"


def said(text: str) -> dict[str, Any]:
    """A line of the worker's words."""
    return {"type": "text", "text": text}


def called(call_id: str = "c1", name: str = "search", arguments: Any = None) -> dict[str, Any]:
    """A line that tells of a tool call."""
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}


def returned(call_id: str = "c1", content: Any = "found") -> dict[str, Any]:
    """A line that tells of a tool's result."""
    return {"type": "tool_result", "tool_call_id": call_id, "content": content}


def user(text: str) -> dict[str, Any]:
    """A history entry."""
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    """A history entry."""
    return {"role": "assistant", "content": text}


def _headers(kind: str, run: str | None, job: str | None, more: dict[str, str] | None) -> dict[str, str]:
    named = {RUN_HEADER: run, JOB_HEADER: job}
    return {"Content-Type": kind} | {k: v for k, v in named.items() if v is not None} | (more or {})


def streamed(
    *lines: Any,
    run: str | None = RUN,
    job: str | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **framing: Any,
) -> bytes:
    """The answer to a POST or PUT."""
    return response(status, _headers("application/x-ndjson", run, job, headers), ndjson(*lines), **framing)


def history(*entries: Any, job: str | None = None, headers: dict[str, str] | None = None) -> bytes:
    """The answer to a GET."""
    body = json.dumps(entries).encode()
    return response(200, _headers("application/json", None, job, headers), body, chunked=False)


def refused(status: int, body: bytes = b"no", job: str | None = None, **headers: str) -> bytes:
    """An answer that refuses, or anything else that is none of the API's; ``Retry_After`` names a header."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return response(status, _headers("text/plain", None, job, more), body, chunked=False)


Reply: TypeAlias = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter, Request], Awaitable[None]]


def broken_off(data: bytes, cut: Callable[[asyncio.StreamWriter], None]) -> Reply:
    """An answer after whose ``data`` the connection is cut by ``fin`` or ``rst``."""

    async def reply(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(data)
        await writer.drain()
        cut(writer)

    return reply


def falls_silent(data: bytes = b"") -> Reply:
    """An answer after whose ``data`` nothing comes on an open connection."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(data)
        await writer.drain()
        await silence(reader)

    return reply


def pieces(
    parts: Iterable[bytes], *, pause: float = 1.0, headers: dict[str, str] | None = None, job: str | None = None
) -> Reply:
    """A complete answer whose body comes in chunks, ``pause`` seconds apart."""

    async def reply(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(streamed(job=job, headers=headers, ends=False))
        for part in parts:
            await asyncio.sleep(pause)
            writer.write(chunk(part))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    return reply


@frozen
class Exchange:
    """A request, when it came (event loop time), and the status of its answer if it had one of its own."""

    request: Request
    at: float
    status: int | None


class Scripted(RawServer):
    """A server that gives each method's answers in order; a request without an answer left fails the test."""

    def __init__(self, *, post: Iterable[Reply] = (), put: Iterable[Reply] = (), get: Iterable[Reply] = ()) -> None:
        super().__init__(self._answer)
        self._replies = {"POST": iter(post), "PUT": iter(put), "GET": iter(get)}
        self.exchanges: list[Exchange] = []

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        reply = next(self._replies[request.method], None)
        if reply is None:
            raise AssertionError(f"no answer left for {request.method} {request.path}")
        status = int(reply.split(b" ", 2)[1]) if isinstance(reply, bytes) else None
        self.exchanges.append(Exchange(request, asyncio.get_running_loop().time(), status))
        if callable(reply):
            await reply(reader, writer, request)
            return
        writer.write(reply)
        if b"\r\nconnection: close\r\n" in reply.lower():
            await writer.drain()
            writer.close()

    @property
    def accepted(self) -> list[Request]:
        """The POSTs and PUTs that were not refused; a cut answer counts, since its message had come."""
        return [
            each.request
            for each in self.exchanges
            if each.request.method in ("POST", "PUT") and (each.status is None or each.status < 300)
        ]

    def times(self, method: str) -> list[float]:
        """When requests of ``method`` came, in seconds since the first request of any."""
        return [e.at - self.exchanges[0].at for e in self.exchanges if e.request.method == method]


def assert_accepted(server: Scripted | EmulatorServer, *expected: str) -> None:
    """Every message was accepted exactly once, in this order: ``"POST hello"``, ``"PUT "``, ``"POST"`` without one."""
    found: list[str] = []
    for request in server.accepted:
        message = json.loads(request.body).get("message") if request.body else None
        found.append(request.method if message is None else f"{request.method} {message}")
    assert found == list(expected)


def methods(server: Scripted | EmulatorServer) -> str:
    """The methods of all requests in order, as one string: ``"POST GET GET PUT"``."""
    return " ".join(request.method for request in server.requests)


def connect(server: Scripted | EmulatorServer, **options: Any) -> AsyncToolhouse:
    """A client of that server."""
    return AsyncToolhouse(KEY, base_url=server.url, **options)


def kinds(events: Sequence[Event]) -> list[str]:
    """The events' names, neighbours of the same name as one."""
    names = [type(event).__name__ for event in events]
    return [name for n, name in enumerate(names) if n == 0 or names[n - 1] != name]


def text_of(events: Sequence[Event]) -> str:
    """All the worker's words."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def now() -> float:
    """The virtual time."""
    return asyncio.get_running_loop().time()
