from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from contextlib import suppress

import aiohttp
import pytest

from toolhouse_async import errors
from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo

from .conftest import Client


async def test_exit_ends_everything_at_once(emulator: WorkersEmulator) -> None:
    ended = []

    @emulator.worker("endless")
    async def endless(ctx):
        try:
            yield ctx.background(asyncio.Event().wait)
            while True:
                yield ctx.text("x" * 10_000)  # soon the client is behind, and the answer waits for it
        finally:
            ended.append(ctx.run_id)

    async with aiohttp.ClientSession(read_bufsize=1024) as session:
        async with emulator.serve() as server:
            answers = [await session.post(f"{server.url}/endless") for _ in range(5)]
            assert server.connections == 5
            _, half = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
            half.write(b"POST /endless HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            while len(server.requests) < 6:
                await asyncio.sleep(0)
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 1
        assert server.connections == 0
        assert len(asyncio.all_tasks()) == 2  # this test's and its runner's
        assert sorted(ended) == sorted(answer.headers["X-Toolhouse-Run-ID"] for answer in answers)
        for answer in answers:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        half.close()
        with suppress(ConnectionError):
            await half.wait_closed()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.post(f"{server.url}/endless")


async def test_a_server_lives_without_the_context_that_made_it(emulator: WorkersEmulator) -> None:
    emulator.worker("echo")(echo)
    context = emulator.serve()
    server = await context.__aenter__()
    context_ref = weakref.ref(context)
    del context
    gc.collect()
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{server.url}/echo", json={"message": "x"})
        assert await answer.text() == "x"
    serving = context_ref()
    assert serving is not None
    await serving.__aexit__(None, None, None)


@pytest.mark.parametrize("passes", range(4))
async def test_exit_that_is_cancelled_ends_everything_too(emulator: WorkersEmulator, passes: int) -> None:
    ended = []

    @emulator.worker("endless")
    async def endless(ctx):
        try:
            while True:
                yield ctx.text("x")
                await asyncio.sleep(1)
        finally:
            ended.append(ctx.run_id)

    def cancel(task: asyncio.Task[None], left: int) -> None:
        if left:
            asyncio.get_running_loop().call_soon(cancel, task, left - 1)
        else:
            task.cancel()

    async def use(session: aiohttp.ClientSession) -> None:
        async with emulator.serve() as server:
            addresses.append(server.url)
            answers.append(await session.post(f"{server.url}/endless"))
            cancel(using, passes)

    addresses: list[str] = []
    answers: list[aiohttp.ClientResponse] = []
    async with aiohttp.ClientSession() as session:
        using = asyncio.ensure_future(use(session))
        await asyncio.wait({using})
        answers[0].close()
        assert using.cancelled()
        assert len(ended) == 1
        with pytest.raises(ConnectionRefusedError), socket.socket() as client:
            client.connect(("127.0.0.1", int(addresses[0].rsplit(":", 1)[1])))


@pytest.mark.parametrize("passes", range(8))
async def test_who_connects_while_it_closes_is_not_left_waiting(emulator: WorkersEmulator, passes: int) -> None:
    with socket.socket() as client:
        async with emulator.serve() as server:
            client.connect(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
            client.sendall(b"GET /echo/1 HTTP/1.1\r\nHost: x\r\n\r\n")
            for _ in range(passes):
                await asyncio.sleep(0)
        client.setblocking(False)
        with suppress(ConnectionError):
            while client.recv(4096):  # an answer, an end, or a reset
                pass


async def test_conversations_outlive_a_server(emulator: WorkersEmulator) -> None:
    @emulator.worker("jobs")
    async def jobs(ctx):
        if ctx.message == "start":
            yield ctx.background(asyncio.Event().wait)
        yield ctx.text(f"{ctx.job_failed} {ctx.job_result}")

    async with aiohttp.ClientSession() as session:
        async with emulator.serve() as server:
            answer = await session.post(f"{server.url}/jobs", json={"message": "start"})
            await answer.read()
            run_id = answer.headers["X-Toolhouse-Run-ID"]
        async with emulator.serve() as server:
            answer = await session.put(f"{server.url}/jobs/{run_id}", json={"message": ""})
            assert await answer.text() == "True cancelled: the emulator stopped"


async def test_two_servers_share_the_conversations(emulator: WorkersEmulator) -> None:
    emulator.worker("echo")(echo)
    async with aiohttp.ClientSession() as session, emulator.serve() as one, emulator.serve() as two:
        answer = await session.post(f"{one.url}/echo", json={"message": "x"})
        run_id = answer.headers["X-Toolhouse-Run-ID"]
        answer = await session.get(f"{two.url}/echo/{run_id}")
        assert [entry["content"] for entry in await answer.json()] == ["x", "x"]
        assert (len(one.requests), len(two.requests)) == (1, 1)


async def test_addresses(emulator: WorkersEmulator) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="address already in use"):
            async with emulator.serve(port=taken.getsockname()[1]):
                pytest.fail("it cannot serve here")
        port = taken.getsockname()[1]
    async with emulator.serve(port=port) as server:
        assert server.url == f"http://127.0.0.1:{port}"
    async with emulator.serve("::1") as server:
        assert server.url.startswith("http://[::1]:")


async def test_a_worker_that_never_ends_is_named(emulator: WorkersEmulator, caplog: pytest.LogCaptureFixture) -> None:
    release = asyncio.Event()

    @emulator.worker("stubborn")
    async def stubborn(ctx):
        yield ctx.text("x")
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    async with aiohttp.ClientSession() as session, emulator.serve() as server:
        await session.post(f"{server.url}/stubborn")
    assert "does not end" in caplog.text
    release.set()


async def test_memory_is_bounded(emulator: WorkersEmulator, client: Client) -> None:
    emulator.worker("a")(echo)
    gate = asyncio.Event()

    @emulator.worker("busy")
    async def busy(ctx):
        yield ctx.text("x")
        await gate.wait()

    emulator.keep_runs = 3
    emulator.keep_requests = 4
    async with client.stream("POST", "/busy") as stream:
        kept = stream.headers["X-Toolhouse-Run-ID"]
        runs = [(await client.start("x")).run_id for _ in range(4)]
        assert [(await client.read(run)).status for run in runs] == [404, 404, 200, 200]
        assert (await client.read(kept, "busy")).status == 200
        assert len(client.server.requests) == 4
        async with client.stream("POST", "/busy"), client.stream("POST", "/busy"), client.stream("POST", "/busy"):
            gate.set()
        assert (await client.read(runs[-1])).status == 404


@pytest.mark.parametrize("agent_id", ["", "a/b", "..", "a" * 129, "ü"])
def test_worker_ids(agent_id: str) -> None:
    with pytest.raises(errors.ConfigurationError):
        WorkersEmulator().worker(agent_id)


def test_workers_are_async_generator_functions() -> None:
    async def plain(ctx):
        return None

    with pytest.raises(errors.ConfigurationError, match="async generator"):
        WorkersEmulator().worker("a")(plain)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "switch",
    [
        {"on_disconnect": "no"},
        {"while_answering": "no"},
        {"job_poll_body": "no"},
        {"history_delay": -1},
        {"history_delay": "1"},
        {"history_delay": float("nan")},
        {"ndjson_object": {}},
        {"history_lag": -1},
        {"history_window": 0},
        {"history_message": "rstrip"},
        {"history_message_at": "no"},
        {"history_tool_role": "assistant"},
        {"history_roles": {"system": "human"}},
        {"history_roles": {"user": 1}},
        {"history_roles": "human"},
        {"answer_framing": "no"},
        {"job_header_lag": -1},
        {"conflict_lag": -1},
        {"keep_runs": 0},
        {"keep_requests": 0},
    ],
)
def test_switches_are_checked(switch: dict) -> None:
    (name,) = switch
    with pytest.raises(errors.ConfigurationError, match=f"^{name} must be .+, not ") as caught:
        WorkersEmulator(**switch)
    assert len(str(caught.value)) < 120
    emulator = WorkersEmulator()
    with pytest.raises(errors.ConfigurationError, match=f"^{name} must be .+, not "):
        setattr(emulator, *next(iter(switch.items())))
