"""A service that wants the program's memory or time gets a bounded part of either."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.answers import JOB, ONCE, RUN, client_of, history, said, text
from tests.support.raw_server import RawServer, Request, ndjson, response
from toolhouse_async import (
    AuthenticationError,
    BodyTooLargeError,
    ConflictError,
    ContactLostError,
    IdleTimeoutError,
    JobError,
    JobToken,
    JobWaitTimeoutError,
    Limits,
    MalformedLine,
    PollingPolicy,
    ProtocolError,
    ResponseTimeoutError,
    StreamInterruptedError,
    Timeouts,
    ToolhouseError,
    TooManyRoundsError,
    TurnTimeoutError,
    UnknownEvent,
)
from toolhouse_async._wire.lines import LineSplitter

MIB = 1024 * 1024


@contextmanager
def memory_below(most: int) -> Iterator[None]:
    """Fail if more bytes are allocated at once within the block."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < most, f"{(peak - before) / MIB:.1f} MiB"


def _endless(head: bytes, piece: bytes, most: int) -> Any:
    """Answers with ``head``, then with pieces, ``most`` bytes in all."""

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(head)
        for _ in range(most // len(piece)):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.1)
        await asyncio.sleep(10_000)

    return script


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = response(headers={RUN: "r1"}, body=ndjson(text("x")), ends=False)
HEADS: dict[str, tuple[bytes, bytes, type[ToolhouseError]]] = {
    "headers": (OK, b"".join(b"X-%d: y\r\n" % n for n in range(1000)), ProtocolError),
    "one header": (OK + b"X: ", b"x" * 100_000, ProtocolError),
    "status line": (b"HTTP/1.1 200 ", b"x" * 100_000, ProtocolError),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 10, ResponseTimeoutError),
    "blank lines": (b"", b"\r\n" * 50_000, ToolhouseError),
    "trailers": (CHUNKED + b"0\r\n", b"".join(b"X-%d: y\r\n" % n for n in range(1000)), ProtocolError),
    "chunk extension": (CHUNKED + b"5;", b"x" * 100_000, IdleTimeoutError),
    "chunk size": (CHUNKED, b"0" * 100_000, StreamInterruptedError),
}


@pytest.mark.parametrize("where", HEADS)
async def test_an_endless_head_or_framing(where: str) -> None:
    head, piece, kind = HEADS[where]
    timeouts = Timeouts(response=60, idle=60)
    script = _endless(head, piece, 20 * MIB)
    async with RawServer(script) as server, client_of(server, retries=ONCE, timeouts=timeouts) as toolhouse:
        began = asyncio.get_running_loop().time()
        with memory_below(6 * MIB), pytest.raises((kind, StreamInterruptedError)):
            await toolhouse.run("a", "x", recover=False)
        assert asyncio.get_running_loop().time() - began < 200


@pytest.mark.parametrize("status", [200, 401, 500])
async def test_an_endless_body_is_held_to_its_limit(status: int) -> None:
    head = response(status, {RUN: "r1"}, ends=False)
    script = _endless(head, b"10000\r\n" + b"x" * 0x10000 + b"\r\n", 16 * MIB)
    limits = Limits(max_body=MIB, max_error_body=MIB // 2)
    async with RawServer(script) as server, client_of(server, retries=ONCE, limits=limits) as toolhouse:
        with memory_below(8 * MIB), pytest.raises(ToolhouseError) as caught:
            await toolhouse.run("a", "x", recover=False)
        assert isinstance(caught.value, BodyTooLargeError) == (status == 200)
        with memory_below(8 * MIB), pytest.raises(ToolhouseError) as caught:
            await toolhouse.history("a", "r1")
        assert isinstance(caught.value, BodyTooLargeError) == (status == 200)


async def test_an_endless_history_is_no_burden_while_a_job_runs() -> None:
    """It is dropped at 64 KiB, with its connection, also without any limit set."""
    head = response(200, {JOB: "j1"}, ends=False)
    script = _endless(head, b"10000\r\n" + b" " * 0x10000 + b"\r\n", 64 * MIB)
    async with RawServer(script) as server, client_of(server) as toolhouse:
        with memory_below(4 * MIB):
            assert (await toolhouse.job_status("a", "r1")).running


async def test_what_a_limit_on_the_body_does_not_bound_is_told() -> None:
    """Parsed JSON takes more memory than its text: for the worst of it, a list of empty objects, some fifty times."""
    body = b"[" + b",".join([b"{}"] * 100_000) + b"]"
    async with RawServer([response(body=body)]) as server, client_of(server, limits=Limits(max_body=MIB)) as toolhouse:
        with memory_below(34 * MIB):
            assert len(await toolhouse.history("a", "r1")) == 100_000


HOSTILE_LINES = {
    "deep arrays": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "deep and closed": b"[" * 900 + b"]" * 900,
    "too deep for a fallback": b"[NaN," + b"[" * 100_000,
    "huge integer": b'{"n":' + b"9" * 1_000_000 + b"}",
    "huge integer for the fallback": b'{"n":[NaN,' + b"9" * 1_000_000 + b"]}",
    "huge exponent": b'{"n":1e' + b"9" * 100_000 + b"}",
    "escapes": b'"' + b"\\ud800" * 150_000 + b'"',
    "backslashes": b'"' + b"\\\\" * 400_000,
    "many keys": b"{" + b",".join(b'"%d":0' % n for n in range(100_000)) + b"}",
    "one key again and again": b"{" + b'"a":0,' * 100_000 + b'"a":0}',
    "keys in keys": b'{"type":"tool_call","name":"x","arguments":"' + b"[" * 500_000 + b'"}',
    "content blocks": b'{"role":"assistant","content":[' + b'{"type":"text","text":"x"},' * 30_000 + b"0]}",
    "NUL": b"\x00" * 1_000_000,
    "not UTF-8": b'"' + b"\xff" * 1_000_000 + b'"',
}


@pytest.mark.parametrize("name", HOSTILE_LINES)
async def test_a_hostile_line_takes_bounded_time_and_memory(name: str) -> None:
    line = HOSTILE_LINES[name]
    body = b'{"type":"text","text":"before"}\n' + line + b'\n{"type":"text","text":" after"}\n'
    async with RawServer([response(headers={RUN: "r1"}, body=body)]) as server, client_of(server) as toolhouse:
        events: list[Any] = []
        with memory_below(60 * MIB):
            began = time.process_time()
            async with toolhouse.stream("a", "x", settle=False) as turn:
                async for event in turn:
                    events.append(event)
                    assert len(repr(event)) < 5000
                    assert event == event
            assert time.process_time() - began < 10
    assert events[1].text == "before"
    assert events[-2].text == " after"
    if type(events[2]) in (MalformedLine, UnknownEvent):
        assert events[2].line == line


async def test_a_hostile_line_byte_by_byte() -> None:
    """Bytes that come in tiny pieces and never end a line are held to the limit."""
    script = _endless(response(headers={RUN: "r1"}, ends=False), b"2\r\nab\r\n" * 2000, 8 * MIB)
    limits = Limits(max_line=MIB // 4)
    async with RawServer(script) as server, client_of(server, limits=limits) as toolhouse:
        with memory_below(6 * MIB), pytest.raises(ProtocolError, match="longer than"):
            await toolhouse.run("a", "x", recover=False)


def test_the_pieces_of_a_line_take_little_more_than_their_size() -> None:
    """Pieces of two bytes, each of which would take twenty times as much as an object of its own."""
    splitter = LineSplitter(4 * MIB)
    with memory_below(3 * MIB):
        for number in range(MIB // 2):
            assert splitter.feed(b"%02x" % (number % 256)) == []


# Conversations without an end


def _conversation(answer: Callable[[str, int], bytes]) -> Any:
    """Answers by the method and the number of the request."""
    number = 0

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        nonlocal number
        number += 1
        writer.write(answer(request.method, number))

    return script


TALK = (("user", "x"), ("assistant", "x"))
REFUSED = response(409, chunked=False)
ENDLESS: dict[str, tuple[Callable[[str, int], bytes], type[ToolhouseError]]] = {
    "job after job": (lambda m, n: history(*TALK) if m == "GET" else said("x", job=f"j{n}"), TooManyRoundsError),
    "the same job again": (lambda m, n: history(*TALK) if m == "GET" else said("x", job="j"), TooManyRoundsError),
    "another job at every poll": (lambda m, n: history(job=f"j{n}") if m == "GET" else said("x", job="j0"), JobError),
    "a job for ever": (lambda m, n: history(job="j") if m == "GET" else said("x", job="j"), JobError),
    "no resume": (lambda m, n: {"POST": said("x", job="j"), "GET": history(*TALK)}.get(m, REFUSED), ConflictError),
    "now a job, now none": (
        lambda m, n: {
            "POST": said("x", job="j"),
            "GET": history(*TALK, job="j" if n % 2 else None),
        }.get(m, REFUSED),
        ToolhouseError,
    ),
    "new jobs, and none": (
        lambda m, n: {
            "POST": said("x", job="j"),
            "GET": history(*TALK, job=f"j{n}" if n % 2 else None),
        }.get(m, REFUSED),
        ToolhouseError,
    ),
    "failing polls": (
        lambda m, n: response(500, chunked=False) if m == "GET" else said("x", job="j"),
        ContactLostError,
    ),
    "too many requests": (lambda m, n: response(429, {"Retry-After": "0"}, chunked=False), ToolhouseError),
    "cut, and a history that grows": (
        lambda m, n: history(("user", "x"), ("assistant", "x" * n)) if m == "GET" else said("x", ends=False),
        StreamInterruptedError,
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_no_service_keeps_a_turn_for_ever(name: str) -> None:
    """Every turn ends by itself, by default within a day; jobs may last half an hour each, and there are at most 20."""
    answer, kind = ENDLESS[name]
    async with RawServer(_conversation(answer)) as server, client_of(server) as toolhouse:
        async with asyncio.timeout(86_400):
            with pytest.raises(kind) as caught:
                await toolhouse.run("a", "x")
        assert not isinstance(caught.value, AssertionError)
        posts = [request for request in server.requests if request.method == "POST"]
        assert len(posts) <= 3


async def test_no_service_keeps_a_waiter_for_ever() -> None:
    """The deadline is that of one job; a service that names another one at every poll must not move it for ever."""
    answer, _ = ENDLESS["another job at every poll"]
    async with RawServer(_conversation(answer)) as server, client_of(server) as toolhouse:
        began = asyncio.get_running_loop().time()
        waiter = toolhouse.wait_for_job(JobToken("a", "r1", "j1", time.time()))
        async with asyncio.timeout(86_400):
            with pytest.raises(JobError):
                await waiter.wait()
        assert asyncio.get_running_loop().time() - began < 36_100  # 20 jobs of half an hour each


# Bodies that drip: never silent for long, and never at their end


def _dripping(*drips: str, first: bytes = response(body=b"[", ends=False)) -> Any:
    """Answers requests of these methods with ``first`` and a byte a second from then on."""

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        if request.method not in drips:
            writer.write(said("x", job="j1"))
            return
        writer.write(first)
        while not writer.is_closing():
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(1)

    return script


async def test_a_deadline_fires_while_every_poll_drips() -> None:
    """Of a job, of a wait, and of a turn; and contact counts as lost where there is none of them."""
    polling = PollingPolicy(deadline=50, failure_budget=20)
    loop = asyncio.get_running_loop()
    async with RawServer(_dripping("GET")) as server, client_of(server, polling=polling) as toolhouse:
        began = loop.time()
        with pytest.raises(JobWaitTimeoutError):
            await toolhouse.run("a", "x")
        assert 50 <= loop.time() - began < 60
        began = loop.time()
        with pytest.raises(JobWaitTimeoutError):
            await toolhouse.wait_for_job(JobToken("a", "r1", "j1", time.time()), timeout=20)
        assert 20 <= loop.time() - began < 30
        began = loop.time()
        with pytest.raises(TurnTimeoutError) as caught:
            await toolhouse.run("a", "x", timeout=20)
        assert loop.time() - began == pytest.approx(20, abs=1)
        assert caught.value.token is not None
    async with RawServer(_dripping("GET")) as server, client_of(server) as toolhouse:
        began = loop.time()
        with pytest.raises(ContactLostError):
            await toolhouse.run("a", "x")
        assert loop.time() - began < 250


async def test_a_recovery_ends_in_time_while_every_look_drips() -> None:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        if request.method == "POST":
            writer.write(said("x", ends=False))
            writer.close()
        else:
            await _dripping("GET")(reader, writer, request)

    async with RawServer(script) as server, client_of(server) as toolhouse:
        began = asyncio.get_running_loop().time()
        with pytest.raises(StreamInterruptedError):
            await toolhouse.run("a", "x")
        assert asyncio.get_running_loop().time() - began < 170


async def test_a_conflict_is_looked_into_in_time() -> None:
    """The look for the job that a 409 tells of drips."""

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        if request.method == "PUT":
            writer.write(REFUSED)
        else:
            await _dripping("GET")(reader, writer, request)

    async with RawServer(script) as server, client_of(server, retries=ONCE) as toolhouse:
        began = asyncio.get_running_loop().time()
        with pytest.raises(ToolhouseError):
            await toolhouse.session("a", run_id="r1").send("x")
        assert asyncio.get_running_loop().time() - began < 300


async def test_a_history_that_drips_comes_to_an_end() -> None:
    async with RawServer(_dripping("GET")) as server, client_of(server, retries=ONCE) as toolhouse:
        began = asyncio.get_running_loop().time()
        with pytest.raises(StreamInterruptedError, match="longer than 600 s"):
            await toolhouse.history("a", "r1")
        assert asyncio.get_running_loop().time() - began == pytest.approx(600, abs=2)


async def test_an_error_whose_body_drips_is_told_soon() -> None:
    """With what of it had come."""
    script = _dripping("GET", "POST", first=response(401, body=b"no such key", ends=False))
    for timeouts in (Timeouts(), Timeouts(idle=None)):
        async with RawServer(script) as server, client_of(server, timeouts=timeouts) as toolhouse:
            began = asyncio.get_running_loop().time()
            for step in (toolhouse.run("a", "x"), toolhouse.history("a", "r1")):
                with pytest.raises(AuthenticationError) as caught:
                    await step
                assert caught.value.body.strip() == "no such key"
            assert asyncio.get_running_loop().time() - began < 12
