"""409: for the user's own message, for an automatic resume, and where no job runs."""

from __future__ import annotations

import asyncio
from itertools import repeat
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    RUN,
    Scripted,
    assert_accepted,
    assistant,
    connect,
    history,
    kinds,
    methods,
    refused,
    said,
    streamed,
    user,
)
from toolhouse_async import ConflictError, Session, TurnResult
from toolhouse_async.testing import EmulatorServer, WorkersEmulator

RUNS = history(user("hi"), job=JOB)
OVER = history(user("hi"), assistant("wait"))
DONE = streamed(said("done"))
CONFLICT = refused(409, job=JOB)
BARE_CONFLICT = refused(409)


async def put(server: Scripted, message: str = "next", **options: Any) -> TurnResult:
    async with connect(server) as toolhouse, toolhouse.session(AGENT, run_id=RUN) as session:
        return await session.send(message, **options)


@pytest.fixture
def worker(emulator: WorkersEmulator) -> None:
    """Starts a job of 30 s for the message ``compute`` and repeats others."""

    @emulator.worker(AGENT)
    async def worker(ctx):
        if ctx.message == "compute":
            yield ctx.background(asyncio.sleep, 30, "computed")
        yield ctx.text(f"[{ctx.message}:{ctx.job_result}]")


# The user's own message


@pytest.mark.parametrize("named", [True, False], ids=["job header", "no job header"])
async def test_wait_sends_the_users_message_as_the_resume(
    worker: None, emulator: WorkersEmulator, server: EmulatorServer, session: Session, named: bool
) -> None:
    emulator.conflict_job_header = named
    await session.send("compute", background="detach")
    events = [event async for event in session.stream("next")]
    names = kinds(events)
    assert [name for name in names if name.startswith("Job")] == ["JobStarted", "JobProgress", "JobFinished"]
    assert names[-2:] == ["TextDelta", "TurnCompleted"]
    assert events[-1].result.text == "[next:computed]"
    assert_accepted(server, "POST compute", "PUT next")


async def test_wait_sends_the_body_fields_with_the_message() -> None:
    async with Scripted(put=[CONFLICT, DONE], get=[RUNS, OVER]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, run_id=RUN, toolhouse_id="u", vars={"a": 1}, bundle="b")
        await session.send("next", extra_body={"x": 2})
    body = {"message": "next", "toolhouse_id": "u", "vars": {"a": 1}, "bundle": "b", "x": 2}
    assert [request.json() for request in server.requests if request.method == "PUT"] == [body, body]
    assert_accepted(server, "PUT next")


async def test_raise_raises_at_once(worker: None, server: EmulatorServer, session: Session) -> None:
    await session.send("compute", background="detach")
    with pytest.raises(ConflictError) as caught:
        await session.send("next", on_conflict="raise")
    assert caught.value.status == 409
    assert caught.value.run_id == session.run_id
    assert_accepted(server, "POST compute")
    assert methods(server) == "POST PUT"


async def test_a_refused_message_may_be_sent_again_safely() -> None:
    async with Scripted(put=[CONFLICT]) as server:
        with pytest.raises(ConflictError) as caught:
            await put(server, on_conflict="raise")
    assert caught.value.safe_to_retry is True


async def test_detach_does_not_detach_from_a_refused_message(
    worker: None, server: EmulatorServer, session: Session
) -> None:
    await session.send("compute", background="detach")
    assert (await session.send("next", background="detach")).text == "[next:computed]"
    assert_accepted(server, "POST compute", "PUT next")


async def test_detach_and_raise_raises_for_a_refused_message(
    worker: None, server: EmulatorServer, session: Session
) -> None:
    await session.send("compute", background="detach")
    with pytest.raises(ConflictError):
        await session.send("next", background="detach", on_conflict="raise")
    assert_accepted(server, "POST compute")


async def test_another_job_behind_the_wait_is_resumed_as_ever() -> None:
    async with Scripted(put=[CONFLICT, streamed(job="job-2"), DONE], get=[RUNS, OVER, OVER]) as server:
        result = await put(server)
    assert [job.job_id for job in result.jobs] == [JOB, "job-2"]
    assert_accepted(server, "PUT next", "PUT ")


async def test_the_users_message_meets_one_more_job() -> None:
    async with Scripted(put=[CONFLICT, CONFLICT, DONE], get=[RUNS, OVER, RUNS, OVER]) as server:
        assert (await put(server)).text == "done"
    assert_accepted(server, "PUT next")


# No job


async def test_without_a_job_the_message_is_sent_again_after_half_a_second() -> None:
    async with Scripted(put=[BARE_CONFLICT, DONE], get=[OVER]) as server:
        assert (await put(server)).text == "done"
    assert server.times("PUT") == pytest.approx([0, 0.5], abs=0.05)
    assert_accepted(server, "PUT next")


@pytest.mark.parametrize("on_conflict", ["wait", "raise"])
async def test_without_a_job_five_refusals_are_a_conflict(on_conflict: str) -> None:
    async with Scripted(put=[BARE_CONFLICT] * 5, get=[OVER] * 5) as server:
        with pytest.raises(ConflictError):
            await put(server, on_conflict=on_conflict)
    if on_conflict == "raise":
        assert methods(server) == "PUT"
        return
    assert methods(server).startswith("PUT GET PUT GET PUT GET PUT GET PUT")
    assert server.times("PUT") == pytest.approx([0, 0.5, 1.5, 3.5, 7.5], abs=0.05)
    assert_accepted(server)


async def test_a_job_that_hides_until_the_last_refusal_is_still_found() -> None:
    """The contract is silent here: a last read after the fifth refusal, since the job may show itself late."""
    async with Scripted(put=[*[BARE_CONFLICT] * 5, DONE], get=[*[OVER] * 4, RUNS, RUNS, OVER]) as server:
        assert (await put(server)).text == "done"
    assert_accepted(server, "PUT next")


async def test_a_job_found_between_two_refusals_is_waited_for() -> None:
    async with Scripted(put=[BARE_CONFLICT, BARE_CONFLICT, DONE], get=[OVER, RUNS, RUNS, OVER]) as server:
        result = await put(server)
    assert [job.job_id for job in result.jobs] == [JOB]
    assert_accepted(server, "PUT next")


# The automatic resume


async def test_a_resume_refused_by_a_running_job_goes_back_to_polling() -> None:
    async with (
        Scripted(post=[streamed(job=JOB)], get=[RUNS, OVER, RUNS, RUNS, OVER], put=[CONFLICT, DONE]) as server,
        connect(server) as toolhouse,
    ):
        assert (await toolhouse.run(AGENT, "hi")).text == "done"
    assert methods(server) == "POST GET GET PUT GET GET GET PUT"
    assert_accepted(server, "POST hi", "PUT ")


async def test_a_header_absent_once_is_no_lost_job(
    worker: None, emulator: WorkersEmulator, server: EmulatorServer, session: Session
) -> None:
    emulator.job_header_lag = 1
    assert (await session.send("compute")).text == "[compute:None][:computed]"
    assert_accepted(server, "POST compute", "PUT ")


@pytest.mark.parametrize("lag", [1, 4])
async def test_a_resume_refused_without_a_job_is_sent_again(
    worker: None, emulator: WorkersEmulator, server: EmulatorServer, session: Session, lag: int
) -> None:
    emulator.conflict_lag = lag
    assert (await session.send("compute")).text == "[compute:None][:computed]"
    assert_accepted(server, "POST compute", "PUT ")


async def test_a_resume_refused_for_ever_without_a_job_ends_in_a_conflict() -> None:
    async with (
        Scripted(post=[streamed(job=JOB)], get=repeat(OVER), put=[BARE_CONFLICT] * 5) as server,
        connect(server) as toolhouse,
    ):
        with pytest.raises(ConflictError):
            await toolhouse.run(AGENT, "hi")
    assert_accepted(server, "POST hi")


async def test_on_conflict_is_not_about_the_automatic_resume() -> None:
    async with (
        Scripted(post=[streamed(job=JOB)], get=[OVER, RUNS, OVER], put=[CONFLICT, DONE]) as server,
        connect(server) as toolhouse,
    ):
        assert (await toolhouse.run(AGENT, "hi", on_conflict="raise")).text == "done"
    assert_accepted(server, "POST hi", "PUT ")


async def test_a_resume_refused_by_429_is_sent_again_as_told() -> None:
    async with (
        Scripted(post=[streamed(job=JOB)], get=repeat(OVER), put=[refused(429, Retry_After="20"), DONE]) as server,
        connect(server) as toolhouse,
    ):
        assert (await toolhouse.run(AGENT, "hi")).text == "done"
    first, second = server.times("PUT")
    assert 20 <= second - first < 30
    assert_accepted(server, "POST hi", "PUT ")
