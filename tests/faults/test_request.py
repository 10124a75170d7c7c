"""Faults 11 to 16: the message is on its way, and no answer comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conversations.support import AGENT, RUN, broken_off, falls_silent
from tests.support.raw_server import Request, fin, response, rst
from toolhouse_async import (
    APIStatusError,
    NotSentError,
    OutcomeUnknownError,
    ResponseTimeoutError,
    Session,
    Timeouts,
    TurnTimeoutError,
)

from .support import DONE, Fault, now, slack

ENDS = pytest.mark.parametrize("end", [fin, rst], ids=["FIN", "RST"])
METHODS = pytest.mark.parametrize("method", ["POST", "PUT"])
LARGE = "x" * 10_000_000


def begun(fault: Fault, server: Any, method: str, **options: Any) -> Session:
    """A session whose next message is a POST or a PUT."""
    return fault.client(server, **options).session(AGENT, run_id=RUN if method == "PUT" else None)


@ENDS
async def test_fault_11_accept_then_close(fault: Fault, end: Any) -> None:
    """The connection is accepted, and closed or reset as the message begins to arrive.

    Outcome: ``OutcomeUnknownError`` after one attempt: bytes had left, so nobody can know.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        end(writer)

    listener = await fault.listener(serve)
    error = await fault.fails(OutcomeUnknownError, fault.client(listener).run(AGENT, "hi"))
    assert error.safe_to_retry is None
    assert listener.connections == 1
    await fault.survived()


async def test_fault_11_accept_then_close_unread(fault: Fault) -> None:
    """The connection is accepted and closed before anything is read from it.

    Outcome: ``OutcomeUnknownError`` if bytes had left by then, else ``NotSentError``.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listener = await fault.listener(serve)
    error = await fault.fails((OutcomeUnknownError, NotSentError), fault.client(listener).run(AGENT, "hi"))
    assert listener.connections == (3 if type(error) is NotSentError else 1)
    await fault.survived()


@ENDS
@METHODS
async def test_fault_12_body_read_then_closed(fault: Fault, end: Any, method: str) -> None:
    """The service reads the whole message, POST or PUT, and then closes or resets the connection.

    Outcome: ``OutcomeUnknownError``, and exactly one request has been made.
    """
    gone = broken_off(b"", end)
    server = await fault.server(post=[gone] * 3, put=[gone] * 3)
    error = await fault.fails(OutcomeUnknownError, begun(fault, server, method).send("hi"))
    assert error.safe_to_retry is None
    assert len(server.requests) == 1
    await fault.survived(f"{method} hi")


@ENDS
@METHODS
async def test_fault_13_kept_connection_closes_under_a_request(fault: Fault, end: Any, method: str) -> None:
    """A connection that was kept for the next message is closed just as that message comes.

    Outcome: ``OutcomeUnknownError``; the message is not sent a second time on a fresh connection.
    """
    gone = broken_off(b"", end)
    server = await fault.server(post=[DONE, gone, DONE], put=[gone, DONE])
    client = fault.client(server)
    session = client.session(AGENT)
    await session.send("first")
    await fault.fails(OutcomeUnknownError, (session if method == "PUT" else client.session(AGENT)).send("second"))
    assert [request.connection for request in server.requests] == [1, 1]
    await fault.survived("POST first", f"{method} second")


async def test_fault_13_kept_connection_races_with_the_close(fault: Fault) -> None:
    """The service closes each connection right after its answer, without having said so.

    Outcome: the next message goes out on a fresh connection, or its outcome is unknown; never twice.
    """

    async def close_behind(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(DONE)
        await writer.drain()
        writer.close()

    server = await fault.server(post=[close_behind] * 20)
    client = fault.client(server)
    outcomes = [await asyncio.gather(client.run(AGENT, str(n)), return_exceptions=True) for n in range(20)]
    failures = [error for (error,) in outcomes if isinstance(error, BaseException)]
    assert {type(error) for error in failures} <= {OutcomeUnknownError}
    await fault.survived(*(f"POST {n}" for n in range(20)))


async def test_fault_14_server_never_reads(fault: Fault) -> None:
    """The service never reads a message of 10 MB.

    Outcome: ``ResponseTimeoutError``, an ``OutcomeUnknownError``, after ``Timeouts.response``; no second attempt.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()

    over = asyncio.Event()
    listener = await fault.listener(serve)
    client = fault.client(listener, timeouts=Timeouts(response=0.3))
    began = now()
    error = await fault.fails(ResponseTimeoutError, client.run(AGENT, LARGE))
    assert 0.29 < now() - began < 3 + slack()
    assert error.safe_to_retry is None
    error = await fault.fails(TurnTimeoutError, client.run(AGENT, LARGE, timeout=0.1))
    assert error.safe_to_retry is None
    assert listener.connections == 2
    over.set()
    await fault.survived()


async def test_fault_15_early_413_then_rst(fault: Fault) -> None:
    """The service refuses a long message with 413 while it is still being sent, and resets the connection.

    Outcome: the ``APIStatusError`` 413 where it was received, else ``OutcomeUnknownError``; one attempt.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(413, body=b"too long", chunked=False))
        await writer.drain()
        rst(writer)

    listener = await fault.listener(serve)
    error = await fault.fails((APIStatusError, OutcomeUnknownError), fault.client(listener).run(AGENT, LARGE))
    assert getattr(error, "status", 413) == 413
    assert listener.connections == 1
    await fault.survived()


@METHODS
async def test_fault_16_no_answer_ever(fault: Fault, method: str) -> None:
    """The service reads the message and says nothing.

    Outcome: ``ResponseTimeoutError``, an ``OutcomeUnknownError``, after ``Timeouts.response``; no second attempt.
    """
    server = await fault.server(post=[falls_silent()] * 3, put=[falls_silent()] * 3)
    session = begun(fault, server, method, timeouts=Timeouts(response=0.1))
    began = now()
    error = await fault.fails(ResponseTimeoutError, session.send("hi"))
    assert 0.09 < now() - began < 2 + slack()
    assert error.safe_to_retry is None
    await fault.survived(f"{method} hi")
