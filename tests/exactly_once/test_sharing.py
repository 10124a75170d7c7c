"""Many who wait for one run: one poll at a time, one resume, one answer; and none harms another."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    RUN,
    Reply,
    Scripted,
    assert_accepted,
    assistant,
    connect,
    history,
    methods,
    pieces,
    refused,
    said,
    user,
)
from tests.exactly_once.support import answer, cut, lost, over_time
from tests.support.raw_server import Request, ndjson
from toolhouse_async import (
    AsyncToolhouse,
    ClosedError,
    JobProgress,
    JobToken,
    JobWaitTimeoutError,
    NotFoundError,
    PermissionDeniedError,
    PollingPolicy,
    RecoveryPolicy,
    ResumeUncertainError,
    TextDelta,
    ToolhouseError,
    TurnCompleted,
    TurnTimeoutError,
)
from toolhouse_async.testing import WorkerContext, WorkerEvent, WorkersEmulator

RUNNING = history(user("go"), job=JOB)
OVER = history(user("go"), assistant("Wait. "))
SLOW = [ndjson(said("Do")), ndjson(said("ne"))]
STEADY = PollingPolicy(jitter=0, growth=0)


def token() -> JobToken:
    return JobToken(AGENT, RUN, JOB, time.time())


@asynccontextmanager
async def run(*puts: Reply, over_at: float = 20, **options: Any) -> AsyncIterator[tuple[AsyncToolhouse, Scripted]]:
    """A run whose job is over after some time, a client, and what its resumes meet."""
    get = over_time((0, RUNNING), (over_at, OVER))
    async with (
        Scripted(post=[answer("ndjson", "Wait. ", job=JOB)], put=puts or [answer("ndjson", "Done")], get=get) as server,
        connect(server, **{"polling": STEADY, **options}) as toolhouse,
    ):
        yield toolhouse, server


def ways(toolhouse: AsyncToolhouse) -> list[Any]:
    """Six who wait for the run: tokens, sessions made apart, and one session's own waiters."""
    session = toolhouse.session(AGENT, run_id=RUN)
    return [
        toolhouse.wait_for_job(token()),
        toolhouse.wait_for_job(token()),
        toolhouse.wait_for_job(toolhouse.session(AGENT, run_id=RUN)),
        toolhouse.session(AGENT, run_id=RUN).wait_for_job(),
        session.wait_for_job(),
        session.wait_for_job(),
    ]


def polls_of_one(server: Scripted) -> None:
    """The polls' times are those of a single poller: never two within a second."""
    times = server.times("GET")
    assert all(b - a > 0.9 for a, b in itertools.pairwise(times)), times


# Together


async def test_one_poll_one_resume_one_answer() -> None:
    async with run() as (toolhouse, server):
        results = await asyncio.gather(*(waiter.result() for waiter in ways(toolhouse)))
        assert [result.text for result in results] == ["Done"] * 6
        assert {result.run_id for result in results} == {RUN}
        polls_of_one(server)
        assert_accepted(server, "PUT ")


async def test_those_who_come_later_join() -> None:
    async with run() as (toolhouse, server):
        waiting: list[asyncio.Future[Any]] = []
        for waiter in ways(toolhouse):
            waiting.append(asyncio.ensure_future(waiter.result()))
            await asyncio.sleep(2.5)
        assert [result.text for result in await asyncio.gather(*waiting)] == ["Done"] * 6
        polls_of_one(server)
        assert_accepted(server, "PUT ")


async def test_those_who_come_while_the_answer_streams_get_all_of_it() -> None:
    async with run(pieces(SLOW, pause=10)) as (toolhouse, server):
        first = asyncio.ensure_future(toolhouse.wait_for_job(token()).result())
        while not methods(server).endswith("PUT"):
            await asyncio.sleep(1)
        await asyncio.sleep(12)
        late = asyncio.ensure_future(toolhouse.wait_for_job(token()).result())
        assert (await first).text == "Done"
        assert (await late).text == "Done"
        assert_accepted(server, "PUT ")


async def test_all_see_the_same_words_as_events() -> None:
    async with run(pieces(SLOW)) as (toolhouse, server):

        async def read(waiter: Any) -> list[str]:
            events = [event async for event in waiter]
            assert isinstance(events[-1], TurnCompleted)
            return [event.text for event in events if isinstance(event, TextDelta)]

        everybody = await asyncio.gather(*map(read, ways(toolhouse)))
        assert {"".join(words) for words in everybody} == {"Done"}
        assert_accepted(server, "PUT ")


async def test_a_turn_and_waiters_on_its_run() -> None:
    async with run() as (toolhouse, server):
        session = toolhouse.session(AGENT)
        turn = asyncio.ensure_future(session.send("go"))
        while session.run_id is None:
            await asyncio.sleep(0.1)
        results = await asyncio.gather(*(waiter.result() for waiter in ways(toolhouse)))
        assert (await turn).text == "Wait. Done"
        assert [result.text for result in results] == ["Done"] * 6
        polls_of_one(server)
        assert_accepted(server, "POST go", "PUT ")


async def test_other_policies_poll_for_themselves_and_share_the_resume() -> None:
    async with run() as (toolhouse, server):
        policies = [PollingPolicy(min_interval=n, max_interval=n) for n in (3.0, 5.0)]
        waiters = [toolhouse.wait_for_job(token(), polling=policy) for policy in (*policies, None)]
        results = await asyncio.gather(*(waiter.result() for waiter in waiters))
        assert [result.text for result in results] == ["Done"] * 3
        assert_accepted(server, "PUT ")


async def test_one_who_polls_seldom_keeps_up_with_resumes_that_start_further_jobs() -> None:
    emulator = WorkersEmulator()

    @emulator.worker(AGENT)
    async def worker(context: WorkerContext) -> AsyncIterator[WorkerEvent]:
        if context.job_result != "third":
            names = {None: "first", "first": "second", "second": "third"}
            yield context.background(asyncio.sleep, 20, names[context.job_result])
        yield context.text(f"{context.job_result}. ")

    often, seldom = (PollingPolicy(min_interval=n, max_interval=n, jitter=0) for n in (1.0, 100.0))
    async with emulator.serve() as server, connect(server) as toolhouse:
        started = await toolhouse.run(AGENT, "go", background="detach")
        waiters = [toolhouse.wait_for_job(started.token, polling=policy) for policy in (often, seldom)]
        results = await asyncio.gather(*(waiter.result() for waiter in waiters))
        assert [result.text for result in results] == ["first. second. third. "] * 2
        assert [len(result.jobs) for result in results] == [3, 3]
        assert_accepted(server, "POST go", "PUT ", "PUT ", "PUT ")


async def test_a_further_job_is_shared_too() -> None:
    first, second = answer("ndjson", "More. ", job="job-2"), answer("ndjson", "Done")
    async with run(first, second) as (toolhouse, server):
        results = await asyncio.gather(*(waiter.result() for waiter in ways(toolhouse)))
        assert [result.text for result in results] == ["More. Done"] * 6
        assert_accepted(server, "PUT ", "PUT ")


async def test_only_waiting_and_resuming_side_by_side() -> None:
    async with run() as (toolhouse, server):
        status, result = await asyncio.gather(
            toolhouse.wait_for_job(token()).wait(), toolhouse.wait_for_job(token()).result()
        )
        assert (status.running, result.text) == (False, "Done")
        polls_of_one(server)
        assert_accepted(server, "PUT ")


async def test_a_cut_answer_is_healed_for_all() -> None:
    healed = history(user("go"), assistant("Wait. "), user(""), assistant("Done"))
    get = over_time((0, RUNNING), (20, OVER), (23, healed))
    async with Scripted(put=[cut("Do")], get=get) as server, connect(server, polling=STEADY) as toolhouse:
        results = await asyncio.gather(*(waiter.result() for waiter in ways(toolhouse)))
        assert [result.text for result in results] == ["Done"] * 6
        assert_accepted(server, "PUT ")


# Failing together


async def test_a_resume_of_unknown_outcome_is_sent_by_nobody_else() -> None:
    async with run(lost(), recovery=RecoveryPolicy(absence=None)) as (toolhouse, server):
        results = await asyncio.gather(*(waiter.result() for waiter in ways(toolhouse)), return_exceptions=True)
        assert [type(result) for result in results] == [ResumeUncertainError] * 6
        assert methods(server).count("PUT") == 1
        assert_accepted(server, "PUT ")


async def test_who_waits_with_the_same_token_later_gets_the_answer_from_the_history() -> None:
    """Also when nobody holds the run any more: a client knows after which jobs it has resumed."""
    resumed = history(user("go"), assistant("Wait. "), user(""), assistant("Done"))
    get = itertools.chain([OVER], itertools.repeat(resumed))
    async with Scripted(put=[answer("ndjson", "Done")], get=get) as server, connect(server) as toolhouse:
        for _ in range(2):
            assert (await toolhouse.wait_for_job(token())).text == "Done"
            gc.collect()
        assert methods(server).count("PUT") == 1
        assert_accepted(server, "PUT ")


def late(seconds: float, data: bytes) -> Reply:
    """An answer whose head takes so long."""

    async def reply(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        await asyncio.sleep(seconds)
        writer.write(data)

    return reply


@asynccontextmanager
async def stopped_before_its_resume(*puts: Reply) -> AsyncIterator[tuple[AsyncToolhouse, Any, Scripted]]:
    """A turn whose job is over and that was stopped before its resume was accepted; what further PUTs meet."""
    answers = [answer("ndjson", "Wait. ", job=JOB)], [refused(409), *puts]
    async with (
        Scripted(post=answers[0], put=answers[1], get=itertools.repeat(OVER)) as server,
        connect(server, polling=STEADY) as toolhouse,
    ):
        session = toolhouse.session(AGENT)
        turn = asyncio.ensure_future(session.send("go"))
        while "PUT GET" not in methods(server):
            await asyncio.sleep(0.1)
        turn.cancel()
        await asyncio.wait([turn])
        yield toolhouse, session, server


async def test_reconcile_takes_part_in_the_resume_of_one_before_it_in_the_queue() -> None:
    async with stopped_before_its_resume(late(20, refused(403)), answer("ndjson", "Done")) as (
        toolhouse,
        session,
        server,
    ):
        refused_turn = asyncio.ensure_future(session.send("more"))
        await asyncio.sleep(1)
        waiter = asyncio.ensure_future(toolhouse.wait_for_job(token()).result())
        await asyncio.sleep(5)
        found = asyncio.ensure_future(session.reconcile())
        with pytest.raises(PermissionDeniedError):
            await refused_turn
        assert ((await waiter).text, (await found).text) == ("Done", "Wait. Done")
        assert methods(server).count("PUT") == 3


async def test_reconcile_takes_part_in_a_resume_that_is_under_way() -> None:
    slow = pieces(SLOW, pause=5)
    async with stopped_before_its_resume(slow) as (toolhouse, session, server):
        waiter = asyncio.ensure_future(toolhouse.wait_for_job(token()).result())
        while methods(server).count("PUT") < 2:
            await asyncio.sleep(0.5)
        await asyncio.sleep(3)
        found = await session.reconcile()
        assert ((await waiter).text, found.text) == ("Done", "Wait. Done")
        assert methods(server).count("PUT") == 2
        assert_accepted(server, "POST go", "PUT ")


async def test_reconcile_heals_what_was_cut_before_a_job_that_another_has_waited_for() -> None:
    healed = history(user("go"), assistant("Wait. "), user(""), assistant("Done"))
    gets = itertools.chain([RUNNING, OVER], itertools.repeat(healed))
    async with (
        Scripted(post=[cut("Wa", job=JOB)], put=[answer("ndjson", "Done")], get=gets) as server,
        connect(server, polling=STEADY) as toolhouse,
    ):
        session = toolhouse.session(AGENT)
        turn = asyncio.ensure_future(session.send("go"))
        while "GET" not in methods(server):
            await asyncio.sleep(0.1)
        turn.cancel()
        await asyncio.wait([turn])
        assert (await toolhouse.wait_for_job(token())).text == "Done"
        assert (await session.reconcile()).text == "Wait. Done"
        assert (await session.reconcile()).text == "Wait. Done"
        assert_accepted(server, "POST go", "PUT ")


async def test_who_waits_for_the_next_job_takes_no_part_in_the_resume_after_the_one_before() -> None:
    further = JobToken(AGENT, RUN, "job-2", time.time())
    slow = pieces(SLOW, pause=5, job="job-2")
    over = history(user("go"), assistant("Wait. "), user(""), assistant("Done"))
    last = answer("ndjson", "Last")
    async with (
        Scripted(put=[slow, last], get=itertools.chain([OVER], itertools.repeat(over))) as server,
        connect(server, polling=STEADY) as toolhouse,
    ):
        first = asyncio.ensure_future(toolhouse.wait_for_job(token()).result())
        while "PUT" not in methods(server):
            await asyncio.sleep(0.5)
        await asyncio.sleep(3)
        second = await toolhouse.wait_for_job(further)
        assert ((await first).text, second.text) == ("DoneLast", "Last")
        assert_accepted(server, "PUT ", "PUT ")


async def test_nothing_is_kept_of_a_resume_that_is_over() -> None:
    async with run() as (toolhouse, _):
        assert (await toolhouse.wait_for_job(token())).text == "Done"
        assert [kept.resuming for kept in toolhouse._core._resumed] == [None]


async def test_all_are_told_of_a_poll_that_is_final() -> None:
    async with Scripted(get=over_time((0, RUNNING), (10, refused(404)))) as server, connect(server) as toolhouse:
        results = await asyncio.gather(*(waiter.result() for waiter in ways(toolhouse)), return_exceptions=True)
        assert [type(result) for result in results] == [NotFoundError] * 6
        assert len({id(result) for result in results}) == 6  # each has an error of its own to raise
        assert_accepted(server)


# One leaves

Leave = Callable[[Any, "asyncio.Task[Any]"], Any]


async def cancel(waiter: Any, task: asyncio.Task[Any]) -> None:
    task.cancel()


async def close(waiter: Any, task: asyncio.Task[Any]) -> None:
    await waiter.aclose()


async def close_twice_and_cancel(waiter: Any, task: asyncio.Task[Any]) -> None:
    await waiter.aclose()
    task.cancel()
    await waiter.aclose()


STAGES = {"at once": 0.0, "polling": 7.5, "sending": 23.0, "head": 33.0, "words": 40.0}
"""Seconds after which somebody leaves: the job takes 20, the answer's head 8 and its words 8 more each."""


def slowly(*words: str) -> Reply:
    async def reply(reader: Any, writer: asyncio.StreamWriter, request: Request) -> None:
        await asyncio.sleep(8)
        await pieces([ndjson(said(each)) for each in words], pause=8)(reader, writer, request)

    return reply


@pytest.mark.parametrize("who", ["the first", "all but the last", "the last"])
@pytest.mark.parametrize("leave", [cancel, close, close_twice_and_cancel])
@pytest.mark.parametrize("stage", STAGES)
async def test_one_who_leaves_harms_nobody(stage: str, leave: Leave, who: str) -> None:
    async with run(slowly("Do", "ne")) as (toolhouse, server):
        waiters = ways(toolhouse)
        tasks = [asyncio.ensure_future(waiter.result()) for waiter in waiters]
        await asyncio.sleep(STAGES[stage])
        gone = {"the first": [0], "all but the last": [0, 1, 2, 3, 4], "the last": [5]}[who]
        for n in gone:
            await leave(waiters[n], tasks[n])
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for n, result in enumerate(results):
            if n in gone:
                assert isinstance(result, asyncio.CancelledError | ClosedError), result
            else:
                assert not isinstance(result, BaseException), result
                assert result.text == "Done"
        polls_of_one(server)
        assert_accepted(server, "PUT ")


@pytest.mark.parametrize("stage", STAGES)
async def test_one_who_runs_out_of_time_harms_nobody(stage: str) -> None:
    async with run(slowly("Do", "ne")) as (toolhouse, server):
        timeouts = [STAGES[stage] or 0.01, None, None]
        tasks = [toolhouse.wait_for_job(token(), timeout=timeout).result() for timeout in timeouts]
        first, *others = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(first, TurnTimeoutError | JobWaitTimeoutError), first
        assert [result.text for result in others] == ["Done"] * 2
        assert_accepted(server, "PUT ")


@pytest.mark.parametrize("how", ["cancelled", "closed", "timed out"])
@pytest.mark.parametrize("stage", STAGES)
async def test_a_turn_that_leaves_harms_nobody(stage: str, how: str) -> None:
    """Whoever waits for the turn's job goes on and resumes it in the turn's place."""
    async with run(slowly("Do", "ne")) as (toolhouse, server):
        session = toolhouse.session(AGENT)
        turn = session.stream("go", timeout=(STAGES[stage] or 0.5) if how == "timed out" else None)
        task = asyncio.ensure_future(turn.result())
        while session.run_id is None:
            await asyncio.sleep(0.01)
        waiting = [asyncio.ensure_future(waiter.result()) for waiter in ways(toolhouse)[:3]]
        await asyncio.sleep(STAGES[stage])
        if how == "cancelled":
            task.cancel()
        elif how == "closed":
            await turn.aclose()
        with pytest.raises((asyncio.CancelledError, ClosedError, TurnTimeoutError)):
            await task
        assert [result.text for result in await asyncio.gather(*waiting)] == ["Done"] * 3
        assert_accepted(server, "POST go", "PUT ")


async def test_when_all_leave_nothing_is_sent() -> None:
    async with run() as (toolhouse, server):
        tasks = [asyncio.ensure_future(waiter.result()) for waiter in ways(toolhouse)]
        await asyncio.sleep(10)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        polls = methods(server).count("GET")
        await asyncio.sleep(100)
        assert methods(server).count("GET") == polls
        assert_accepted(server)


async def test_closing_the_client_ends_all() -> None:
    async with run() as (toolhouse, server):
        tasks = [asyncio.ensure_future(waiter.result()) for waiter in ways(toolhouse)]
        await asyncio.sleep(10)
        await toolhouse.aclose()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [ClosedError] * 6
        assert_accepted(server)


async def test_a_slow_reader_holds_nobody_up() -> None:
    """It sends the resume and then does not read on; whoever shares the answer has it all the same."""
    async with run(slowly("Do", "ne")) as (toolhouse, server):
        lazy = toolhouse.wait_for_job(token())
        other = asyncio.ensure_future(asyncio.sleep(1))
        async for event in lazy:
            if other.done() and isinstance(event, JobProgress):
                other = asyncio.ensure_future(toolhouse.wait_for_job(token()).result())
            if isinstance(event, TextDelta):
                break
        assert (await asyncio.wait_for(other, 100)).text == "Done"
        assert (await lazy.result()).text == "Done"
        assert_accepted(server, "PUT ")


async def test_the_users_own_turn_beside_a_waiter() -> None:
    """The message meets 409, waits with the waiter, and one of the two resumes the run; none is sent twice."""
    get = over_time((0, RUNNING), (20, OVER))
    puts = [refused(409, job=JOB), answer("ndjson", "One"), answer("ndjson", "Two")]
    async with Scripted(put=puts, get=get) as server, connect(server, polling=STEADY) as toolhouse:
        waiter = asyncio.ensure_future(toolhouse.wait_for_job(token()).result())
        await asyncio.sleep(5)
        turn = asyncio.ensure_future(toolhouse.session(AGENT, run_id=RUN).send("next"))
        texts = [getattr(each, "text", each) for each in await asyncio.gather(waiter, turn, return_exceptions=True)]
        assert not any(isinstance(text, ToolhouseError) for text in texts), texts
        sent = [request.json()["message"] for request in server.accepted]
        assert sorted(sent) == sorted(set(sent))
        assert "next" in sent
        assert_accepted(server, *(f"PUT {message}" for message in sent))
