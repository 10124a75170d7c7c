"""Requests by aiohttp. See the architecture page for each choice."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import ContextVar
from typing import Any, Final

import aiohttp
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace

from .._log import log
from .._values.settings import Limits, Timeouts
from .._wire.answers import HeaderLookup, is_framed
from .._wire.requests import Request
from ..errors import (
    ConnectTimeoutError,
    NotSentError,
    OutcomeUnknownError,
    ProtocolError,
    ResponseTimeoutError,
    TLSError,
    ToolhouseError,
)
from .answer import AiohttpAnswer
from .port import Dispatch
from .watch import Watch

MESSAGES_IDLE: Final = 2.0
"""Seconds that a connection may have idled before a POST or PUT uses it: a longer idle one may just be closing."""
READS_IDLE: Final = 15.0
"""The same for a GET, which can be sent again."""
SLICE: Final = 256 * 1024
"""Bytes of a request body that are written at once."""

_NO_CONTENT_TYPE: Final = (hdrs.CONTENT_TYPE,)
"""What aiohttp is not to add where there is no body."""


_REQUEST: Final[ContextVar[tuple[Dispatch, Watch, Timeouts] | None]] = ContextVar("toolhouse_async.request")
"""The request under way, and the times that it may take: what aiohttp does not hand on to connection and answer."""


class _Response(aiohttp.ClientResponse):
    """An answer that is begun exactly when the request's head is handed to the connection.

    Attributes:
        framed: Whether the end of its body will be proven by its framing.
        fault: Why its length is not what two readers would agree on; its connection is closed then, since what follows
            on it may be a part of this answer. It is raised by us, not here in frames of aiohttp that hold the key.
    """

    framed: bool = False
    fault: ProtocolError | None = None

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        under_way = _REQUEST.get()
        assert under_way is not None  # noqa: S101 - a request is being made
        dispatch, watch, timeouts = under_way
        limit = timeouts.response
        if _speaks_http_2(connection):
            raise _SpeaksHTTP2
        dispatch.in_flight = True
        protocol = connection.protocol
        assert protocol is not None  # noqa: S101 - the connection was just handed out
        if limit is not None:
            watch.at(dispatch, watch.time() + limit, lambda: protocol.set_exception(TimeoutError()))
        try:
            await super().start(connection)
        except asyncio.CancelledError:
            dispatch.head = _received_head(connection)
            raise
        except GeneratorExit:  # collected as garbage, in whatever order with the coroutines of aiohttp
            with suppress(RuntimeError):  # behind a closed loop only the first closing fails; theirs comes later
                connection.close()
            raise
        finally:
            watch.drop(dispatch)
        try:
            self.framed = is_framed(self.headers, self.version or (0, 9), self.status)
        except ProtocolError as fault:
            self.fault = fault.with_traceback(None)
            protocol.close()  # aiohttp has given it back, if the body is all here
        return self

    def __del__(self, *context: Any) -> None:
        try:  # noqa: SIM105 - suppress() takes its time, and this is done for every answer
            super().__del__(*context)
        except RuntimeError:
            pass  # the event loop was closed under it


class _SpeaksHTTP2(Exception):  # noqa: N818 - a signal
    """The server took up an offer of HTTP/2, so that nothing of ours means anything to it."""


def _speaks_http_2(connection: aiohttp.connector.Connection) -> bool:
    transport = connection.transport
    tls = None if transport is None else transport.get_extra_info("ssl_object")
    return tls is not None and tls.selected_alpn_protocol() == "h2"


def _received_head(connection: aiohttp.connector.Connection) -> HeaderLookup | None:
    """The headers that came in the very pass of the event loop in which their reader was cancelled."""
    assert connection.protocol is not None  # noqa: S101 - it is closed by who is cancelled, and later
    reading = connection.protocol.read()
    try:
        reading.send(None)
    except StopIteration as received:
        message, _ = received.value
        return message.headers if 200 <= message.code < 300 else None
    except Exception as error:  # noqa: BLE001 - whatever ended the connection; the cancellation goes on
        log.debug("the request was cancelled as its connection failed: %r", type(error))
        return None
    with suppress(asyncio.CancelledError):
        reading.throw(asyncio.CancelledError())  # nothing was there, so it has begun to wait
    return None


class _Connector(aiohttp.TCPConnector):
    """Makes connections within a limit of time of ours, which counts only time in which the loop could read."""

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        under_way = _REQUEST.get()
        assert under_way is not None  # noqa: S101 - a request is being made
        _, watch, timeouts = under_way
        async with watch.within(timeouts.connect):
            return await super()._create_connection(req, traces, timeout)


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
        reason = _in_words(error)
    raise _Dropped(reason)


_MIDDLEWARES: Final = {"GET": (_never_resend,), "PUT": (_never_resend,)}
"""By method: aiohttp sends those again that it takes for idempotent."""


class AiohttpTransport:
    """Connections to one origin by aiohttp, in two pools, so that polls never queue behind streams.

    Messages (POST, PUT) share ``Limits.max_connections``; reads (GET) are bounded by who issues them. It belongs
    to the event loop that first uses it.

    Attributes:
        within: Bounds what is awaited in a block: :meth:`Watch.within`.
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
        self._watch = Watch()
        self.within: Callable[[float | None], AbstractAsyncContextManager[None]] = self._watch.within
        self._closing: asyncio.Future[None] | None = None
        self._free = asyncio.Semaphore(limits.max_connections)

    def _session(self, *, reads: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(reads)
        if session is None:
            session = self._sessions[reads] = aiohttp.ClientSession(
                connector=_Connector(
                    limit=0,
                    keepalive_timeout=READS_IDLE if reads else MESSAGES_IDLE,
                    ssl=self._ssl,
                ),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                trust_env=False,
                response_class=_Response,
                proxy=self._proxy,
            )
        return session

    async def send(
        self,
        request: Request,
        headers: Mapping[str, str],
        *,
        dispatch: Dispatch | None = None,
        timeouts: Timeouts | None = None,
    ) -> AiohttpAnswer:
        """Send a request once: ``library.Transport.send``."""
        timeouts = timeouts or self._timeouts
        release = None
        if request.method != "GET":
            if timeouts.pool is not None and self._free.locked():
                await self._wait_for_place(timeouts.pool)
            else:
                await self._free.acquire()
            release = self._free.release
        dispatch = dispatch or Dispatch()
        try:
            response = await self._request(request, headers, dispatch, timeouts)
            answer = AiohttpAnswer(
                response, self._limits.max_body, self._watch.time, release, framed=response.framed, idle=timeouts.idle
            )
        except BaseException:
            if release is not None:
                release()
            raise
        if response.fault is not None:
            answer.close()
            raise response.fault
        return answer

    async def _wait_for_place(self, limit: float) -> None:
        try:
            async with self.within(limit):
                await self._free.acquire()
        except TimeoutError:
            raise ConnectTimeoutError(
                f"none of {self._limits.max_connections} connections became free within Timeouts.pool ({limit:g} s)"
            ) from None

    async def _request(
        self, request: Request, headers: Mapping[str, str], dispatch: Dispatch, timeouts: Timeouts
    ) -> _Response:
        error: ToolhouseError
        headers = dict(headers)
        data: bytes | AsyncIterator[bytes] | None = request.body
        if request.body is not None:
            headers[hdrs.CONTENT_TYPE] = "application/json"
            if len(request.body) > SLICE:
                headers[hdrs.CONTENT_LENGTH] = str(len(request.body))
                data = _sliced(request.body)
        loop = asyncio.get_running_loop()
        _REQUEST.set((dispatch, self._watch, timeouts))
        try:
            return await self._session(reads=request.method == "GET").request(  # type: ignore[return-value] # its class
                request.method,
                self._base_url + request.path,
                data=data,
                headers=headers,
                allow_redirects=False,
                skip_auto_headers=_NO_CONTENT_TYPE if data is None else None,
                middlewares=_MIDDLEWARES.get(request.method),
            )
        except aiohttp.ConnectionTimeoutError:
            error = ConnectTimeoutError(f"{request}: no connection within Timeouts.connect", run_id=request.run_id)
        except TimeoutError:
            error = ResponseTimeoutError(
                f"{request}: sent, and no answer within {timeouts.response:g} s", run_id=request.run_id
            )
        except _SpeaksHTTP2:
            error = ProtocolError(
                f"{request}: the server speaks HTTP/2 here, and this client HTTP/1.1: "
                "an ssl_context must not offer h2 (set_alpn_protocols)",
                run_id=request.run_id,
            )
        except (_Dropped, aiohttp.ClientError, OSError) as failure:
            error = _explained(failure, sent=dispatch.in_flight, request=request)
        except RuntimeError as failure:  # where the loop is closed this is collected as garbage
            raise (GeneratorExit() if loop.is_closed() else failure) from None
        finally:
            _REQUEST.set(None)  # no reset: a request may be collected as garbage in another context
        # Raised here, out of the except blocks, since aiohttp's exceptions hold the request's headers.
        if request.method == "GET":
            error.safe_to_retry = True
        raise error

    async def aclose(self) -> None:
        """Close every connection. Idempotent; cancelling leaves off waiting, not closing."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._watch.close()


async def _sliced(body: bytes) -> AsyncIterator[bytes]:
    """A large body piece by piece: the event loop is not held up, and aiohttp does not warn that it might be."""
    for start in range(0, len(body), SLICE):
        yield body[start : start + SLICE]


def _explained(failure: Exception, *, sent: bool, request: Request) -> ToolhouseError:
    """The error for a request that failed, by the evidence of how far it had come."""
    run_id = request.run_id
    if isinstance(failure, aiohttp.ClientSSLError | ssl.SSLError):
        cause = getattr(failure, "os_error", failure)
        if not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return TLSError(f"{request}: TLS failed: {failure}; check base_url, proxy and ssl_context", run_id=run_id)
    if isinstance(failure, aiohttp.ClientHttpProxyError):
        return NotSentError(f"{request}: the proxy refused to connect: {failure.status}", run_id=run_id)
    if isinstance(failure, aiohttp.ClientResponseError):
        return ProtocolError(f"{request}: the answer is not valid HTTP", run_id=run_id)
    if isinstance(failure, aiohttp.ClientConnectorError):
        return NotSentError(f"{request}: not sent: {_unconnected(failure)}", run_id=run_id)
    reason = str(failure) if isinstance(failure, _Dropped) else _in_words(failure)
    if sent:
        return OutcomeUnknownError(
            f"{request}: sent, and the connection was lost before an answer ({reason})", run_id=run_id
        )
    return NotSentError(f"{request}: not sent: {reason}", run_id=run_id)


def _in_words(failure: Exception) -> str:
    """What failed, in words of this machine alone: aiohttp's own may quote a piece of what a server sent."""
    name = type(failure).__name__
    return f"{name}: {failure}" if isinstance(failure, OSError) else name


def _unconnected(failure: aiohttp.ClientConnectorError) -> str:
    """Why there is no connection, as a person would say it."""
    cause, where = failure.os_error, f"{failure.host}:{failure.port}"
    if isinstance(failure, aiohttp.ClientConnectorDNSError):
        return (
            f"the address of {failure.host} cannot be found ({cause.strerror or cause}); check base_url and the network"
        )
    what = "proxy" if isinstance(failure, aiohttp.ClientProxyConnectionError) else "server"
    if isinstance(cause, ssl.SSLError):
        return f"the {what} at {where} ended the connection in the middle of the TLS handshake"
    why = os.strerror(cause.errno) if cause.errno else str(cause) or "the connection was lost"
    check = "proxy" if what == "proxy" else "base_url"
    return f"the {what} at {where} cannot be reached ({why}); check {check} and the network"
