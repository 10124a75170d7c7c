from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import aiohttp
import pytest

from toolhouse_async import ConfigurationError
from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo

from .conftest import Client

TEXT = "one two three"


@pytest.fixture(autouse=True)
def _workers(emulator: WorkersEmulator) -> None:
    emulator.worker("a")(echo)
    emulator.worker("b")(echo)


async def raw(client: Client, request: bytes) -> tuple[bytes, BaseException | None]:
    """Send ``request`` on a connection of its own; return all that comes, and how it ended if not in order."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(client.server.url.rsplit(":", 1)[1]))
    writer.write(request)
    received, error = b"", None
    try:
        while data := await reader.read(4096):
            received += data
    except ConnectionError as reason:
        error = reason
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return received, error


def post(path: str = "/a", message: str = TEXT) -> bytes:
    body = json.dumps({"message": message}).encode()
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


async def test_status_once_then_as_usual(emulator: WorkersEmulator, client: Client) -> None:
    fault = emulator.faults.add(method="GET", status=500, body="<h1>bad</h1>", headers={"Content-Type": "text/html"})
    run_id = (await client.start(TEXT)).run_id
    broken = await client.read(run_id)
    assert (broken.status, broken.body, broken.headers["Content-Type"]) == (500, b"<h1>bad</h1>", "text/html")
    assert (await client.read(run_id)).status == 200
    assert fault.hits == 1
    assert client.server.connections == 1  # the connection goes on


async def test_scope_order_times_and_skip(emulator: WorkersEmulator, client: Client) -> None:
    emulator.faults.add(agent="b", status=503, times=None)
    emulator.faults.add(method="POST", status=502, times=2)
    emulator.faults.add(method="POST", status=500, body=b"x", skip=1)
    assert [(await client.start("x")).status for _ in range(5)] == [502, 502, 200, 500, 200]
    assert [(await client.start("x", "b")).status for _ in range(3)] == [503, 503, 503]
    assert (await client.ask("POST", "/nobody/at/all")).status == 404
    emulator.faults.clear()
    assert (await client.start("x", "b")).status == 200


@pytest.mark.parametrize("status", [200, 299, 429, 599])
async def test_fixed_answer_is_not_handled_unless_accepted(
    emulator: WorkersEmulator, client: Client, status: int
) -> None:
    emulator.faults.add(status=status, body="b", retry_after=3)
    answer = await client.start(TEXT)
    assert (answer.status, answer.text, answer.headers["Retry-After"]) == (status, "b", "3")
    assert "X-Toolhouse-Run-ID" not in answer.headers
    assert client.server.accepted == []
    run_id = (await client.start(TEXT)).run_id
    emulator.faults.add(status=status, method="PUT", accept=True)
    assert (await client.go_on(run_id, "more")).status == status
    assert client.server.requests[-1].accepted
    assert client.server.requests[-1].status == status
    assert await client.said(run_id) == [("user", TEXT), ("assistant", TEXT), ("user", "more"), ("assistant", "more")]


async def test_headers_of_the_real_answer(emulator: WorkersEmulator, client: Client) -> None:
    emulator.faults.add(method="POST", headers={"x-toolhouse-run-id": None})
    emulator.faults.add(method="POST", headers={"X-Toolhouse-Run-ID": "../x"}, retry_after="soon")
    first = await client.start(TEXT)
    assert "X-Toolhouse-Run-ID" not in first.headers
    assert first.text == TEXT
    second = await client.start(TEXT)
    assert (second.run_id, second.headers["Retry-After"], second.text) == ("../x", "soon", TEXT)
    third = await client.start(TEXT)
    emulator.faults.add(retry_after=2.5)
    poll = await client.read(third.run_id)
    assert (poll.status, poll.headers["Retry-After"], len(json.loads(poll.body))) == (200, "2.5", 2)


@pytest.mark.parametrize("cut", ["fin", "rst"])
@pytest.mark.parametrize("accept", [False, True])
@pytest.mark.parametrize("fixed", [None, 502])
async def test_cut_before_the_headers(
    emulator: WorkersEmulator, client: Client, cut, accept: bool, fixed: int | None
) -> None:
    run_id = (await client.start(TEXT)).run_id
    emulator.faults.add(cut=cut, accept=accept, status=fixed)
    body = b'{"message":"more"}'
    head = b"PUT /a/%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (run_id.encode(), len(body))
    received, error = await raw(client, head + body)
    assert received == b""
    assert isinstance(error, ConnectionResetError) == (cut == "rst")
    record = client.server.requests[-1]
    assert (record.body, record.status, record.accepted) == (body, None, accept)
    assert len(await client.history(run_id)) == (4 if accept else 2)


@pytest.mark.parametrize("cut", ["fin", "rst"])
@pytest.mark.parametrize("after", [0, 1, 5, 12, 13])
async def test_cut_after_n_bytes_of_the_body(emulator: WorkersEmulator, client: Client, cut, after: int) -> None:
    emulator.faults.add(cut=cut, cut_after=after)
    received, error = await raw(client, post())
    head, body = received.split(b"\r\n\r\n", 1)
    assert b"transfer-encoding: chunked" in head.lower()
    words, rest = b"", body
    while rest:
        size, rest = rest.split(b"\r\n", 1)
        words += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    assert words == TEXT.encode()[:after]
    assert b"\r\n0\r\n" not in body
    assert isinstance(error, ConnectionResetError) == (cut == "rst")
    assert client.server.requests[-1].status == 200
    run_id = head.split(b"X-Toolhouse-Run-ID: ")[1].split(b"\r\n")[0].decode()
    assert await client.said(run_id) == [("user", TEXT), ("assistant", TEXT)]


async def test_cut_beyond_the_end_is_none(emulator: WorkersEmulator, client: Client) -> None:
    emulator.faults.add(cut="rst", cut_after=1000)
    answer = await client.start(TEXT)
    assert (answer.text, answer.headers["Connection"]) == (TEXT, "close")
    while client.server.connections:
        await asyncio.sleep(0)


@pytest.mark.parametrize("after", [0, 4])
async def test_cut_of_a_whole_answer(emulator: WorkersEmulator, client: Client, after: int) -> None:
    run_id = (await client.start(TEXT)).run_id
    emulator.faults.add(method="GET", cut="fin", cut_after=after)
    received, error = await raw(client, b"GET /a/%b HTTP/1.1\r\nHost: x\r\n\r\n" % run_id.encode())
    head, body = received.split(b"\r\n\r\n", 1)
    assert b"Content-Length: " in head
    assert (body, error) == (b'[{"r'[:after], None)
    emulator.faults.add(method="GET", cut="fin", cut_after=3, status=599, body="123456")
    received, _ = await raw(client, b"GET /a/%b HTTP/1.1\r\nHost: x\r\n\r\n" % run_id.encode())
    assert received.startswith(b"HTTP/1.1 599 Unknown\r\n")
    assert received.endswith(b"\r\n\r\n123")


async def test_cut_fixed_answer_to_an_accepted_message(emulator: WorkersEmulator, client: Client) -> None:
    run_id = (await client.start(TEXT)).run_id
    emulator.faults.add(method="PUT", cut="fin", cut_after=3, status=502, body="123456", accept=True)
    body = b'{"message":"more"}'
    head = b"PUT /a/%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (run_id.encode(), len(body))
    received, _ = await raw(client, head + body)
    assert received.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert received.endswith(b"\r\n\r\n123")
    assert len(await client.history(run_id)) == 4


async def test_silence_in_mid_stream_until_released(emulator: WorkersEmulator, client: Client) -> None:
    fault = emulator.faults.add(cut="silence", cut_after=5)
    async with client.stream("POST", "/a", json={"message": TEXT}) as stream:
        assert await stream.content.readexactly(5) == TEXT[:5].encode()
        run_id = stream.headers["X-Toolhouse-Run-ID"]
        assert await client.said(run_id) == [("user", TEXT), ("assistant", TEXT)]  # the worker is not held up
        silent = asyncio.ensure_future(stream.content.read())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(silent), 100)
        fault.release()
        fault.release()
        assert await silent == TEXT[5:].encode()


@pytest.mark.parametrize("accept", [False, True])
@pytest.mark.parametrize("fixed", [None, 503])
async def test_silence_before_the_headers_until_released(
    emulator: WorkersEmulator, client: Client, accept: bool, fixed: int | None
) -> None:
    fault = emulator.faults.add(cut="silence", accept=accept, status=fixed)
    task = asyncio.ensure_future(client.start(TEXT))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 100)
    assert len(client.server.accepted) == accept
    fault.release()
    answer = await task
    assert (answer.status, answer.text) == ((200, TEXT) if fixed is None else (503, ""))
    assert len(client.server.accepted) == (accept or fixed is None)


async def test_released_early_there_is_no_silence(emulator: WorkersEmulator, client: Client) -> None:
    emulator.faults.add(cut="silence", times=2).release()
    assert (await client.start(TEXT)).text == TEXT


@pytest.mark.parametrize("after", [None, 5])
async def test_client_leaves_a_silence(emulator: WorkersEmulator, client: Client, after: int | None) -> None:
    fault = emulator.faults.add(cut="silence", cut_after=after)
    task = asyncio.ensure_future(client.start(TEXT))
    while not client.server.requests or not fault.hits:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    while client.server.connections:
        await asyncio.sleep(0)
    fault.release()


async def test_server_stops_in_a_silence(emulator: WorkersEmulator) -> None:
    emulator.faults.add(cut="silence", times=None)
    async with aiohttp.ClientSession() as session:
        async with emulator.serve() as server:
            task = asyncio.ensure_future(session.post(f"{server.url}/a"))
            while not server.requests:
                await asyncio.sleep(0)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await task


async def test_one_byte_at_a_time(emulator: WorkersEmulator, client: Client) -> None:
    emulator.faults.add(byte_by_byte=True)
    pieces: list[bytes] = []
    closed = asyncio.Event()

    class Recorder(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            pieces.append(data)

        def connection_lost(self, exc: Exception | None) -> None:
            closed.set()

    port = int(client.server.url.rsplit(":", 1)[1])
    transport, _ = await asyncio.get_running_loop().create_connection(Recorder, "127.0.0.1", port)
    transport.write(post("/ndjson/a", "é"))
    await closed.wait()
    assert max(map(len, pieces)) == 1
    assert b"".join(pieces).endswith('\r\n1c\r\n{"type":"text","text":"é"}\n\r\n0\r\n\r\n'.encode())


async def test_close_delimited(emulator: WorkersEmulator, client: Client) -> None:
    emulator.faults.add(close_delimited=True, times=3)
    received, error = await raw(client, post())
    head, body = received.split(b"\r\n\r\n", 1)
    assert (body, error) == (TEXT.encode(), None)
    assert b"chunked" not in head.lower()
    assert b"content-length" not in head.lower()
    first = await client.start(TEXT)
    assert first.text == TEXT
    assert len(await client.history(first.run_id)) == 2


async def test_head_has_no_body_whatever_happens(emulator: WorkersEmulator, client: Client) -> None:
    run_id = (await client.start(TEXT)).run_id
    emulator.faults.add(method="HEAD", byte_by_byte=True)
    received, _ = await raw(client, b"HEAD /a/%b HTTP/1.1\r\nHost: x\r\n\r\n" % run_id.encode())
    assert received.endswith(b"\r\n\r\n")
    assert received.count(b"\r\n\r\n") == 1


async def test_slow_client_is_waited_for(emulator: WorkersEmulator, client: Client) -> None:
    written = 0

    @emulator.worker("big")
    async def big(ctx):
        nonlocal written
        for _ in range(200):
            yield ctx.text("x" * 100_000)
            written += 100_000

    emulator.faults.add(cut="rst", cut_after=19_000_000)
    _, writer = await asyncio.open_connection("127.0.0.1", int(client.server.url.rsplit(":", 1)[1]), limit=1024)
    writer.write(post("/big"))
    await asyncio.sleep(0.2)
    assert 0 < written < 19_000_000
    writer.transport.abort()
    while client.server.connections:
        await asyncio.sleep(0)


async def test_reset_comes_after_what_was_sent(emulator: WorkersEmulator, client: Client) -> None:
    @emulator.worker("big")
    async def big(ctx):
        yield ctx.text("x" * 8_000_000)

    emulator.faults.add(cut="rst", cut_after=7_999_999)
    received, error = await raw(client, post("/big"))
    assert received.partition(b"\r\n\r\n")[2].count(b"x") == 7_999_999
    assert isinstance(error, ConnectionResetError)


@pytest.mark.parametrize("path", ["/a", "/ndjson/a"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_failing_worker(emulator: WorkersEmulator, client: Client, path: str, streamed: bool) -> None:
    @emulator.worker("a")
    async def a(ctx):
        if streamed:
            yield ctx.text("half")
        raise LookupError("no data")

    if not streamed:
        answer = await client.ask("POST", path)
        assert (answer.status, json.loads(answer.body)) == (500, {"error": "LookupError: no data"})
    elif path == "/a":
        async with client.stream("POST", path) as stream:
            with pytest.raises(aiohttp.ClientPayloadError):
                await stream.read()
    else:
        lines = (await client.ask("POST", path)).body.splitlines()
        assert json.loads(lines[-1]) == {"type": "error", "message": "no data", "code": "LookupError"}
    assert (await client.start("x", "b")).text == "x"


@pytest.mark.parametrize("value", ["words", None, object()])
@pytest.mark.parametrize("path", ["/a", "/ndjson/a"])
async def test_worker_yields_nonsense(emulator: WorkersEmulator, client: Client, value, path: str) -> None:
    @emulator.worker("a")
    async def a(ctx):
        yield value

    answer = await client.ask("POST", path)
    assert answer.status == 500
    assert "a worker yields what its context makes" in answer.text


async def test_what_json_cannot_say_is_the_workers_failure(emulator: WorkersEmulator, client: Client) -> None:
    @emulator.worker("a")
    async def a(ctx):
        yield ctx.tool_call("t", object())

    assert (await client.ask("POST", "/ndjson/a")).status == 500


async def test_end_that_cannot_be_made_is_a_cut(emulator: WorkersEmulator, client: Client) -> None:
    @emulator.worker("a")
    async def a(ctx):
        yield ctx.text("x")

    emulator.ndjson_end = object()
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.ask("POST", "/ndjson/a")


@pytest.mark.parametrize(
    "arguments",
    [
        {"status": 99},
        {"status": 600},
        {"status": "503"},
        {"status": True},
        {"skip": "one"},
        {"times": 0},
        {"skip": -1},
        {"cut": "no"},
        {"cut": "fin", "cut_after": -1},
        {"cut_after": 3},
        {"body": "x"},
        {"status": 503, "method": "post"},
        {"status": 503, "method": "HED"},
    ],
)
def test_arguments_are_checked(arguments: dict) -> None:
    with pytest.raises(ConfigurationError, match=next(reversed(arguments))) as caught:
        WorkersEmulator().faults.add(**arguments)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("arguments", [{}, {"method": "POST", "times": None}, {"accept": True}, {"headers": {}}])
def test_a_fault_without_anything_that_goes_wrong_is_refused(arguments: dict) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing goes wrong: add status=, cut="):
        WorkersEmulator().faults.add(**arguments)


def test_a_wrong_argument_is_told_in_a_sentence() -> None:
    with pytest.raises(ConfigurationError) as caught:
        WorkersEmulator().faults.add(status="503")  # type: ignore[arg-type]
    assert str(caught.value) == "status must be a whole number from 200 to 599, or None, not '503'"


async def test_worker_that_fails_when_its_client_is_gone(emulator: WorkersEmulator, client: Client) -> None:
    gate, ended = asyncio.Event(), asyncio.Event()

    @emulator.worker("a")
    async def a(ctx):
        try:
            yield ctx.text("half")
            await gate.wait()
            raise LookupError("no data")
        finally:
            ended.set()

    async with client.stream("POST", "/a") as stream:
        stream.close()
    while client.server.connections:
        await asyncio.sleep(0)
    gate.set()
    await ended.wait()
    assert (await client.start("x", "b")).text == "x"


async def test_client_leaves_a_byte_by_byte_answer(emulator: WorkersEmulator, client: Client) -> None:
    emulator.faults.add(byte_by_byte=True, headers={"X-Long": "x" * 1000})
    answer = asyncio.ensure_future(client.start(TEXT))
    while not client.server.accepted:
        await asyncio.sleep(0)
    answer.cancel()
    await asyncio.wait([answer])
    while client.server.connections:
        await asyncio.sleep(0)


async def test_worker_that_fails_behind_a_fixed_answer(emulator: WorkersEmulator, client: Client) -> None:
    @emulator.worker("a")
    async def a(ctx):
        yield ctx.text("half")
        raise LookupError("no data")

    emulator.faults.add(status=502, accept=True)
    assert (await client.start("x")).status == 502
    assert (await client.start("x", "b")).text == "x"
    assert client.server.connections == 1
