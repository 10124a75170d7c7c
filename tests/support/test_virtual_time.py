from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time

import anyio
import anyio.to_thread
import pytest

from tests.support.raw_server import RawServer, response
from tests.support.virtual_time import EPOCH, VirtualTimeLoop

HOUR = 3600.0


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_async_tests_run_on_it() -> None:
    assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    assert now() == EPOCH


async def test_long_waits_take_no_time() -> None:
    started = time.monotonic()
    await asyncio.sleep(HOUR)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(HOUR):
            await asyncio.Event().wait()
    assert now() == EPOCH + 2 * HOUR
    assert time.monotonic() - started < 10


async def test_timers_run_in_order_and_on_time() -> None:
    seen: list[float] = []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append(now() - EPOCH)

    await asyncio.gather(*(wait(seconds) for seconds in (300.0, 0.5, 60.0, 0.0)))
    assert seen == [0.0, 0.5, 60.0, 300.0]


async def test_loopback_sockets_come_before_timers() -> None:
    async with RawServer([response(body=b"x" * 1_000_000)] * 20) as server:
        for _ in range(20):
            async with asyncio.timeout(0.01):  # much less than the real time this takes
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                await _read_all(reader)
            writer.close()
            await writer.wait_closed()
    assert now() == EPOCH


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    received = b""
    while not received.endswith(b"\r\n0\r\n\r\n"):
        received += await reader.read(65536)
    return received


async def test_without_timers_it_waits_for_real() -> None:
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop.add_reader(ours, came.set)
        timer = threading.Timer(0.05, theirs.send, [b"x"])
        timer.start()
        await came.wait()
        loop.remove_reader(ours)
    timer.join()
    assert now() == EPOCH


@pytest.mark.parametrize("run", [asyncio.to_thread, anyio.to_thread.run_sync], ids=["executor", "anyio"])
async def test_the_clock_is_real_while_a_worker_thread_is_busy(run: object) -> None:
    done = threading.Event()
    async with asyncio.timeout(HOUR):
        job = asyncio.ensure_future(run(done.wait))  # type: ignore[operator]
        await asyncio.sleep(0.05)
        assert not job.done()
        done.set()
        await job
    assert EPOCH + 0.05 <= now() < EPOCH + 60
    await asyncio.sleep(HOUR)
    assert now() >= EPOCH + HOUR


async def test_the_clock_is_real_while_a_subprocess_runs() -> None:
    async with asyncio.timeout(HOUR):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('hello')", stdout=-1)
        output, _ = await process.communicate()
    assert output.split() == [b"hello"]
    assert EPOCH < now() < EPOCH + 60
    await asyncio.sleep(HOUR)
    assert now() >= EPOCH + HOUR


async def test_the_clock_is_real_where_a_test_says_so() -> None:
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    timer = threading.Timer(0.05, loop.call_soon_threadsafe, [came.set])
    with loop.real_time():  # type: ignore[attr-defined]
        timer.start()
        async with asyncio.timeout(HOUR):
            await came.wait()
    timer.join()
    assert EPOCH + 0.03 < now() < EPOCH + 60


def test_closing_joins_the_executor() -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        started, release = threading.Event(), threading.Event()
        loop = runner.get_loop()

        async def leave_a_job() -> None:
            loop.run_in_executor(None, lambda: (started.set(), release.wait()))

        runner.run(leave_a_job())
        started.wait()
        threading.Timer(0.05, release.set).start()
    assert loop.is_closed()
