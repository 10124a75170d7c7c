"""An answer on its way to the client: by the server's own means, or broken as a fault says."""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web
from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._faults import Fault
    from ._requests import RecordedRequest

_BUFFER: Final = 64 * 1024
"""Bytes that may wait for a slow client."""
_LOOK: Final = 0.001
"""Seconds between two looks at what still waits."""
_PASSES: Final = 2
"""Passes of the event loop between two writes: a client on the same loop has then read the first."""
_LAST_CHUNK: Final = b"0\r\n\r\n"


class Delivery:
    """Sends one answer with HTTP's framing, headers and status changed as a fault says.

    Attributes:
        done: Set once nothing more is to be written, so that the request's handler may return.
    """

    def __init__(self, request: web.Request, record: RecordedRequest, fault: Fault | None) -> None:
        self.done = asyncio.Event()
        self._request = request
        self._record = record
        self._fault = fault
        self._response: web.StreamResponse = web.Response()
        self._mute = False

    async def send(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send a whole answer."""
        status, edited, body = self._edit(status, headers, body)
        self._response = web.Response(status=status, headers=edited, body=body)
        self.done.set()

    async def start(self, headers: Mapping[str, str]) -> None:
        """Send the headers of a streamed answer.

        Raises:
            ConnectionError: The client is gone.
        """
        if self._fault is not None and self._fault.replaces:
            self._mute = True
            await self.send(HTTPStatus.OK, headers)
            return
        status, edited, _ = self._edit(HTTPStatus.OK, headers, b"")
        self._response = web.StreamResponse(status=status, headers=edited)
        await self._response.prepare(self._request)

    async def write(self, data: bytes) -> None:
        """Send a piece of a streamed answer as one chunk.

        Raises:
            ConnectionError: The client is gone.
        """
        if not self._mute:
            await self._response.write(data)

    async def end(self) -> None:
        """Take the streamed answer as complete."""
        self.done.set()

    def abort(self) -> None:
        """Break the streamed answer off: the connection is closed before the body's framing is complete."""
        if not self._mute:
            self._close()
        self.done.set()

    async def finish(self) -> web.StreamResponse:
        """Return what the request's handler returns, once ``done`` is set."""
        return self._response

    def _close(self) -> None:
        if self._request.transport is not None:
            self._request.transport.close()

    def _edit(self, status: int, headers: Mapping[str, str], body: bytes) -> tuple[int, CIMultiDict[str], bytes]:
        edited = CIMultiDict(headers)
        if self._fault is not None:
            if self._fault.status is not None:
                status, body = self._fault.status, self._fault.body
                edited = CIMultiDict({"Content-Type": "text/plain; charset=utf-8"})
            for name, value in self._fault.headers.items():
                edited.pop(name, None)
                if value is not None:
                    edited[name] = value
        self._record.status = status
        return status, edited, body


class BrokenDelivery(Delivery):
    """Writes the answer byte for byte, as its fault says, and closes the connection behind it.

    ``close_delimited`` frames its body by the connection's end alone, whatever the fault says.
    """

    def __init__(
        self, request: web.Request, record: RecordedRequest, fault: Fault, *, close_delimited: bool = False
    ) -> None:
        super().__init__(request, record, fault)
        self._broken = fault
        self._close_delimited = close_delimited or fault.close_delimited
        self._left = fault.cut_after
        self._held: bytearray | None = None  # what a silence keeps back
        self._chunked = False

    async def send(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        try:
            await self._head(status, headers, body, whole=True)
        except ConnectionError:  # cut, or the client is gone: there is nothing more to send
            pass
        finally:
            self.done.set()

    async def start(self, headers: Mapping[str, str]) -> None:
        if self._broken.status is not None:
            await self.send(HTTPStatus.OK, headers)
            self._mute = True
        else:
            await self._head(HTTPStatus.OK, headers, b"", whole=False)

    async def write(self, data: bytes) -> None:
        if self._mute:
            return
        prefix, suffix = (b"%x\r\n" % len(data), b"\r\n") if self._chunked else (b"", b"")
        if self._left is None or self._held is not None or len(data) < self._left:
            if self._left is not None:
                self._left -= len(data)
            await self._put(prefix + data + suffix)
            return
        await self._put(prefix + data[: self._left])
        await self._cut()
        await self._put(data[self._left :] + suffix)

    async def end(self) -> None:
        if self._chunked and not self._mute:
            await self._put(_LAST_CHUNK)
        self.done.set()

    async def finish(self) -> web.StreamResponse:
        if self._held is not None:
            await self._broken.released()
            held, self._held = bytes(self._held), None
            await self._put(held)
        self._close()
        return self._response

    async def _head(self, status: int, headers: Mapping[str, str], body: bytes, *, whole: bool) -> None:
        if self._broken.cut is not None and self._left is None:
            await self._cut()
        status, edited, body = self._edit(status, headers, body)
        edited["Connection"] = "close"
        if not self._close_delimited:
            self._chunked = not whole
            edited.setdefault(*(("Content-Length", str(len(body))) if whole else ("Transfer-Encoding", "chunked")))
        lines = [
            f"HTTP/1.1 {status} {_phrase(status)}",
            *(f"{name}: {value}" for name, value in edited.items()),
        ]
        await self._put("\r\n".join([*lines, "", ""]).encode())
        if self._request.method == "HEAD":
            return
        if self._left == 0:
            await self._cut()
        if body:
            await self.write(body)

    async def _cut(self) -> None:
        """Do what the fault does where the answer breaks off; only a silence goes on from here."""
        if self._broken.cut == "silence":
            self._held = bytearray()
            return
        if self._broken.cut == "rst":
            transport = await self._drained(0)
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        self._close()
        self.done.set()
        raise ConnectionResetError("cut by a fault")

    async def _put(self, data: bytes) -> None:
        if self._held is not None:
            self._held += data
            return
        step = 1 if self._broken.byte_by_byte else max(len(data), 1)
        for start in range(0, len(data), step):
            self._open().write(data[start : start + step])
            for _ in range(_PASSES):
                await asyncio.sleep(0)
            await self._drained(_BUFFER)

    async def _drained(self, most: int) -> asyncio.Transport:
        """Return the connection once at most so many bytes wait for the client."""
        while (transport := self._open()).get_write_buffer_size() > most:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(_LOOK)
        return transport

    def _open(self) -> asyncio.Transport:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        return transport


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
