"""What the logger says at DEBUG: enough to find out about a job that is stuck, and nothing that anybody has said."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest

from tests.support.answers import KEY
from toolhouse_async import AsyncToolhouse, AuthenticationError, JobStarted, PollingPolicy, ServerError
from toolhouse_async.testing import WorkersEmulator

SECRETS = (KEY, "Swordfish", "canary", "hunter2")
"""Of which nothing may be logged: the key, what was said, and what a server says of an error."""


@pytest.fixture(autouse=True)
def at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="toolhouse_async")


def check(caplog: pytest.LogCaptureFixture, *patterns: str) -> None:
    """Check that these lines come in this order, and that nothing secret is in any."""
    lines = [record.getMessage() for record in caplog.records if record.name == "toolhouse_async"]
    left = iter(lines)
    for pattern in patterns:
        assert any(re.fullmatch(pattern, line) for line in left), (pattern, lines)
    assert not [line for line in lines if any(secret in line for secret in SECRETS)]


async def test_a_job_that_is_stuck(caplog: pytest.LogCaptureFixture) -> None:
    emulator = WorkersEmulator(api_key=KEY)

    @emulator.worker("worker")
    async def worker(ctx: Any) -> Any:
        if ctx.job_result is None:
            yield ctx.background(asyncio.sleep, 30, "done")
            yield ctx.text("canary")
        yield ctx.text("hunter2")

    async with emulator.serve() as server:
        policy = PollingPolicy(min_interval=2, max_interval=4, jitter=0)
        async with AsyncToolhouse(KEY, base_url=server.url, polling=policy) as toolhouse:
            async with toolhouse.session("worker") as session, session.stream("Swordfish") as turn:
                job = next(event.job_id for event in [e async for e in turn] if isinstance(event, JobStarted))
            run = session.run_id
    check(
        caplog,
        r"POST /ndjson/worker: sending 23 bytes",
        rf"POST /ndjson/worker: answered with 200, run {run}, job {job} after \d\.\d{{3}} s",
        rf"GET /worker/{run}: sending 0 bytes",
        rf"GET /worker/{run}: answered with 200, run {run}, job {job} after .* s",
        rf"run {run}: poll 1: job {job} is running; the next in 2\.0 s, if any",
        rf"run {run}: poll 2: job {job} is running; .*",
        rf"run {run}: poll \d+: no job is running; .*",
        rf"PUT /ndjson/worker/{run}: sending 14 bytes",
        rf"PUT /ndjson/worker/{run}: answered with 200, run {run}, job None after .* s",
    )


async def test_what_fails(caplog: pytest.LogCaptureFixture) -> None:
    emulator = WorkersEmulator(api_key=KEY)
    async with emulator.serve() as server, AsyncToolhouse(KEY, base_url=server.url) as toolhouse:
        emulator.faults.add(status=401, body=f"hunter2 {KEY}")
        with pytest.raises(AuthenticationError):
            await toolhouse.run("worker", "Swordfish")
        emulator.faults.add(times=None, status=503, body=f"hunter2 {KEY}")
        with pytest.raises(ServerError):
            await toolhouse.history("worker", "run")
    check(
        caplog,
        r"POST /ndjson/worker: AuthenticationError after \d\.\d{3} s",
        r"run None: the turn has ended by AuthenticationError",
        r"GET /worker/run: ServerError after .*",
        r"GET /worker/run: attempt 1 failed \(ServerError\); again in .*",
        r"GET /worker/run: ServerError after .*",
    )


async def test_a_history_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    emulator = WorkersEmulator(api_key=KEY)

    @emulator.worker("worker")
    async def worker(ctx: Any) -> Any:
        yield ctx.text("canary")

    async with emulator.serve() as server, AsyncToolhouse(KEY, base_url=server.url) as toolhouse:
        emulator.faults.add(method="GET", status=503, body="hunter2")
        await toolhouse.run("worker", "Swordfish", settle=True)
    check(caplog, r"run .* could not be read: ServerError", r"GET /worker/.*: answered with 200, .*")
