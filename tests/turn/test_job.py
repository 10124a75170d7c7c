from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from toolhouse_async._waiting import Wait

from tests.support.answers import client_of, history
from tests.support.raw_server import RawServer, response
from toolhouse_async import (
    AuthenticationError,
    JobFinished,
    JobProgress,
    JobRecord,
    JobStarted,
    JobWaitTimeoutError,
    PollingPolicy,
)
from toolhouse_async._core import Core
from toolhouse_async.events import Event

STEADY = PollingPolicy(min_interval=10, max_interval=10, jitter=0, deadline=100)
OVER = history(("user", "x"))


@asynccontextmanager
async def core_of(*answers: bytes) -> AsyncIterator[Core]:
    async with RawServer(answers) as server, client_of(server) as toolhouse:
        yield toolhouse._core


def wait_in(core: Core, job_id: str | None = "j1", policy: PollingPolicy = STEADY, **times: Any) -> Wait:
    times = {"elapsed": 0.0, "until": None} | times
    poll = core.poll_of(core.run_of("a", "r1"), "a", "r1", policy, times["elapsed"])
    return Wait(poll, policy, job_id, **times)


async def follow(wait: Wait) -> tuple[list[Event], list[JobRecord]]:
    events: deque[Event] = deque()
    jobs: list[JobRecord] = []
    wait.begin(events)
    while await wait.next(events, jobs) is None:
        pass
    return list(events), jobs


def shape(events: list[Event]) -> list[tuple[Any, ...]]:
    return [
        (type(event), event.job_id, event.polls if isinstance(event, JobProgress | JobFinished) else 0)
        for event in events
        if isinstance(event, JobStarted | JobProgress | JobFinished)
    ]


async def test_a_job_from_its_start_to_its_end() -> None:
    async with core_of(history(job="j1"), history(job="j1"), OVER) as core:
        events, jobs = await follow(wait_in(core))
    assert shape(events) == [
        (JobStarted, "j1", 0),
        (JobProgress, "j1", 1),
        (JobProgress, "j1", 2),
        (JobFinished, "j1", 3),
    ]
    (record,) = jobs
    assert (record.job_id, record.polls) == ("j1", 3)
    assert record.elapsed == pytest.approx(30, abs=6)


async def test_a_job_whose_id_is_not_known_yet() -> None:
    async with core_of(history(job="j7"), OVER) as core:
        events, jobs = await follow(wait_in(core, None))
    assert shape(events) == [(JobStarted, "j7", 0), (JobProgress, "j7", 1), (JobFinished, "j7", 2)]
    assert [job.job_id for job in jobs] == ["j7"]


async def test_a_job_that_was_over_before_its_id_was_known() -> None:
    async with core_of(OVER) as core:
        assert await follow(wait_in(core, None)) == ([], [])


async def test_another_job_takes_its_place() -> None:
    async with core_of(history(job="j1"), history(job="j2"), OVER) as core:
        events, jobs = await follow(wait_in(core))
    assert shape(events) == [
        (JobStarted, "j1", 0),
        (JobProgress, "j1", 1),
        (JobFinished, "j1", 2),
        (JobStarted, "j2", 0),
        (JobProgress, "j2", 1),
        (JobFinished, "j2", 2),
    ]
    assert [(job.job_id, job.polls) for job in jobs] == [("j1", 2), ("j2", 2)]


async def test_a_job_taken_for_over_once_is_counted_once() -> None:
    async with core_of(OVER, history(job="j1"), OVER) as core:
        jobs: list[JobRecord] = []
        events: deque[Event] = deque()
        first = wait_in(core)
        assert await first.next(events, jobs) is not None
        again = wait_in(core, elapsed=first.elapsed)
        while await again.next(events, jobs) is None:
            pass
    assert [job.job_id for job in jobs] == ["j1"]
    assert jobs[0].elapsed == pytest.approx(30, abs=15)


@pytest.mark.parametrize(
    ("policy", "times", "seconds"),
    [
        (STEADY, {}, 100),
        (STEADY, {"elapsed": 60.0}, 40),
        (STEADY, {"elapsed": 500.0}, 0),
        (PollingPolicy(deadline=None), {"until": 1050.0}, 50),
        (STEADY, {"until": 1050.0}, 50),
        (PollingPolicy(deadline=30), {"until": 1050.0}, 30),
    ],
)
async def test_a_deadline_polls_once_more_and_then_gives_up(policy: Any, times: Any, seconds: float) -> None:
    began = asyncio.get_running_loop().time()
    async with core_of(*[history(job="j1")] * 60) as core:
        with pytest.raises(JobWaitTimeoutError, match="still running"):
            await follow(wait_in(core, policy=policy, **times))
        assert asyncio.get_running_loop().time() - began == pytest.approx(seconds, abs=0.5)


async def test_a_job_that_is_over_at_the_last_poll_is_over() -> None:
    async with core_of(OVER) as core:
        _, jobs = await follow(wait_in(core, elapsed=500.0))
    assert jobs[0].polls == 1


async def test_each_who_waits_gets_an_error_of_their_own() -> None:
    async with core_of(response(401, chunked=False)) as core:
        waits = [wait_in(core), wait_in(core)]
        outcomes = await asyncio.gather(*map(follow, waits), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [AuthenticationError] * 2
    assert outcomes[0] is not outcomes[1]
    assert str(outcomes[0]) == str(outcomes[1])
