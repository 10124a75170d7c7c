"""The event loop is held up past a limit while what is waited for lies in the socket: it is read, and is no failure."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from tests.http.test_transport import server_tls, trusting
from tests.support.answers import client_of, history, said
from tests.support.raw_server import LAST_CHUNK, RawServer, chunk, response
from toolhouse_async import AsyncToolhouse, Limits, Timeouts, TurnTimeoutError

from .support import HANGS, LIMIT, QUICK


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


REST = chunk(b'{"type": "text", "text": "y"}\n') + LAST_CHUNK


class Peer:
    """The other end of a client's connections, in the hands of the test."""

    def __init__(self, listener: socket.socket, client: AsyncToolhouse) -> None:
        self._listener = listener
        self.client = client

    async def request(self) -> socket.socket:
        """Take the next connection, and the request that comes on it."""
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(self._listener)
        while not (await loop.sock_recv(connection, 1 << 16)).endswith((b"}", b"\r\n\r\n")):
            pass
        return connection


async def several(passes: int) -> None:
    """Let the loop make some passes."""
    for _ in range(passes):
        await asyncio.sleep(0)


@asynccontextmanager
async def peer(**options: Any) -> AsyncIterator[Peer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with asyncio.timeout(HANGS), AsyncToolhouse("key", base_url=url, **QUICK | options) as client:
            yield Peer(listener, client)


def hold_up(connection: socket.socket, *answers: bytes) -> None:
    """Answer, and hold the loop up past every limit."""
    for answer in answers:
        connection.sendall(answer)
    time.sleep(3 * LIMIT)


@pytest.mark.parametrize("passes", range(6))
async def test_connecting(passes: int) -> None:
    async with peer(timeouts=Timeouts(connect=LIMIT)) as other:
        reading = asyncio.create_task(other.client.run("a", "x"))
        await several(passes)
        time.sleep(3 * LIMIT)
        with await other.request() as connection:
            connection.sendall(said("x"))
            assert (await reading).text == "x"


async def test_a_tls_handshake(authority: trustme.CA) -> None:
    async with (
        asyncio.timeout(HANGS),
        RawServer([said("x")], tls=server_tls(authority, "127.0.0.1")) as server,
        client_of(server, ssl_context=trusting(authority), timeouts=Timeouts(connect=LIMIT), **QUICK) as client,
    ):
        reading = asyncio.create_task(client.run("a", "x"))
        await several(2)
        time.sleep(1)  # time enough, thereafter, for what has to go to and fro
        assert (await reading).text == "x"


async def test_idle() -> None:
    async with peer(timeouts=Timeouts(idle=LIMIT)) as other:
        reading = asyncio.create_task(other.client.run("a", "x", recover=False))
        with await other.request() as connection:
            hold_up(connection, said("x", ends=False))
            await asyncio.sleep(0.3 * LIMIT)
            hold_up(connection, REST)
            assert (await reading).text == "xy"


async def test_response() -> None:
    async with peer(timeouts=Timeouts(response=LIMIT)) as other:
        reading = asyncio.create_task(other.client.run("a", "x"))
        with await other.request() as connection:
            hold_up(connection, said("x"))
            assert (await reading).text == "x"


@pytest.mark.parametrize("begins", [b"", said("x", ends=False)])
async def test_a_turns_timeout(begins: bytes) -> None:
    async with peer() as other:
        reading = asyncio.create_task(other.client.run("a", "x", timeout=10 * LIMIT))
        with await other.request() as connection:
            if begins:
                connection.sendall(begins)
                await asyncio.sleep(LIMIT)
            connection.sendall(REST if begins else said("x", "y"))
            time.sleep(11 * LIMIT)
            assert (await reading).text == "xy"


async def test_a_turns_timeout_sends_nothing_any_more() -> None:
    async with peer() as other:
        reading = asyncio.create_task(other.client.run("a", "x", timeout=LIMIT))
        await asyncio.sleep(0)
        time.sleep(3 * LIMIT)
        with pytest.raises(TurnTimeoutError) as caught:
            await reading
        assert caught.value.safe_to_retry is True


async def test_a_poll() -> None:
    async with peer(timeouts=Timeouts(response=LIMIT)) as other:
        waiting = asyncio.create_task(other.client.session("a", run_id="r1").wait_for_job().wait())
        with await other.request() as connection:
            hold_up(connection, history(("user", "x")))
            assert not (await waiting).running


async def test_a_history() -> None:
    async with peer(timeouts=Timeouts(idle=LIMIT)) as other:
        reading = asyncio.create_task(other.client.history("a", "r1"))
        with await other.request() as connection:
            hold_up(connection, response(body=b"[", ends=False))
            await asyncio.sleep(0.2 * LIMIT)
            hold_up(connection, chunk(b"]") + LAST_CHUNK)
            assert await reading == []


async def test_waiting_for_a_connection() -> None:
    async with peer(timeouts=Timeouts(pool=LIMIT), limits=Limits(max_connections=1)) as other:
        first = asyncio.create_task(other.client.run("a", "x"))
        with await other.request() as connection:
            second = asyncio.create_task(other.client.run("a", "y"))
            await asyncio.sleep(0)
            hold_up(connection, said("x", headers={"Connection": "close"}))
            with await other.request() as another:
                another.sendall(said("y"))
                assert (await first).text == "x"
                assert (await second).text == "y"
