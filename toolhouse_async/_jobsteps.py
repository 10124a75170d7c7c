"""The steps of a turn that go by background jobs: finding the one behind a 409, and waiting until it is over."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from typing import TYPE_CHECKING

from ._healer import Healer
from ._results import JobStatus, JobToken
from ._waiting import Wait, too_many_jobs
from ._wire.pauses import CONFLICT_PAUSES
from ._wire.steps import Signal, State
from .errors import ConflictError, ToolhouseError

if TYPE_CHECKING:
    from ._conversation import Conversation
    from ._options import Options
    from ._settings import PollingPolicy
    from ._shared import Tap


class JobSteps(Healer):
    """An exchange's knowledge of the jobs that it waits for.

    Attributes:
        only_waits: Whether it sends nothing after the job.
    """

    status: JobStatus | None

    __slots__ = (
        "_conflict", "_conflicts", "_jobs", "_left", "_round", "_tap", "_unsent", "_wait", "only_waits",
    )  # fmt: skip

    def __init__(
        self,
        conversation: Conversation,
        options: Options,
        begin: State,
        polling: PollingPolicy | None,
        timeout: float | None,
    ) -> None:
        super().__init__(conversation, options, begin, polling, timeout)
        self.only_waits: bool = False
        self._unsent = begin is State.SENDING  # whether the user's message is still to be accepted
        self._conflict: ConflictError | None = None
        self._conflicts = 0
        self._left = conversation.job if begin is State.WAITING else None
        self._wait: Wait | None = None
        self._jobs = 0
        self._round = self._left.round if self._left else 0
        self._tap: Tap | None = None  # a resume that is shared with others

    @property
    def job_id(self) -> str | None:
        """The job that is being waited for, or was left running."""
        if self.state is State.WAITING and self._wait is not None:
            return self._wait.job_id
        return None if self.conversation.job is None else self.conversation.job.job_id

    @property
    def token(self) -> JobToken | None:
        """What waits for the job under way, if one is."""
        wait, run_id = self._wait, self.conversation.run_id
        if wait is None or wait.job_id is None or run_id is None:
            return self._left
        began = max(0.0, time.time() - wait.elapsed)
        return JobToken(self.conversation.agent_id, run_id, wait.job_id, began, self._options.format, self._round)

    def _arm_deadline(self) -> None:
        if self._deadline is not None:
            self._core.watch.at(self._at_deadline, self._deadline, self._at_deadline, may_read=self._may_read)

    @abstractmethod
    def _may_read(self) -> bool:
        """Whether an answer may be in the socket: not as long as nothing was sent."""

    def _at_deadline(self) -> None:
        self._stop(self._too_late)

    async def _probing(self) -> Signal | None:
        status = await self._read()
        if status.job_id is not None:
            return self._job(status.job_id)
        if self._conflicts == len(CONFLICT_PAUSES):
            assert self._conflict is not None  # noqa: S101 - it led here
            raise self._conflict
        pause = CONFLICT_PAUSES[self._conflicts]
        self._conflicts += 1
        self._known = status.history
        await asyncio.sleep(pause)
        return Signal.NO_JOB

    def _job(self, job_id: str) -> Signal:
        before = self._wait
        missed = before is not None and before.job_id == job_id  # a poll did not see it, and it is not new
        self._wait = self._new_wait(job_id, before.elapsed if before is not None and missed else 0.0)
        self._wait.begin(self.events)
        if self._options.background == "detach" and not self._unsent:
            if self._cut is not None:
                token = self.conversation.job = self.token
                raise self._interrupted(self._received("background", token))
            return Signal.LEFT
        self._count_job()
        return Signal.JOB

    def _count_job(self) -> None:
        self._jobs += 1
        if self._jobs > self._polling.max_rounds:
            raise too_many_jobs(self._polling)

    def _new_wait(self, job_id: str | None, elapsed: float, *, until: float | None = None) -> Wait:
        conversation = self.conversation
        if not self._unsent and not self.only_waits:
            conversation.run.waiting[self] = None
        poll = self._core.poll_of(
            conversation.run, conversation.agent_id, conversation.known_run_id(), self._polling, elapsed
        )
        return Wait(poll, self._polling, job_id, elapsed=elapsed, until=until)

    async def _waiting(self) -> Signal | None:
        wait = self._wait
        if wait is None:
            left = self._left
            elapsed = 0.0 if left is None else max(0.0, time.time() - left.started)
            wait = self._wait = self._new_wait(left.job_id if left else None, elapsed, until=self._deadline)
            wait.begin(self.events)
            resuming = self.conversation.run.resuming
            if resuming and resuming.may_join and not self.only_waits and (not left or resuming.job_id != left.job_id):
                self.conversation.run.waiting.pop(self, None)
                self.inherit(resuming)
                wait.finish(self.events, self._fold.jobs)
                return self._over()
            return None
        status = await wait.next(self.events, self._fold.jobs)
        if self._tap is not None and status is None:
            wait.finish(self.events, self._fold.jobs)  # the run has been resumed: the job is over
        elif status is None:
            return None
        else:
            self.status = status
            self._known = status.history
        return self._over()

    def _over(self) -> Signal:
        self._arm_deadline()
        if self._resumes:
            return Signal.OVER_CUT
        if not self._unsent:
            self._make_whole()
            self._resume()
        return Signal.OVER

    @abstractmethod
    def _too_late(self) -> ToolhouseError:
        """The error for a turn that took longer than it may."""
