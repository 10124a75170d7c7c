"""HTTP by aiohttp: the only module of the client that knows it. See the architecture page for each choice."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

import aiohttp
import anyio

from ._settings import Limits, Timeouts
from ._wire.answers import HeaderLookup, Headers, check_framing, is_framed
from ._wire.requests import Request
from .errors import (
    BodyTooLargeError,
    ConnectTimeoutError,
    NotSentError,
    OutcomeUnknownError,
    ProtocolError,
    ResponseTimeoutError,
    TLSError,
    ToolhouseError,
)

MESSAGES_IDLE: Final = 2.0
"""Seconds that a connection may have idled before a POST or PUT uses it: a longer idle one may just be closing."""
READS_IDLE: Final = 15.0
"""The same for a GET, which can be sent again."""
SLICE: Final = 256 * 1024
"""Bytes of a request body that are written at once."""


class Cut(Exception):  # noqa: N818 - a signal inside the library, never seen outside
    """An answer's body ended before its framing said so."""


class Answer:
    """An answer whose body is still to be read.

    Attributes:
        status: The HTTP status.
        lookup: The headers, as the HTTP library has them.
        framed: Whether the end of the body will be proven by its framing.
        received: Bytes of the body read so far.
        waiting_since: The loop's time at which the reader began to wait for bytes, ``None`` while it does not.
    """

    __slots__ = (
        "_content", "_failure", "_max_body", "_on_close", "_reason", "_response", "_watcher",
        "framed", "lookup", "received", "status", "waiting_since",
    )  # fmt: skip

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        watcher: _Watcher | None,
        max_body: int | None,
        on_close: Callable[[], None],
    ) -> None:
        self._response = response
        self._content = response.content
        self._max_body = max_body
        self._on_close: Callable[[], None] | None = on_close
        self._failure: str | None = None
        self._reason: str | None = None
        self._watcher = watcher
        self.status: int = response.status
        self.lookup: HeaderLookup = response.headers
        version = response.version
        self.framed: bool = version is not None and is_framed(
            response.headers, (version.major, version.minor), response.status
        )
        self.received: int = 0
        self.waiting_since: float | None = None
        if watcher is not None:
            watcher.answer = self

    @property
    def headers(self) -> Headers:
        """The headers as an independent mapping."""
        return Headers(self._response.headers.items())

    async def read(self) -> bytes:
        """Return the next bytes of the body; ``b""`` at its end.

        All that was received before a cut is returned before the cut is raised. A cancelled call loses nothing.

        Raises:
            Cut: The body ended too early.
            BodyTooLargeError: It is longer than the limit.
        """
        if self._max_body is not None and self.received > self._max_body:
            raise self._too_large()
        if self._failure is None:
            self.waiting_since = asyncio.get_running_loop().time()
            try:
                data = await self._content.readany()
            except (aiohttp.ClientError, OSError, RuntimeError) as error:
                self._failure = self._reason or (
                    f"the connection was lost: {error.strerror}"
                    if isinstance(error, OSError)
                    else "the connection ended before the body's framing did"
                )
                data = self.rest()
            finally:
                self.waiting_since = None
            if data or self._failure is None:
                return self._within_limit(data)
        raise Cut(self._failure)

    def _within_limit(self, data: bytes) -> bytes:
        """What of the next bytes is below the limit; the next call raises."""
        most, before = self._max_body, self.received
        self.received += len(data)
        if most is None or self.received <= most:
            return data
        if before < most:
            return data[: most - before]
        raise self._too_large()

    def _too_large(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"the answer is longer than Limits.max_body ({self._max_body} bytes)")

    def rest(self) -> bytes:
        """Return what was received and not yet read, also after a failure."""
        content = self._content
        # The reader refuses to give out its buffer while it holds an exception; the tests guard this.
        content.set_exception(None)  # type: ignore[arg-type]
        return content.read_nowait()

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
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            if self._watcher is not None:
                self._watcher.answer = None
            self._response.close() if not self._content.is_eof() else self._response.release()
            on_close()


class _Watcher:
    """Tells the answer being read that its connection is gone.

    aiohttp closes the connection when the framing of a body breaks half-way, but the body's reader is not told
    and would wait for ever.
    """

    __slots__ = ("answer",)

    def __init__(self, closed: asyncio.Future[None]) -> None:
        self.answer: Answer | None = None
        closed.add_done_callback(self._on_closed)

    def _on_closed(self, closed: asyncio.Future[None]) -> None:
        if not closed.cancelled():
            closed.exception()  # seen, so that asyncio does not report it as never retrieved
        if self.answer is not None:
            self.answer.fail("the connection was closed, or the framing of the body is broken")


class _Sending:
    """How far one request has come: what proves that it was not sent."""

    __slots__ = ("_in_flight", "response_timeout", "scope", "sent")

    def __init__(self, response_timeout: float | None, in_flight: Callable[[bool], None] | None) -> None:
        self._in_flight = in_flight
        self.scope: asyncio.Timeout | None = None
        self.response_timeout = response_timeout
        self.sent = False

    def headers_sent(self) -> None:
        self.sent = True
        if self._in_flight is not None:
            self._in_flight(True)
        if self.response_timeout is not None and self.scope is not None:
            self.scope.reschedule(asyncio.get_running_loop().time() + self.response_timeout)


class _Dropped(Exception):  # noqa: N818 - a signal
    """The connection was lost under a request; of a kind that aiohttp does not retry by itself."""


async def _never_resend(
    request: aiohttp.ClientRequest,
    handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
) -> aiohttp.ClientResponse:
    """Client middleware: keeps aiohttp from sending a PUT a second time after a disconnect."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        reason = f"{type(error).__name__}: {error}"[:300]
    raise _Dropped(reason)


async def _on_headers_sent(session: object, context: Any, params: object) -> None:
    context.trace_request_ctx.headers_sent()


class Transport:
    """Connections to one origin, in two pools, so that polls never queue behind streams.

    Messages (POST, PUT) share ``Limits.max_connections``; reads (GET) are bounded by who issues them. It belongs
    to the event loop that first uses it.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeouts: Timeouts,
        limits: Limits,
        headers: Mapping[str, str],
        proxy: str | None,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._timeouts = timeouts
        self._limits = limits
        self._headers = dict(headers)
        self._proxy = proxy
        self._ssl: ssl.SSLContext | bool = True if ssl_context is None else ssl_context
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._closing: asyncio.Future[None] | None = None
        self._free = anyio.Semaphore(limits.max_connections, fast_acquire=True)
        self._watchers: WeakKeyDictionary[Any, _Watcher] = WeakKeyDictionary()

    def _session(self, *, reads: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(reads)
        if session is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_on_headers_sent)
            session = self._sessions[reads] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=READS_IDLE if reads else MESSAGES_IDLE, ssl=self._ssl
                ),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._timeouts.connect),
                skip_auto_headers=("Content-Type",),
                auto_decompress=False,
                trust_env=False,
                trace_configs=[trace],
                middlewares=(_never_resend,),
                proxy=self._proxy,
            )
        return session

    async def send(
        self,
        request: Request,
        authorization: Mapping[str, str],
        *,
        response_timeout: float | None = None,
        in_flight: Callable[[bool], None] | None = None,
    ) -> Answer:
        """Send a request once and return the answer as soon as its headers are there.

        Args:
            request: What to send.
            authorization: The headers that carry the key.
            response_timeout: Seconds from the first byte sent to the headers; default ``Timeouts.response``.
            in_flight: Told ``True`` when the first byte is sent.

        Raises:
            NotSentError: It provably was not sent.
            OutcomeUnknownError: It was sent and no answer came.
            ProtocolError: The answer is not HTTP.

        Cancelling closes the connection; a message under way may have been accepted or not.
        """
        reads = request.method == "GET"
        if not reads:
            await self._take_place()
        release = _nothing if reads else self._free.release
        try:
            sending = _Sending(response_timeout or self._timeouts.response, in_flight)
            response = await self._request(request, authorization, sending)
            answer = Answer(response, self._watch(response), self._limits.max_body, release)
        except BaseException:
            release()
            raise
        try:
            check_framing(answer.lookup)
        except ProtocolError:
            answer.close()
            raise
        return answer

    async def _take_place(self) -> None:
        try:
            self._free.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(self._timeouts.pool):
                await self._free.acquire()
                return
        else:
            return
        raise ConnectTimeoutError(
            f"none of {self._limits.max_connections} connections became free "
            f"within Timeouts.pool ({self._timeouts.pool:g} s)"
        )

    async def _request(
        self, request: Request, authorization: Mapping[str, str], sending: _Sending
    ) -> aiohttp.ClientResponse:
        error: ToolhouseError
        headers = dict(authorization)
        data: bytes | AsyncIterator[bytes] | None = request.body
        if request.body is not None:
            headers["Content-Type"] = "application/json"
            if len(request.body) > SLICE:
                headers["Content-Length"] = str(len(request.body))
                data = _sliced(request.body)
        try:
            async with asyncio.timeout(None) as sending.scope:
                return await self._session(reads=request.method == "GET").request(
                    request.method,
                    self._base_url + request.path,
                    data=data,
                    headers=headers,
                    allow_redirects=False,
                    trace_request_ctx=sending,
                )
        except aiohttp.ConnectionTimeoutError:
            error = ConnectTimeoutError(f"{request}: no connection within Timeouts.connect", run_id=request.run_id)
        except TimeoutError:
            error = ResponseTimeoutError(
                f"{request}: sent, and no answer within {sending.response_timeout:g} s", run_id=request.run_id
            )
        except (_Dropped, aiohttp.ClientError, OSError) as failure:
            error = _explained(failure, sent=sending.sent, request=request)
        # Raised here, out of the except blocks, since aiohttp's exceptions hold the request's headers.
        if request.method == "GET":
            error.safe_to_retry = True
        raise error

    def _watch(self, response: aiohttp.ClientResponse) -> _Watcher | None:
        connection = response.connection
        protocol = None if connection is None else connection.protocol
        if protocol is None:
            return None  # the whole answer is here already
        watcher = self._watchers.get(protocol)
        if watcher is None:
            # It is `None` once the connection is lost, which cannot be before the answer's head is handed over.
            closed = protocol.closed or asyncio.get_running_loop().create_future()
            watcher = self._watchers[protocol] = _Watcher(closed)
        return watcher

    async def aclose(self) -> None:
        """Close every connection. Idempotent; cancelling leaves off waiting, not closing."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        for session in self._sessions.values():
            await session.close()


async def _sliced(body: bytes) -> AsyncIterator[bytes]:
    """A large body piece by piece: the event loop is not held up, and aiohttp does not warn that it might be."""
    for start in range(0, len(body), SLICE):
        yield body[start : start + SLICE]


def _nothing() -> None:
    """Nothing to give back."""


def _explained(failure: Exception, *, sent: bool, request: Request) -> ToolhouseError:
    """The error for a request that failed, by the evidence of how far it had come."""
    run_id = request.run_id
    if isinstance(failure, aiohttp.ClientSSLError | ssl.SSLError):
        cause = getattr(failure, "os_error", failure)
        if not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return TLSError(f"{request}: TLS failed: {failure}"[:500], run_id=run_id)
    if isinstance(failure, aiohttp.ClientHttpProxyError):
        return NotSentError(f"{request}: the proxy refused to connect: {failure.status}", run_id=run_id)
    if isinstance(failure, aiohttp.ClientResponseError):
        return ProtocolError(f"{request}: the answer is not valid HTTP: {failure.message}"[:500], run_id=run_id)
    reason = str(failure) if isinstance(failure, _Dropped) else f"{type(failure).__name__}: {failure}"
    if sent:
        return OutcomeUnknownError(
            f"{request}: sent, and the connection was lost before an answer ({reason})"[:500], run_id=run_id
        )
    return NotSentError(f"{request}: not sent: {reason}"[:500], run_id=run_id)
