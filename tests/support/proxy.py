"""A TCP proxy between a client and a server of the same event loop, which cuts, delays and slices what passes.

    async with Proxy(server.url, cut=Cut(120, "rst")) as proxy:
        ...  # talk to proxy.url: the 121st byte of what the server says never arrives
    assert proxy.happened

Times are the event loop's, so delays cost nothing where time is virtual.
"""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from typing import Literal, Self, TypeAlias
from urllib.parse import urlsplit

from attrs import field, frozen, validators

from .raw_server import fin, rst

Direction: TypeAlias = Literal["down", "up"]
"""From the server to the client, or from the client to the server."""

_BLOCK = 64 * 1024


@frozen
class Cut:
    """Where the connection breaks, once: both of its ends are closed or reset.

    Attributes:
        after: Bytes of ``direction`` that still pass, all connections together.
        how: Closed in order (``"fin"``) or reset (``"rst"``).
        direction: Whose bytes are counted.
        at_once: Cut as soon as those bytes have passed, instead of when the next one comes.
    """

    after: int = field(validator=validators.ge(0))
    how: Literal["fin", "rst"] = "fin"
    direction: Direction = "down"
    at_once: bool = False


class Proxy:
    """The proxy (see the module).

    Args:
        target: The server's URL.
        cut: What breaks.
        delay: Seconds by which every piece comes late.
        piece: Pass at most so many bytes at a time.

    Attributes:
        passed: Bytes that have passed, by direction.
        happened: Whether the cut was made.
        connections: How many connections were accepted.
    """

    def __init__(self, target: str, *, cut: Cut | None = None, delay: float = 0.0, piece: int = _BLOCK) -> None:
        self._target = urlsplit(target)
        self._cut = cut
        self._delay = delay
        self._piece = piece
        self._tasks: set[asyncio.Task[None]] = set()
        self.passed: dict[Direction, int] = {"down": 0, "up": 0}
        self.happened = False
        self.connections = 0

    @property
    def url(self) -> str:
        """The address to talk to, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._target.hostname is not None
        with closing(writer), suppress(OSError):
            above, server = await asyncio.open_connection(self._target.hostname, self._target.port)
            with closing(server):
                ends = (writer, server)
                passing = [
                    asyncio.ensure_future(self._pass("up", reader, server, ends)),
                    asyncio.ensure_future(self._pass("down", above, writer, ends)),
                ]
                try:
                    await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in passing:
                        task.cancel()
                    await asyncio.gather(*passing, return_exceptions=True)

    async def _pass(
        self,
        direction: Direction,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        """Pass one direction on until its end, or until the cut."""
        cut = self._cut if self._cut is not None and self._cut.direction == direction else None
        with suppress(OSError):
            while data := await source.read(self._piece):
                if self._delay:
                    await asyncio.sleep(self._delay)
                left = len(data) if cut is None or self.happened else cut.after - self.passed[direction]
                sink.write(data[:left])
                self.passed[direction] += min(left, len(data))
                await sink.drain()
                if cut is not None and not self.happened and (left < len(data) or (cut.at_once and left == len(data))):
                    self.happened = True
                    for end in ends:
                        (fin if cut.how == "fin" else rst)(end)
                    return
