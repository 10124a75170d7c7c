from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from tests.support.raw_server import RawServer, Request, chunk, drip, fin, ndjson, response, rst, silence


async def connect(server: RawServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.port)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


async def exchange(server: RawServer, sent: bytes) -> bytes:
    """Send, end our side, and read all there is."""
    reader, writer = await connect(server)
    writer.write(sent)
    writer.write_eof()
    received = await reader.read()
    await hang_up(writer)
    return received


GET = b"GET /w HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (response(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (
            response(200, {"A": "b"}, [b"on", b"", b"e"]),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n2\r\non\r\n1\r\ne\r\n0\r\n\r\n",
        ),
        (
            response(body=b"cut", ends=False),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\n",
        ),
        (response(body=b"abc", chunked=False), b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
        (
            response(409, {"content-length": "9"}, b"abc", chunked=False),
            b"HTTP/1.1 409 Conflict\r\ncontent-length: 9\r\n\r\nabc",
        ),
        (response(body=b"abc", until_close=True), b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"),
        (response(799, chunked=False), b"HTTP/1.1 799 Unknown\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_response(answer: bytes, expected: bytes) -> None:
    assert answer == expected


def test_ndjson_and_chunk() -> None:
    assert ndjson({"a": 1}, "é") == b'{"a": 1}\n"\\u00e9"\n'
    assert chunk(b"x" * 16) == b"10\r\n" + b"x" * 16 + b"\r\n"


async def test_canned_answers_in_order_and_the_requests_recorded() -> None:
    posted = b'POST /w HTTP/1.1\r\nContent-Length: 8\r\nX-A:  b \r\n\r\n{"m": 1}'
    put = b"PUT /w/r HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    async with RawServer([b"first", b"second", b"third"]) as server:
        assert await exchange(server, posted + put) == b"firstsecond"
        assert await exchange(server, GET) == b"third"
        assert server.connections == 2
    assert server.requests == [
        Request("POST", "/w", {"content-length": "8", "x-a": "b"}, b'{"m": 1}', 1),
        Request("PUT", "/w/r", {"transfer-encoding": "chunked"}, b"abc", 1),
        Request("GET", "/w", {"host": "x"}, b"", 2),
    ]
    assert server.requests[0].json() == {"m": 1}


async def test_a_closing_answer_ends_the_connection() -> None:
    async with RawServer([response(body=b"all", until_close=True)]) as server:
        reader, writer = await connect(server)
        writer.write(GET)
        assert (await reader.read()).endswith(b"\r\n\r\nall")
        await hang_up(writer)


async def test_a_request_without_an_answer_fails() -> None:
    with pytest.raises(AssertionError, match="no answer left for GET /w"):
        async with RawServer([]) as server:
            await exchange(server, GET)


async def test_a_failing_script_fails_and_the_tests_own_error_goes_first() -> None:
    async def script(*_: object) -> None:
        raise ValueError("script")

    with pytest.raises(ValueError, match="script"):
        async with RawServer(script) as server:
            await exchange(server, GET)
    with pytest.raises(KeyError, match="test"):
        async with RawServer(script) as server:
            await exchange(server, GET)
            raise KeyError("test")


async def test_fin_and_rst() -> None:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(b"said")
        await writer.drain()
        (fin if request.path == "/fin" else rst)(writer)

    async with RawServer(script) as server:
        reader, writer = await connect(server)
        writer.write(b"GET /fin HTTP/1.1\r\n\r\n")
        assert await reader.read() == b"said"
        await hang_up(writer)

        reader, writer = await connect(server)
        writer.write(b"GET /rst HTTP/1.1\r\n\r\n")
        assert await reader.readexactly(4) == b"said"
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_byte_by_byte() -> None:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        await drip(writer, b"slow", pause=60)
        fin(writer)

    async with RawServer(script) as server:
        reader, writer = await connect(server)
        writer.write(GET)
        assert [await reader.read(100) for _ in range(5)] == [b"s", b"l", b"o", b"w", b""]
        await hang_up(writer)


async def test_silence_until_the_client_hangs_up() -> None:
    async def script(reader: asyncio.StreamReader, writer: object, request: Request) -> None:
        await silence(reader)
        gone.set()

    gone = asyncio.Event()
    async with RawServer(script) as server:
        reader, writer = await connect(server)
        writer.write(GET)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await reader.read()
        assert server.open_connections == 1
        await hang_up(writer)
        await gone.wait()
        assert len(server.requests) == 1


async def test_leaving_ends_connections_that_are_still_open() -> None:
    async def script(*_: object) -> None:
        await asyncio.Event().wait()

    async with RawServer(script) as server:
        reader, writer = await connect(server)
        writer.write(GET)
        await asyncio.sleep(1)
    assert len(server.requests) == 1
    assert server.open_connections == 0
    assert await reader.read() == b""
    await hang_up(writer)


async def test_tls() -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with RawServer([b"secret"], tls=tls) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting)
        writer.write(GET)
        assert await reader.readexactly(6) == b"secret"
        await hang_up(writer)
