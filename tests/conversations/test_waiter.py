"""BackgroundJobWaiter, tokens and ``background="detach"``."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import repeat

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    KEY,
    RUN,
    Scripted,
    assert_accepted,
    assistant,
    connect,
    history,
    kinds,
    methods,
    now,
    refused,
    said,
    streamed,
    user,
)
from tests.support.raw_server import Request
from toolhouse_async import (
    AsyncToolhouse,
    BackgroundJobWaiter,
    ClosedError,
    ConfigurationError,
    JobProgress,
    JobStarted,
    JobToken,
    JobWaitTimeoutError,
    Message,
    NotFoundError,
    PollingPolicy,
    Session,
    TurnCompleted,
    TurnResumed,
    TurnTimeoutError,
)
from toolhouse_async.testing import EmulatorServer, WorkersEmulator

RUNS = history(user("hi"), job=JOB)
OVER = history(user("hi"), assistant("wait"))
DONE = streamed(said("done"))


def a_job(*more: bytes) -> Scripted:
    """A server with a run whose job runs for two more polls."""
    return Scripted(get=[RUNS, RUNS, OVER, *more], put=[DONE])


@pytest.fixture
def worker(emulator: WorkersEmulator) -> None:
    @emulator.worker(AGENT)
    async def worker(ctx):
        if ctx.message == "compute":
            yield ctx.background(asyncio.sleep, 60, "computed")
        yield ctx.text(f"[{ctx.message}:{ctx.job_result}]")


# Waiting


async def test_await_waits_resumes_and_returns_the_result() -> None:
    async with a_job() as server, connect(server) as toolhouse:
        result = await toolhouse.session(AGENT, run_id=RUN).wait_for_job()
    assert (result.text, result.status, [job.job_id for job in result.jobs]) == ("done", "completed", [JOB])
    assert_accepted(server, "PUT ")


async def test_iterating_gives_the_events_without_turn_started() -> None:
    async with a_job() as server, connect(server) as toolhouse:
        waiter = toolhouse.session(AGENT, run_id=RUN).wait_for_job()
        events = [event async for event in waiter]
    assert kinds(events) == [*["JobStarted", "JobProgress", "JobFinished", "TurnResumed", "TextDelta", "TurnCompleted"]]
    assert TurnResumed(RUN, 1) in events
    assert_accepted(server, "PUT ")


async def test_it_goes_on_for_every_further_job() -> None:
    async with (
        Scripted(
            get=[RUNS, OVER, history(job="job-2"), OVER], put=[streamed(said("a"), job="job-2"), streamed(said("b"))]
        ) as server,
        connect(server) as toolhouse,
    ):
        result = await toolhouse.session(AGENT, run_id=RUN).wait_for_job(resume_message="continue")
    assert (result.text, [job.job_id for job in result.jobs]) == ("ab", [JOB, "job-2"])
    assert_accepted(server, "PUT continue", "PUT continue")


async def test_the_class_may_be_used_itself() -> None:
    async with a_job() as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN)
        assert (await BackgroundJobWaiter(session, resume_message="go on")).text == "done"
    assert_accepted(server, "PUT go on")


async def test_wait_sends_nothing_and_returns_the_status() -> None:
    async with a_job() as server, connect(server) as toolhouse:
        status = await toolhouse.session(AGENT, run_id=RUN).wait_for_job().wait()
    assert (status.agent_id, status.run_id, status.job_id, status.running) == (AGENT, RUN, None, False)
    assert status.history is not None
    assert [message.text for message in status.history] == ["hi", "wait"]
    assert methods(server) == "GET GET GET"
    assert_accepted(server)


async def test_without_a_running_job_wait_returns_after_one_read() -> None:
    async with Scripted(get=[OVER]) as server, connect(server) as toolhouse:
        assert not (await toolhouse.session(AGENT, run_id=RUN).wait_for_job().wait()).running
    assert methods(server) == "GET"


async def test_the_waiters_own_polling_policy_is_used() -> None:
    polling = PollingPolicy(min_interval=50, max_interval=50, jitter=0)
    async with Scripted(get=[RUNS, RUNS, RUNS, OVER]) as server, connect(server) as toolhouse:
        await toolhouse.session(AGENT, run_id=RUN).wait_for_job(polling=polling).wait()
    times = server.times("GET")
    assert times[3] - times[1] == pytest.approx(100, abs=0.2)


async def test_past_its_timeout_it_raises_with_a_token() -> None:
    """Which of the two is not said; both are what ``except TimeoutError`` catches."""
    async with Scripted(get=repeat(RUNS)) as server, connect(server) as toolhouse:
        started = now()
        with pytest.raises((JobWaitTimeoutError, TurnTimeoutError)) as caught:
            await toolhouse.session(AGENT, run_id=RUN).wait_for_job(timeout=30)
        assert 30 <= now() - started < 31
    assert caught.value.token is not None
    assert caught.value.token.job_id == JOB
    assert_accepted(server)


async def test_a_last_poll_at_its_timeout_may_take_a_moment() -> None:
    async def late(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        await asyncio.sleep(2)
        writer.write(OVER)

    polling = PollingPolicy(min_interval=50, max_interval=50)
    async with Scripted(get=[late]) as server, connect(server) as toolhouse:
        waiter = toolhouse.session(AGENT, run_id=RUN).wait_for_job(polling=polling, timeout=30)
        assert not (await waiter.wait()).running


async def test_aclose_from_another_task_ends_the_wait_with_closed_error() -> None:
    async with Scripted(get=repeat(RUNS)) as server, connect(server) as toolhouse:
        waiter = toolhouse.session(AGENT, run_id=RUN).wait_for_job()
        consumer = asyncio.ensure_future(_await(waiter))
        await asyncio.sleep(30)
        await waiter.aclose()
        with pytest.raises(ClosedError):
            await consumer
    assert_accepted(server)


async def _await(waiter: BackgroundJobWaiter) -> object:
    return await waiter


async def test_a_run_that_nobody_knows_is_not_found() -> None:
    async with Scripted(get=[refused(404)] * 3) as server, connect(server) as toolhouse:
        with pytest.raises(NotFoundError):
            await toolhouse.session(AGENT, run_id=RUN).wait_for_job()
    assert_accepted(server)


async def test_the_conversation_goes_on_behind_the_waiter() -> None:
    async with (
        Scripted(get=[RUNS, OVER], put=[streamed(said("a"), run="run-2"), DONE]) as server,
        connect(server) as toolhouse,
    ):
        session = toolhouse.session(AGENT, run_id=RUN)
        await session.wait_for_job()
        assert session.run_id == "run-2"
        await session.send("more")
    assert server.requests[-1].path.endswith("/run-2")
    assert_accepted(server, "PUT ", "PUT more")


# One read


async def test_job_status_is_one_read_of_a_running_job() -> None:
    running = history(user("hi"), job=JOB, headers={"Retry-After": "7"})
    async with Scripted(get=[running]) as server, connect(server) as toolhouse:
        status = await toolhouse.job_status(AGENT, RUN)
    assert (status.job_id, status.running, status.retry_after) == (JOB, True, 7)
    assert methods(server) == "GET"


async def test_job_status_is_one_read_of_an_idle_run() -> None:
    async with Scripted(get=[OVER]) as server, connect(server) as toolhouse:
        status = await toolhouse.session(AGENT, run_id=RUN).job_status()
    assert (status.job_id, status.running, status.retry_after) == (None, False, None)


async def test_history_is_a_list_of_messages() -> None:
    blocks = {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "image"}], "id": 7}
    async with Scripted(get=[history(user("hi"), blocks)]) as server, connect(server) as toolhouse:
        messages = await toolhouse.history(AGENT, RUN)
    assert messages == [Message("user", "hi", user("hi")), Message("assistant", blocks["content"], blocks)]
    assert [message.text for message in messages] == ["hi", "a"]


# Detach and tokens


async def test_detach_ends_the_turn_with_a_token_instead_of_waiting(
    worker: None, server: EmulatorServer, session: Session
) -> None:
    started = now()
    events = [event async for event in session.stream("compute", background="detach")]
    assert now() - started < 1
    assert kinds(events) == ["TurnStarted", "TextDelta", "JobStarted", "TurnCompleted"]
    result = events[-1].result
    assert (result.status, result.text, result.jobs) == ("background", "[compute:None]", ())
    assert result.token.job_id == next(event.job_id for event in events if isinstance(event, JobStarted))
    assert (result.token.agent_id, result.token.run_id) == (AGENT, session.run_id)
    assert_accepted(server, "POST compute")


async def test_without_a_job_detach_changes_nothing(worker: None, server: EmulatorServer, session: Session) -> None:
    result = await session.send("hi", background="detach")
    assert (result.status, result.token) == ("completed", None)
    assert_accepted(server, "POST hi")


async def test_detach_finds_a_job_that_begins_mid_stream(
    emulator: WorkersEmulator, server: EmulatorServer, session: Session
) -> None:
    @emulator.worker(AGENT)
    async def worker(ctx):
        yield ctx.tool_call("code_interpreter")
        yield ctx.background(asyncio.sleep, 60)

    result = await session.send("hi", background="detach")
    assert (result.status, result.token is not None) == ("background", True)
    assert methods(server) == "POST GET"


async def test_a_token_is_waited_for_by_another_client(worker: None, server: EmulatorServer, session: Session) -> None:
    token = (await session.send("compute", background="detach")).token
    assert token is not None
    async with connect(server) as other:
        result = await other.wait_for_job(JobToken.from_json(token.to_json()))
    assert (result.text, len(result.jobs)) == ("[:computed]", 1)
    assert_accepted(server, "POST compute", "PUT ")


@pytest.mark.parametrize("family", ["ndjson", "text"])
async def test_a_token_keeps_the_endpoint_family(
    worker: None, server: EmulatorServer, session: Session, family: str
) -> None:
    token = (await session.send("compute", background="detach", format=family)).token
    assert token is not None
    async with connect(server) as other:
        await other.wait_for_job(token)
    prefix = "/ndjson" if family == "ndjson" else ""
    assert server.requests[-1].path == f"{prefix}/{AGENT}/{token.run_id}"


async def test_a_waiter_has_the_token_it_was_made_from() -> None:
    token = JobToken(AGENT, RUN, JOB, time.time())
    async with a_job() as server, connect(server) as toolhouse:
        waiter = toolhouse.wait_for_job(token)
        assert waiter.token == token
        await waiter


async def test_a_waiters_token_names_the_job_that_it_found() -> None:
    async with a_job() as server, connect(server) as toolhouse:
        waiter = toolhouse.session(AGENT, run_id=RUN).wait_for_job()
        async for event in waiter:
            if isinstance(event, JobStarted):
                assert waiter.token is not None
                assert (waiter.token.run_id, waiter.token.job_id) == (RUN, JOB)


async def test_a_token_keeps_the_start_for_the_deadline() -> None:
    token = JobToken(AGENT, RUN, JOB, time.time() - 1790)
    async with Scripted(get=repeat(RUNS)) as server, connect(server) as toolhouse:
        started = now()
        with pytest.raises(JobWaitTimeoutError):
            await toolhouse.wait_for_job(token)
        assert 9 <= now() - started <= 11


@pytest.mark.parametrize("ahead", [None, 3600])
async def test_a_job_whose_start_is_not_known_counts_from_now(ahead: float | None) -> None:
    async with a_job() as server, connect(server) as toolhouse:
        if ahead is None:
            waiter = toolhouse.session(AGENT, run_id=RUN).wait_for_job()
        else:
            waiter = toolhouse.wait_for_job(JobToken(AGENT, RUN, JOB, time.time() + ahead))
        began = now()
        async for event in waiter:
            if isinstance(event, JobProgress):
                assert event.elapsed == pytest.approx(now() - began, abs=0.5)


async def test_a_token_past_its_deadline_polls_once_more() -> None:
    token = JobToken(AGENT, RUN, JOB, time.time() - 99999)
    async with Scripted(get=[OVER], put=[DONE]) as server, connect(server) as toolhouse:
        assert (await toolhouse.wait_for_job(token)).text == "done"
    assert_accepted(server, "PUT ")


async def test_a_token_never_holds_the_key(worker: None, session: Session) -> None:
    token = (await session.send("compute", background="detach")).token
    assert token is not None
    assert KEY not in token.to_json() + repr(token)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '"x"', "{", json.dumps({"agent_id": "../x", "run_id": RUN, "job_id": JOB, "started": 1})],
)
def test_what_a_token_says_is_validated(text: str) -> None:
    with pytest.raises(ConfigurationError):
        JobToken.from_json(text)


async def test_the_token_of_a_timeout_can_be_waited_for() -> None:
    polls = [*[RUNS] * 8, OVER]
    async with Scripted(post=[streamed(job=JOB)], get=polls, put=[DONE]) as server:
        async with connect(server) as toolhouse:
            with pytest.raises(TurnTimeoutError) as caught:
                await toolhouse.run(AGENT, "hi", timeout=3)
        assert caught.value.token is not None
        async with connect(server) as toolhouse:
            assert (await toolhouse.wait_for_job(caught.value.token)).text == "done"
    assert_accepted(server, "POST hi", "PUT ")


# Shared


async def test_waiters_on_one_run_share_one_resume_and_all_get_its_answer() -> None:
    async with a_job() as server, connect(server) as toolhouse:
        waiters = [toolhouse.session(AGENT, run_id=RUN).wait_for_job() for _ in range(3)]
        results = await asyncio.gather(*(_await(waiter) for waiter in waiters))
    assert [result.text for result in results] == ["done"] * 3  # type: ignore[attr-defined]
    assert_accepted(server, "PUT ")


async def test_waiters_on_one_run_share_their_polls() -> None:
    async with Scripted(get=[*[RUNS] * 5, OVER], put=[DONE]) as server, connect(server) as toolhouse:
        waiters = [toolhouse.session(AGENT, run_id=RUN).wait_for_job() for _ in range(3)]
        await asyncio.gather(*(waiter.wait() for waiter in waiters))
    assert methods(server) == "GET GET GET GET GET GET"


async def test_one_waiter_that_leaves_does_not_stop_the_others() -> None:
    async with Scripted(get=[*[RUNS] * 9, OVER], put=[DONE]) as server, connect(server) as toolhouse:
        tasks = [asyncio.ensure_future(_await(toolhouse.session(AGENT, run_id=RUN).wait_for_job())) for _ in range(3)]
        await asyncio.sleep(3)
        tasks[0].cancel()
        await asyncio.wait(tasks)
        assert tasks[0].cancelled()
        assert [task.result().text for task in tasks[1:]] == ["done", "done"]  # type: ignore[attr-defined]
    assert_accepted(server, "PUT ")


async def test_the_last_event_of_a_waiter_holds_the_result_it_returns() -> None:
    async with a_job() as server, connect(server) as toolhouse:
        waiter = toolhouse.session(AGENT, run_id=RUN).wait_for_job()
        events = [event async for event in waiter]
        assert events[-1] == TurnCompleted(await waiter)
    assert_accepted(server, "PUT ")


async def test_a_turn_and_a_waiter_on_one_run_share_one_resume(
    worker: None, server: EmulatorServer, toolhouse: AsyncToolhouse, session: Session
) -> None:
    turn = asyncio.ensure_future(session.send("compute"))
    await asyncio.sleep(20)
    other = toolhouse.session(AGENT, run_id=session.run_id).wait_for_job()
    result = await other
    assert "[:computed]" in result.text
    assert (await turn).text == "[compute:None][:computed]"
    assert_accepted(server, "POST compute", "PUT ")


async def test_a_message_that_waits_is_the_one_resume_for_all_who_wait(
    worker: None, server: EmulatorServer, session: Session
) -> None:
    await session.send("compute", background="detach")
    waited = asyncio.ensure_future(_await(session.wait_for_job()))
    await asyncio.sleep(10)
    assert (await session.send("next")).text == "[next:computed]"
    assert (await waited).text == "[next:computed]"  # type: ignore[attr-defined]
    assert_accepted(server, "POST compute", "PUT next")


async def test_wait_leaves_the_run_free_for_messages(worker: None, server: EmulatorServer, session: Session) -> None:
    await session.send("compute", background="detach")
    waited = asyncio.ensure_future(session.wait_for_job().wait())
    await asyncio.sleep(10)
    assert (await session.send("next")).text == "[next:computed]"
    assert not (await waited).running
    assert_accepted(server, "POST compute", "PUT next")


async def test_a_turn_that_is_left_does_not_stop_a_waiter_on_its_run(
    worker: None, server: EmulatorServer, toolhouse: AsyncToolhouse, session: Session
) -> None:
    turn = asyncio.ensure_future(session.send("compute"))
    await asyncio.sleep(20)
    waited = asyncio.ensure_future(_await(toolhouse.session(AGENT, run_id=session.run_id).wait_for_job()))
    await asyncio.sleep(10)
    turn.cancel()
    await asyncio.wait([turn, waited])
    assert turn.cancelled()
    assert waited.result().text == "[:computed]"  # type: ignore[attr-defined]
    assert_accepted(server, "POST compute", "PUT ")
