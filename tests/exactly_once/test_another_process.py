"""A job that one process started and another one waits for and resumes; in real time, with real processes."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.conversations.support import AGENT, assert_accepted, connect
from toolhouse_async import JobToken
from toolhouse_async.testing import EmulatorServer, WorkersEmulator

REAL_TIME = True
PROGRAM = Path(__file__).with_name("waiting_process.py")


def with_a_job(emulator: WorkersEmulator) -> asyncio.Event:
    """Register a worker whose job ends once the event is set."""
    over = asyncio.Event()

    async def job() -> str:
        await over.wait()
        return "computed"

    @emulator.worker(AGENT)
    async def worker(ctx: Any) -> Any:
        if ctx.message == "compute":
            yield ctx.background(job)
            yield ctx.text("wait")
        else:
            yield ctx.text(f"[{ctx.message}:{ctx.job_result}]")

    return over


async def wait_elsewhere(server: EmulatorServer, token: str) -> Any:
    """What the other process says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), server.url, stdin=-1, stdout=-1, stderr=-1
    )
    output, errors = await process.communicate(token.encode())
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


async def test_a_token_is_all_that_another_process_needs() -> None:
    emulator = WorkersEmulator()
    over = with_a_job(emulator)
    async with emulator.serve() as server:
        async with connect(server) as toolhouse:
            detached = await toolhouse.run(AGENT, "compute", background="detach")
        assert detached.token is not None
        elsewhere = asyncio.ensure_future(wait_elsewhere(server, detached.token.to_json()))
        while not any(request.method == "GET" for request in server.requests):
            await asyncio.sleep(0.01)
        over.set()
        found = await elsewhere
        assert found["text"] == "[continue:computed]"
        assert found["run_id"] == detached.run_id
        assert found["jobs"] == [JobToken.from_json(detached.token.to_json()).job_id]
        assert_accepted(server, "POST compute", "PUT continue")


async def test_a_job_that_is_over_when_the_other_process_comes() -> None:
    emulator = WorkersEmulator()
    over = with_a_job(emulator)
    async with emulator.serve() as server:
        async with connect(server) as toolhouse:
            detached = await toolhouse.run(AGENT, "compute", background="detach")
        over.set()
        found = await wait_elsewhere(server, detached.token.to_json())
        assert found["text"] == "[continue:computed]"
        assert_accepted(server, "POST compute", "PUT continue")
