"""The background job that a turn waits for: what the polls of its run mean."""

from __future__ import annotations

from collections import deque
from copy import copy
from typing import TYPE_CHECKING

from .._values.results import JobRecord
from ..errors import JobWaitTimeoutError, TooManyRoundsError
from ..events import Event, JobFinished, JobProgress, JobStarted

if TYPE_CHECKING:
    from .._values.results import JobStatus
    from .._values.settings import PollingPolicy
    from .polls import Report


def too_many_jobs(policy: PollingPolicy) -> TooManyRoundsError:
    """The error for a worker that goes on to start jobs."""
    return TooManyRoundsError(
        f"the worker started more than {policy.max_rounds} jobs in one turn (PollingPolicy.max_rounds)"
    )


class Job:
    """One job, and the events and records that it gives.

    Attributes:
        job_id: Its id; ``None`` until a poll tells it.
        started: The time at which it started, as far as is known.
        polls: Polls seen.
    """

    __slots__ = ("_policy", "_until", "job_id", "polls", "started")

    def __init__(self, policy: PollingPolicy, job_id: str | None, started: float, *, until: float | None) -> None:
        """Begin to wait.

        Args:
            policy: How it is waited for.
            job_id: Its id, if that is known.
            started: When it started.
            until: The time until which is waited, whatever the policy says; ``None`` where that decides alone.
        """
        self.job_id: str | None = job_id
        self.started: float = started
        self.polls: int = 0
        self._policy = policy
        self._until = until

    def begin(self, events: deque[Event]) -> None:
        """Announce the job, if its id is known already."""
        if self.job_id is not None:
            events.append(JobStarted(self.job_id))

    def take(self, report: Report, now: float, events: deque[Event], jobs: list[JobRecord]) -> JobStatus | None:
        """Take a poll; add the events it gives, and to ``jobs`` those that are over.

        Returns:
            The run's status once no job is running, else ``None``.

        Raises:
            JobWaitTimeoutError: The job was still running at the deadline, after one more poll.
            ToolhouseError: Polling has ended for good.
        """
        deadline = self.deadline
        self.polls += 1
        if report.error is not None:
            raise copy(report.error)  # each who waits gets one of their own
        status = report.status
        if status is not None:
            if status.job_id is None:
                self.finish(now, events, jobs)
                return status
            if status.job_id != self.job_id:
                self._follow(status.job_id, now, events, jobs)
            events.append(JobProgress(status.job_id, now - self.started, self.polls, report.pause))
        if deadline is not None and now >= deadline and deadline == self.deadline:
            why = "timeout= is over" if deadline == self._until else "PollingPolicy(deadline=...) is over"
            raise JobWaitTimeoutError(
                f"job {self.job_id or 'of unknown id'} was still running after {now - self.started:.1f} s, and {why}; "
                "it goes on, and the token waits for it"
            )
        return None

    @property
    def deadline(self) -> float | None:
        """The time until which is waited: for this job, or for all."""
        limit = self._policy.deadline
        if limit is None:
            return self._until
        return self.started + limit if self._until is None else min(self.started + limit, self._until)

    def _follow(self, job_id: str, now: float, events: deque[Event], jobs: list[JobRecord]) -> None:
        """Go on with a job that was not known, or that has taken the place of the one that was."""
        if self.job_id is not None:
            self.finish(now, events, jobs)
            if len(jobs) >= self._policy.max_rounds:
                raise too_many_jobs(self._policy)
            self.started = now
            self.polls = 1
        self.job_id = job_id
        events.append(JobStarted(job_id))

    def finish(self, now: float, events: deque[Event], jobs: list[JobRecord]) -> None:
        """The job is over: announce it, if its id is known."""
        if self.job_id is not None:
            if jobs and jobs[-1].job_id == self.job_id:
                jobs.pop()  # it had been taken for over once before
            jobs.append(JobRecord(self.job_id, now - self.started, self.polls))
            events.append(JobFinished(self.job_id, now - self.started, self.polls))
