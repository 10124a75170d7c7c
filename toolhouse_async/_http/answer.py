"""An HTTP answer by aiohttp: its body as bytes, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import aiohttp

from .._wire.answers import HeaderLookup, Headers
from ..errors import BodyTooLargeError
from .port import Cut

PIECE: Final = 20 * 1024
"""Bytes of a body that are handed out at once: what they hold must be dealt with in one step of the event loop.

Events of a few words are then fewer than the 700 new objects after which Python looks for garbage.
"""


class AiohttpAnswer:
    """An answer by aiohttp; what ``library.Response`` asks for.

    Attributes:
        status: The HTTP status.
        lookup: The headers, as aiohttp has them.
        framed: Whether the end of the body will be proven by its framing.
        idle: Seconds that may pass between its bytes; who reads it sees to that.
        run_id: The run id in its headers, once it is identified.
        job_id: The job in its headers, once it is identified.
        received: Bytes of the body read so far.
        waiting_since: The loop's time at which the reader began to wait for bytes, ``None`` while it does not.
    """

    run_id: str | None = None
    job_id: str | None = None
    received: int = 0
    waiting_since: float | None = None
    _failure: str | None = None
    _reason: str | None = None
    _connection_closed: asyncio.Future[None] | None = None
    _is_behind: bool = False
    _is_closed: bool = False
    _redact: Callable[[str], str] | None = None

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        max_body: int | None,
        time: Callable[[], float],
        on_close: Callable[[], None] | None,
        *,
        framed: bool,
        idle: float | None,
    ) -> None:
        self._response = response
        self._content = response.content
        self._max_body = max_body
        self._time = time
        self._on_close = on_close
        self.status: int = response.status
        self.lookup: HeaderLookup = response.headers
        self.framed: bool = framed
        self.idle: float | None = idle
        connection = response.connection
        if connection is not None:  # else the whole answer is here already
            self._watch(connection)

    def _watch(self, connection: aiohttp.connector.Connection) -> None:
        """Have the reader told when the connection is gone.

        aiohttp closes the connection when the framing of a body breaks half-way, but the body's reader is not told
        and would wait for ever.
        """
        protocol = connection.protocol
        closed = None if protocol is None else protocol.closed
        # It is `None` once the connection is lost, which cannot be before the answer's head is handed over.
        closed = self._connection_closed = closed or asyncio.get_running_loop().create_future()
        # Stays with the connection, once: asyncio reports an exception that nobody has looked at.
        closed.remove_done_callback(_look_at)
        closed.add_done_callback(_look_at)
        closed.add_done_callback(self._on_closed)

    def _on_closed(self, closed: asyncio.Future[None]) -> None:
        self.fail("the connection was closed, or the framing of the body is broken")

    @property
    def headers(self) -> Headers:
        """The headers as an independent mapping."""
        return Headers(self._response.headers.items())

    def identify(self, run_id: str | None, job_id: str | None, redact: Callable[[str], str]) -> None:
        """Note what the headers say, and what blacks the key out of a text."""
        self.run_id = run_id
        self.job_id = job_id
        self._redact = redact

    def redact(self, text: str) -> str:
        """Black the key out of what the answer said."""
        return text if self._redact is None else self._redact(text)

    async def read(self) -> bytes:
        """Return the next bytes of the body; ``b""`` at its end.

        All that was received before a cut is returned before the cut is raised. A cancelled call loses nothing.

        Raises:
            Cut: The body ended too early.
            BodyTooLargeError: It is longer than the limit.
        """
        if self._max_body is not None and self.received > self._max_body:
            raise self._too_large()
        content = self._content
        if self._is_behind:
            await asyncio.sleep(0)  # what is here already would else be read without ever letting others run
        if self._failure is None:
            self.waiting_since = self._time()
            try:
                data = await content.read(PIECE)
            except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, RuntimeError) as error:
                self._failure = self._reason or (
                    f"the connection was lost: {error.strerror}"
                    if isinstance(error, OSError)
                    else "the connection ended before the body's framing did"
                )
                data = self._covered(PIECE)
            finally:
                self.waiting_since = None
        else:
            data = self._covered(PIECE)
        size = len(data)
        self._is_behind = size == PIECE
        if not size and self._failure is not None:
            raise Cut(self._failure)
        self.received += size
        return data if self._max_body is None else self._within_limit(data, self._max_body)

    @property
    def is_received(self) -> bool:
        """Whether all of the body has been received: its connection is free, read or not."""
        return self._content.is_eof()

    @property
    def at_end(self) -> bool:
        """Whether the body ended well and was read to its end, so that the next reading gives nothing."""
        return self._content.at_eof() and (self._max_body is None or self.received <= self._max_body)

    def _within_limit(self, data: bytes, most: int) -> bytes:
        """What of the latest bytes is below the limit; the next call raises."""
        if self.received <= most:
            return data
        before = self.received - len(data)
        if before < most:
            return data[: most - before]
        raise self._too_large()

    def _too_large(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"the answer is longer than Limits.max_body ({self._max_body} bytes)")

    def rest(self) -> bytes:
        """Return what was received and not yet read, also after a failure."""
        return self._covered(-1)

    def _covered(self, most: int) -> bytes:
        """Bytes that were received before the failure: at most so many, or all."""
        # The reader refuses to give out its buffer while it holds an exception; the tests guard this.
        self._content.set_exception(None)  # type: ignore[arg-type]
        return self._content.read_nowait(most)

    def fail(self, reason: str) -> None:
        """End the body here: the reader gets what was received, then :class:`Cut`."""
        if not self._content.is_eof() and self._content.exception() is None:
            self._reason = reason
            self._content.set_exception(aiohttp.ClientPayloadError(reason))

    async def read_all(self, most: int | None = None) -> bytes:
        """Return the rest of the body, at most about ``most`` bytes of it.

        Raises:
            Cut: The body ended too early.
            BodyTooLargeError: It is longer than ``Limits.max_body``.
        """
        parts: list[bytes] = []
        size = 0
        while data := await self.read():
            parts.append(data)
            size += len(data)
            if most is not None and size >= most:
                break
        return b"".join(parts)

    def close(self) -> None:
        """Let the connection go: back to the pool if the body was read to its end, else closed. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        response = self._response
        if self._connection_closed is not None:
            self._connection_closed.remove_done_callback(self._on_closed)
        if self._content.is_eof():
            response.release()
        else:
            response.close()
        if self._on_close is not None:
            self._on_close()


def _look_at(closed: asyncio.Future[None]) -> None:
    if not closed.cancelled():
        closed.exception()
