"""A TCP server that answers HTTP requests byte for byte as a test says, broken answers included.

The script is a list of canned answers, one a request in the order of arrival, or an async function that is
called for every request and writes what it likes:

    async def script(reader, writer, request):
        writer.write(response(headers={"X-Toolhouse-Run-ID": "r1"}, body=ndjson("cut "), ends=False))
        await writer.drain()
        rst(writer)

    async with RawServer(script) as server:
        ...  # talk to server.url
    assert [request.method for request in server.requests] == ["POST"]
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from http import HTTPStatus
from typing import Any, Self, TypeAlias

from attrs import frozen

LAST_CHUNK = b"0\r\n\r\n"


@frozen
class Request:
    """A request as it arrived: header names in lower case, the body without its chunking."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    """Which connection it came on, counted from 1."""

    def json(self) -> Any:
        """The body parsed as JSON."""
        return json.loads(self.body)


Script: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Request], Awaitable[None]]


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def response(
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    body: bytes | Sequence[bytes] = b"",
    *,
    chunked: bool = True,
    until_close: bool = False,
    ends: bool = True,
) -> bytes:
    """The bytes of an answer.

    Args:
        status: The status code.
        headers: Headers beside those of the framing; one named like a framing header stands in its place.
        body: The body, or its chunks.
        chunked: Frame the body by chunks, else by ``Content-Length``.
        until_close: Frame it by nothing but the connection's end; the script has to close the connection.
        ends: Write the last chunk of a chunked body.
    """
    parts = [body] if isinstance(body, bytes) else list(body)
    content = b"".join(parts)
    lines = {"Connection": "close"} if until_close else {"Content-Length": str(len(content))}
    if chunked and not until_close:
        lines = {"Transfer-Encoding": "chunked"}
        content = b"".join(chunk(part) for part in parts if part) + (LAST_CHUNK if ends else b"")
    given = dict(headers or {})
    names = {name.lower() for name in given}
    lines = {name: value for name, value in lines.items() if name.lower() not in names} | given
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    head = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in lines.items())]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + content


def ndjson(*objects: Any) -> bytes:
    """The objects as NDJSON, each with its newline."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in objects)


def fin(writer: asyncio.StreamWriter) -> None:
    """End the connection in order, once everything written is sent."""
    writer.close()


def rst(writer: asyncio.StreamWriter) -> None:
    """Reset the connection; what was written and drained before is not taken back."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def drip(writer: asyncio.StreamWriter, data: bytes, *, pause: float = 0.0) -> None:
    """Write byte by byte, ``pause`` seconds apart; without a pause the system may merge neighbours."""
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for position in range(len(data)):
        writer.write(data[position : position + 1])
        await writer.drain()
        await asyncio.sleep(pause)


async def silence(reader: asyncio.StreamReader) -> None:
    """Say nothing until the client hangs up."""
    with suppress(OSError):
        await reader.read()


class RawServer:
    """The server (see the module); a failing script or a request without an answer fails the block's end.

    Attributes:
        requests: The requests so far, in order of arrival.
        connections: How many connections were accepted.
    """

    def __init__(self, script: Script | Sequence[bytes], *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script if callable(script) else _canned(script)
        self._tls = tls
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.requests: list[Request] = []
        self.connections = 0

    @property
    def url(self) -> str:
        """The address to talk to, without a slash at its end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return sum(not task.done() for task in self._tasks)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._tasks.values():
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
        await self._server.wait_closed()
        if kind is None:
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks[asyncio.create_task(self._serve(reader, writer, self.connections))] = writer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        # A client that goes away is no failure: some scripts are about just that.
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                request = await _read_request(reader, number)
                self.requests.append(request)
                await self._script(reader, writer, request)
                await writer.drain()


def _canned(answers: Sequence[bytes]) -> Script:
    left: Iterator[bytes] = iter(answers)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        answer = next(left, None)
        if answer is None:
            raise AssertionError(f"no answer left for {request.method} {request.path}")
        writer.write(answer)
        if b"\r\nconnection: close\r\n" in answer.lower():
            await writer.drain()
            fin(writer)

    return script


async def _read_request(reader: asyncio.StreamReader, connection: int) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b"".join([part async for part in _chunks(reader)])
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body, connection)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
