from __future__ import annotations

from typing import Any

import pytest

from toolhouse_async import (
    AuthenticationError,
    BodyTooLargeError,
    ConflictError,
    ContactLostError,
    JobStatus,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PollingPolicy,
    ProtocolError,
    RateLimitError,
    ServerError,
    SessionBusyError,
    StreamInterruptedError,
    TLSError,
    ToolhouseError,
    UnexpectedContentError,
)
from toolhouse_async._turn.polls import YOUNG, YOUNG_TRIES, Patience, Polls, Report, asked_for, tolerated
from toolhouse_async.errors import APIStatusError


def status(code: int, kind: type[APIStatusError] = APIStatusError) -> APIStatusError:
    return kind("x", status=code)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotSentError(), True),
        (OutcomeUnknownError(), True),
        (StreamInterruptedError(), True),
        (ProtocolError(), True),
        (UnexpectedContentError(), True),
        (status(408), True),
        (status(425), True),
        (status(409, ConflictError), True),
        (status(429, RateLimitError), True),
        (status(500, ServerError), True),
        (status(599, ServerError), True),
        (TLSError(), False),
        (BodyTooLargeError(), False),
        (status(404, NotFoundError), False),
        (status(401, AuthenticationError), False),
        (status(410), False),
        (SessionBusyError(), False),
    ],
)
def test_which_failures_leave_the_question_open(error: Any, expected: bool) -> None:
    assert tolerated(error) is expected


POLICY = PollingPolicy(min_interval=10, max_interval=100, growth=0.5, jitter=0, failure_budget=3, failure_window=40)
RUNS = JobStatus("a", "r1", "j1")
OVER = JobStatus("a", "r1", history=())
AWAY = NotSentError("away", headers={"x-a": "1"})


def polls(
    policy: PollingPolicy = POLICY, *, draw: float = 0.5, elapsed: float = 0, run_begun: float | None = None
) -> Polls:
    return Polls(policy, 1000, draw, elapsed=elapsed, run_id="r1", run_begun=run_begun)


@pytest.mark.parametrize(("draw", "at"), [(0.0, 1005), (0.5, 1010), (1.0, 1015)])
def test_the_first_poll_is_soon(draw: float, at: float) -> None:
    one = polls(draw=draw)
    assert (one.next_at, one.latest, one.is_over) == (at, Report(0), False)


def test_the_pauses_grow_with_the_time_since_the_job_started() -> None:
    one = polls()
    one.polled(RUNS, 1010, 0.5)
    assert (one.latest, one.next_at) == (Report(1, RUNS, 10), 1020)
    one.polled(RUNS, 1080, 0.5)
    assert (one.latest, one.next_at) == (Report(2, RUNS, 40), 1120)
    late = polls(elapsed=100)
    late.polled(RUNS, 1010, 0.5)
    assert late.next_at == 1065


def test_what_the_service_asks_for_is_a_floor() -> None:
    one = polls()
    one.polled(JobStatus("a", "r1", "j1", 25.0), 1010, 0.5)
    assert one.next_at == 1035
    one.failed(ServerError("busy", status=503, retry_after=30.0), 1040, 0.5)
    assert (one.latest, one.next_at) == (Report(2, None, 30), 1070)


def test_the_first_that_shows_no_job_is_the_last() -> None:
    one = polls()
    one.polled(OVER, 1010, 0.5)
    assert one.is_over
    assert one.latest.status is OVER


def test_a_poll_may_be_brought_forward() -> None:
    one = polls()
    assert not one.advance(1010)
    assert one.advance(1003)
    assert one.next_at == 1003


def test_contact_is_lost_when_both_budget_and_window_are_passed() -> None:
    one = polls()
    for now in (1010, 1020):
        one.failed(AWAY, now, 0.5)
    one.polled(RUNS, 1025, 0.5)
    for now in (1030, 1035, 1040, 1064):
        one.failed(AWAY, now, 0.5)
        assert (one.latest.error, one.is_over) == (None, False)
    one.failed(AWAY, 1065, 0.5)
    assert one.is_over
    error = one.latest.error
    assert isinstance(error, ContactLostError)
    assert error.run_id == "r1"
    assert "5 polls in a row failed over 40 s" in str(error)
    assert "away" in str(error)
    assert error.headers["x-a"] == "1"


@pytest.mark.parametrize("failure", [NotFoundError("x", status=404), AuthenticationError("x", status=401), TLSError()])
def test_what_will_not_change_ends_the_polling(failure: ToolhouseError) -> None:
    one = polls()
    one.failed(failure, 1010, 0.5)
    assert one.is_over
    assert one.latest.error is failure


def test_a_young_run_may_not_be_found_yet() -> None:
    missing = NotFoundError("x", status=404)
    one = polls(run_begun=999)
    for _ in range(YOUNG_TRIES):
        one.failed(missing, 1001, 0.5)
        assert not one.is_over
    one.failed(missing, 1001, 0.5)
    assert one.latest.error is missing
    older = polls(run_begun=999)
    older.failed(missing, 999 + YOUNG, 0.5)
    assert older.latest.error is missing


def test_patience_is_spent_by_number_and_by_time() -> None:
    one = Patience(POLICY, 0)
    assert [one.is_spent(now) for now in (50, 60, 70)] == [False, False, True]
    one.renew(100)
    assert (one.failures, one.silence(130)) == (0, 30)
    assert [one.is_spent(now) for now in (110, 120, 130, 140)] == [False, False, False, True]


def test_what_the_service_asks_to_wait_stands_in_its_answers_alone() -> None:
    assert asked_for(RateLimitError("x", status=429, retry_after=7.0)) == 7.0
    assert asked_for(RateLimitError("x", status=429)) is None
    assert asked_for(AWAY) is None
