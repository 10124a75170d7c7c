"""What was begun on one event loop and is used on another: an error of ours that says so, and nothing is broken."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.support.answers import client_of, history, said
from tests.support.raw_server import RawServer, silence
from toolhouse_async import AsyncToolhouse, ConfigurationError, StoreError, TurnStarted
from toolhouse_async.manager import SessionManager
from toolhouse_async.stores import MemorySessionStore, RedisSessionStore
from toolhouse_async.web import RedisTurnHub

MANY = [f"word {number}" for number in range(100)]
"""So many that they are not looked at one by one."""


class Two:
    """An event loop with a server and its client, and another loop."""

    def __init__(self, first: asyncio.Runner, second: asyncio.Runner) -> None:
        self.first = first
        self.second = second
        self.client: AsyncToolhouse
        self._stack = AsyncExitStack()

    def here(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """Do it where the client belongs."""
        return self.first.run(_of(step))

    def fails_there(self, step: Callable[[], Awaitable[Any]]) -> None:
        """Do it on the other loop, where it must be refused."""
        with pytest.raises(ConfigurationError, match="another event loop"):
            self.second.run(_of(step))

    async def open(self) -> None:
        server = await self._stack.enter_async_context(RawServer(_speaks))
        self.client = await self._stack.enter_async_context(client_of(server))

    async def close(self) -> None:
        await self._stack.aclose()


async def _of(step: Callable[[], Awaitable[Any]]) -> Any:
    return await step()


async def _speaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Any) -> None:
    if request.method == "GET":
        writer.write(history(job="j1"))
    elif request.json()["message"] == "whole":
        writer.write(said("x"))
    elif request.json()["message"] == "many":
        writer.write(said(*MANY))
    else:
        writer.write(said("x", "y", ends=False))
        await silence(reader)


@pytest.fixture
def two() -> Iterator[Two]:
    with asyncio.Runner() as first, asyncio.Runner() as second:
        both = Two(first, second)
        first.run(both.open())
        yield both
        first.run(both.close())


def test_a_turn(two: Two) -> None:
    turn = two.client.stream("a", "open")
    two.here(turn.__aenter__)
    two.fails_there(turn.result)
    two.fails_there(turn.aclose)
    two.here(lambda: anext(turn))
    two.here(lambda: anext(turn))
    two.fails_there(lambda: anext(turn))
    two.fails_there(lambda: anext(turn.text_stream))
    two.here(lambda: anext(turn))
    two.fails_there(lambda: anext(turn))  # where nothing is left that was received
    two.here(turn.aclose)


def test_what_a_turn_has_received_is_kept_for_its_own_loop(two: Two) -> None:
    turn = two.client.stream("a", "open")
    words = turn.text_stream
    assert two.here(words.__anext__) == "x"
    two.fails_there(lambda: anext(turn))
    two.fails_there(words.__anext__)
    assert two.here(words.__anext__) == "y"
    two.here(turn.aclose)


def test_what_a_turn_has_received_is_kept_for_its_own_thread(two: Two) -> None:
    async def read() -> list[str]:
        async with two.client.stream("a", "open") as turn:
            words = turn.text_stream
            assert type(await anext(turn)) is TurnStarted
            heard = [await anext(words)]
            for step in (turn.__anext__, words.__anext__):
                with pytest.raises(ConfigurationError, match="another event loop"):
                    await asyncio.to_thread(asyncio.run, _of(step))
            return [*heard, await anext(words)]

    assert two.here(read) == ["x", "y"]


def test_many_words_at_once_are_kept_for_their_own_loop(two: Two) -> None:
    turn = two.client.stream("a", "many")
    words = turn.text_stream
    heard = []
    for _ in range(3):
        heard.append(two.here(words.__anext__))
        two.fails_there(words.__anext__)
        two.fails_there(lambda: anext(turn))
    assert [*heard, *two.here(lambda: _all(words))] == MANY


def test_many_words_at_once_are_kept_for_their_own_thread(two: Two) -> None:
    async def read() -> list[str]:
        async with two.client.stream("a", "many") as turn:
            words = turn.text_stream
            heard = [await anext(words), await anext(words)]
            await asyncio.sleep(0)
            for step in (turn.__anext__, words.__anext__):
                with pytest.raises(ConfigurationError, match="another event loop"):
                    await asyncio.to_thread(asyncio.run, _of(step))
            return [*heard, *await _all(words)]

    assert two.here(read) == MANY


async def _all(words: AsyncIterator[str]) -> list[str]:
    return [each async for each in words]


def test_a_turn_that_is_over_stays_readable(two: Two) -> None:
    turn = two.client.stream("a", "whole")
    result = two.here(turn.result)
    assert two.second.run(turn.result()) is result
    two.second.run(turn.aclose())


def test_a_waiter(two: Two) -> None:
    waiter = two.client.session("a", run_id="r1").wait_for_job()
    two.here(lambda: anext(waiter))
    two.fails_there(lambda: anext(waiter))
    two.fails_there(waiter.wait)
    two.fails_there(waiter.result)
    two.fails_there(waiter.aclose)
    two.here(waiter.aclose)


def test_a_session(two: Two) -> None:
    session = two.client.session("a")
    turn = session.stream("open")
    two.here(lambda: anext(turn))
    for step in (lambda: session.send("more"), session.history, session.job_status, session.aclose):
        two.fails_there(step)
    two.here(session.aclose)


def test_a_client(two: Two) -> None:
    two.here(lambda: two.client.run("a", "whole"))
    for step in (
        two.client.__aenter__,
        two.client.aclose,
        lambda: two.client.run("a", "x"),
        lambda: two.client.history("a", "r1"),
        lambda: two.client.job_status("a", "r1"),
        lambda: anext(two.client.map("a", ["x"])),
    ):
        two.fails_there(step)
    assert two.here(lambda: two.client.run("a", "whole")).text == "x"


def test_a_client_whose_loop_is_closed_can_be_closed_on_another() -> None:
    async def use() -> AsyncToolhouse:
        async with RawServer([said("x")]) as server:
            client = client_of(server)
            await client.run("a", "x")
            return client

    client = asyncio.run(use())
    asyncio.run(client.aclose())
    asyncio.run(client.aclose())


def test_a_map(two: Two) -> None:
    items = two.client.map("a", ["whole", "open", "open"], concurrency=2)
    two.here(lambda: anext(items))
    two.fails_there(lambda: anext(items))
    two.fails_there(items.aclose)
    two.here(items.aclose)


def test_a_batch(two: Two) -> None:
    batch = two.client.batch("a", ["whole", "open"], store=MemorySessionStore(), name="b", concurrency=2)
    two.here(lambda: anext(batch))
    two.fails_there(lambda: anext(batch))
    two.fails_there(batch.aclose)
    two.here(batch.aclose)


def test_keyed_sessions(two: Two) -> None:
    manager = SessionManager(two.client, "a")
    turn = manager.stream("key", "open")
    two.here(lambda: anext(turn))
    for step in (
        turn.result,
        turn.aclose,
        lambda: manager.send("other", "x"),
        manager.checkout("third").__aenter__,
        lambda: manager.forget("fourth"),
        manager.aclose,
    ):
        two.fails_there(step)
    two.here(manager.aclose)


def test_without_a_loop_or_a_task(two: Two) -> None:
    with pytest.raises(ConfigurationError, match="running event loop"):
        two.client.run("a", "x").send(None)

    async def outside_a_task() -> None:
        refused = asyncio.get_running_loop().create_future()

        def step() -> None:
            try:
                two.client.run("a", "x").send(None)
            except ConfigurationError as error:
                refused.set_result(str(error))

        asyncio.get_running_loop().call_soon(step)
        assert "in a task" in await refused

    two.here(outside_a_task)


SCRIPT = """
import asyncio
from toolhouse_async import AsyncToolhouse, ConfigurationError, TurnStarted

async def serve(reader, writer):
    await reader.readuntil(b"}")
    writer.write(b"HTTP/1.1 200 OK\\r\\nX-Toolhouse-Run-ID: r1\\r\\n\\r\\n")

async def begin():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = AsyncToolhouse("key", base_url="http://127.0.0.1:%d" % server.sockets[0].getsockname()[1])
    turn = client.stream("a", "x")
    await anext(turn)
    return turn

first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
turn = first.run_until_complete(begin())
try:
    second.run_until_complete(anext(turn))
except ConfigurationError as error:
    print(error)
first.run_until_complete(turn.aclose())
"""


def test_where_assertions_are_off() -> None:
    ran = subprocess.run([sys.executable, "-O", "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert ran.stdout.startswith("this client belongs to another event loop"), ran.stderr


async def _send_by_a_store(store: RedisSessionStore) -> None:
    async with AsyncToolhouse("") as toolhouse, SessionManager(toolhouse, "worker", store=store) as manager:
        await manager.send("key", "Hello")


async def _start_in_a_hub(hub: RedisTurnHub) -> None:
    async with AsyncToolhouse("") as toolhouse:
        try:
            await hub.start("key", toolhouse.stream("worker", "Hello"))
        finally:
            await asyncio.sleep(0)  # what it does in the background begins


@pytest.mark.parametrize(
    ("kind", "ask", "use"),
    [(RedisSessionStore, "read", _send_by_a_store), (RedisTurnHub, "get", _start_in_a_hub)],
)
def test_what_has_connections_leaves_no_task_behind_that_failed(kind: Any, ask: str, use: Any) -> None:
    where = kind("redis://127.0.0.1:9")  # where nobody is
    reported: list[Any] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        await use(where)

    with pytest.raises(StoreError):
        asyncio.run(_of(lambda: getattr(where, ask)("key")))
    with pytest.raises(ConfigurationError, match="event loop"):
        asyncio.run(watched())
    gc.collect()
    assert reported == []
