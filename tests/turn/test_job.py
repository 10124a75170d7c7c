from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from toolhouse_async import (
    AuthenticationError,
    JobFinished,
    JobProgress,
    JobRecord,
    JobStarted,
    JobStatus,
    JobWaitTimeoutError,
    PollingPolicy,
    ToolhouseError,
    TooManyRoundsError,
)
from toolhouse_async._turn.job import Job
from toolhouse_async._turn.polls import Report
from toolhouse_async.events import Event

POLICY = PollingPolicy(deadline=100, max_rounds=2)
OVER = JobStatus("a", "r1", history=())


class Waiting:
    """One who waits for a job, as a turn does; polls are told with their time."""

    def __init__(self, job_id: str | None = "j1", policy: PollingPolicy = POLICY, until: float | None = None) -> None:
        self.job = Job(policy, job_id, 0.0, until=until)
        self.events: deque[Event] = deque()
        self.jobs: list[JobRecord] = []
        self.job.begin(self.events)

    def take(self, now: float, status: JobStatus | None, error: ToolhouseError | None = None) -> JobStatus | None:
        return self.job.take(Report(1, status, 10.0, error), now, self.events, self.jobs)


def runs(job_id: str = "j1") -> JobStatus:
    return JobStatus("a", "r1", job_id)


def test_a_job_from_its_start_to_its_end() -> None:
    one = Waiting()
    assert one.take(10, runs()) is None
    assert one.take(20, None) is None  # a failed poll
    assert one.take(30, OVER) is OVER
    assert list(one.events) == [JobStarted("j1"), JobProgress("j1", 10, 1, 10.0), JobFinished("j1", 30, 3)]
    assert one.jobs == [JobRecord("j1", 30, 3)]


def test_a_job_whose_id_is_not_known_yet() -> None:
    one = Waiting(None)
    assert not one.events
    one.take(10, runs("j7"))
    one.take(20, OVER)
    assert list(one.events) == [JobStarted("j7"), JobProgress("j7", 10, 1, 10.0), JobFinished("j7", 20, 2)]


def test_a_job_that_was_over_before_its_id_was_known() -> None:
    one = Waiting(None)
    assert one.take(10, OVER) is OVER
    assert (list(one.events), one.jobs) == ([], [])


def test_another_job_takes_its_place() -> None:
    one = Waiting()
    for now, status in ((10, runs()), (20, runs("j2")), (30, OVER)):
        one.take(now, status)
    assert list(one.events) == [
        JobStarted("j1"),
        JobProgress("j1", 10, 1, 10.0),
        JobFinished("j1", 20, 2),
        JobStarted("j2"),
        JobProgress("j2", 0, 1, 10.0),
        JobFinished("j2", 10, 2),
    ]
    assert one.jobs == [JobRecord("j1", 20, 2), JobRecord("j2", 10, 2)]


def test_so_many_jobs_of_one_turn() -> None:
    one = Waiting()
    one.take(10, runs("j2"))
    with pytest.raises(TooManyRoundsError, match="more than 2 jobs"):
        one.take(20, runs("j3"))


def test_a_job_taken_for_over_once_is_counted_once() -> None:
    one = Waiting()
    one.take(10, OVER)
    one.job = Job(POLICY, "j1", 0.0, until=None)
    one.take(20, runs())
    one.take(30, OVER)
    assert one.jobs == [JobRecord("j1", 30, 2)]


@pytest.mark.parametrize(
    ("limit", "until", "deadline"),
    [(100.0, None, 100.0), (None, None, None), (None, 50.0, 50.0), (100.0, 50.0, 50.0), (30.0, 50.0, 30.0)],
)
def test_a_deadline_polls_once_more_and_then_gives_up(
    limit: float | None, until: float | None, deadline: float | None
) -> None:
    one = Waiting(policy=PollingPolicy(deadline=limit), until=until)
    assert one.job.deadline == deadline
    assert one.take(29, runs()) is None
    if deadline is None:
        assert one.take(1e9, runs()) is None
        return
    why = r"timeout= is over" if deadline == until else r"PollingPolicy\(deadline=...\) is over"
    with pytest.raises(JobWaitTimeoutError, match=f"job j1 was still running after {deadline:.1f} s, and {why}"):
        one.take(deadline, runs())


@pytest.mark.parametrize("status", [runs(), None])
def test_a_job_of_unknown_id_is_given_up_too(status: JobStatus | None) -> None:
    one = Waiting(None)
    with pytest.raises(JobWaitTimeoutError, match="of unknown id" if status is None else "job j1"):
        one.take(100, status)


def test_a_job_that_is_over_at_the_last_poll_is_over() -> None:
    assert Waiting().take(500, OVER) is OVER


def test_another_job_found_at_the_deadline_has_one_of_its_own() -> None:
    one = Waiting()
    assert one.take(100, runs("j2")) is None
    assert one.job.deadline == 200


def test_each_who_waits_gets_an_error_of_their_own() -> None:
    error: Any = AuthenticationError("no", status=401)
    caught = []
    for one in (Waiting(), Waiting()):
        with pytest.raises(AuthenticationError, match="no") as each:
            one.take(10, None, error)
        caught.append(each.value)
    assert caught[0] is not caught[1]
    assert error not in caught
