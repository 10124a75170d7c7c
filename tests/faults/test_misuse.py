"""Faults 58 to 67: cancellation, closing, and what must not be done."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, repeat
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    RUN,
    assistant,
    falls_silent,
    history,
    pieces,
    said,
    streamed,
    user,
)
from tests.support.raw_server import Request, ndjson
from toolhouse_async import (
    AsyncToolhouse,
    ClosedError,
    ConfigurationError,
    SessionBusyError,
    TextDelta,
    ToolhouseError,
)

from .support import DONE, KEY, WORDS, Fault, Server, eventually

SILENT = falls_silent(streamed(said("one "), ends=False))


class CancelledAt:
    """Awaits something in a task that is cancelled as it suspends for the n-th time."""

    def __init__(self, awaited: Awaitable[Any], at: int) -> None:
        self._awaited = awaited
        self._at = at
        self.steps = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._awaited.__await__()
        step: Callable[[Any], Any] = inner.send
        value: Any = None
        while True:
            try:
                suspended_on = step(value)
            except StopIteration as stop:
                return stop.value
            self.steps += 1
            if self.steps == self._at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                step, value = inner.send, (yield suspended_on)
            except BaseException as error:  # noqa: BLE001 - passed on
                step, value = inner.throw, error


async def awaited(each: CancelledAt) -> Any:
    return await each


async def answers(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
    """A service that starts one job in each conversation, which is over at the second look."""
    name = request.json()["message"] if request.method == "POST" else request.path.rpartition("/")[2]
    writer.write(
        streamed(
            said("wait " if request.method == "POST" else "done"),
            run=name,
            ends=False,
            job=JOB if request.method == "POST" else None,
        )
    )
    await writer.drain()
    await asyncio.sleep(0)
    writer.write(b"0\r\n\r\n")


async def cuts(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
    writer.write(streamed(*map(said, WORDS), run=request.json()["message"], ends=False))
    await writer.drain()
    writer.close()


def polls(server: Server) -> Any:
    async def reply(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        name = request.path.rpartition("/")[2]
        earlier = sum(each.path == request.path for each in server.requests)
        runs = earlier == 1
        writer.write(history(user(name), assistant("".join(WORDS) + "four"), job=JOB if runs else None))

    return reply


async def a_turn(client: AsyncToolhouse, name: str) -> Any:
    async with client.session(AGENT) as session, session.stream(name) as turn:
        return await turn.result()


async def a_waiter(client: AsyncToolhouse, name: str) -> Any:
    return await client.session(AGENT, run_id=name).wait_for_job()


async def a_reading(client: AsyncToolhouse, name: str) -> Any:
    return await client.history(AGENT, name)


async def a_batch(client: AsyncToolhouse, name: str) -> Any:
    return [item async for item in client.map(AGENT, [name, f"{name}b"], concurrency=2)]


@pytest.mark.parametrize(
    ("scenario", "post"),
    [(a_turn, answers), (a_turn, cuts), (a_waiter, answers), (a_reading, answers), (a_batch, answers)],
    ids=["turn with a job", "turn that heals", "waiter", "history", "map"],
)
async def test_fault_58_cancelled_at_every_await(fault: Fault, scenario: Any, post: Any) -> None:
    """The user's task is cancelled at its first await, at its second, and so on to the last, jobs and healing included.

    Outcome: ``CancelledError`` each time; connections are closed, no task is left, nothing is sent twice.
    """
    server = await fault.server(post=repeat(post), put=repeat(answers))
    server._replies["GET"] = repeat(polls(server))
    tasks = asyncio.all_tasks
    for at in count(1):
        client = fault.client(server)
        before = tasks()
        each = CancelledAt(scenario(client, f"n{at}"), at)
        task = asyncio.ensure_future(awaited(each))
        await asyncio.wait([task])
        assert task.cancelled() or each.steps < at
        await client.aclose()
        await eventually(lambda: server.open_connections == 0)
        assert {left for left in tasks() - before - {task} if "RawServer" not in repr(left)} == set()
        if not task.cancelled():
            assert task.result()
            break
    assert at > 1
    counted = Counter((each.request.path, each.request.body) for each in server.exchanges if each.request.body)
    assert set(counted.values()) == {1} or scenario is a_reading
    await fault.survived(*server.arrived)


@pytest.mark.parametrize("state", ["streaming", "connecting", "waiting for a job"])
async def test_fault_59_cancelled_again_and_again(fault: Fault, state: str) -> None:
    """The task is cancelled again in every pass of the loop while it cleans up.

    Outcome: it ends after a few passes, all closed.
    """
    wait = streamed(said("wait"), job=JOB)
    reply = {"streaming": SILENT, "connecting": falls_silent(), "waiting for a job": wait}[state]
    server = await fault.server(post=[reply], get=repeat(history(job=JOB)))
    task = asyncio.ensure_future(fault.client(server).run(AGENT, "hi"))
    await eventually(lambda: server.requests)
    await asyncio.sleep(0.05)
    passes = 0
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
        passes += 1
    assert task.cancelled()
    assert passes < 10
    await fault.survived("POST hi")


async def test_fault_60_break_out_of_a_turn(fault: Fault) -> None:
    """The reader breaks out of ``async for`` inside ``async with``.

    Outcome: the connection is closed, and the session goes on.
    """
    server = await fault.server(post=[SILENT], put=[DONE])
    session = fault.client(server).session(AGENT)
    async with session.stream("hi") as turn:
        async for event in turn:
            fault.events.append(event)
            if type(event) is TextDelta:
                break
    await eventually(lambda: server.open_connections == 0)
    assert (await session.send("more")).text == "done"
    await fault.survived("POST hi", "PUT more", delivered="one ")


async def test_fault_60_abandoned_turn(fault: Fault) -> None:
    """A turn is left half-way without ``async with`` and forgotten.

    Outcome: its connection is closed, and a ``ResourceWarning`` names it.
    """
    server = await fault.server(post=[SILENT])
    client = fault.client(server)

    async def forget() -> None:
        async for event in client.stream(AGENT, "hi"):
            fault.events.append(event)
            if type(event) is TextDelta:
                break
        gc.collect()

    with pytest.warns(ResourceWarning, match=rf"agent {AGENT}, run {RUN}.* was abandoned"):
        await forget()
    await eventually(lambda: server.open_connections == 0)
    await fault.survived("POST hi", delivered="one ")


async def test_fault_61_cancelled_as_it_completes(fault: Fault) -> None:
    """The task is cancelled in the very moment in which the answer ends.

    Outcome: either the result or the cancellation, and the conversation can go on.
    """
    server = await fault.server(post=repeat(DONE), put=repeat(DONE))
    client = fault.client(server)
    cancelled = 0
    for passes in range(40):
        session = client.session(AGENT)
        task = asyncio.ensure_future(session.send(str(passes)))
        await eventually(lambda: len(server.exchanges) > 0)
        for _ in range(passes):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        cancelled += task.cancelled()
        if not task.cancelled():
            assert task.result().text == "done"
        if session.run_id is not None:
            assert (await session.send("more")).text == "done"
    assert 0 < cancelled < 40
    posts = [each for each in server.arrived if each.startswith("POST")]
    assert len(posts) == len(set(posts))
    await fault.survived(*server.arrived)


async def test_fault_62_client_closed_under_live_turns(fault: Fault) -> None:
    """``aclose()`` is called, twice and at once, while turns stream, wait for a job, a free run or an answer.

    Outcome: each reader gets ``ClosedError``; every connection is closed; the second call has nothing to do.
    """
    wait = streamed(said("wait"), job=JOB, run="run-2")
    server = await fault.server(post=[SILENT, wait, falls_silent()], put=[SILENT], get=repeat(history(job=JOB)))
    client = fault.client(server)
    tasks = []
    for message in ("streams", "waits", "no answer"):
        tasks.append(asyncio.ensure_future(client.run(AGENT, message)))
        await eventually(lambda: len(server.arrived) == len(tasks))
    tasks += [asyncio.ensure_future(client.session(AGENT, run_id="run-3").send(each)) for each in ("held", "queued")]
    await eventually(lambda: len(server.arrived) == 4)
    await asyncio.sleep(0.05)
    await asyncio.gather(client.aclose(), client.aclose())
    await client.aclose()
    for task in tasks:
        await fault.fails(ClosedError, task)
    await eventually(lambda: server.open_connections == 0)
    await fault.survived("POST streams", "POST waits", "POST no answer", "PUT held")


PROGRAM = """
import asyncio, sys
from toolhouse_async import AsyncToolhouse

async def main():
    async with AsyncToolhouse() as toolhouse:
        async for event in toolhouse.stream("worker", "hi"):
            print(type(event).__name__, flush=True)

if sys.argv[1] == "uvloop":
    from uvloop import new_event_loop
else:
    new_event_loop = None
with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""


async def test_fault_63_sigint_in_mid_stream(fault: Fault) -> None:
    """The user presses Ctrl-C while an answer streams.

    Outcome: ``KeyboardInterrupt`` ends the program; nothing is reported as unclosed, pending or never awaited.
    """
    server = await fault.server(post=[SILENT])
    kind = "uvloop" if "uvloop" in type(asyncio.get_running_loop()).__module__ else "asyncio"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "always", "-c", PROGRAM, kind),
        env=os.environ | {"TOOLHOUSE_API_KEY": KEY, "TOOLHOUSE_BASE_URL": server.url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"TurnStarted\n"
    assert await process.stdout.readline() == b"TextDelta\n"
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    said_last = err.decode()
    assert said_last.rstrip().endswith("KeyboardInterrupt")
    words = ("Unclosed", "never awaited", "never retrieved", "Warning", "destroyed", "leaked", KEY)
    assert [word for word in words if word in said_last] == []
    assert process.returncode == -signal.SIGINT
    await fault.survived("POST hi")


async def test_fault_64_used_after_close(fault: Fault) -> None:
    """A client, session or turn is used after it was closed.

    Outcome: ``ClosedError``, and nothing is sent.
    """
    server = await fault.server()
    client = fault.client(server)
    session, turn = client.session(AGENT, run_id=RUN), client.stream(AGENT, "hi")
    closed = client.session(AGENT, run_id=RUN)
    await closed.aclose()
    await fault.fails(ClosedError, closed.history())
    await client.aclose()
    await fault.fails(ClosedError, fault.read(turn))
    for use in (session.history, session.job_status, session.reconcile, lambda: session.send("hi")):
        await fault.fails(ClosedError, use())
    await fault.fails(ClosedError, client.run(AGENT, "hi"))
    await fault.fails(ClosedError, client.history(AGENT, RUN))
    assert server.connections == 0
    await fault.survived()


async def test_fault_64_second_event_loop(fault: Fault) -> None:
    """A client that one event loop has used is used on another.

    Outcome: ``ConfigurationError``, and nothing is sent; on its own loop it goes on.
    """
    server = await fault.server(post=[DONE, DONE])
    client = fault.client(server)
    await client.run(AGENT, "one")

    def elsewhere() -> ToolhouseError:
        with pytest.raises(ConfigurationError) as caught:
            asyncio.run(client.run(AGENT, "two"))
        return caught.value

    with ThreadPoolExecutor(1) as pool:
        fault.show(repr(pool.submit(elsewhere).result()))
    await client.run(AGENT, "three")
    await fault.survived("POST one", "POST three")


async def test_fault_64_two_readers(fault: Fault) -> None:
    """Two tasks read the same turn; a task waits for a turn of its own.

    Outcome: ``SessionBusyError`` for the second; the first reads on.
    """
    slow = pieces([ndjson(said("done"))], pause=0.1)
    server = await fault.server(post=[slow], put=[SILENT])
    client = fault.client(server)
    async with client.session(AGENT) as session:
        turn = session.stream("hi")
        first = asyncio.ensure_future(fault.read(turn))
        await eventually(lambda: server.requests)
        await fault.fails(SessionBusyError, turn.result())
        assert (await first).text == "done"
        async with session.stream("held"):
            await fault.fails(SessionBusyError, session.send("deadlock"))
    await fault.survived("POST hi", "PUT held", delivered="done")


BAD_IDS = [
    "..",
    ".",
    "a/b",
    "a?x",
    "a#x",
    "%2e%2e",
    "a%2fb",
    "",
    " ",
    "a b",
    "a\r\nb",
    "ä",
    "x" * 129,
    "a\x00",
    None,
    7,
]


@pytest.mark.parametrize("bad", BAD_IDS, ids=repr)
async def test_fault_65_bad_ids(fault: Fault, bad: Any) -> None:
    """A worker's or run's id is ``..``, ``a/b``, ``a?x``, ``%2e%2e``, empty or otherwise no id.

    Outcome: ``ConfigurationError`` before any connection is made.
    """
    server = await fault.server()
    client = fault.client(server)
    for use in (
        lambda: client.session(bad),
        lambda: client.stream(bad, "hi"),
        lambda: client.map(bad, ["hi"]),
        *([lambda: client.session(AGENT, run_id=bad)] if bad is not None else []),
    ):
        with pytest.raises(ConfigurationError) as caught:
            use()
        assert len(str(caught.value)) < 500
    for asked in (client.run(bad, "hi"), client.history(AGENT, bad), client.job_status(bad, RUN)):
        await fault.fails(ConfigurationError, asked)
    assert server.connections == 0
    await fault.survived()


@pytest.mark.parametrize(
    "key",
    [f"{KEY}\r\nX-Evil: 1", f"{KEY}\n", f" {KEY}", f"{KEY} {KEY}", f"{KEY}ü", f"{KEY}\x00", f"{KEY}\u2028", "   ", 7],
    ids=["CRLF", "LF", "leading space", "space", "non-ASCII", "NUL", "U+2028", "blank", "number"],
)
async def test_fault_66_bad_key(fault: Fault, key: Any) -> None:
    """The key holds line breaks, spaces or other characters than ASCII, is blank, or no text.

    Outcome: ``ConfigurationError`` that does not show it, where a callable gave it too; nothing is sent.
    """
    server = await fault.server()

    async def construct() -> None:
        AsyncToolhouse(key, base_url=server.url)

    await fault.fails(ConfigurationError, construct())
    await fault.fails(ConfigurationError, fault.client(server, api_key=lambda: key).run(AGENT, "hi"))
    assert server.connections == 0
    await fault.survived()


@pytest.mark.parametrize(
    "url",
    ["http://agents.toolhouse.ai", "http://10.0.0.1:8080", "http://127.0.0.1.example.com", "http://[2001:db8::1]"],
)
async def test_fault_67_http_to_another_host(fault: Fault, url: str) -> None:
    """The base URL is ``http://`` and not of this machine, so that the key would travel unprotected.

    Outcome: ``ConfigurationError``, unless ``allow_insecure=True``; ``http://`` to this machine works.
    """

    async def construct() -> None:
        fault.client(url)

    await fault.fails(ConfigurationError, construct())
    fault.client(url, allow_insecure=True)
    for own in ("http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"):
        fault.client(own)
    await fault.survived()
