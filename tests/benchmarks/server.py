"""A server on a raw socket that costs little itself: ``python -m tests.benchmarks.server CORE``.

It prints its port. ``POST /FORMAT/PLAN…`` and ``GET /PLAN/…`` are answered as the plan in the path says, ``GET
/figures`` with what it has seen since the last ``GET /figures``.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Generator
from typing import Any

import orjson

from . import answers
from .plans import Plan


class Figures:
    """What the server has seen."""

    def __init__(self) -> None:
        self.arrivals: list[int] = []
        """When polls came (``time.monotonic_ns``)."""
        self.most_in_flight = 0
        """The most polls that were unanswered at once."""
        self.messages = 0
        """Messages that came."""
        self.closed: list[int] = []
        """When connections were closed by the client (``time.monotonic_ns``)."""


class Server:
    """The figures, shared by all connections."""

    def __init__(self) -> None:
        self.figures = Figures()
        self.in_flight = 0
        self.runs = 0

    def take_figures(self) -> bytes:
        """The figures so far as an answer; they begin anew."""
        figures, self.figures = self.figures, Figures()
        body = orjson.dumps(vars(figures))
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Connection(asyncio.Protocol):
    """One client, one request after the other."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._server.figures.closed.append(time.monotonic_ns())
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            length = 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            end += 4 + length
            if len(self._received) < end:
                return
            self._received = self._received[end:]
            method, path, _ = head.split(b" ", 2)
            self._answer(method, path.decode().strip("/").split("/"))

    def _answer(self, method: bytes, parts: list[str]) -> None:
        if parts == ["figures"]:
            self.transport.write(self._server.take_figures())
        elif method == b"GET":
            self._answer_poll(Plan.parse(parts[0]))
        else:
            self._answer_message(parts[0], Plan.parse(parts[1]))

    def _answer_poll(self, plan: Plan) -> None:
        server = self._server
        server.figures.arrivals.append(time.monotonic_ns())
        server.in_flight += 1
        server.figures.most_in_flight = max(server.figures.most_in_flight, server.in_flight)
        asyncio.get_running_loop().call_later(plan.pause / 1e6, self._end_poll)

    def _end_poll(self) -> None:
        self._server.in_flight -= 1
        self.transport.write(answers.poll_answer())

    def _answer_message(self, format_: str, plan: Plan) -> None:
        self._server.figures.messages += 1
        self._server.runs += 1
        head = answers.head(format_, self._server.runs)
        if plan.kind == "burst":
            self._write_after(plan.pause, head + answers.whole(format_, plan))
        elif plan.kind == "idle":
            self.transport.write(head + next(answers.chunks(format_, Plan("idle"))))
        elif plan.kind == "drip":
            self._drip(_writes(head, format_, plan), plan.pause / 1e6)
        else:
            _write_on_time(self.transport, head, format_, plan)

    def _write_after(self, pause: int, data: bytes) -> None:
        if pause:
            self._timer = asyncio.get_running_loop().call_later(pause / 1e6, self.transport.write, data)
        else:
            self.transport.write(data)

    def _drip(self, writes: Generator[bytes], pause: float) -> None:
        data = next(writes, None)
        if data is not None:
            self.transport.write(data)
            self._timer = asyncio.get_running_loop().call_later(pause, self._drip, writes, pause)


def _writes(head: bytes, format_: str, plan: Plan) -> Generator[bytes]:
    """The pieces of an answer that are written each by itself."""
    yield head
    yield from answers.chunks(format_, plan)
    yield answers.end(format_)


def _write_on_time(transport: asyncio.Transport, head: bytes, format_: str, plan: Plan) -> None:
    """Write a chunk at each multiple of the pause. It spins: a timer would be late, and this core is our own."""
    event = answers.writer(format_, plan)
    pieces = [head, *answers.chunks(format_, plan)]
    due = time.perf_counter_ns()
    for number, piece in enumerate(pieces):
        while time.perf_counter_ns() < due:
            pass
        if number and plan.kind == "stamped":
            transport.write(answers.chunk(event(str(time.monotonic_ns()))))
        else:
            transport.write(piece)
        due += plan.pause * 1000
    transport.write(answers.end(format_))


async def serve() -> None:
    """Serve on a free port of this machine until killed."""
    server = Server()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=20_000)
    print(listener.sockets[0].getsockname()[1], flush=True)
    gc.disable()  # a pause of the server would be measured at the client
    await listener.serve_forever()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    asyncio.run(serve())
