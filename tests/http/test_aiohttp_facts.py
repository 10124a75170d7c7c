"""What the transport relies on in aiohttp, fact by fact: a release that changes one fails here, by name."""

from __future__ import annotations

import asyncio
import base64
import gzip
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp.client_proto import ResponseHandler

from tests.support.answers import greeting, refused_handshakes, unused_port
from tests.support.raw_server import RawServer, Request, chunk, fin, response, rst, silence
from toolhouse_async._http.transport import _Dropped, _never_resend

OPEN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Sessions:
    """Makes sessions, and counts how often an answer was waited for."""

    def __init__(self) -> None:
        self.made: list[aiohttp.ClientSession] = []
        self.sent = 0

    def __call__(self, *, keepalive: float = 15.0, **options: Any) -> aiohttp.ClientSession:
        counter = self

        class Response(aiohttp.ClientResponse):
            async def start(self, connection: Any) -> aiohttp.ClientResponse:
                counter.sent += 1
                return await super().start(connection)

        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=keepalive)
        self.made.append(aiohttp.ClientSession(connector=connector, response_class=Response, **options))
        return self.made[-1]


@pytest.fixture
async def sessions() -> AsyncIterator[Sessions]:
    sessions = Sessions()
    yield sessions
    for session in sessions.made:
        await session.close()


def ending(end: Callable[[asyncio.StreamWriter], None], first: bytes = b"") -> Any:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(first)
        await writer.drain()
        end(writer)

    return script


# Sending


@pytest.mark.parametrize("end", [fin, rst])
async def test_a_put_is_sent_again_after_a_disconnect(sessions: Sessions, end: Any) -> None:
    async with RawServer(ending(end)) as server:
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await sessions().put(server.url, data=b"x")
        assert len(server.requests) == 2


@pytest.mark.parametrize("end", [fin, rst])
async def test_a_put_is_sent_once_with_our_middleware(sessions: Sessions, end: Any) -> None:
    async with RawServer(ending(end)) as server:
        with pytest.raises(_Dropped):
            await sessions(middlewares=(_never_resend,)).put(server.url, data=b"x")
        assert len(server.requests) == 1


async def test_a_connector_error_is_an_os_error_and_means_that_nothing_was_sent(
    sessions: Sessions,
) -> None:
    assert issubclass(aiohttp.ClientConnectorError, aiohttp.ClientOSError)
    with pytest.raises(aiohttp.ClientConnectorError):
        await sessions(middlewares=(_never_resend,)).put(f"http://127.0.0.1:{unused_port()}/", data=b"x")
    assert sessions.sent == 0


async def test_an_answer_is_not_begun_where_tls_or_a_proxy_fails(sessions: Sessions) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with refused_handshakes(), RawServer([], tls=tls) as server:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await sessions().get(server.url)
    async with greeting(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        with pytest.raises(aiohttp.ClientConnectorSSLError):
            await sessions().get(f"https://127.0.0.1:{port}/")
    async with RawServer([response(503, chunked=False)]) as proxy:
        with pytest.raises(aiohttp.ClientHttpProxyError):
            await sessions().get("https://elsewhere.invalid/", proxy=proxy.url)
        assert [request.method for request in proxy.requests] == ["CONNECT"]
    assert sessions.sent == 0


async def test_a_cut_tls_handshake_is_no_tls_error_of_its_own(sessions: Sessions) -> None:
    async with greeting(b"") as port:
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await sessions().get(f"https://127.0.0.1:{port}/")
    assert not isinstance(caught.value, aiohttp.ClientSSLError)
    assert sessions.sent == 0


async def test_an_answer_is_begun_however_it_fails(sessions: Sessions) -> None:
    session = sessions(middlewares=(_never_resend,))
    for script in (ending(fin), ending(rst), [b"SSH-2.0-OpenSSH_9.6\r\n"], [b"HTTP/1.1 nonsense\r\n\r\n"]):
        before = sessions.sent
        async with RawServer(script) as server:
            with pytest.raises((_Dropped, aiohttp.ClientError)):
                await session.post(server.url, data=b"x")
        assert sessions.sent == before + 1


async def test_a_connect_timeout_is_told_from_another(sessions: Sessions) -> None:
    assert issubclass(aiohttp.ConnectionTimeoutError, TimeoutError)
    async with greeting(None) as port:
        with pytest.raises(aiohttp.ConnectionTimeoutError):
            await sessions(timeout=aiohttp.ClientTimeout(total=None, connect=10)).get(f"https://127.0.0.1:{port}/")
    assert sessions.sent == 0


async def test_every_new_connection_is_made_by_one_method() -> None:
    made = list[str]()

    class Connector(aiohttp.TCPConnector):
        async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
            made.append(str(req.url))
            return await super()._create_connection(req, traces, timeout)

    async with RawServer([response()] * 3) as server, aiohttp.ClientSession(connector=Connector()) as session:
        elsewhere = server.url.replace("127.0.0.1", "localhost")
        for url in (server.url, server.url, elsewhere):
            async with session.get(url) as answer:
                await answer.read()
    assert made == [server.url, elsewhere]


async def test_errors_hold_the_headers_of_the_request(sessions: Sessions) -> None:
    async with RawServer([b"nonsense\r\n\r\n"]) as server:
        with pytest.raises(aiohttp.ClientResponseError) as caught:
            await sessions().get(server.url, headers={"Authorization": "Bearer secret"})
    assert "Bearer secret" in repr(caught.value)


async def test_the_message_of_a_parse_error_is_worth_showing(sessions: Sessions) -> None:
    async with RawServer([b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]) as server:
        with pytest.raises(aiohttp.ClientResponseError) as caught:
            await sessions().get(server.url)
    assert caught.value.message


async def test_the_environment_is_left_alone(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with RawServer([response(), response(), response()]) as server, RawServer([response()]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        async with sessions(trust_env=False).get(server.url) as answer:
            await answer.read()
        assert proxy.requests == []
        assert "authorization" not in server.requests[0].headers
        monkeypatch.delenv("HTTP_PROXY")
        monkeypatch.delenv("http_proxy")
        async with sessions(trust_env=True).get(server.url) as answer:  # the other way, it would be read
            await answer.read()
        login = base64.b64encode(b"someone:else").decode()
        assert server.requests[1].headers["authorization"] == f"Basic {login}"


async def test_redirects_are_not_followed_and_cookies_not_kept(sessions: Sessions) -> None:
    moved = response(307, {"Location": "/other", "Set-Cookie": "a=b"})
    async with RawServer([moved, response()]) as server:
        session = sessions(cookie_jar=aiohttp.DummyCookieJar())
        for status in (307, 200):
            async with session.put(server.url, data=b"x", allow_redirects=False) as answer:
                assert answer.status == status
                await answer.read()
    assert [request.path for request in server.requests] == ["/", "/"]
    assert "cookie" not in server.requests[1].headers


# Connections


@pytest.mark.parametrize(("idle", "connections"), [(1.9, 1), (2.1, 2)])
async def test_the_age_of_an_idle_connection_is_checked_when_it_is_used_again(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, idle: float, connections: int
) -> None:
    async with RawServer([response(), response()]) as server:
        session = sessions(keepalive=2.0)
        async with session.get(server.url) as answer:
            await answer.read()
        monkeypatch.setattr("aiohttp.connector.monotonic", lambda: time.monotonic() + idle)
        async with session.get(server.url) as answer:
            await answer.read()
        assert server.connections == connections


async def test_a_limit_of_zero_is_none(sessions: Sessions) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN)
        await silence(reader)

    async with RawServer(script) as server:
        session = sessions()
        answers = [await session.get(server.url) for _ in range(120)]
        assert server.connections == 120
        for answer in answers:
            answer.close()


async def test_only_an_answer_still_to_come_has_a_connection_whose_protocol_tells_its_end(
    sessions: Sessions,
) -> None:
    begin = asyncio.Event()

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN + chunk(b"a") if request.path == "/long" else response(body=b"all"))
        if request.path == "/long":
            await begin.wait()
            fin(writer)

    async with RawServer(script) as server:
        session = sessions()
        async with session.get(server.url + "/short") as answer:
            await answer.read()
            assert answer.connection is None
        async with session.get(server.url + "/long") as answer:
            assert answer.connection is not None
            assert isinstance(answer.connection.protocol, ResponseHandler)
            closed = answer.connection.protocol.closed
            assert closed is not None
            assert not closed.done()
            begin.set()
            await asyncio.wait([closed])


# Bodies


async def test_what_came_before_a_cut_can_be_read_once_the_error_is_taken_away(sessions: Sessions) -> None:
    cut, met = asyncio.Event(), asyncio.Event()

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN + chunk(b"received"))
        await writer.drain()
        await cut.wait()
        rst(writer)
        met.set()

    async with RawServer(script) as server:
        answer = await sessions().get(server.url)
        assert answer.connection is not None
        closed = answer.connection.protocol.closed
        assert closed is not None
        cut.set()
        await asyncio.wait([closed])
        closed.exception()  # seen
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read(1024)
        with pytest.raises(aiohttp.ClientPayloadError):
            answer.content.read_nowait()
        answer.content.set_exception(None)  # type: ignore[arg-type]
        assert answer.content.read_nowait() == b"received"
        answer.close()


@pytest.mark.parametrize("sock_read", [None, 5.0])
async def test_a_broken_chunk_size_closes_the_connection_and_does_not_tell_the_reader(
    sessions: Sessions, sock_read: float | None
) -> None:
    """If this fails by raising in time, the watcher of the transport can go."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN + chunk(b"first"))
        await writer.drain()
        await asyncio.sleep(1)
        writer.write(b"no size at all\r\n")
        await silence(reader)

    async with RawServer(script) as server:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=sock_read)
        answer = await sessions(timeout=timeout).get(server.url)
        assert answer.connection is not None
        closed = answer.connection.protocol.closed
        assert closed is not None
        assert await answer.content.read(1024) == b"first"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await answer.content.read(1024)
        assert closed.done()
        closed.exception()
        answer.close()


async def test_a_body_that_ends_with_its_connection_ends_well_even_by_a_reset(sessions: Sessions) -> None:
    """So its end proves nothing, and ``Answer.framed`` is false."""

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(response(body=b"half", until_close=True))
        await writer.drain()
        await asyncio.sleep(1)
        rst(writer)

    async with RawServer(script) as server, sessions().get(server.url) as answer:
        assert await answer.content.read(1024) == b"half"
        assert await answer.content.read(1024) == b""
        assert answer.content.is_eof()


async def test_encoded_bodies_are_left_alone(sessions: Sessions) -> None:
    packed = gzip.compress(b"words")
    session = sessions(auto_decompress=False)
    packed_answer = response(headers={"Content-Encoding": "gzip"}, body=packed)
    async with RawServer([packed_answer]) as server, session.get(server.url) as answer:
        assert await answer.read() == packed


async def test_a_cancelled_read_loses_nothing(sessions: Sessions) -> None:
    more = asyncio.Event()

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN)
        await more.wait()
        writer.write(response(body=b"words").split(b"\r\n\r\n", 1)[1])

    async with RawServer(script) as server, sessions().get(server.url) as answer:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await answer.content.read(1024)
        more.set()
        assert await answer.content.read(1024) == b"words"


async def test_repeated_headers_are_kept_apart_and_names_are_of_any_case(sessions: Sessions) -> None:
    raw = b"HTTP/1.1 200 OK\r\nx-A: 1\r\nX-a: 2\r\nContent-Length: 0\r\n\r\n"
    async with RawServer([raw]) as server, sessions().get(server.url) as answer:
        assert answer.headers.getall("X-A", []) == ["1", "2"]
        assert answer.headers.getall("X-B", []) == []
        assert answer.version == (1, 1)


# An answer's head


class _Held(aiohttp.ClientResponse):
    """A response that hands its connection on to the test."""

    connections: list[Any] = []

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        self.connections.append(connection)
        return await super().start(connection)


async def silent(reader: asyncio.StreamReader, writer: object, request: object) -> None:
    await silence(reader)


async def test_an_error_set_on_the_connection_ends_the_wait_for_a_head() -> None:
    async with RawServer(silent) as server, aiohttp.ClientSession(response_class=_Held) as session:
        asyncio.get_running_loop().call_later(5, lambda: _Held.connections[-1].protocol.set_exception(TimeoutError()))
        with pytest.raises(TimeoutError) as caught:
            await session.post(server.url, data=b"x")
        assert not isinstance(caught.value, aiohttp.ClientError)
