"""Every path through the flow chart of the documents, on both endpoint families."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise

import pytest

from tests.conversations.support import AGENT, assert_accepted, kinds, methods, text_of
from toolhouse_async import (
    AsyncToolhouse,
    JobFinished,
    JobProgress,
    JobStarted,
    Session,
    TurnCompleted,
    TurnResumed,
    TurnStarted,
)
from toolhouse_async.testing import EmulatorServer, WorkersEmulator

WITH_A_JOB = ["JobStarted", "JobProgress", "JobFinished", "TurnResumed", "TextDelta"]


def prefix_of(family: str) -> str:
    return "/ndjson" if family == "ndjson" else ""


@pytest.fixture
def jobs(emulator: WorkersEmulator) -> list[float]:
    """Seconds of the jobs that worker still starts; each answer tells how many are left."""
    seconds: list[float] = []

    @emulator.worker(AGENT)
    async def worker(ctx):
        if seconds:
            yield ctx.background(asyncio.sleep, seconds.pop(0))
        yield ctx.text(f"[{len(seconds)} left]")

    return seconds


async def test_post_without_a_job_is_streamed(
    jobs: list[float], server: EmulatorServer, session: Session, family: str
) -> None:
    events = [event async for event in session.stream("hi", format=family)]
    assert kinds(events) == ["TurnStarted", "TextDelta", "TurnCompleted"]
    assert events[0] == TurnStarted(AGENT, session.run_id)
    assert text_of(events) == "[0 left]"
    assert server.requests[0].path == f"{prefix_of(family)}/{AGENT}"
    assert methods(server) == ("POST" if family == "ndjson" else "POST GET")  # text does not show a job that began
    assert_accepted(server, "POST hi")


async def test_a_later_turn_puts_and_is_streamed(
    jobs: list[float], server: EmulatorServer, session: Session, family: str
) -> None:
    await session.send("hi", format=family)
    events = [event async for event in session.stream("more", format=family)]
    assert kinds(events) == ["TurnStarted", "TextDelta", "TurnCompleted"]
    assert server.requests[-1].path == f"{prefix_of(family)}/{AGENT}/{session.run_id}"
    assert_accepted(server, "POST hi", "PUT more")


async def test_post_with_a_job_is_polled_and_resumed(
    jobs: list[float], server: EmulatorServer, session: Session, family: str
) -> None:
    jobs[:] = [30.0]
    events = [event async for event in session.stream("hi", format=family)]
    assert kinds(events) == ["TurnStarted", "TextDelta", *WITH_A_JOB, "TurnCompleted"]
    assert_accepted(server, "POST hi", "PUT ")
    assert re.fullmatch("POST (GET )+PUT( GET)?", methods(server))


async def test_put_with_a_job_is_polled_and_resumed(
    jobs: list[float], server: EmulatorServer, session: Session, family: str
) -> None:
    await session.send("hi", format=family)
    jobs[:] = [30.0]
    events = [event async for event in session.stream("more", format=family)]
    assert kinds(events) == ["TurnStarted", "TextDelta", *WITH_A_JOB, "TurnCompleted"]
    assert_accepted(server, "POST hi", "PUT more", "PUT ")


async def test_a_resume_with_a_job_is_polled_and_resumed_again(
    jobs: list[float], server: EmulatorServer, session: Session, family: str
) -> None:
    jobs[:] = [20.0, 30.0, 40.0]
    events = [event async for event in session.stream("hi", format=family)]
    assert kinds(events) == ["TurnStarted", "TextDelta", *WITH_A_JOB * 3, "TurnCompleted"]
    assert [event.round for event in events if isinstance(event, TurnResumed)] == [1, 2, 3]
    assert text_of(events) == "[2 left][1 left][0 left][0 left]"
    assert_accepted(server, "POST hi", "PUT ", "PUT ", "PUT ")
    assert re.fullmatch("POST (GET )+PUT (GET )+PUT (GET )+PUT( GET)?", methods(server))


async def test_polls_read_without_ndjson_and_resumes_keep_the_family(
    jobs: list[float], server: EmulatorServer, session: Session, family: str
) -> None:
    jobs[:] = [10.0]
    await session.send("hi", format=family)
    paths = {request.method: request.path for request in server.requests}
    assert paths == {
        "POST": f"{prefix_of(family)}/{AGENT}",
        "GET": f"/{AGENT}/{session.run_id}",
        "PUT": f"{prefix_of(family)}/{AGENT}/{session.run_id}",
    }


async def test_events_of_an_answer_with_a_job_come_before_the_job(
    emulator: WorkersEmulator, server: EmulatorServer, session: Session
) -> None:
    @emulator.worker(AGENT)
    async def worker(ctx):
        if ctx.message:
            yield ctx.background(asyncio.sleep, 10)
            yield ctx.text("Let me compute. ")
            yield ctx.tool_call("code_interpreter", {"code": "1 + 1"})
        else:
            yield ctx.text("Done.")

    events = [event async for event in session.stream("hi")]
    assert kinds(events) == ["TurnStarted", "TextDelta", "ToolCall", *WITH_A_JOB, "TurnCompleted"]
    assert_accepted(server, "POST hi", "PUT ")


async def test_an_answer_with_a_job_may_have_no_body(
    jobs: list[float], emulator: WorkersEmulator, server: EmulatorServer, session: Session, family: str
) -> None:
    emulator.job_answer_body = False
    jobs[:] = [10.0]
    events = [event async for event in session.stream("hi", format=family)]
    assert kinds(events) == ["TurnStarted", *WITH_A_JOB, "TurnCompleted"]
    assert_accepted(server, "POST hi", "PUT ")


async def test_a_job_that_begins_mid_stream_is_found_after_it(
    emulator: WorkersEmulator, server: EmulatorServer, session: Session
) -> None:
    @emulator.worker(AGENT)
    async def worker(ctx):
        if ctx.message:
            yield ctx.text("Let me compute. ")
            yield ctx.tool_call("code_interpreter")
            yield ctx.background(asyncio.sleep, 10)
        else:
            yield ctx.text("Done.")

    events = [event async for event in session.stream("hi")]
    assert kinds(events) == ["TurnStarted", "TextDelta", "ToolCall", *WITH_A_JOB, "TurnCompleted"]
    assert text_of(events) == "Let me compute. Done."
    assert_accepted(server, "POST hi", "PUT ")


async def test_a_job_that_failed_is_resumed_like_one_that_finished(
    emulator: WorkersEmulator, server: EmulatorServer, session: Session
) -> None:
    async def fail():
        raise RuntimeError("out of memory")

    @emulator.worker(AGENT)
    async def worker(ctx):
        if ctx.message:
            yield ctx.background(fail)
        else:
            yield ctx.text(ctx.job_result)

    assert (await session.send("hi")).text == "RuntimeError: out of memory"
    assert_accepted(server, "POST hi", "PUT ")


async def test_the_resume_message_is_a_setting(jobs: list[float], server: EmulatorServer, session: Session) -> None:
    jobs[:] = [5.0, 5.0]
    await session.send("hi", resume_message="continue")
    assert_accepted(server, "POST hi", "PUT continue", "PUT continue")


async def test_a_fresh_conversation_goes_on_while_a_job_runs(
    jobs: list[float], server: EmulatorServer, toolhouse: AsyncToolhouse
) -> None:
    jobs[:] = [60.0]
    async with toolhouse.stream(AGENT, "long") as turn:
        async for event in turn:
            if isinstance(event, JobStarted):
                assert (await toolhouse.run(AGENT, "short")).text == "[0 left]"
    assert_accepted(server, "POST long", "POST short", "PUT ")


async def test_job_events_tell_of_one_job(jobs: list[float], server: EmulatorServer, session: Session) -> None:
    jobs[:] = [30.0]
    events = [event async for event in session.stream("hi")]
    progress = [event for event in events if isinstance(event, JobProgress)]
    (started,) = (event for event in events if isinstance(event, JobStarted))
    (finished,) = (event for event in events if isinstance(event, JobFinished))
    assert {event.job_id for event in progress} == {started.job_id} == {finished.job_id}
    assert [event.polls for event in progress] == list(range(1, len(progress) + 1))
    assert finished.polls == len(progress) + 1 == methods(server).count("GET")
    assert [event.elapsed for event in progress] == sorted(event.elapsed for event in progress)
    assert 30.0 <= finished.elapsed < 42.0
    for earlier, later in pairwise(progress):
        assert later.elapsed == pytest.approx(earlier.elapsed + earlier.next_poll, abs=0.1)


async def test_turn_completed_is_the_last_event_and_holds_the_result(
    jobs: list[float], session: Session, family: str
) -> None:
    jobs[:] = [5.0]
    turn = session.stream("hi", format=family)
    events = [event async for event in turn]
    assert [type(event) for event in events].count(TurnCompleted) == 1
    assert events[-1] == TurnCompleted(await turn.result())


async def test_a_job_in_a_thread_is_waited_for(
    emulator: WorkersEmulator, server: EmulatorServer, session: Session
) -> None:
    @emulator.worker(AGENT)
    async def worker(ctx):
        if ctx.message:
            yield ctx.background(sum, [1, 2, 3])
        else:
            yield ctx.text(str(ctx.job_result))

    assert (await session.send("hi")).text == "6"
    assert_accepted(server, "POST hi", "PUT ")
