"""One exchange's wait for one background job."""

from __future__ import annotations

import asyncio
from collections import deque
from copy import copy

from ._polling import RunPoll
from ._results import JobRecord, JobStatus
from ._settings import PollingPolicy
from .errors import JobWaitTimeoutError, TooManyRoundsError
from .events import Event, JobFinished, JobProgress, JobStarted


def too_many_jobs(policy: PollingPolicy) -> TooManyRoundsError:
    """The error for a worker that goes on to start jobs."""
    return TooManyRoundsError(
        f"the worker started more than {policy.max_rounds} jobs in one turn (PollingPolicy.max_rounds)"
    )


class Wait:
    """Follows the polls of a run and says what they mean to one who waits.

    Attributes:
        job_id: The job; ``None`` until a poll tells it.
        started: The loop's time at which the job started, as far as is known.
        polls: Polls seen.
    """

    def __init__(
        self,
        poll: RunPoll,
        policy: PollingPolicy,
        job_id: str | None,
        *,
        elapsed: float,
        until: float | None,
    ) -> None:
        now = asyncio.get_running_loop().time()
        self.job_id = job_id
        self.started = now - elapsed
        self.polls = 0
        self._poll = poll
        self._policy = policy
        self._seen = poll.number
        self._until = until

    @property
    def elapsed(self) -> float:
        """Seconds since the job started."""
        return asyncio.get_running_loop().time() - self.started

    def begin(self, events: deque[Event]) -> None:
        """Announce the job, if its id is known already."""
        if self.job_id is not None:
            events.append(JobStarted(self.job_id))

    def hurry(self) -> None:
        """Look again at once."""
        self._poll.hurry()

    async def next(self, events: deque[Event], jobs: list[JobRecord]) -> JobStatus | None:
        """Take the next poll; add the events it gives, and to ``jobs`` those that are over.

        Returns:
            The run's status once no job is running, else ``None``.

        Raises:
            JobWaitTimeoutError: The job was still running at the deadline, after one more poll.
            ToolhouseError: Polling has ended for good.
        """
        deadline = self._deadline
        report = await self._poll.report_after(self._seen, deadline)
        self._seen = report.number
        self.polls += 1
        if report.error is not None:
            raise copy(report.error)  # each who waits gets one of their own
        status = report.status
        if status is not None and not status.running:
            self.finish(events, jobs)
            return status
        if status is not None and status.job_id is not None:
            if status.job_id != self.job_id:
                self._follow(status.job_id, events, jobs)
            events.append(JobProgress(status.job_id, self.elapsed, self.polls, report.pause))
        if deadline is not None and asyncio.get_running_loop().time() >= deadline and deadline == self._deadline:
            raise JobWaitTimeoutError(
                f"job {self.job_id or 'of unknown id'} was still running after {self.elapsed:.0f} s; "
                "it goes on, and the token waits for it"
            )
        return None

    @property
    def _deadline(self) -> float | None:
        """The loop's time until which is waited: for this job, or for all."""
        limit = self._policy.deadline
        if limit is None:
            return self._until
        return self.started + limit if self._until is None else min(self.started + limit, self._until)

    def _follow(self, job_id: str, events: deque[Event], jobs: list[JobRecord]) -> None:
        """Go on with a job that was not known, or that has taken the place of the one that was."""
        if self.job_id is not None:
            self.finish(events, jobs)
            if len(jobs) >= self._policy.max_rounds:
                raise too_many_jobs(self._policy)
            self.started = asyncio.get_running_loop().time()
            self.polls = 1
        self.job_id = job_id
        events.append(JobStarted(job_id))

    def finish(self, events: deque[Event], jobs: list[JobRecord]) -> None:
        """The job is over: announce it, if its id is known."""
        if self.job_id is not None:
            if jobs and jobs[-1].job_id == self.job_id:
                jobs.pop()  # it had been taken for over once before
            jobs.append(JobRecord(self.job_id, self.elapsed, self.polls))
            events.append(JobFinished(self.job_id, self.elapsed, self.polls))
