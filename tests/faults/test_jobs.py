"""Faults 47 to 57: background jobs, and the 409 that speaks of them."""

from __future__ import annotations

import asyncio
from itertools import chain, repeat
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    JOB_HEADER,
    RUN,
    Reply,
    assistant,
    broken_off,
    history,
    kinds,
    methods,
    pieces,
    refused,
    said,
    streamed,
    user,
)
from tests.support.raw_server import LAST_CHUNK, Request, chunk, fin, ndjson, response, rst
from toolhouse_async import (
    AuthenticationError,
    BodyTooLargeError,
    ConflictError,
    ContactLostError,
    JobFinished,
    JobStarted,
    JobToken,
    JobWaitTimeoutError,
    Limits,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    PollingPolicy,
    ResumeUncertainError,
    UncertainSessionError,
    UnprocessableEntityError,
)

from .support import DONE, Fault, now, slack, virtual_time
from .test_stream import flat_memory

WAIT = streamed(said("wait "), job=JOB)
RUNS = history(user("hi"), job=JOB)
OVER = history(user("hi"), assistant("wait "))


async def test_fault_47_job_header_over_several_rounds(fault: Fault) -> None:
    """The job header stands on the answer to the POST, and again on the answers to the resuming PUTs.

    Outcome: each job is waited for and the run resumed, in one turn.
    """
    more = [streamed(said("more "), job=f"job-{number}") for number in (2, 3)]
    runs = history(user("hi"), job="job-2")
    server = await fault.server(post=[WAIT], get=[RUNS, OVER, runs, OVER, OVER], put=[*more, DONE])
    result = await fault.read(fault.client(server).stream(AGENT, "hi"))
    assert [job.job_id for job in result.jobs] == [JOB, "job-2", "job-3"]
    assert result.text == "wait more more done"
    await fault.survived("POST hi", *["PUT "] * 3, delivered="wait more more done")


async def test_fault_48_job_header_absent_once(fault: Fault) -> None:
    """A poll has no job header although the job runs on, so that the resuming PUT gets 409.

    Outcome: back to polling, then resumed.
    """
    server = await fault.server(post=[WAIT], get=[OVER, RUNS, RUNS, OVER], put=[refused(409, job=JOB), DONE])
    await fault.read(fault.client(server).stream(AGENT, "hi"))
    assert methods(server) == "POST GET PUT GET GET GET PUT"
    await fault.survived("POST hi", "PUT ", delivered="wait done")


async def test_fault_49_job_never_ends(fault: Fault) -> None:
    """A job runs on and on.

    Outcome: ``JobWaitTimeoutError`` at ``PollingPolicy.deadline`` with a ``token``; with that another process goes on.
    """
    server = await fault.server(post=[WAIT], get=repeat(RUNS))
    later = await fault.server(put=[DONE], get=[RUNS, OVER])
    short = PollingPolicy(min_interval=0.01, max_interval=0.02, deadline=0.3)
    began = now()
    error = await fault.fails(JobWaitTimeoutError, fault.read(fault.client(server, polling=short).stream(AGENT, "hi")))
    assert 0.29 < now() - began < 2 + slack()
    token = JobToken.from_json(error.token.to_json())
    fault.show(token, token.to_json())
    assert (token.agent_id, token.run_id, token.job_id) == (AGENT, RUN, JOB)
    assert (await fault.client(later).wait_for_job(token)).text == "done"
    await fault.survived("POST hi", "PUT ", delivered="wait ")


HTML = response(200, {"Content-Type": "text/html"}, b"<html>502 Bad Gateway</html>", chunked=False)
BAD_POLLS: dict[str, Any] = {
    "500": refused(500),
    "503": refused(503),
    "408": refused(408),
    "429": refused(429, Retry_After="0.02"),
    "409": refused(409),
    "HTML": HTML,
    "not an array": response(200, {}, b'{"detail": "later"}', chunked=False),
    "no answer": broken_off(b"", fin),
    "reset": broken_off(b"", rst),
    "cut": broken_off(OVER[:-9], fin),
    "no HTTP": broken_off(b"SSH-2.0-x\r\n", fin),
}


@pytest.mark.parametrize("name", BAD_POLLS)
async def test_fault_50_bad_polls(fault: Fault, name: str) -> None:
    """Polls are answered with 408, 409, 429, 5xx, a web page or no history, cut, or not at all.

    Outcome: none of them ends the wait or is taken for the end of the job.
    """
    bad = BAD_POLLS[name]
    server = await fault.server(post=[WAIT], get=[RUNS, bad, bad, RUNS, bad, OVER], put=[DONE])
    await fault.read(fault.client(server).stream(AGENT, "hi"))
    assert methods(server) == "POST GET GET GET GET GET GET PUT"
    await fault.survived("POST hi", "PUT ", delivered="wait done")


async def test_fault_50_only_bad_polls(fault: Fault) -> None:
    """No poll succeeds any more.

    Outcome: ``ContactLostError`` with a ``token`` once the budget of failures and their window are used up.
    """
    server = await fault.server(post=[WAIT], get=repeat(refused(502)))
    polling = PollingPolicy(min_interval=0.01, max_interval=0.02, failure_budget=3, failure_window=0.1)
    error = await fault.fails(ContactLostError, fault.read(fault.client(server, polling=polling).stream(AGENT, "hi")))
    assert error.token.job_id == JOB
    await fault.survived("POST hi", delivered="wait ")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (422, UnprocessableEntityError),
    ],
)
async def test_fault_51_polls_refused_for_good(fault: Fault, status: int, kind: Any) -> None:
    """A poll gets 401, 403 or 422, or 404 for a run that is not new.

    Outcome: that error now.
    """
    server = await fault.server(get=[RUNS, refused(status)])
    waiter = fault.client(server).session(AGENT, run_id=RUN).wait_for_job()
    await fault.fails(kind, waiter.result())
    assert methods(server) == "GET GET"
    await fault.survived()


@virtual_time("a run is new for 5 s")
@pytest.mark.parametrize("age", [0, 6])
async def test_fault_51_run_not_found(fault: Fault, age: float) -> None:
    """A poll gets 404 for a run that this client has just started, or started a while ago.

    Outcome: a new run may take a moment to appear: two more tries within 5 s; else ``NotFoundError`` now.
    """
    server = await fault.server(post=[WAIT], get=[refused(404), refused(404), OVER], put=[DONE])
    polling = PollingPolicy(min_interval=1 + age, max_interval=10, jitter=0)
    turn = fault.client(server, polling=polling).stream(AGENT, "hi")
    if age:
        await fault.fails(NotFoundError, fault.read(turn))
        await fault.survived("POST hi", delivered="wait ")
    else:
        await fault.read(turn)
        await fault.survived("POST hi", "PUT ", delivered="wait done")


async def test_fault_52_job_id_changes(fault: Fault) -> None:
    """A poll names another job than the one that is waited for.

    Outcome: the first is taken for over, the second is followed, and the run is resumed once.
    """
    server = await fault.server(post=[WAIT], get=[RUNS, history(job="job-2"), history(job="job-2"), OVER], put=[DONE])
    await fault.read(fault.client(server).stream(AGENT, "hi"))
    seen = [(type(event), event.job_id) for event in fault.events if isinstance(event, JobStarted | JobFinished)]
    assert seen == [(JobStarted, JOB), (JobFinished, JOB), (JobStarted, "job-2"), (JobFinished, "job-2")]
    await fault.survived("POST hi", "PUT ", delivered="wait done")


async def test_fault_53_two_tasks_continue_the_same_run(fault: Fault) -> None:
    """Two tasks, with a session each, continue the same run at the same time.

    Outcome: one message after the other, in the order they were asked for.
    """
    running = most = 0

    async def slowly(reader: Any, writer: asyncio.StreamWriter, request: Request) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await pieces([ndjson(said(request.json()["message"]))], pause=0.01)(reader, writer, request)
        running -= 1

    server = await fault.server(put=[slowly] * 6)
    client = fault.client(server)
    results = await asyncio.gather(
        *(client.session(AGENT, run_id=RUN).send(str(n)) for n in range(6)),
    )
    assert [result.text for result in results] == list("012345")
    assert most == 1
    await fault.survived(*(f"PUT {n}" for n in range(6)))


async def test_fault_54_conflict_after_our_own_unknown_message(fault: Fault) -> None:
    """A PUT was cut, and had been accepted: the next one would meet the 409 of its job.

    Outcome: before anything is sent the history is read, which shows the message: ``UncertainSessionError``, not sent;
    ``reconcile()`` waits for the job and brings the answer.
    """
    begun = (user("hi"), assistant("done"), user("two"))
    runs, over = history(*begun, job=JOB), history(*begun, assistant("answer "))
    server = await fault.server(
        post=[DONE], put=[broken_off(b"", fin), DONE], get=[runs, runs, over, over, *[over] * 40]
    )
    session = fault.client(server).session(AGENT)
    await session.send("hi")
    await fault.fails(OutcomeUnknownError, session.send("two"))
    error = await fault.fails(UncertainSessionError, session.send("three"))
    assert error.safe_to_retry is True
    assert methods(server) == "POST PUT GET"
    result = await session.reconcile()
    assert result is not None
    assert result.text.endswith("done")
    await fault.survived("POST hi", "PUT two", "PUT ")


async def test_fault_54_unknown_message_that_did_not_arrive(fault: Fault) -> None:
    """A PUT was cut, and had not been accepted.

    Outcome: the history is read until that is certain, then the next message is sent.
    """
    server = await fault.server(
        post=[DONE], put=[broken_off(b"", fin), DONE], get=repeat(history(user("hi"), assistant("done")))
    )
    session = fault.client(server).session(AGENT)
    await session.send("hi")
    await fault.fails(OutcomeUnknownError, session.send("two"))
    assert (await session.send("three")).text == "done"
    assert methods(server).startswith("POST PUT GET")
    assert methods(server).endswith("GET PUT")
    await fault.survived("POST hi", "PUT two", "PUT three")


@virtual_time("the pauses add up to 7.5 s")
async def test_fault_55_conflict_without_a_job(fault: Fault) -> None:
    """The service answers 409, and no job is to be seen.

    Outcome: the history is looked at and the PUT sent again after growing pauses, then ``ConflictError``.
    """
    server = await fault.server(put=repeat(refused(409)), get=repeat(OVER))
    began = now()
    await fault.fails(ConflictError, fault.client(server).session(AGENT, run_id=RUN).send("hi"))
    assert 7.4 < now() - began < 9 + slack()
    assert methods(server) == "PUT" + " GET PUT" * 4 + " GET"
    await fault.survived()


@virtual_time("the first pause is 0.5 s")
async def test_fault_55_conflict_that_passes(fault: Fault) -> None:
    """The service answers 409 once, and no job is to be seen.

    Outcome: the same message is sent again and accepted.
    """
    server = await fault.server(put=[refused(409), DONE], get=[OVER])
    await fault.read(fault.client(server).session(AGENT, run_id=RUN).stream("hi"))
    await fault.survived("PUT hi", delivered="done")


LOST: dict[str, Any] = {"FIN": broken_off(b"", fin), "RST": broken_off(b"", rst), "502": refused(502)}


@pytest.mark.parametrize("name", LOST)
async def test_fault_56_resume_cut(fault: Fault, name: str) -> None:
    """The resuming PUT gets no answer, or 502, and had been accepted.

    Outcome: its answer is found in the history; it is not sent again.
    """
    resumed = history(user("hi"), assistant("wait "), user(""), assistant("done"))
    server = await fault.server(post=[WAIT], get=[OVER, *[resumed] * 40], put=[LOST[name]] * 2)
    result = await fault.read(fault.client(server).stream(AGENT, "hi"))
    assert (result.text, result.recovered) == ("wait done", True)
    assert kinds(fault.events)[-1] == "TurnCompleted"
    await fault.survived("POST hi", "PUT ", delivered="wait done")


@pytest.mark.parametrize("name", LOST)
async def test_fault_56_resume_cut_and_nobody_knows(fault: Fault, name: str) -> None:
    """The resuming PUT gets no answer, or 502, and the history is written anew: nothing shows what became of it.

    Outcome: ``ResumeUncertainError`` with a ``token``; it is not sent again.
    """
    other = history(user("hi"), assistant("in short: wait"))
    server = await fault.server(post=[WAIT], get=chain([OVER], repeat(other)), put=[LOST[name]] * 2)
    error = await fault.fails(ResumeUncertainError, fault.read(fault.client(server).stream(AGENT, "hi")))
    assert error.token.job_id == JOB
    assert error.safe_to_retry is not True
    await fault.survived("POST hi", "PUT ", delivered="wait ")


def pours(megabytes: int, **headers: str) -> Reply:
    """A history of that size, of which the server too holds only a piece at a time."""

    async def reply(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(response(200, headers, b'[{"role": "user", "content": "', ends=False))
        for _ in range(16 * megabytes):
            writer.write(chunk(b"x" * 62_500))
            await writer.drain()
        writer.write(chunk(b'"}]') + LAST_CHUNK)

    return reply


async def test_fault_57_huge_history(fault: Fault) -> None:
    """The history has 20 MB, while the job runs and after it.

    Outcome: polls do not hold it in memory; the read that ends the wait does, unless it passes ``Limits.max_body``.
    """
    runs = pours(20, **{JOB_HEADER: JOB})
    server = await fault.server(post=[WAIT], get=[runs, runs, runs, pours(20)])
    client = fault.client(server, limits=Limits(max_body=2_000_000))
    with flat_memory(6_000_000):
        await fault.fails(BodyTooLargeError, fault.read(client.stream(AGENT, "hi")))
    assert methods(server) == "POST GET GET GET GET"
    await fault.survived("POST hi", delivered="wait ")


async def test_fault_57_huge_history_without_a_cap(fault: Fault) -> None:
    """The same without ``Limits.max_body``.

    Outcome: works.
    """
    server = await fault.server(post=[WAIT], get=[pours(20, **{JOB_HEADER: JOB}), pours(20)], put=[DONE])
    await fault.read(fault.client(server).stream(AGENT, "hi"))
    await fault.survived("POST hi", "PUT ", delivered="wait done")
