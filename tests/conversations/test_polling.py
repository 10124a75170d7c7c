"""The cadence of polls, what they tolerate, and when a job counts as over."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import chain, repeat
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
    broken_off,
    connect,
    falls_silent,
    history,
    methods,
    now,
    refused,
    said,
    streamed,
    user,
)
from tests.support.raw_server import fin, response, rst
from toolhouse_async import (
    APIStatusError,
    AsyncToolhouse,
    AuthenticationError,
    ContactLostError,
    JobProgress,
    JobStarted,
    JobWaitTimeoutError,
    Limits,
    NotFoundError,
    PermissionDeniedError,
    PollingPolicy,
    Timeouts,
    TooManyRoundsError,
    TurnResult,
    UnprocessableEntityError,
)

RUNS = history(user("hi"), job=JOB)
OVER = history(user("hi"), assistant("wait"))
EVERY_10 = PollingPolicy(min_interval=10, max_interval=10, jitter=0)
STEADY = PollingPolicy(min_interval=1, max_interval=1, jitter=0)


def job_server(*polls: Reply, then: Any = (OVER,)) -> Scripted:
    """A server whose answer to a POST starts a job, with the answers to the polls of it."""
    return Scripted(post=[streamed(said("wait "), job=JOB)], get=chain(polls, then), put=[streamed(said("done"))])


async def run(server: Scripted, polling: PollingPolicy = STEADY, **options: Any) -> TurnResult:
    async with connect(server, polling=polling, **options) as toolhouse:
        return await toolhouse.run(AGENT, "hi")


def pauses(times: list[float], start: float = 0.0) -> list[float]:
    return [later - earlier for earlier, later in zip([start, *times], times, strict=False)]


# Cadence


async def test_the_pauses_follow_the_formula() -> None:
    async with job_server(*[RUNS] * 40) as server:
        await run(server, PollingPolicy())
    times = server.times("GET")
    assert 0.5 <= times[0] <= 1.5
    for elapsed, pause in zip(times, pauses(times)[1:], strict=False):
        base = min(max(0.15 * elapsed, 1.0), 10.0)
        assert 0.8 * base - 0.01 <= pause <= 1.2 * base + 0.01
    assert pauses(times)[-1] > 7.9


async def test_jitter_varies_the_pauses() -> None:
    async with job_server(*[RUNS] * 30) as server:
        await run(server, PollingPolicy(min_interval=10, max_interval=10))
    spread = pauses(server.times("GET"))[1:]
    assert min(spread) < 9.9
    assert max(spread) > 10.1


async def test_without_jitter_the_formula_holds_exactly() -> None:
    async with job_server(*[RUNS] * 30) as server:
        await run(server, PollingPolicy(min_interval=2, max_interval=6, growth=0.5, jitter=0))
    times = server.times("GET")
    expected = [min(max(0.5 * elapsed, 2.0), 6.0) for elapsed in times[:-1]]
    assert pauses(times)[1:] == pytest.approx(expected, abs=0.05)


async def test_progress_says_when_the_next_poll_comes() -> None:
    async with job_server(*[RUNS] * 10) as server, connect(server) as toolhouse:
        events = [event async for event in toolhouse.stream(AGENT, "hi")]
    times = server.times("GET")
    progress = [event for event in events if isinstance(event, JobProgress)]
    assert len(progress) == 10
    assert [event.elapsed for event in progress] == pytest.approx(times[:-1], abs=0.05)
    assert [event.next_poll for event in progress] == pytest.approx(pauses(times)[1:], abs=0.05)


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    "answer",
    [
        lambda wait: history(job=JOB, headers={"Retry-After": wait}),
        lambda wait: refused(429, Retry_After=wait),
        lambda wait: refused(503, Retry_After=wait),
    ],
    ids=["200", "429", "503"],
)
@pytest.mark.parametrize("wait", ["30", "date"])
async def test_retry_after_is_a_floor(answer: Any, wait: str) -> None:
    async with job_server(answer(in_seconds(30) if wait == "date" else wait)) as server:
        await run(server)
    assert 28.5 <= pauses(server.times("GET"))[1] <= 36.1


async def test_retry_after_below_the_cadence_changes_nothing() -> None:
    async with job_server(history(job=JOB, headers={"Retry-After": "1"})) as server:
        await run(server, EVERY_10)
    assert pauses(server.times("GET"))[1] == pytest.approx(10, abs=0.05)


@pytest.mark.parametrize("wait", ["3600", "1e99", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_retry_after_is_capped_at_a_minute(wait: str) -> None:
    async with job_server(history(job=JOB, headers={"Retry-After": wait})) as server:
        await run(server)
    assert pauses(server.times("GET"))[1] <= 72.1


@pytest.mark.parametrize("wait", ["0", "-1", "nan", "inf", "", "soon", "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 00 Foo"])
async def test_a_senseless_retry_after_changes_nothing(wait: str) -> None:
    async with job_server(history(job=JOB, headers={"Retry-After": wait})) as server:
        await run(server)
    assert pauses(server.times("GET"))[1] <= 60.1


# Over


NOT_OVER = {
    "500": refused(500),
    "502 with HTML": refused(502, b"<html>Bad gateway</html>"),
    "503": refused(503),
    "504": refused(504),
    "429": refused(429),
    "408": refused(408),
    "425": refused(425),
    "409": refused(409),
    "200 with HTML": response(200, {"Content-Type": "text/html"}, b"<html>Log in</html>", chunked=False),
    "200 with an object": response(200, {"Content-Type": "application/json"}, b'{"status": "?"}', chunked=False),
    "200 with nothing": response(200, {"Content-Type": "application/json"}, b"", chunked=False),
    "200 with half an array": response(200, {"Content-Type": "application/json"}, b'[{"role": ', chunked=False),
    "cut by FIN": broken_off(response(200, body=b'[{"role": "user", "content": "hi"}', ends=False), fin),
    "cut by RST": broken_off(response(200, body=b"[]", ends=False), rst),
    "cut within its length": broken_off(response(200, {"Content-Length": "9"}, b"[]", chunked=False), fin),
    "dropped": broken_off(b"", fin),
    "reset": broken_off(b"", rst),
    "not HTTP": broken_off(b"SSH-2.0-OpenSSH_9.6\r\n", fin),
}


@pytest.mark.parametrize("fault", NOT_OVER.values(), ids=NOT_OVER)
async def test_a_poll_that_proves_nothing_is_tolerated(fault: Reply) -> None:
    async with job_server(RUNS, fault, RUNS, fault, fault) as server:
        result = await run(server)
    assert result.text == "wait done"
    assert methods(server) == "POST GET GET GET GET GET GET PUT"
    assert_accepted(server, "POST hi", "PUT ")


async def test_a_poll_without_an_answer_is_tolerated() -> None:
    async with job_server(falls_silent(), RUNS) as server:
        result = await run(server, timeouts=Timeouts(response=5, idle=5))
    assert result.text == "wait done"
    assert_accepted(server, "POST hi", "PUT ")


async def test_polls_that_find_nobody_listening_are_tolerated() -> None:
    async with job_server(RUNS) as server, connect(server, polling=EVERY_10) as toolhouse:
        port = server.port
        async with toolhouse.stream(AGENT, "hi") as turn:
            async for event in turn:
                if isinstance(event, JobStarted):
                    break
            async with asyncio.timeout(100):
                await server.__aexit__(None)
                rest = asyncio.ensure_future(turn.result())
                await asyncio.sleep(25)
                server._server = await asyncio.start_server(server._accept, "127.0.0.1", port)
                assert (await rest).text == "wait done"
    assert_accepted(server, "POST hi", "PUT ")


async def test_one_good_poll_without_the_header_ends_the_wait() -> None:
    async with job_server(RUNS) as server:
        await run(server)
    assert methods(server) == "POST GET GET PUT"


async def test_an_empty_history_without_the_header_is_over() -> None:
    async with job_server(then=[history()]) as server:
        await run(server)
    assert methods(server) == "POST GET PUT"


async def test_a_running_job_is_known_by_its_header_whatever_the_body() -> None:
    html = response(200, {"x-toolhouse-job-id": JOB}, b"<html>", chunked=False)
    empty = response(200, {"X-TOOLHOUSE-JOB-ID": JOB}, b"", chunked=False)
    async with job_server(*[html, empty] * 10) as server:
        await run(server, EVERY_10)
    assert methods(server).count("GET") == 21


# Giving up


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, AuthenticationError), (403, PermissionDeniedError), (410, APIStatusError), (422, UnprocessableEntityError)],
)
async def test_a_poll_that_is_refused_raises_at_once(status: int, error: type[APIStatusError]) -> None:
    async with job_server(RUNS, refused(status), then=[]) as server:
        with pytest.raises(error) as caught:
            await run(server)
    assert caught.value.status == status
    assert caught.value.run_id == RUN
    assert methods(server) == "POST GET GET"


async def test_404_for_a_young_run_gets_two_more_tries() -> None:
    async with job_server(refused(404), refused(404)) as server:
        assert (await run(server)).text == "wait done"
    assert_accepted(server, "POST hi", "PUT ")


async def test_404_for_a_young_run_gets_no_third_try_more() -> None:
    async with job_server(*[refused(404)] * 3, then=[]) as server:
        with pytest.raises(NotFoundError):
            await run(server)
    assert methods(server) == "POST GET GET GET"


async def test_404_for_an_older_run_raises_at_once() -> None:
    async with job_server(refused(404), then=[]) as server:
        with pytest.raises(NotFoundError):
            await run(server, PollingPolicy(min_interval=11, max_interval=11))
    assert methods(server) == "POST GET"


async def test_many_failures_within_the_window_are_tolerated() -> None:
    async with job_server(RUNS, *[refused(500)] * 30) as server:
        assert (await run(server)).text == "wait done"


async def test_few_failures_beyond_the_window_are_tolerated() -> None:
    async with job_server(RUNS, *[refused(500)] * 4) as server:
        assert (await run(server, PollingPolicy(min_interval=40, max_interval=40, jitter=0))).text == "wait done"


async def test_contact_is_lost_once_budget_and_window_are_both_passed() -> None:
    async with job_server(RUNS, then=repeat(refused(500))) as server:
        started = now()
        with pytest.raises(ContactLostError) as caught:
            await run(server)
        assert 60 <= now() - started < 66
    assert caught.value.token is not None
    assert (caught.value.token.run_id, caught.value.token.job_id) == (RUN, JOB)
    assert caught.value.run_id == RUN
    assert_accepted(server, "POST hi")


async def test_failures_are_counted_anew_after_a_good_poll() -> None:
    polls = [*[refused(500)] * 4, RUNS] * 5
    async with job_server(*polls) as server:
        assert (await run(server, PollingPolicy(min_interval=30, max_interval=30))).text == "wait done"


# Deadline and rounds


async def test_past_the_deadline_the_wait_ends_with_a_token() -> None:
    async with job_server(then=repeat(RUNS)) as server:
        with pytest.raises(JobWaitTimeoutError) as caught:
            await run(server, PollingPolicy(deadline=45))
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.token is not None
    assert (caught.value.token.agent_id, caught.value.token.run_id, caught.value.token.job_id) == (AGENT, RUN, JOB)
    assert_accepted(server, "POST hi")


async def test_the_deadline_polls_once_more_before_giving_up() -> None:
    async with job_server(then=repeat(RUNS)) as server:
        with pytest.raises(JobWaitTimeoutError):
            await run(server, PollingPolicy(min_interval=100, max_interval=100, jitter=0, deadline=330))
    assert server.times("GET")[-1] == pytest.approx(330, abs=0.1)


async def test_a_job_that_is_over_at_the_deadlines_last_poll_is_resumed() -> None:
    async with job_server() as server:
        assert (await run(server, PollingPolicy(min_interval=100, max_interval=100, deadline=40))).text == "wait done"
    assert server.times("GET") == pytest.approx([40], abs=0.1)


async def test_the_deadline_counts_per_job() -> None:
    second = "job-2"
    async with Scripted(
        post=[streamed(job=JOB)],
        get=[*[RUNS] * 30, OVER, *[history(job=second)] * 30, OVER],
        put=[streamed(job=second), streamed(said("done"))],
    ) as server:
        assert (await run(server, PollingPolicy(min_interval=1, max_interval=1, deadline=40))).text == "done"
    assert_accepted(server, "POST hi", "PUT ", "PUT ")


async def test_without_a_deadline_the_wait_takes_as_long_as_the_job() -> None:
    async with job_server(*[RUNS] * 30) as server:
        started = now()
        await run(server, PollingPolicy(deadline=None, min_interval=100, max_interval=100))
        assert now() - started > 2400


async def test_a_job_of_half_an_hour_is_within_the_default_deadline() -> None:
    polls = (RUNS for _ in iter(lambda: now() < 1000 + 1750, False))
    async with job_server(then=chain(polls, [OVER])) as server:
        assert (await run(server, PollingPolicy())).text == "wait done"


async def test_too_many_jobs_one_after_another_end_the_turn() -> None:
    jobs = (history(user("hi"), job=f"job-{number}") for number in range(1, 9))
    async with Scripted(post=[streamed(job="job-0")], get=jobs) as server:
        with pytest.raises(TooManyRoundsError):
            await run(server, PollingPolicy(max_rounds=3))
    assert_accepted(server, "POST hi")


async def test_too_many_rounds_end_the_turn() -> None:
    async with Scripted(
        post=[streamed(job="job-0")],
        get=repeat(OVER),
        put=(streamed(job=f"job-{number}") for number in range(1, 9)),
    ) as server:
        with pytest.raises(TooManyRoundsError) as caught:
            await run(server, PollingPolicy(max_rounds=3))
    assert caught.value.token is not None
    assert_accepted(server, "POST hi", "PUT ", "PUT ", "PUT ")


async def test_a_job_id_that_changes_mid_wait_is_followed() -> None:
    async with (
        job_server(RUNS, history(job="job-2"), history(job="job-2")) as server,
        connect(server) as toolhouse,
        toolhouse.stream(AGENT, "hi") as turn,
    ):
        progress = [event.job_id async for event in turn if isinstance(event, JobProgress)]
        result = await turn.result()
    assert progress == [JOB, "job-2", "job-2"]
    assert result.text == "wait done"
    assert_accepted(server, "POST hi", "PUT ")


async def test_large_histories_of_a_running_job_are_no_hindrance() -> None:
    large = [user("x" * 1000)] * 2000
    async with job_server(*[history(*large, job=JOB)] * 5, then=[history(*large)]) as server:
        assert (await run(server)).text == "wait done"
    assert_accepted(server, "POST hi", "PUT ")


# At once


async def test_at_most_max_in_flight_polls_are_under_way() -> None:
    open_polls: list[int] = []
    count = 0

    async def slow(_: object, writer: Any, request: Any) -> None:
        nonlocal count
        count += 1
        open_polls.append(count)
        await asyncio.sleep(3)
        writer.write(OVER)
        count -= 1

    async with (
        Scripted(
            post=(streamed(job=JOB, run=f"run-{number}") for number in range(9)),
            get=repeat(slow),
            put=repeat(streamed(said("done"))),
        ) as server,
        connect(server, polling=PollingPolicy(max_in_flight=2)) as toolhouse,
    ):
        await asyncio.gather(*(toolhouse.run(AGENT, "hi") for _ in range(9)))
    assert max(open_polls) == 2


async def test_polls_do_not_wait_for_a_connection_behind_streams() -> None:
    async with (
        Scripted(
            post=[streamed(said("wait "), job=JOB), falls_silent(streamed(said("half"), ends=False))],
            get=repeat(OVER),
            put=[streamed(said("done"))],
        ) as server,
        connect(server, limits=Limits(max_connections=1)) as toolhouse,
    ):
        await _poll_while_streaming(toolhouse)


async def _poll_while_streaming(toolhouse: AsyncToolhouse) -> None:
    detached = await toolhouse.run(AGENT, "hi", background="detach")
    async with toolhouse.stream(AGENT, "long") as stream:
        async for event in stream:
            if getattr(event, "text", "") == "half":
                break
        assert detached.token is not None
        status = await toolhouse.wait_for_job(detached.token).wait()
        assert not status.running
