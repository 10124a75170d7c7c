"""A TCP proxy that does something bad to a share of its connections, as a seeded random source says."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import closing, suppress
from random import Random
from typing import Literal, Self
from urllib.parse import urlsplit

from attrs import frozen

from tests.support.raw_server import fin, rst

SHARE = 1 / 3
"""The share of connections that suffer."""
_BLOCK = 64 * 1024

Direction = Literal["up", "down"]
Kind = Literal["none", "late", "sliced", "fin", "rst", "stalled"]


@frozen
class Fault:
    """What happens to one connection.

    Attributes:
        kind: Every piece comes late, or in slices; or, in one direction, the connection is closed (``fin``) or reset
            (``rst``) after some bytes, or pauses there.
        direction: Whose bytes are counted.
        after: After how many of them.
        seconds: By how long a piece is late, or how long the pause is.
    """

    kind: Kind = "none"
    direction: Direction = "down"
    after: int = 0
    seconds: float = 0.0

    @classmethod
    def drawn(cls, random: Random) -> Fault:
        """What happens to the next connection."""
        if random.random() >= SHARE:
            return cls()
        kind: Kind = random.choice(("late", "sliced", "fin", "rst", "stalled"))
        return cls(
            kind,
            random.choice(("up", "down")),
            int(random.expovariate(1 / 400)),
            random.uniform(5, 60) if kind == "stalled" else random.uniform(0, 3),
        )


class ChaosProxy:
    """The proxy.

    Attributes:
        made: What happened to how many connections; a cut counts once it is made.
    """

    def __init__(self, target: str, random: Random) -> None:
        self._target = urlsplit(target)
        self._random = random
        self._tasks: set[asyncio.Task[None]] = set()
        self.made: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """The address to talk to."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=4096)
        self._port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer, Fault.drawn(self._random)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        self.made["connections"] += 1
        self.made[fault.kind] += fault.kind in ("late", "sliced")
        with closing(writer), suppress(OSError):
            above, server = await asyncio.open_connection(self._target.hostname, self._target.port)
            with closing(server):
                passing = [
                    asyncio.ensure_future(self._pass("up", reader, server, writer, fault)),
                    asyncio.ensure_future(self._pass("down", above, writer, server, fault)),
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
        other: asyncio.StreamWriter,
        fault: Fault,
    ) -> None:
        left = fault.after if fault.direction == direction and fault.kind in ("fin", "rst", "stalled") else None
        with suppress(OSError):
            while data := await source.read(_BLOCK):
                if fault.kind == "late":
                    await asyncio.sleep(fault.seconds)
                    if direction == "up" and _has_hung_up(source):
                        return
                elif fault.kind == "sliced":
                    await self._slice(data, sink)
                    continue
                if left is None or len(data) <= left:
                    left = None if left is None else left - len(data)
                    sink.write(data)
                    await sink.drain()
                    continue
                self.made[fault.kind] += 1
                sink.write(data[:left])
                await sink.drain()
                if fault.kind == "stalled":
                    await asyncio.sleep(fault.seconds)
                    if _has_hung_up(source):
                        return
                    sink.write(data[left:])
                    left = None
                    continue
                for end in (sink, other):
                    (fin if fault.kind == "fin" else rst)(end)
                return

    async def _slice(self, data: bytes, sink: asyncio.StreamWriter) -> None:
        while data:
            size = self._random.randint(1, 200)
            sink.write(data[:size])
            await sink.drain()
            await asyncio.sleep(0)
            data = data[size:]


def _has_hung_up(source: asyncio.StreamReader) -> bool:
    """Whether who said the last piece is gone: then it does not arrive, and nothing comes behind what is said next."""
    return source.at_eof() or source.exception() is not None
