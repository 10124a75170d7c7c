"""Faults 17 to 25: an answer comes, and its head is no good."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tests.conversations.support import AGENT, JOB, RUN, broken_off, history, refused, said, streamed
from tests.support.raw_server import Request, chunk, fin, response
from toolhouse_async import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RedirectError,
    RetryPolicy,
    ServerError,
    UnexpectedContentError,
    UnprocessableEntityError,
)

from .support import DONE, KEY, Fault, now, slack, virtual_time

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"


async def breaks_http(fault: Fault, answer: bytes) -> None:
    """A POST and a PUT get this answer, and nothing is sent again."""
    reply = broken_off(answer, fin)
    server = await fault.server(post=[reply, reply], put=[reply, reply])
    client = fault.client(server)
    for run_id in (None, RUN):
        error = await fault.fails(ProtocolError, client.session(AGENT, run_id=run_id).send("hi"))
        assert error.safe_to_retry is not True
        assert len(str(error)) < 600
    await fault.survived("POST hi", "PUT hi")


@pytest.mark.parametrize(
    "head",
    [b"X-Long: " + b"x" * 9000 + b"\r\n", b"".join(b"X-%d: y\r\n" % n for n in range(300))],
    ids=["9 KB", "300 headers"],
)
async def test_fault_17_oversized_head(fault: Fault, head: bytes) -> None:
    """The answer has a header of 9 KB, or 300 headers.

    Outcome: ``ProtocolError``; it is not taken for a status 400 of the service.
    """
    await breaks_http(fault, OK + head + EMPTY)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.6\r\n", b"just words\r\n"], ids=["SSH", "HTTP 0.9"])
async def test_fault_18_not_http(fault: Fault, answer: bytes) -> None:
    """What answers is an SSH server, or speaks HTTP/0.9, which has no head.

    Outcome: ``ProtocolError``.
    """
    await breaks_http(fault, answer)


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
        b"Content-Length: -2\r\n\r\nab",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    ],
    ids=[
        "CL+TE", "TE+CL", "two", "twice", "negative",
        "xchunked", "chunked+identity", "identity+chunked", "gzip+chunked", "chunked twice", "two codings", "no coding",
    ],
)  # fmt: skip
async def test_fault_19_ambiguous_length(fault: Fault, lengths: bytes) -> None:
    """The body's length is given by both framings, twice, by a coding that is not just ``chunked``, or is negative.

    Outcome: ``ProtocolError``: two readers could see two different answers.
    """
    await breaks_http(fault, OK + b"X-Toolhouse-Run-ID: run-1\r\n" + lengths)


async def test_fault_20_early_hints(fault: Fault) -> None:
    """A 103 (early hints) comes before the 200.

    Outcome: works.
    """
    server = await fault.server(post=[b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + DONE])
    assert (await fault.read(fault.client(server).stream(AGENT, "hi"))).text == "done"
    await fault.survived("POST hi", delivered="done")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["same host", "other host"])
async def test_fault_21_redirects(fault: Fault, status: int, where: str) -> None:
    """The service redirects, to itself or to another host.

    Outcome: ``RedirectError``; neither message nor key goes anywhere else.
    """
    other = await fault.server(post=[DONE], put=[DONE], get=[DONE])
    location = "/elsewhere" if where == "same host" else f"{other.url}/worker"
    answer = response(status, {"Location": location}, chunked=False)
    server = await fault.server(post=[answer, DONE], put=[answer, DONE], get=[answer, DONE])
    client = fault.client(server)
    for run_id in (None, RUN):
        error = await fault.fails(RedirectError, client.session(AGENT, run_id=run_id).send("hi"))
        assert (error.status, error.headers["location"]) == (status, location)
    await fault.fails(RedirectError, client.history(AGENT, RUN))
    assert other.connections == 0
    await fault.survived("POST hi", "PUT hi")


BAD_RUN_IDS = {
    "doubled": b"X-Toolhouse-Run-ID: run-1\r\nX-Toolhouse-Run-ID: run-1\r\n",
    "two": b"X-Toolhouse-Run-ID: run-1\r\nX-Toolhouse-Run-ID: run-2\r\n",
    "climbing": b"X-Toolhouse-Run-ID: ../x\r\n",
    "folded": b"X-Toolhouse-Run-ID: run\r\n -1\r\n",
    "CR": b"X-Toolhouse-Run-ID: run\r-1\r\n",
    "LF": b"X-Toolhouse-Run-ID: run\n-1\r\n",
    "header in it": b"X-Toolhouse-Run-ID: run%0d%0aX-Evil:1\r\n",
    "query": b"X-Toolhouse-Run-ID: run?x=1\r\n",
    "empty": b"X-Toolhouse-Run-ID: \r\n",
}


def with_run_id(name: str) -> bytes:
    """A good answer but for its run id."""
    return OK + BAD_RUN_IDS[name] + b"Connection: close\r\nContent-Length: 3\r\n\r\n{}\n"


@pytest.mark.parametrize("name", BAD_RUN_IDS)
async def test_fault_22_bad_run_id(fault: Fault, name: str) -> None:
    """The answer's run id comes twice, climbs (``../x``), is folded or empty, or holds a line break or a query.

    Outcome: ``ProtocolError`` that says the message was taken; the id never comes into a URL.
    """
    server = await fault.server(post=[with_run_id(name)])
    session = fault.client(server).session(AGENT)
    error = await fault.fails(ProtocolError, session.send("hi"))
    assert error.safe_to_retry is not True
    assert session.run_id is None
    await fault.survived("POST hi")


async def test_fault_22_bad_run_id_in_development_mode(fault: Fault) -> None:
    """The same bad run ids under ``python -X dev``, where the parser of HTTP is a stricter one.

    Outcome: ``ProtocolError`` too.
    """
    program = (
        "import asyncio, os, sys, toolhouse_async as t\n"
        "async def main():\n"
        "    assert sys.flags.dev_mode\n"
        "    async with t.AsyncToolhouse() as client:\n"
        "        for number in range(int(sys.argv[1])):\n"
        "            try: print('ok', await client.run('worker', str(number)))\n"
        "            except t.ToolhouseError as error: print(type(error).__name__)\n"
        "asyncio.run(main())\n"
    )
    server = await fault.server(post=[with_run_id(name) for name in BAD_RUN_IDS])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", "-c", program, str(len(BAD_RUN_IDS))),
        env=os.environ | {"TOOLHOUSE_API_KEY": KEY, "TOOLHOUSE_BASE_URL": server.url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert out.decode().split() == ["ProtocolError"] * len(BAD_RUN_IDS)
    assert not {word for word in (KEY, "Traceback", "ResourceWarning", "Unclosed") if word in err.decode()}
    await fault.survived(*(f"POST {number}" for number in range(len(BAD_RUN_IDS))))


async def test_fault_22_run_id_missing(fault: Fault) -> None:
    """The answer to a first message has no run id.

    Outcome: the answer is delivered; the next message, which needs the id, is a ``ProtocolError`` and not sent.
    """
    server = await fault.server(post=[streamed(said("done"), run=None), DONE])
    session = fault.client(server).session(AGENT)
    assert (await fault.read(session.stream("hi"))).text == "done"
    await fault.fails(ProtocolError, session.send("more"))
    await fault.survived("POST hi", delivered="done")


async def test_fault_22_run_id_missing_with_a_job(fault: Fault) -> None:
    """The same, and a background job has begun.

    Outcome: what was said is delivered, then ``ProtocolError``: the job cannot be asked about.
    """
    server = await fault.server(post=[streamed(said("wait"), run=None, job=JOB)])
    await fault.fails(ProtocolError, fault.read(fault.client(server).stream(AGENT, "hi")))
    await fault.survived("POST hi", delivered="wait")


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_fault_23_captive_portal(fault: Fault, method: str) -> None:
    """A network's sign-in page answers 200 with HTML.

    Outcome: ``UnexpectedContentError``; not a word of the page is taken for the worker's.
    """
    page = response(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Welcome! Accept our terms.</html>")
    server = await fault.server(post=[page], put=[page])
    session = fault.client(server).session(AGENT, run_id=RUN if method == "PUT" else None)
    await fault.fails(UnexpectedContentError, fault.read(session.stream("hi")))
    await fault.survived(f"{method} hi")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (422, UnprocessableEntityError),
        (429, RateLimitError),
        (500, ServerError),
        (502, ServerError),
        (503, ServerError),
        (504, ServerError),
    ],
)
async def test_fault_24_huge_error_body(fault: Fault, status: int, kind: Any) -> None:
    """A refusal (401, 403, 404, 422, 429, 5xx) comes with a body of 50 MB.

    Outcome: the error of that status, its body cut at ``Limits.max_error_body``; the rest is not even read.
    """
    written = 0
    piece = chunk(f"Bearer {KEY} ".encode() * 1000)

    async def endless(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        nonlocal written
        writer.write(response(status, ends=False))
        for _ in range(50_000_000 // len(piece)):
            writer.write(piece)
            await writer.drain()
            written += len(piece)

    server = await fault.server(post=[endless])
    client = fault.client(server, retries=RetryPolicy(max_attempts=1))
    error = await fault.fails(kind, client.run(AGENT, "hi"))
    assert error.status == status
    assert 1000 < len(error.body) <= 64 * 1024
    assert written < 40_000_000
    await fault.survived("POST hi")


def http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


PAST = http_date(datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC))


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e99x", "", "soon", PAST, "-inf", "0.01"])
async def test_fault_25_retry_after_that_asks_for_nothing(fault: Fault, value: str) -> None:
    """``Retry-After`` is zero, negative, no number, empty, or a date that is past.

    Outcome: the message is sent again after the usual short pause.
    """
    server = await fault.server(post=[refused(429, Retry_After=value), DONE])
    began = now()
    assert (await fault.read(fault.client(server).stream(AGENT, "hi"))).text == "done"
    assert now() - began < 2 + slack()
    await fault.survived("POST hi", delivered="done")


@pytest.mark.parametrize("value", ["1e99", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "61", "86400"])
async def test_fault_25_retry_after_above_the_cap(fault: Fault, value: str) -> None:
    """``Retry-After`` asks for more than ``RetryPolicy.max_retry_after``, be it 1e99 seconds or the year 9999.

    Outcome: ``RateLimitError`` at once, with a finite ``retry_after`` where one could be read.
    """
    server = await fault.server(post=[refused(429, Retry_After=value)] * 3)
    began = now()
    error = await fault.fails(RateLimitError, fault.client(server).run(AGENT, "hi"))
    assert now() - began < 2 + slack()
    assert error.retry_after is None or 60 < error.retry_after < float("inf")
    await fault.survived()


async def test_fault_25_retry_after_past_the_deadline(fault: Fault) -> None:
    """``Retry-After`` asks for more than the turn's ``timeout`` leaves.

    Outcome: ``RateLimitError`` at once: waiting would be in vain.
    """
    server = await fault.server(post=[refused(429, Retry_After="30")] * 3)
    began = now()
    error = await fault.fails(RateLimitError, fault.client(server).run(AGENT, "hi", timeout=20))
    assert error.retry_after == 30
    assert now() - began < 2 + slack()
    await fault.survived()


async def test_fault_25_retry_after_in_milliseconds(fault: Fault) -> None:
    """A gateway gives milliseconds in ``retry-after-ms``.

    Outcome: they are waited for, not as many seconds.
    """
    server = await fault.server(post=[refused(429, retry_after_ms="150", Retry_After="900"), DONE])
    began = now()
    assert (await fault.read(fault.client(server).stream(AGENT, "hi"))).text == "done"
    assert 0.14 < now() - began < 2 + slack()
    await fault.survived("POST hi", delivered="done")


@virtual_time("waits for minutes")
@pytest.mark.parametrize(("value", "least"), [("30", 30), ("1e99", 60), ("date", 28)])
async def test_fault_25_retry_after_on_polls_and_dates(fault: Fault, value: str, least: float) -> None:
    """``Retry-After`` comes with polls of a background job, and as a date half a minute ahead.

    Outcome: it is waited for, at most a minute.
    """
    if value == "date":
        value = http_date(datetime.now(UTC) + timedelta(seconds=30))
    running = history(job=JOB, headers={"Retry-After": value})
    server = await fault.server(post=[streamed(said("wait "), job=JOB)], get=[running, running, history()], put=[DONE])
    began = now()
    await fault.read(fault.client(server).stream(AGENT, "hi"))
    assert 2 * least - 0.1 < now() - began <= 2 * least + 10 + slack()
    first, second, third = server.times("GET")
    assert min(second - first, third - second) > least - 0.1
    await fault.survived("POST hi", "PUT ", delivered="wait done")
