"""Very many runs that one client waits for at once."""

from __future__ import annotations

import asyncio
import os
import re
import time
from typing import Any

import pytest

from tests.conversations.support import AGENT, JOB, assistant, history, now, user
from tests.exactly_once.support import answer
from tests.support.raw_server import RawServer, Request
from tests.support.virtual_time import CoarseTimeLoop
from toolhouse_async import AsyncToolhouse, JobToken, PollingPolicy

MANY = 10_000 if os.environ.get("TOOLHOUSE_TEST_ALL") else 2000
RUNNING = history(user("go"), job=JOB)
OVER = history(user("go"), assistant("Wait. "))


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": CoarseTimeLoop}


@pytest.mark.timeout(300)
async def test_they_stay_within_what_may_be_in_flight_and_spread() -> None:
    """Each run's job takes 100 s; every poll takes half a second."""
    seen: dict[str, list[str]] = {}
    first: list[float] = []
    in_flight = most = 0
    began = now()

    async def script(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        nonlocal in_flight, most
        asked = seen.setdefault(request.path.rsplit("/", 1)[1], [])
        asked.append(request.method)
        if request.method == "PUT":
            writer.write(answer("ndjson", "Done", run=None))
            return
        if len(asked) == 1:
            first.append(now() - began)
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0.5)
        in_flight -= 1
        writer.write(OVER if now() - began > 100 else RUNNING)

    policy = PollingPolicy(min_interval=60, max_interval=80)
    async with RawServer(script) as server, AsyncToolhouse("", base_url=server.url, polling=policy) as toolhouse:
        waiters = [toolhouse.wait_for_job(JobToken(AGENT, f"run-{n}", JOB, time.time())) for n in range(MANY)]
        results = await asyncio.gather(*(waiter.result() for waiter in waiters))
    assert [result.text for result in results] == ["Done"] * MANY
    assert 1 < most <= policy.max_in_flight
    assert len(seen) == MANY  # and each run is resumed once, behind its polls
    assert all(re.fullmatch("(GET )+PUT", " ".join(asked)) for asked in seen.values())
    # The first poll comes after 30 to 90 s, evenly: a twelfth of all in 5 s, give or take.
    spread = [sum(second <= each < second + 5 for each in first) for second in range(30, 90, 5)]
    assert min(spread) > MANY / 12 * 0.6, spread
    assert max(spread) < MANY / 12 * 1.5, spread
