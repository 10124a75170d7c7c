"""The Workers API's answers as bytes for the raw server, and a client for it."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from secrets import randbelow
from typing import Any

from toolhouse_async import AsyncToolhouse, RetryPolicy

from .raw_server import RawServer, ndjson, response, rst

KEY = "th-key-0123456789-canary"
"""A key that must be found nowhere but in a request."""
RUN = "X-Toolhouse-Run-ID"
JOB = "X-Toolhouse-Job-ID"
ONCE = RetryPolicy(max_attempts=1)


def text(words: str) -> dict[str, str]:
    """A piece of an answer as an NDJSON object."""
    return {"type": "text", "text": words}


def said(*words: str, run: str | None = "r1", job: str | None = None, **options: Any) -> bytes:
    """An NDJSON answer to a message."""
    headers = {name: value for name, value in ((RUN, run), (JOB, job)) if value is not None}
    return response(headers=headers | options.pop("headers", {}), body=ndjson(*map(text, words)), **options)


def history(*entries: tuple[str, str], job: str | None = None, **options: Any) -> bytes:
    """The answer to a GET of a run: entries of role and content."""
    body = json.dumps([{"role": role, "content": content} for role, content in entries]).encode()
    headers = {} if job is None else {JOB: job}
    return response(headers=headers | options.pop("headers", {}), body=body, **options)


def client_of(server: RawServer, **options: Any) -> AsyncToolhouse:
    """A client that talks to ``server``."""
    return AsyncToolhouse(options.pop("api_key", KEY), base_url=server.url, **options)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that led to it, ``__cause__`` and ``__context__`` alike."""
    left, seen = [error], set[int]()
    while left:
        each = left.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            left += [each.__cause__, each.__context__]


def unused_port() -> int:
    """A port of this machine on which nobody listens; below those that the system gives to whoever asks for any."""
    while True:
        port = 20_000 + randbelow(12_000)  # by chance of its own: that of the tests is the same in all their processes
        with socket.socket() as unused, suppress(OSError):
            unused.bind(("127.0.0.1", port))
            return port


@asynccontextmanager
async def greeting(answer: bytes | None) -> AsyncIterator[int]:
    """A port where whoever comes and speaks gets ``answer`` and a closed connection, whatever they said.

    ``b""`` resets the connection, ``None`` keeps it open in silence.
    """
    connections: list[asyncio.StreamWriter] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.read(1)
        if answer is None:
            await reader.read()
        elif answer:
            writer.write(answer)
            writer.close()
        else:
            rst(writer)

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        server.close()
        for writer in connections:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def refused_handshakes() -> AsyncIterator[None]:
    """Within the block a TLS server may fail to shake hands: asyncio's debug mode would report that as an error."""
    loop = asyncio.get_running_loop()
    report = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, ssl.SSLError | ConnectionError) and "incoming connection" in context["message"]:
            return
        report(loop, context) if report else loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
    try:
        yield
        await asyncio.sleep(1)  # what the server found out last
    finally:
        loop.set_exception_handler(report)
