"""A small service on the loopback interface that counts the messages it accepts, and breaks off as it is told.

What an answer looks like is each client's own: a subclass speaks as much of that client's API as the comparison needs.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.support.raw_server import LAST_CHUNK, Request, chunk, fin, response, rst, silence

MESSAGE = "Book a table"
WORDS = tuple(f"word{number} " for number in range(1, 11))
"""What the service answers, a word an event."""
ANSWER = "".join(WORDS)
SENT = 5
"""Words before an answer breaks off."""
MISSED = 2
"""Words that are said while a reader who comes back is away."""
JOB = 60.0
"""Seconds that a job takes."""
AWAY = 30.0
"""Seconds for which the service is away, where it is."""
NGINX = b"<html><head><title>503 Service Temporarily Unavailable</title></head><body>nginx</body></html>"
JSON = {"Content-Type": "application/json"}


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """An answer of JSON, whole."""
    return response(status, JSON | dict(headers or {}), json.dumps(value).encode(), chunked=False)


def sse(name: str | None, data: Any, identity: int | None = None) -> bytes:
    """A Server-Sent Event."""
    lines = [f"id: {identity}"] * (identity is not None) + [f"event: {name}"] * (name is not None)
    return "\n".join([*lines, f"data: {json.dumps(data)}", "", ""]).encode()


def refusal(status: int, page: bytes | None = None) -> bytes:
    """An answer of that status: a page, or JSON that any of the clients understands."""
    if page is not None:
        return response(status, {"Content-Type": "text/html"}, page, chunked=False)
    return as_json({"error": {"type": "error", "message": "no"}, "detail": "no"}, status)


class Service(ABC):
    """A service (see the module).

    Args:
        fault: What becomes of every message: ``"lost"`` (the connection ends before any answer), ``"fin"``,
            ``"rst"``, ``"unfinished"``, ``"clean"``, ``"close"`` (the answer breaks off behind :data:`SENT` words, see
            :meth:`stream`), ``"half"`` (it stops there, and the connection stays), or the bytes of an answer.
        polls: What becomes of the next questions after a job: ``"lost"``, or the bytes of an answer.
        away: For so long after the first such question, the service is away (503).

    Attributes:
        accepted: The messages so far, each as it was received whole.
        half: Set once an answer has stopped half-way.
    """

    content_type = "text/event-stream"

    def __init__(
        self, fault: str | bytes | None = None, *, polls: Iterable[str | bytes] = (), away: float = 0.0
    ) -> None:
        self.fault = fault
        self.polls = list(polls)
        self.away = away
        self.accepted: list[Request] = []
        self.half = asyncio.Event()
        self._until: float | None = None
        self._job_over: float | None = None

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        """Answer a request: the script of a ``RawServer``."""
        if not self.is_message(request):
            if not self._fails(writer):
                await self.look(reader, writer, request)
            return
        self.accepted.append(request)
        if self.fault == "lost":
            fin(writer)
        elif isinstance(self.fault, bytes):
            writer.write(self.fault)
        else:
            await self.message(reader, writer, request)

    def is_message(self, request: Request) -> bool:
        """Whether the request has a message for the service to accept."""
        return request.method in ("POST", "PUT")

    @abstractmethod
    async def message(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        """Answer a message."""

    async def look(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        """Answer any other request; without more, the service has nothing to look at."""
        writer.write(refusal(404))

    @abstractmethod
    def events(self, first: int = 0) -> Sequence[bytes]:
        """The events of an answer: what opens it, one for each word but the first ``first``, and the end."""

    @property
    def troubled(self) -> bool:
        """Whether questions after a job will fail."""
        return bool(self.polls or self.away)

    def start_job(self) -> None:
        """Let the job begin."""
        self._job_over = asyncio.get_running_loop().time() + JOB

    @property
    def is_busy(self) -> bool:
        """Whether the job runs."""
        return self._job_over is not None and asyncio.get_running_loop().time() < self._job_over

    async def job(self) -> None:
        """Wait until the job is over."""
        assert self._job_over is not None
        await asyncio.sleep(self._job_over - asyncio.get_running_loop().time())

    async def stream(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        headers: Mapping[str, str] | None = None,
        first: int = 0,
    ) -> None:
        """Write an answer from a word on, and break it off as the fault says, a second after its last word.

        The first word comes a second before the others, so that these and the cut find a slow reader busy with it.
        ``"fin"``: in mid-event, in mid-chunk. ``"unfinished"``: behind a chunk, without the last one. ``"clean"``: with
        the last chunk of HTTP, and without the service's own end. ``"close"``: framed by the connection's end alone.
        """
        head = {"Content-Type": self.content_type, **(headers or {})}
        events = self.events(first)
        if self.fault is None or first:
            writer.write(response(headers=head, body=events))
            return
        opening = len(events) - len(WORDS) - self.endings
        words, following = events[opening : opening + SENT], events[opening + SENT]
        until_close = self.fault == "close"
        first_words = [*events[:opening], words[0]]
        writer.write(response(headers=head, body=first_words, until_close=until_close, ends=False))
        await writer.drain()
        await asyncio.sleep(1)
        writer.writelines(word if until_close else chunk(word) for word in words[1:])
        if self.fault == "fin":
            writer.write(chunk(following)[:-10])
        elif self.fault == "clean":
            writer.write(LAST_CHUNK)
            return
        await writer.drain()
        if self.fault == "half":
            self.half.set()
            await silence(reader)
            return
        await asyncio.sleep(1)
        (rst if self.fault == "rst" else fin)(writer)

    endings = 1
    """How many events stand behind the words."""

    def _fails(self, writer: asyncio.StreamWriter) -> bool:
        now = asyncio.get_running_loop().time()
        if self.polls:
            poll = self.polls.pop(0)
            if isinstance(poll, bytes):
                writer.write(poll)
            else:
                fin(writer)
            return True
        if self.away:
            self._until = self._until or now + self.away
            if now < self._until:
                writer.write(refusal(503))
                return True
        return False
