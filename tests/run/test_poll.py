from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.answers import client_of, history
from tests.support.raw_server import RawServer, Request, response, rst, silence
from toolhouse_async import (
    AuthenticationError,
    ContactLostError,
    JobStatus,
    Limits,
    Message,
    PollingPolicy,
)
from toolhouse_async._core import Core
from toolhouse_async._run.poll import RunPoll
from toolhouse_async._turn.polls import Report

STEADY = PollingPolicy(min_interval=10, max_interval=10, jitter=0)
RUNS = history(job="j1")
OVER = history(("user", "x"))


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def core_of(script: Any, **options: Any) -> AsyncIterator[tuple[RawServer, Core]]:
    async with RawServer(script) as server, client_of(server, **options) as toolhouse:
        yield server, toolhouse._core


def poll_of(core: Core, run: str = "r1", policy: PollingPolicy = STEADY, elapsed: float = 0.0) -> RunPoll:
    return core.poll_of(core.run_of("a", run).known, "a", policy, elapsed)


async def started(coroutine: Any) -> asyncio.Task[Any]:
    task = asyncio.ensure_future(coroutine)
    await asyncio.sleep(0)
    return task


async def test_all_who_wait_share_one_poll() -> None:
    async with core_of([RUNS, OVER]) as (server, core):
        poll = poll_of(core)
        reports = await asyncio.gather(*(poll.report_after(0, None) for _ in range(5)))
        assert all(report is reports[0] for report in reports)
        assert (reports[0].number, reports[0].status.running) == (1, True)
        assert len(server.requests) == 1
        assert await poll.report_after(0, None) is reports[0]  # the latest, at once
        report = await poll.report_after(1, None)
        assert (report.number, report.status.running, poll.is_over) == (2, False, True)
        assert len(server.requests) == 2


async def test_one_poll_for_each_run_and_policy() -> None:
    async with core_of([OVER] * 2) as (_, core):
        poll = poll_of(core)
        assert poll_of(core) is poll
        assert poll_of(core, policy=PollingPolicy(min_interval=10, max_interval=10, jitter=0)) is poll
        assert poll_of(core, policy=PollingPolicy()) is not poll
        assert poll_of(core, run="r2") is not poll
        own = core.poll_of(core.run_of("a", "r1").known, "a", STEADY, 0.0, "terms")
        assert own is not poll
        assert core.poll_of(core.run_of("a", "r1").known, "a", STEADY, 0.0, "terms") is own
        await poll.report_after(0, None)
        assert poll_of(core) is not poll  # it is over; another job has another


@pytest.mark.parametrize("while_asleep", [True, False])
async def test_another_takes_over_from_one_who_is_cancelled(while_asleep: bool) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        if len(server.requests) == 1 and not while_asleep:
            await silence(reader)
        writer.write(OVER)

    async with core_of(script) as (server, core):
        poll, began = poll_of(core), now()
        driver, *others = [await started(poll.report_after(0, None)) for _ in range(3)]
        await asyncio.sleep(1 if while_asleep else 20)
        driver.cancel()
        reports = await asyncio.gather(*others)
        assert driver.cancelled()
        assert reports[0] is reports[1]
        assert reports[0].status.running is False
        assert len(server.requests) == (1 if while_asleep else 2)
        assert now() - began < 21


async def test_one_who_waits_may_leave() -> None:
    async with core_of([OVER]) as (server, core):
        poll = poll_of(core)
        driver, other = [await started(poll.report_after(0, None)) for _ in range(2)]
        other.cancel()
        assert (await driver).number == 1
        assert other.cancelled()
        assert len(server.requests) == 1


async def test_when_all_have_left_nothing_is_polled() -> None:
    async with core_of([OVER]) as (server, core):
        poll = poll_of(core)
        tasks = [await started(poll.report_after(0, None)) for _ in range(3)]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(1000)
        assert server.requests == []
        assert (await poll.report_after(0, None)).number == 1


async def test_a_deadline_brings_the_next_poll_forward_for_all() -> None:
    async with core_of([RUNS, OVER]) as (_, core):
        poll, began = poll_of(core, policy=PollingPolicy(min_interval=100, max_interval=100)), now()
        waiting = await started(poll.report_after(0, None))
        late = await started(poll.report_after(0, began + 1000))
        await asyncio.sleep(1)
        hurried = await poll.report_after(0, began + 3)
        assert now() - began == pytest.approx(3, abs=0.1)
        assert await waiting is hurried
        assert await late is hurried


async def test_a_deadline_that_has_passed_polls_at_once() -> None:
    async with core_of([RUNS]) as (_, core):
        began = now()
        await poll_of(core).report_after(0, began - 5)
        assert now() - began < 0.1


async def test_a_poll_that_is_hurried_is_made_at_once() -> None:
    async with core_of([RUNS, OVER]) as (_, core):
        poll, began = poll_of(core, policy=PollingPolicy(min_interval=100, max_interval=100)), now()
        waiting = await started(poll.report_after(0, None))
        await asyncio.sleep(1)
        poll.hurry()
        assert (await waiting).number == 1
        assert now() - began == pytest.approx(1, abs=0.1)
        poll.hurry()  # nobody waits: the next to come polls
        assert (await poll.report_after(1, None)).number == 2
        assert now() - began == pytest.approx(1, abs=0.1)


async def test_a_failed_poll_is_a_report_too() -> None:
    async with core_of([response(503, {"Retry-After": "25"}, chunked=False), OVER]) as (_, core):
        poll = poll_of(core)
        report = await poll.report_after(0, None)
        assert (report.number, report.status, report.error, report.pause) == (1, None, None, 25.0)
        assert not poll.is_over


@pytest.mark.parametrize("status", [201, 202, 203, 204, 205, 206, 207, 226])
async def test_only_a_200_shows_that_no_job_is_running(status: int) -> None:
    body = b"" if status == 204 else b'[{"role": "user", "content": "x"}]'
    async with core_of([response(status, body=body, chunked=False), OVER]) as (_, core):
        poll = poll_of(core)
        report = await poll.report_after(0, None)
        assert (report.status, report.error, poll.is_over) == (None, None, False)
        assert (await poll.report_after(1, None)).status == JobStatus(
            "a", "r1", history=(Message("user", "x", {"role": "user", "content": "x"}),)
        )
        assert poll.is_over


async def test_a_job_is_running_where_any_success_says_so() -> None:
    async with core_of([response(202, {"X-Toolhouse-Job-ID": "j1"}, chunked=False)]) as (_, core):
        report = await poll_of(core).report_after(0, None)
        assert report.status is not None
        assert report.status.running


async def test_an_error_that_ends_the_polling_is_told_to_all() -> None:
    async with core_of([response(401, chunked=False)]) as (_, core):
        poll = poll_of(core)
        reports = await asyncio.gather(*(poll.report_after(0, None) for _ in range(2)))
        assert reports[0] is reports[1]
        assert isinstance(reports[0].error, AuthenticationError)
        assert poll.is_over


@pytest.mark.parametrize(("budget", "window", "polls"), [(3, 0.0, 3), (0, 45.0, 5), (0, 0.0, 1), (5, 20.0, 5)])
async def test_contact_is_lost_when_both_budget_and_window_are_passed(budget: int, window: float, polls: int) -> None:
    policy = PollingPolicy(min_interval=10, max_interval=10, jitter=0, failure_budget=budget, failure_window=window)

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        if len(server.requests) == 1:
            writer.write(RUNS)
        else:
            rst(writer)

    async with core_of(script) as (server, core):
        poll, number = poll_of(core, policy=policy), 0
        while not poll.is_over:
            report = await poll.report_after(number, None)
            number = report.number
        assert len(server.requests) == 1 + polls
    assert isinstance(report.error, ContactLostError)
    assert report.error.run_id == "r1"
    assert f"{polls} polls in a row" in str(report.error)


def report_now(poll: RunPoll) -> Coroutine[Any, Any, Report]:
    """The first report of a run, which is polled at once."""
    poll.hurry()
    return poll.report_after(0, None)


async def test_so_many_polls_of_a_client_at_once() -> None:
    most = now_open = 0

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        nonlocal most, now_open
        now_open += 1
        most = max(most, now_open)
        await asyncio.sleep(5)
        now_open -= 1
        writer.write(OVER)

    options = {"polling": PollingPolicy(max_in_flight=3), "limits": Limits(max_connections=1)}
    async with core_of(script, **options) as (server, core):
        polls = [poll_of(core, run=f"r{n}") for n in range(10)]
        began = now()
        await asyncio.gather(*(report_now(poll) for poll in polls))
        assert most == 3
        assert now() - began == pytest.approx(20, abs=1)
        assert len(server.requests) == 10


async def test_one_who_leaves_while_waiting_for_a_slot_takes_none() -> None:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        await asyncio.sleep(50)
        writer.write(OVER)

    async with core_of(script, polling=PollingPolicy(max_in_flight=1)) as (_, core):
        first, second, third = (poll_of(core, run=f"r{n}") for n in range(3))
        busy = await started(report_now(first))
        leaves = await started(report_now(second))
        await asyncio.sleep(5)
        leaves.cancel()
        await busy
        assert (await report_now(third)).number == 1


async def dripping(writer: asyncio.StreamWriter, head: bytes) -> None:
    """An answer whose body never pauses for long and never ends."""
    writer.write(head)
    while not writer.is_closing():
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(1)


BEGUN = response(body=b"[", ends=False)


@pytest.mark.parametrize("begins", [BEGUN, response(500, body=b"x", ends=False)], ids=["history", "error"])
async def test_a_body_that_drips_does_not_hold_a_place_for_ever(begins: bytes) -> None:
    """The healthy runs of the client are polled all the same."""

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        if request.path.endswith("/sick"):
            await dripping(writer, begins)
        writer.write(OVER)

    policy = PollingPolicy(min_interval=1, max_interval=1, jitter=0, max_in_flight=1)
    async with core_of(script, polling=policy) as (server, core):
        sick, healthy, began = poll_of(core, "sick"), poll_of(core, "healthy"), now()
        waits = await started(report_now(sick))
        await asyncio.sleep(2)
        report = await report_now(healthy)
        assert report.status is not None
        assert not report.status.running
        assert now() - began < 32
        report = await waits
        assert (report.number, report.status, report.error) == (1, None, None)  # a failure that is tolerated
        await asyncio.sleep(5)  # in which the server finds out
        assert server.open_connections == 1  # the other's is dropped


async def test_a_deadline_is_kept_while_a_poll_drips() -> None:
    """What was asked at the deadline has some seconds to be answered; another who waits is not disturbed."""

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        if len(server.requests) < 3:
            await dripping(writer, BEGUN)
        writer.write(OVER)

    async with core_of(script) as (server, core):
        poll, began = poll_of(core), now()
        other = await started(poll.report_after(0, None))
        report = await poll.report_after(0, began + 3)
        assert (report.number, report.status, report.error) == (0, None, None)
        assert now() - began == pytest.approx(8, abs=0.1)
        assert (await other).number == 1
        assert not poll.is_over


async def test_a_deadline_is_kept_where_other_runs_hold_all_places() -> None:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        await dripping(writer, BEGUN)

    async with core_of(script, polling=PollingPolicy(max_in_flight=1)) as (server, core):
        sick, began = await started(report_now(poll_of(core, "sick"))), now()
        await asyncio.sleep(1)
        report = await poll_of(core).report_after(0, now())
        assert (report.number, report.status) == (0, None)
        assert now() - began == pytest.approx(6, abs=0.1)
        assert [request.path for request in server.requests] == ["/a/sick"]
        sick.cancel()
        await asyncio.wait({sick})


@pytest.mark.parametrize("waits", [False, True])
async def test_what_failed_while_nobody_waited_counts_for_nobody(waits: bool) -> None:
    policy = PollingPolicy(min_interval=10, max_interval=10, jitter=0, failure_budget=3, failure_window=25)
    async with core_of([response(503)] * 20) as (_, core):
        poll, number = poll_of(core, policy=policy), 0
        for number in (1, 2):
            assert (await poll.report_after(number - 1, None)).error is None
        other = await started(poll.report_after(number, None)) if waits else None
        assert poll_of(core, policy=policy) is poll
        if other is not None:  # who has waited all the time has their failures
            assert isinstance((await other).error, ContactLostError)
            return
        begins = now()
        while (report := await poll.report_after(number, None)).error is None:
            number = report.number
        assert isinstance(report.error, ContactLostError)
        assert now() - begins >= 25
