from __future__ import annotations

import asyncio
import itertools
import logging
import os
import pickle
import re
import socket
import ssl
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from typing import Any

import aiohttp
import pytest
import trustme

from tests.support.answers import KEY, chain, greeting, refused_handshakes, said, unused_port
from tests.support.raw_server import RawServer, Request, chunk, drip, fin, response, rst, silence
from toolhouse_async import (
    BodyTooLargeError,
    ConnectTimeoutError,
    Limits,
    NotSentError,
    OutcomeUnknownError,
    ProtocolError,
    ResponseTimeoutError,
    Timeouts,
    TLSError,
    ToolhouseError,
)
from toolhouse_async._http import transport as module
from toolhouse_async._http.answer import AiohttpAnswer
from toolhouse_async._http.port import Cut
from toolhouse_async._http.transport import SLICE, AiohttpTransport
from toolhouse_async._wire import requests

POST = requests.send("a", None, "ndjson", {"message": "hello"})
PUT = requests.send("a", "r1", "ndjson", {"message": "hello"})
GET = requests.read("a", "r1")
OPEN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HEADERS = {"Authorization": f"Bearer {KEY}"}

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Request], Any]


@asynccontextmanager
async def transport_to(url: str, **options: Any) -> AsyncIterator[AiohttpTransport]:
    options = {
        "timeouts": Timeouts(),
        "limits": Limits(),
        "headers": {},
        "proxy": None,
        "ssl_context": None,
    } | options
    transport = AiohttpTransport(url, **options)
    try:
        yield transport
    finally:
        await transport.aclose()


async def whole(answer: AiohttpAnswer) -> bytes:
    try:
        return await answer.read_all()
    finally:
        answer.close()


async def until_cut(answer: AiohttpAnswer) -> tuple[bytes, str]:
    """What is read until the cut, and its reason."""
    received = b""
    try:
        while data := await answer.read():
            received += data
    except Cut as cut:
        with pytest.raises(Cut):  # and so ever after
            await answer.read()
        return received, str(cut)
    finally:
        answer.close()
    raise AssertionError(f"not cut: {received!r}")


async def fails(error: type[ToolhouseError], url: str, request: requests.Request = POST, **options: Any) -> Any:
    """Send, and return the error; its kind is exact."""
    async with transport_to(url, **options) as transport:
        with pytest.raises(ToolhouseError) as caught:
            (await transport.send(request, HEADERS)).close()
    assert type(caught.value) is error, repr(caught.value)
    holds_no_secret(caught.value)
    return caught.value


def holds_no_secret(error: BaseException) -> None:
    """Neither the error nor anything that led to it shows the key, nor drags the HTTP library along."""
    for each in chain(error):
        assert KEY not in f"{each!r}{each}{each.args}{vars(each)}"
        assert not type(each).__module__.startswith(("aiohttp", "_")), repr(each)
    shown = traceback.TracebackException.from_exception(error, capture_locals=False)
    assert KEY not in "".join(shown.format(chain=True))
    assert KEY.encode() not in pickle.dumps(error)


# Not sent


@pytest.mark.parametrize("request_", [POST, PUT, GET], ids=str)
async def test_a_refused_connection(request_: requests.Request) -> None:
    error = await fails(NotSentError, f"http://127.0.0.1:{unused_port()}", request_)
    assert error.safe_to_retry is True
    assert str(request_) in str(error)


async def test_what_the_http_library_is_misused_for_is_no_fault_of_the_network() -> None:
    """Such an error passes as it is; behind a closed event loop it means that the request is collected as garbage."""
    port = unused_port()
    async with transport_to(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(NotSentError):
            await transport.send(POST, HEADERS)
        await transport.aclose()
        with pytest.raises(RuntimeError, match="closed"):
            await transport.send(POST, HEADERS)


async def test_why_there_is_no_connection_is_said_as_people_would(monkeypatch: pytest.MonkeyPatch) -> None:
    port = unused_port()
    refused = f"at 127.0.0.1:{port} cannot be reached (Connection refused); check base_url and the network"
    for scheme in ("http", "https"):
        error = await fails(NotSentError, f"{scheme}://127.0.0.1:{port}")
        assert str(error) == f"POST /ndjson/a: not sent: the server {refused}"
    error = await fails(NotSentError, "https://agents.invalid", proxy=f"http://127.0.0.1:{port}")
    assert str(error) == f"POST /ndjson/a: not sent: the proxy {refused.replace('base_url', 'proxy')}"

    async def resolve(host: str, *_: object, **__: object) -> Any:
        if host == "two.invalid":
            kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*kind, ("127.0.0.1", port)), (*kind, ("127.0.0.2", port))]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    error = await fails(NotSentError, "http://nowhere.invalid")
    assert str(error).endswith(
        "the address of nowhere.invalid cannot be found (Name or service not known); check base_url and the network"
    )
    error = await fails(NotSentError, f"http://two.invalid:{port}")
    assert f"the server at two.invalid:{port} cannot be reached (Connection refused)" in str(error)
    assert "ssl" not in str(error)


async def test_a_host_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    error = await fails(NotSentError, "http://nowhere.invalid")
    assert error.safe_to_retry is True


CLOSE_NOTIFY = b"\x15\x03\x03\x00\x02\x01\x00"
"""The TLS alert by which a peer ends the connection in order."""


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x03", CLOSE_NOTIFY], ids=["reset", "half", "close-notify"])
async def test_a_tls_handshake_that_is_cut(said: bytes) -> None:
    async with greeting(said) as port:
        error = await fails(NotSentError, f"https://127.0.0.1:{port}")
    assert error.safe_to_retry is True
    assert f"not sent: the server at 127.0.0.1:{port} " in str(error)
    assert re.search("TLS handshake|reset by peer|was lost", str(error))


def test_a_connection_that_was_lost_before_anything_was_sent() -> None:
    error = module._explained(module._Dropped("ServerDisconnectedError: gone"), sent=False, request=POST)
    assert type(error) is NotSentError
    assert str(error) == "POST /ndjson/a: not sent: ServerDisconnectedError: gone"


async def test_a_proxy_that_refuses() -> None:
    async with RawServer([response(503, chunked=False)]) as proxy:
        error = await fails(NotSentError, "https://agents.invalid", proxy=proxy.url)
        assert "503" in str(error)
        assert KEY not in str(proxy.requests[0])


async def test_no_connection_in_time() -> None:
    async with greeting(None) as port:
        error = await fails(ConnectTimeoutError, f"https://127.0.0.1:{port}", timeouts=Timeouts(connect=7))
    assert isinstance(error, TimeoutError)
    assert error.safe_to_retry is True
    assert asyncio.get_running_loop().time() == pytest.approx(1007, abs=1)


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_a_certificate_nobody_vouches_for(authority: trustme.CA) -> None:
    async with refused_handshakes(), RawServer([], tls=server_tls(authority, "127.0.0.1")) as server:
        assert "certificate" in str(await fails(TLSError, server.url)).lower()
        assert server.requests == []


async def test_a_certificate_of_another_host(authority: trustme.CA) -> None:
    async with refused_handshakes(), RawServer([], tls=server_tls(authority, "elsewhere.example")) as server:
        await fails(TLSError, server.url, ssl_context=trusting(authority))


async def test_plain_http_where_tls_is_expected() -> None:
    async with greeting(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        await fails(TLSError, f"https://127.0.0.1:{port}")


async def test_a_certificate_that_is_trusted(authority: trustme.CA) -> None:
    async with (
        RawServer([said("secret")], tls=server_tls(authority, "127.0.0.1")) as server,
        transport_to(server.url, ssl_context=trusting(authority)) as transport,
    ):
        assert b"secret" in await whole(await transport.send(POST, HEADERS))
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


# Sent, and no answer


def ending(end: Callable[[asyncio.StreamWriter], None], first: bytes = b"") -> Script:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(first)
        await writer.drain()
        end(writer)

    return script


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 20", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["none", "half", "100"])
@pytest.mark.parametrize("end", [fin, rst])
@pytest.mark.parametrize("request_", [POST, PUT], ids=str)
async def test_a_message_whose_connection_is_lost_is_sent_once(
    request_: requests.Request, end: Any, first: bytes
) -> None:
    async with RawServer(ending(end, first)) as server:
        error = await fails(OutcomeUnknownError, server.url, request_)
        assert len(server.requests) == 1
    assert error.safe_to_retry is None
    assert error.run_id == request_.run_id


async def test_a_message_lost_on_a_kept_connection_is_sent_once() -> None:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        if request.method == "POST":
            writer.write(response())
        else:
            rst(writer)

    async with RawServer(script) as server, transport_to(server.url) as transport:
        await whole(await transport.send(POST, HEADERS))
        with pytest.raises(OutcomeUnknownError):
            await transport.send(PUT, HEADERS)
        assert [request.connection for request in server.requests] == [1, 1]


async def test_a_read_that_gets_no_answer_may_be_repeated() -> None:
    async with RawServer(ending(rst)) as server:
        assert (await fails(OutcomeUnknownError, server.url, GET)).safe_to_retry is True
        assert len(server.requests) == 1


async def test_no_answer_in_time_counts_from_sending(authority: trustme.CA) -> None:
    async def script(reader: asyncio.StreamReader, *_: object) -> None:
        await silence(reader)

    async with RawServer(script) as server:
        error = await fails(ResponseTimeoutError, server.url, PUT, timeouts=Timeouts(response=50))
        assert len(server.requests) == 1
    assert isinstance(error, TimeoutError)
    assert error.safe_to_retry is None
    assert "50 s" in str(error)
    assert asyncio.get_running_loop().time() == pytest.approx(1050, abs=1)


async def test_connecting_is_no_part_of_the_response_timeout() -> None:
    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        await asyncio.sleep(60)
        writer.write(response(502, chunked=False))

    async with RawServer(tunnel) as proxy:
        timeouts = Timeouts(connect=100, response=1)
        await fails(NotSentError, "https://agents.invalid", proxy=proxy.url, timeouts=timeouts)


async def test_without_a_response_timeout_an_answer_may_come_late() -> None:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        await asyncio.sleep(100_000)
        writer.write(said("late"))

    timeouts = Timeouts(response=None)
    async with RawServer(script) as server, transport_to(server.url, timeouts=timeouts) as transport:
        assert b"late" in await whole(await transport.send(POST, HEADERS))


# What is not HTTP


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 9000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(300)) + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
    ],
    ids=["banner", "long-header", "300-headers", "both-lengths", "two-lengths", "length-twice", "negative", "plus"],
)
async def test_an_answer_that_breaks_http(answer: bytes) -> None:
    async with RawServer(ending(fin, answer)) as server:
        error = await fails(ProtocolError, server.url, PUT)
        assert len(server.requests) == 1
    assert error.safe_to_retry is None
    assert len(str(error)) < 600


@pytest.mark.timeout(120)
def test_the_same_with_aiohttps_parser_in_python() -> None:
    """Which is what it uses where it was installed without its extension modules."""
    command = [sys.executable, "-m", "pytest", __file__, "-k", "(breaks_http and not banner) or before_the_cut"]
    plugins = {each.name for each in entry_points(group="pytest11")} - {"anyio", "timeout"}
    command += ["-q", "-p", "no:cacheprovider", *(f"-pno:{each}" for each in plugins)]
    done = subprocess.run(command, env={**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


async def test_a_banner_is_no_answer_even_if_the_connection_stays() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await silence(reader)

    async with RawServer(script) as server:
        await fails(ProtocolError, server.url)
        await asyncio.sleep(1)
        assert server.open_connections == 0


async def test_informational_answers_are_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + said("words")
    async with RawServer([early]) as server, transport_to(server.url) as transport:
        answer = await transport.send(POST, HEADERS)
        assert answer.status == 200
        assert b"words" in await whole(answer)


# What is sent


async def test_a_request() -> None:
    async with RawServer([response()]) as server, transport_to(server.url, headers={"X-Mine": "1"}) as transport:
        await whole(await transport.send(POST, HEADERS))
    (request,) = server.requests
    assert (request.method, request.path, request.json()) == ("POST", "/ndjson/a", {"message": "hello"})
    assert request.headers["content-type"] == "application/json"
    assert request.headers["content-length"] == str(len(request.body))
    assert request.headers["x-mine"] == "1"
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_a_message_without_a_body() -> None:
    empty = requests.send("a", None, "text", {})
    async with RawServer([response()]) as server, transport_to(server.url) as transport:
        await whole(await transport.send(empty, {}))
    (request,) = server.requests
    assert (request.path, request.body) == ("/a", b"")
    assert "transfer-encoding" not in request.headers
    assert "authorization" not in request.headers


async def test_a_base_url_with_a_path() -> None:
    async with RawServer([response()]) as server, transport_to(server.url + "/v1/") as transport:
        await whole(await transport.send(GET, {}))
    assert server.requests[0].path == "/v1/a/r1"


@pytest.mark.parametrize("size", [SLICE - 40, 3 * SLICE + 5])
async def test_a_large_message_arrives_whole_with_its_length(size: int) -> None:
    large = requests.send("a", None, "ndjson", {"message": "x" * size})
    async with RawServer([response()]) as server, transport_to(server.url) as transport:
        await whole(await transport.send(large, {}))
    (request,) = server.requests
    assert request.body == large.body
    assert request.headers["content-length"] == str(len(request.body))
    assert "transfer-encoding" not in request.headers


async def test_a_large_message_cut_while_it_is_sent() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        rst(writer)

    large = requests.send("a", None, "ndjson", {"message": "x" * 20_000_000})
    async with await asyncio.start_server(script, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await fails(OutcomeUnknownError, url, large)


async def test_an_answer_before_the_message_is_all_sent() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(413, body=b"too much", chunked=False))
        await silence(reader)
        writer.close()

    large = requests.send("a", None, "ndjson", {"message": "x" * 20_000_000})
    async with await asyncio.start_server(script, "127.0.0.1", 0) as server:
        async with transport_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as transport:
            answer = await transport.send(large, {})
            assert answer.status == 413
            assert await whole(answer) == b"too much"
        await asyncio.sleep(1)


async def test_a_proxy_that_is_named() -> None:
    async with (
        RawServer([said("proxied")]) as proxy,
        transport_to("http://agents.invalid", proxy=proxy.url) as transport,
    ):
        assert b"proxied" in await whole(await transport.send(POST, {}))
        assert proxy.requests[0].path == "http://agents.invalid/ndjson/a"


# Bodies


async def test_a_body_and_its_headers() -> None:
    raw = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nabc"
    async with RawServer([raw]) as server, transport_to(server.url) as transport:
        answer = await transport.send(GET, {})
        assert (answer.status, answer.framed) == (200, True)
        assert dict(answer.headers) == {"x-a": "1, 2", "content-length": "3"}
        assert await answer.read() == b"abc"
        assert await answer.read() == b""
        assert await answer.read() == b""
        assert answer.received == 3
        answer.close()


@pytest.mark.parametrize(
    ("answer", "framed"),
    [
        (response(body=b"words"), True),
        (response(body=b"words", chunked=False), True),
        (response(body=b"words", until_close=True), False),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: identity\r\nConnection: close\r\n\r\nwords", False),
    ],
    ids=["chunked", "length", "close", "http/1.0"],
)
async def test_whether_the_framing_proves_the_end(answer: bytes, framed: bool) -> None:
    async with RawServer([answer]) as server, transport_to(server.url) as transport:
        got = await transport.send(POST, {})
        assert got.framed is framed
        assert await whole(got) == b"words"


@pytest.mark.parametrize("end", [fin, rst])
@pytest.mark.parametrize(
    "begin",
    [
        OPEN + chunk(b"received"),
        OPEN + b"10\r\nreceived",
        response(body=b"received", headers={"Content-Length": "99"}, chunked=False),
    ],
    ids=["between", "within", "length"],
)
async def test_what_came_before_a_cut_is_read_before_the_cut(begin: bytes, end: Any) -> None:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(begin)
        await writer.drain()
        await asyncio.sleep(1)
        end(writer)

    async with RawServer(script) as server, transport_to(server.url) as transport:
        slow, prompt = await transport.send(POST, {}), await transport.send(POST, {})
        assert (await until_cut(prompt))[0] == b"received"
        await asyncio.sleep(1000)
        assert (await until_cut(slow))[0] == b"received"


@pytest.mark.parametrize("end", [fin, rst])
async def test_a_consumer_megabytes_behind_gets_all_that_was_read_from_the_socket(end: Any) -> None:
    sent = b"".join(b"%07d " % n for n in range(400_000))

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.transport.set_write_buffer_limits(0)
        writer.write(OPEN)
        for start in range(0, len(sent), 50_000):
            writer.write(chunk(sent[start : start + 50_000]))
        if end is rst:
            await asyncio.sleep(100)
        else:
            await writer.drain()
        end(writer)

    async with RawServer(script) as server, transport_to(server.url) as transport:
        answer = await transport.send(POST, {})
        received = await answer.read()
        await asyncio.sleep(200)
        had_been_read = answer._content.total_bytes
        received += (await until_cut(answer))[0]
        assert sent.startswith(received)
        assert len(received) >= had_been_read > 60_000
        assert had_been_read < 2_000_000  # flow control bounds how far it reads ahead
        assert end is rst or len(received) == len(sent)


@pytest.mark.parametrize("junk", [b"no size at all\r\n", b"-5\r\nabcde\r\n", b"5\r\nabcdefgh\r\n"])
async def test_a_body_whose_framing_breaks_is_cut_though_the_connection_lives(junk: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN + chunk(b"first"))
        await writer.drain()
        await asyncio.sleep(1)
        writer.write(junk)
        await silence(reader)

    async with RawServer(script) as server, transport_to(server.url) as transport:
        async with asyncio.timeout(60):
            received, reason = await until_cut(await transport.send(POST, {}))
        assert received in (b"first", b"firstabcde")
        assert "framing" in reason or "size" in reason


async def test_a_body_that_is_broken_from_the_start() -> None:
    async with RawServer(ending(fin, OPEN + b"zz\r\n")) as server, transport_to(server.url) as transport:
        with pytest.raises((Cut, ProtocolError)):
            await whole(await transport.send(POST, {}))


async def test_a_body_byte_by_byte() -> None:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        await drip(writer, said("words"), pause=1)

    async with RawServer(script) as server, transport_to(server.url) as transport:
        answer = await transport.send(POST, {})
        parts = []
        while data := await answer.read():
            parts.append(data)
        assert b"".join(parts) == b'{"type": "text", "text": "words"}\n'
        assert len(parts) > 20
        answer.close()


async def test_a_cancelled_read_loses_nothing() -> None:
    more = asyncio.Event()

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN)
        await more.wait()
        writer.write(chunk(b"words") + b"0\r\n\r\n")

    async with RawServer(script) as server, transport_to(server.url) as transport:
        answer = await transport.send(POST, {})
        loop = asyncio.get_running_loop()
        began = loop.time()
        reading = asyncio.ensure_future(answer.read())
        await asyncio.sleep(5)
        assert answer.waiting_since == pytest.approx(began, abs=0.1)
        reading.cancel()
        await asyncio.wait([reading])
        assert answer.waiting_since is None
        more.set()
        assert await whole(answer) == b"words"


async def test_a_body_above_the_limit() -> None:
    async with RawServer([response(body=b"x" * 30)] * 2) as server:
        async with transport_to(server.url, limits=Limits(max_body=29)) as transport:
            with pytest.raises(BodyTooLargeError, match="29 bytes"):
                await whole(await transport.send(POST, {}))
        async with transport_to(server.url, limits=Limits(max_body=30)) as transport:
            assert await whole(await transport.send(POST, {})) == b"x" * 30


@pytest.mark.parametrize("first", [b"x" * 10, b"x" * 29, b"x" * 30, b"x" * 35])
async def test_all_below_the_limit_is_read_before_the_error(first: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN + chunk(first))
        await asyncio.sleep(1)
        writer.write(chunk(b"x" * 25))
        await silence(reader)

    async with RawServer(script) as server, transport_to(server.url, limits=Limits(max_body=29)) as transport:
        answer, received = await transport.send(POST, {}), b""
        with pytest.raises(BodyTooLargeError):
            async with asyncio.timeout(10):
                while data := await answer.read():
                    received += data
        assert received == b"x" * 29
        answer.close()


async def test_read_all_stops_where_it_is_told_to() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN)
        for _ in itertools.count():
            writer.write(chunk(b"x" * 1000))
            await writer.drain()

    async with RawServer(script) as server, transport_to(server.url) as transport:
        answer = await transport.send(GET, {})
        assert 5000 <= len(await answer.read_all(5000)) < 500_000
        answer.close()
        await asyncio.sleep(1)
        assert server.open_connections == 0


async def test_the_rest_and_a_failure_of_our_own() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN + chunk(b"unread"))
        await silence(reader)

    async with RawServer(script) as server, transport_to(server.url) as transport:
        answer = await transport.send(POST, {})
        await asyncio.sleep(1)
        assert answer.rest() == b"unread"
        assert answer.rest() == b""
        answer.close()

        answer = await transport.send(POST, {})
        await asyncio.sleep(1)
        answer.fail("enough")
        answer.fail("more than enough")
        assert await until_cut(answer) == (b"unread", "enough")

    async with RawServer([response(body=b"all")]) as server, transport_to(server.url) as transport:
        answer = await transport.send(POST, {})
        await answer.read()
        await answer.read()
        answer.fail("too late to matter")
        assert await whole(answer) == b""


# Connections


async def test_a_connection_is_kept_after_a_whole_body_and_closed_after_half_of_one() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        if request.method == "PUT":
            writer.write(OPEN + chunk(b"half"))
            await silence(reader)
        else:
            writer.write(said("all"))

    async with RawServer(script) as server, transport_to(server.url) as transport:
        for request in (POST, POST, PUT):
            answer = await transport.send(request, {})
            if request is PUT:
                assert await answer.read() == b"half"
                answer.close()
                answer.close()
            else:
                await whole(answer)
        assert server.connections == 1
        await asyncio.sleep(1)
        assert server.open_connections == 0
        await whole(await transport.send(POST, {}))
        assert server.connections == 2


async def test_a_kept_connection_that_dies_disturbs_no_answer() -> None:
    connections: list[asyncio.StreamWriter] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        connections.append(writer)
        writer.write(said("all"))

    async with RawServer(script) as server, transport_to(server.url) as transport:
        for _ in range(2):
            await whole(await transport.send(POST, {}))
        rst(connections[0])
        await asyncio.sleep(1)
        await whole(await transport.send(POST, {}))
        assert [request.connection for request in server.requests] == [1, 1, 2]


async def test_a_broken_body_on_a_kept_connection_is_noticed_too() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN + chunk(b"first"))
        await asyncio.sleep(1)
        if len(server.requests) < 3:
            writer.write(b"0\r\n\r\n")
            return
        writer.write(b"nonsense\r\n")
        await silence(reader)

    async with RawServer(script) as server, transport_to(server.url) as transport:
        for _ in range(2):
            await whole(await transport.send(POST, {}))
        async with asyncio.timeout(60):
            assert (await until_cut(await transport.send(POST, {})))[0] == b"first"
        assert server.connections == 1


async def test_messages_wait_their_turn_for_a_connection_and_reads_do_not() -> None:
    order: list[str] = []

    async def say(transport: AiohttpTransport, agent: str) -> None:
        answer = await transport.send(requests.send(agent, None, "text", {}), {})
        order.append(agent)
        answer.close()

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN if request.path == "/first" else said("x"))

    one = Limits(max_connections=1)
    async with RawServer(script) as server, transport_to(server.url, limits=one) as transport:
        held = await transport.send(requests.send("first", None, "text", {}), {})
        waiting = [asyncio.ensure_future(say(transport, f"w{n}")) for n in range(5)]
        await asyncio.sleep(100)
        assert len(server.requests) == 1
        await whole(await transport.send(GET, {}))
        assert order == []
        waiting[2].cancel()
        held.close()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert order == ["w0", "w1", "w3", "w4"]


async def test_no_free_connection_in_time() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN)
        await silence(reader)

    options = {"limits": Limits(max_connections=1), "timeouts": Timeouts(pool=5)}
    async with RawServer(script) as server, transport_to(server.url, **options) as transport:
        held = await transport.send(POST, {})
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(ConnectTimeoutError, match=r"Timeouts\.pool"):
            await transport.send(POST, {})
        assert loop.time() - began == pytest.approx(5, abs=0.1)
        held.close()
        (await transport.send(POST, {})).close()


async def test_a_failed_or_cancelled_message_gives_its_place_back() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        match request.path:
            case "/reset":
                rst(writer)
            case "/twice":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
            case "/silent":
                await silence(reader)
            case _:
                writer.write(said("all"))

    async with (
        RawServer(script) as server,
        transport_to(server.url, limits=Limits(max_connections=1), timeouts=Timeouts(pool=1)) as transport,
    ):
        for path in ("reset", "twice", "reset"):
            with pytest.raises(ToolhouseError):
                await transport.send(requests.send(path, None, "text", {}), {})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await transport.send(requests.send("silent", None, "text", {}), {})
        await asyncio.sleep(1)
        assert server.open_connections == 0  # cancelling closed it
        await whole(await transport.send(POST, {}))


@pytest.mark.parametrize(("idle", "message", "read"), [(1.9, 1, 1), (2.1, 2, 1), (15.1, 2, 2)])
async def test_how_long_an_idle_connection_may_be_used_again(
    monkeypatch: pytest.MonkeyPatch, idle: float, message: int, read: int
) -> None:
    for request, connections in ((PUT, message), (GET, read)):
        async with RawServer([response(), response()]) as server, transport_to(server.url) as transport:
            await whole(await transport.send(request, {}))
            with monkeypatch.context() as later:
                later.setattr("aiohttp.connector.monotonic", lambda: time.monotonic() + idle)
                await whole(await transport.send(request, {}))
            assert server.connections == connections, request


async def test_closing_twice() -> None:
    async with RawServer([response()]) as server, transport_to(server.url) as transport:
        await whole(await transport.send(POST, {}))
        await transport.aclose()
        await transport.aclose()
        await asyncio.sleep(1)
        assert server.open_connections == 0


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
    writer.write(OPEN)
    await silence(reader)


@pytest.mark.parametrize("all_of_it", [False, True], ids=["caller", "every-task"])
@pytest.mark.parametrize("passes", range(2, 6))
async def test_closing_may_be_cancelled(authority: trustme.CA, passes: int, all_of_it: bool) -> None:
    """By its caller, or with every other task, as at the end of ``asyncio.run``: the connections are closed."""
    options = {"ssl_context": trusting(authority)}
    async with RawServer(_silent, tls=server_tls(authority, "127.0.0.1")) as server:
        transport = AiohttpTransport(
            server.url, timeouts=Timeouts(), limits=Limits(), headers={}, proxy=None, **options
        )
        answer = await transport.send(POST, {})
        before = asyncio.all_tasks()
        closing = asyncio.ensure_future(transport.aclose())
        for _ in range(passes):
            await asyncio.sleep(0)
        tasks = asyncio.all_tasks() - before if all_of_it else {closing}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert closing.cancelled()
        answer.close()
        await asyncio.sleep(100)
        assert server.open_connections == 0


async def test_nothing_is_logged_that_holds_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with RawServer(ending(rst)) as server:
        await fails(OutcomeUnknownError, server.url)
    assert KEY not in caplog.text


async def test_a_server_that_takes_up_an_offer_of_http_2() -> None:
    authority, offers = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(offers)
    offers.set_alpn_protocols(["h2", "http/1.1"])
    speaks = server_tls(authority, "127.0.0.1")
    speaks.set_alpn_protocols(["h2"])
    async with RawServer(_silent, tls=speaks) as server, transport_to(server.url, ssl_context=offers) as transport:
        with pytest.raises(ProtocolError, match="must not offer h2"):
            await transport.send(requests.send("a", None, "ndjson", {"message": "x"}), {})


def test_an_answer_that_is_collected_behind_a_closed_loop_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def collected(self: object) -> None:
        raise RuntimeError("Event loop is closed")

    monkeypatch.setattr(aiohttp.ClientResponse, "__del__", collected)
    answer = module._Response.__new__(module._Response)
    answer.__del__()
    del answer  # here, while that is so
