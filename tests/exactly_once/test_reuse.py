"""Which connection a message goes out on, and what happens when it is closed just then."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest

from tests.conversations.support import AGENT, RUN, Scripted, assert_accepted, connect, history, user
from tests.exactly_once.support import ENDS, answer
from tests.support.raw_server import RawServer, Request
from toolhouse_async import AsyncToolhouse, OutcomeUnknownError, StreamInterruptedError

DONE = answer("ndjson", "done")
READ = history(user("hi"))


def age(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let idle connections seem so much older: aiohttp reads their age from a clock of its own, which is real."""
    started = time.monotonic
    monkeypatch.setattr("aiohttp.connector.monotonic", lambda: started() + seconds)


@pytest.mark.parametrize(("idle", "reused"), [(0.0, True), (1.8, True), (2.2, False), (10.0, False), (60.0, False)])
@pytest.mark.parametrize("behind", ["POST", "GET"])
async def test_a_message_reuses_a_connection_that_idled_for_under_2_s(
    monkeypatch: pytest.MonkeyPatch, behind: str, idle: float, reused: bool
) -> None:
    """Whatever was asked on it before."""
    async with Scripted(post=[DONE], put=[DONE], get=[READ]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=None if behind == "POST" else RUN)
        await (session.send("one") if behind == "POST" else session.history())
        with monkeypatch.context() as later:
            age(later, idle)
            await session.send("two")
        first, second = (request.connection for request in server.requests)
    assert reused or first != second
    if behind == "POST":  # reads have connections of their own, and need not share
        assert (first == second) is reused
    expected = ["POST one"] if behind == "POST" else []
    assert_accepted(server, *expected, "PUT two")


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_connection_that_the_server_closed_while_idle_is_not_used(how: str) -> None:
    async def first(_: Any, writer: asyncio.StreamWriter, request: object) -> None:
        writer.write(DONE)
        await writer.drain()
        await asyncio.sleep(0.2)
        ENDS[how](writer)

    async with Scripted(post=[first], put=[DONE]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        await session.send("one")
        await asyncio.sleep(1)
        assert (await session.send("two")).text == "done"
        assert [request.connection for request in server.requests] == [1, 2]
    assert_accepted(server, "POST one", "PUT two")


class Closing:
    """Answers the first request and closes the connection once the next one is under way, without reading it."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.heads: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if len(self.heads) > 1:
            raise AssertionError(f"sent again: {head!r}")
        await reader.readexactly(len(b'{"message":"one"}'))
        writer.write(DONE)
        await writer.drain()
        await reader.readexactly(1)  # the next request has begun
        ENDS[self.how](writer)


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_connection_closed_just_as_the_next_message_goes_out(how: str) -> None:
    """The service may have read it: the message is not sent again, neither by us nor by aiohttp."""
    closing = Closing(how)
    async with await asyncio.start_server(closing, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncToolhouse("", base_url=url) as toolhouse:
            session = toolhouse.session(AGENT)
            await session.send("one")
            with pytest.raises(OutcomeUnknownError) as caught:
                await session.send("two")
            assert caught.value.safe_to_retry is None
            await asyncio.sleep(5)
    assert len(closing.heads) == 1


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_many_connections_closed_just_as_messages_go_out(how: str) -> None:
    """Each conversation's second message meets a closing connection at another moment; none is sent twice."""

    async def script(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(READ if request.method == "GET" else DONE)
        await writer.drain()
        for _ in range(len(server.requests) % 12):
            await asyncio.sleep(0)
        ENDS[how](writer)

    async with RawServer(script) as server, AsyncToolhouse("", base_url=server.url) as toolhouse:
        for n in range(60):
            session = toolhouse.session(AGENT, run_id=f"other-{n}")
            with suppress(OutcomeUnknownError, StreamInterruptedError):
                for words in ("a", "b", "c"):
                    await session.send(f"{n}{words}")
    messages = [request.json()["message"] for request in server.requests if request.method == "PUT"]
    assert len(messages) == len(set(messages))
    assert len(messages) >= 60
