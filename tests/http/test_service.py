from __future__ import annotations

import asyncio
import logging
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.answers import JOB, KEY, RUN, client_of, history, said, unused_port
from tests.support.raw_server import RawServer, Request, chunk, fin, response, rst, silence
from toolhouse_async import (
    APIStatusError,
    AsyncToolhouse,
    AuthenticationError,
    BadRequestError,
    BodyTooLargeError,
    ConflictError,
    Limits,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    PollingPolicy,
    ProtocolError,
    RateLimitError,
    ResponseTimeoutError,
    RetryPolicy,
    ServerError,
    StreamInterruptedError,
    Timeouts,
    TLSError,
    TurnTimeoutError,
    UnexpectedContentError,
    UnprocessableEntityError,
)

OPEN = b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n"
OVER = history(("user", "x"))


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def talk(script: Any, **options: Any) -> AsyncIterator[tuple[RawServer, AsyncToolhouse]]:
    async with RawServer(script) as server, client_of(server, **options) as toolhouse:
        yield server, toolhouse


def refusal(status: int, headers: dict[str, str] | None = None, body: bytes = b"no") -> bytes:
    return response(status, headers, body, chunked=False)


# Statuses


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("api_key", ["", lambda: ""])
async def test_a_refusal_says_that_no_key_was_sent(status: int, api_key: Any) -> None:
    async with RawServer([refusal(status), refusal(status)]) as server, client_of(server, api_key=api_key) as client:
        for ask in (client.run("a", "hi"), client.history("a", "r1")):
            with pytest.raises(APIStatusError, match="no API key was sent, and this worker wants one") as caught:
                await ask
            assert "check the API key" not in str(caught.value)


async def test_a_refusal_of_a_key_says_so() -> None:
    async with RawServer([refusal(401)]) as server, client_of(server) as client:
        with pytest.raises(AuthenticationError, match="check the API key"):
            await client.run("a", "hi")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (402, APIStatusError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (408, APIStatusError),
        (409, ConflictError),
        (410, APIStatusError),
        (418, APIStatusError),
        (422, UnprocessableEntityError),
        (425, APIStatusError),
        (429, RateLimitError),
        (500, ServerError),
        (501, ServerError),
        (503, ServerError),
        (599, ServerError),
        (600, ServerError),
    ],
)
async def test_every_other_status_is_an_error_of_its_type(status: int, kind: type[APIStatusError]) -> None:
    headers = {"Retry-After": "61", "X-Trace": "t1"}
    async with talk([refusal(status, headers, b"because")]) as (server, toolhouse):
        with pytest.raises(APIStatusError) as caught:
            await toolhouse.run("a", "x")
        assert len(server.requests) == 1
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.body, error.retry_after) == (status, "because", 61.0)
    assert error.headers["X-TRACE"] == "t1"
    assert error.safe_to_retry is (None if status in (408, 500, 501, 502, 503, 504, 599, 600) else True)
    assert str(status) in str(error)
    assert "because" in str(error)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 226])
async def test_any_2xx_is_success(status: int) -> None:
    body = b"" if status == 204 else b'{"type":"text","text":"x"}\n'
    answer = response(status, {RUN: "r1"}, body, chunked=False)
    async with talk([answer]) as (_, toolhouse):
        result = await toolhouse.run("a", "x", settle=False)
    assert result.text == ("" if status == 204 else "x")


async def test_the_body_of_a_refusal_is_cut_and_the_key_blacked_out() -> None:
    body = f"you sent {KEY}! ".encode() + b"\xff" + b"x" * 1000
    async with talk([refusal(400, {"X-Sent": KEY}, body)], limits=Limits(max_error_body=100)) as (_, toolhouse):
        with pytest.raises(BadRequestError) as caught:
            await toolhouse.run("a", "x")
    error = caught.value
    assert error.body.startswith("you sent [redacted]! \N{REPLACEMENT CHARACTER}xxx")
    assert len(error.body) <= 100
    assert error.headers["x-sent"] == "[redacted]"


@pytest.mark.parametrize("begin", range(80, 100))
async def test_a_key_at_the_cut_leaves_no_beginning_of_itself(begin: int) -> None:
    body = b"x" * begin + KEY.encode() + b"x" * 10
    async with talk([refusal(400, {}, body)], limits=Limits(max_error_body=100)) as (_, toolhouse):
        with pytest.raises(BadRequestError) as caught:
            await toolhouse.run("a", "x")
    assert KEY[:8] not in caught.value.body
    assert KEY[:8] not in str(caught.value)


async def test_no_body_of_a_refusal_is_kept_where_none_is_wanted() -> None:
    async with talk([refusal(400)], limits=Limits(max_error_body=0)) as (_, toolhouse):
        with pytest.raises(BadRequestError) as caught:
            await toolhouse.run("a", "x")
    assert caught.value.body == ""


async def test_a_huge_refusal_takes_no_memory() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN % 400)
        piece = chunk(b"x" * 100_000)
        for _ in range(500):
            writer.write(piece)
            await writer.drain()

    async with talk(script) as (server, toolhouse):
        tracemalloc.start()
        try:
            with pytest.raises(BadRequestError) as caught:
                await toolhouse.run("a", "x")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await asyncio.sleep(1)
        assert server.open_connections == 0
    assert len(caught.value.body) == 64 * 1024
    assert peak < 4_000_000


@pytest.mark.parametrize("end", [fin, rst, None])
async def test_a_refusal_whose_body_does_not_come(end: Any) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN % 403 + chunk(b"hal"))
        await writer.drain()
        await asyncio.sleep(1)
        if end is None:
            await silence(reader)
        else:
            end(writer)

    async with talk(script) as (server, toolhouse):
        with pytest.raises(PermissionDeniedError) as caught:
            async with asyncio.timeout(400):
                await toolhouse.run("a", "x")
        await asyncio.sleep(1)
        assert server.open_connections == 0
    assert caught.value.body in ("", "hal")


async def test_a_connection_is_kept_after_a_refusal() -> None:
    async with talk([refusal(400), said("x")]) as (server, toolhouse):
        with pytest.raises(BadRequestError):
            await toolhouse.run("a", "x")
        await toolhouse.run("a", "x")
        assert server.connections == 1


# Answers that are none


@pytest.mark.parametrize("bad", ["a/b", "..", "", "a b", "x" * 129, "r1, r2"])
async def test_a_run_id_that_is_none(bad: str) -> None:
    async with talk([said("x", run=bad)]) as (server, toolhouse):
        session = toolhouse.session("a")
        with pytest.raises(ProtocolError):
            await session.send("x")
        assert session.run_id is None
        assert len(server.requests) == 1


@pytest.mark.parametrize("header", ["X-Toolhouse-Run-ID", "x-toolhouse-job-id"])
async def test_the_key_in_place_of_an_id_is_not_taken(header: str) -> None:
    headers = {"X-Toolhouse-Run-ID": RUN, header: KEY}
    async with talk([response(200, headers, said("a"))]) as (server, toolhouse):
        with pytest.raises(ProtocolError, match="in place of an id") as caught:
            await toolhouse.run("worker", "x")
        assert caught.value.safe_to_retry is False
        assert KEY not in str(caught.value)
        assert len(server.requests) == 1


async def test_two_run_ids() -> None:
    two = b"HTTP/1.1 200 OK\r\nX-Toolhouse-Run-ID: a\r\nX-Toolhouse-Run-ID: b\r\nContent-Length: 0\r\n\r\n"
    async with talk([two]) as (_, toolhouse):
        with pytest.raises(ProtocolError):
            await toolhouse.run("a", "x")


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"<p>", b"[", b'{"messages": []}'])
async def test_a_history_that_is_none_may_be_read_again_by_hand(body: bytes) -> None:
    async with talk([response(body=body)] * 2) as (_, toolhouse):
        for call in (toolhouse.history, toolhouse.job_status):
            with pytest.raises(UnexpectedContentError) as caught:
                await call("a", "r1")
            assert caught.value.safe_to_retry is True


@pytest.mark.parametrize("status", [201, 202, 203, 206, 226])
async def test_a_success_that_is_no_200_shows_no_job_to_be_over(status: int) -> None:
    answer = response(status, body=b'[{"role": "user", "content": "x"}]')
    async with talk([answer] * 2) as (server, toolhouse):
        with pytest.raises(UnexpectedContentError, match=f"{status}; only a 200") as caught:
            await toolhouse.job_status("a", "r1")
        assert (caught.value.safe_to_retry, caught.value.run_id) == (True, "r1")
        if status == 206:
            with pytest.raises(UnexpectedContentError, match="206"):
                await toolhouse.history("a", "r1")
        else:
            assert [message.text for message in await toolhouse.history("a", "r1")] == ["x"]
        assert len(server.requests) == 2


async def test_a_history_above_the_limit() -> None:
    async with talk([history(("user", "x" * 100))] * 2, limits=Limits(max_body=50)) as (server, toolhouse):
        with pytest.raises(BodyTooLargeError):
            await toolhouse.history("a", "r1")
        assert len(server.requests) == 1


# Retries


QUICK = RetryPolicy(max_attempts=3, initial=1, maximum=1)


async def test_a_message_that_was_not_sent_is_sent_again() -> None:
    port = unused_port()
    async with AsyncToolhouse(KEY, base_url=f"http://127.0.0.1:{port}", retries=RetryPolicy(initial=4)) as toolhouse:
        going = asyncio.ensure_future(toolhouse.run("a", "x"))
        async with _late_server(port, [said("y")]) as server:
            assert (await going).text == "y"
        assert len(server.requests) == 1


@asynccontextmanager
async def _late_server(port: int, answers: list[bytes]) -> AsyncIterator[RawServer]:
    """A server that opens on a given port after a first attempt has failed."""
    await asyncio.sleep(0.001)
    server = RawServer(answers)
    make = asyncio.start_server

    async def on_port(accept: Any, host: str, _: int, **options: Any) -> Any:
        return await make(accept, host, port, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "start_server", on_port)
        await server.__aenter__()
    try:
        yield server
    finally:
        await server.__aexit__(None)


async def test_giving_up_after_so_many_attempts() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    for attempts in (1, 4):
        retries = RetryPolicy(max_attempts=attempts, initial=1, maximum=1)
        async with AsyncToolhouse(KEY, base_url=url, retries=retries) as toolhouse:
            began = now()
            with pytest.raises(NotSentError):
                await toolhouse.run("a", "x")
            assert now() - began <= (attempts - 1) * 1.1


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_message_refused_for_its_rate_is_sent_again(method: str) -> None:
    async with talk([refusal(429, {"Retry-After": "7"}), refusal(429), said("y")], retries=QUICK) as (
        server,
        toolhouse,
    ):
        began = now()
        session = toolhouse.session("a", run_id=None if method == "POST" else "r1")
        assert (await session.send("x")).text == "y"
        assert 7 <= now() - began <= 9
    assert [request.method for request in server.requests] == [method] * 3
    assert len({request.body for request in server.requests}) == 1


async def test_a_rate_limit_above_the_cap_is_raised_at_once() -> None:
    async with talk([refusal(429, {"Retry-After": "61"})]) as (server, toolhouse):
        with pytest.raises(RateLimitError) as caught:
            await toolhouse.run("a", "x")
        assert caught.value.retry_after == 61
        assert caught.value.safe_to_retry is True
        assert len(server.requests) == 1


async def test_a_rate_limit_past_the_deadline_of_the_turn_is_raised_at_once() -> None:
    async with talk([refusal(429, {"Retry-After": "30"})]) as (server, toolhouse):
        began = now()
        with pytest.raises(RateLimitError) as caught:
            await toolhouse.run("a", "x", timeout=20)
        assert now() - began < 1
        assert caught.value.retry_after == 30
        assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504])
async def test_no_other_status_makes_a_message_be_sent_again(status: int, method: str) -> None:
    async with talk([refusal(status, {"Retry-After": "1"})]) as (server, toolhouse):
        with pytest.raises(APIStatusError):
            await toolhouse.session("a", run_id=None if method == "POST" else "r1").send("x")
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_read_is_repeated_where_that_may_help(status: int) -> None:
    async with talk([refusal(status), refusal(status), OVER] * 2, retries=QUICK) as (server, toolhouse):
        assert len(await toolhouse.history("a", "r1")) == 1
        assert (await toolhouse.job_status("a", "r1")).history is not None
        assert len(server.requests) == 6


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 410, 422])
async def test_a_read_is_not_repeated_where_that_cannot_help(status: int) -> None:
    async with talk([refusal(status)]) as (server, toolhouse):
        with pytest.raises(APIStatusError) as caught:
            await toolhouse.history("a", "r1")
        assert caught.value.safe_to_retry is True
        assert caught.value.run_id == "r1"
        assert len(server.requests) == 1


@pytest.mark.parametrize("end", [fin, rst])
@pytest.mark.parametrize("first", [b"", OPEN % 200 + chunk(b"[")], ids=["nothing", "half"])
async def test_a_read_that_was_cut_is_repeated(first: bytes, end: Any) -> None:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        if len(server.requests) < 3:
            writer.write(first)
            await writer.drain()
            end(writer)
        else:
            writer.write(OVER)

    async with talk(script, retries=QUICK) as (server, toolhouse):
        assert len(await toolhouse.history("a", "r1")) == 1
        assert len(server.requests) == 3


async def test_a_read_that_is_always_cut() -> None:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN % 200 + chunk(b"["))
        await writer.drain()
        fin(writer)

    async with talk(script, retries=QUICK) as (server, toolhouse):
        with pytest.raises(StreamInterruptedError, match="history was cut") as caught:
            await toolhouse.history("a", "r1")
        assert caught.value.safe_to_retry is True
        assert caught.value.run_id == "r1"
        assert len(server.requests) == 3


async def test_a_history_that_falls_silent() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(OPEN % 200 + chunk(b"["))
        await silence(reader)

    options = {"timeouts": Timeouts(idle=20), "retries": RetryPolicy(max_attempts=1)}
    async with talk(script, **options) as (server, toolhouse):
        began = now()
        with pytest.raises(StreamInterruptedError, match=r"Timeouts\.idle"):
            await toolhouse.history("a", "r1")
        assert now() - began == pytest.approx(20, abs=0.5)
        await asyncio.sleep(1)
        assert server.open_connections == 0


async def test_a_slow_history_is_not_idle() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        for start in range(0, len(OVER), 10):
            writer.write(OVER[start : start + 10])
            await asyncio.sleep(15)

    async with talk(script, timeouts=Timeouts(idle=20)) as (_, toolhouse):
        assert len(await toolhouse.history("a", "r1")) == 1


async def test_retries_are_logged_without_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "toolhouse_async")
    async with talk([refusal(503, {}, KEY.encode()), OVER], retries=QUICK) as (_, toolhouse):
        await toolhouse.history("a", "r1")
    (record,) = caplog.records
    assert "GET /a/r1: attempt 1 failed (ServerError)" in record.getMessage()
    assert KEY not in caplog.text


async def test_cancelling_between_attempts() -> None:
    async with talk([refusal(429, {"Retry-After": "50"})]) as (server, toolhouse):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await toolhouse.run("a", "x")
        await asyncio.sleep(100)
        assert len(server.requests) == 1


async def test_a_refused_certificate_is_not_tried_again() -> None:
    came = 0

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        came += 1
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncToolhouse(KEY, base_url=url) as toolhouse:
            for call in (toolhouse.run("a", "x"), toolhouse.history("a", "r1")):
                with pytest.raises(TLSError):
                    await call
    assert came == 2


# Timeouts


async def test_no_answer_to_a_message_in_time() -> None:
    async def script(reader: asyncio.StreamReader, *_: object) -> None:
        await silence(reader)

    async with talk(script, timeouts=Timeouts(response=20)) as (server, toolhouse):
        session = toolhouse.session("a", run_id="r1")
        with pytest.raises(ResponseTimeoutError) as caught:
            await session.send("x")
        assert isinstance(caught.value, OutcomeUnknownError)
        assert isinstance(caught.value, TimeoutError)
        assert (caught.value.run_id, caught.value.safe_to_retry) == ("r1", None)
        with pytest.raises(TurnTimeoutError):
            await toolhouse.run("a", "x", timeout=5)
        assert len(server.requests) == 2


@pytest.mark.parametrize(("response_timeout", "seconds"), [(600.0, 30.0), (None, 30.0), (7.0, 7.0)])
async def test_a_poll_that_hangs_takes_no_longer_than_this(response_timeout: float | None, seconds: float) -> None:
    times: list[float] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        times.append(now())
        if request.method == "POST":
            writer.write(said("x", job="j1"))
        elif request.method == "PUT":
            writer.write(said("y"))
        elif len(times) == 2:
            await silence(reader)
        else:
            writer.write(OVER)

    options = {"timeouts": Timeouts(response=response_timeout), "polling": PollingPolicy(jitter=0)}
    async with talk(script, **options) as (_, toolhouse):
        assert (await toolhouse.run("a", "x")).text == "xy"
    assert seconds <= times[2] - times[1] <= seconds + 11


# The body of a running job's history


@pytest.mark.parametrize(("size", "connections"), [(1000, 1), (60_000, 1), (1_000_000, 2)])
async def test_the_history_of_a_running_job_is_read_only_where_that_keeps_the_connection(
    size: int, connections: int
) -> None:
    running = response(headers={JOB: "j1"}, body=b"x" * size)
    async with talk([running, OVER]) as (server, toolhouse):
        status = await toolhouse.job_status("a", "r1")
        assert (status.job_id, status.history) == ("j1", None)
        await toolhouse.job_status("a", "r1")
        assert server.connections == connections


@pytest.mark.parametrize("end", [fin, rst, None])
async def test_the_history_of_a_running_job_need_not_come(end: Any) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(response(headers={JOB: "j1", "Retry-After": "4"}, body=b"[", ends=False))
        await writer.drain()
        await asyncio.sleep(0.1)
        if end is None:
            await silence(reader)
        else:
            end(writer)

    async with talk(script) as (server, toolhouse):
        began = now()
        status = await toolhouse.job_status("a", "r1")
        assert (status.running, status.retry_after) == (True, 4.0)
        assert now() - began < 1.5
        await asyncio.sleep(1)
        assert server.open_connections == 0


async def test_the_history_of_a_running_job_may_be_above_the_limit() -> None:
    async with talk([history(("user", "x" * 99), job="j1")], limits=Limits(max_body=50)) as (_, toolhouse):
        assert (await toolhouse.job_status("a", "r1")).running


async def test_an_empty_job_id_is_none() -> None:
    async with talk([history(job=" ")]) as (_, toolhouse):
        assert not (await toolhouse.job_status("a", "r1")).running


async def test_a_history_that_is_none_while_a_job_runs_is_an_error_of_its_own() -> None:
    async with talk([response(headers={JOB: "j1"}, body=b"{}", chunked=False)] * 4) as (_, toolhouse):
        with pytest.raises(UnexpectedContentError, match="running job"):
            await toolhouse.history("a", "r1")
