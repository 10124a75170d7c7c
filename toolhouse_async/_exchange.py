"""A message, its answer, and every job and resume that follow, as the table of steps says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar, TypeAlias

from ._conversation import Conversation
from ._engine import Engine
from ._healing import Healing
from ._log import log
from ._options import Options
from ._results import JobStatus, JobToken, Message, TurnResult
from ._settings import PollingPolicy
from ._stream import EventStream
from ._transport import Cut
from ._waiting import Wait
from ._wire import requests
from ._wire.answers import Headers
from ._wire.fold import Fold
from ._wire.history import Place, find_reply
from ._wire.pauses import CONFLICT_PAUSES
from ._wire.steps import Signal, State, step
from .errors import (
    ConflictError,
    IdleTimeoutError,
    JobError,
    ResumeUncertainError,
    StreamInterruptedError,
    ToolhouseError,
    TooManyRoundsError,
    TurnTimeoutError,
    WorkerError,
)
from .events import StreamRecovered, TextDelta, TurnCompleted, TurnResumed, TurnStarted

Step: TypeAlias = Callable[["Exchange"], Coroutine[Any, Any, Signal | None]]


class Exchange(Engine):
    """One turn in motion.

    Attributes:
        state: What it is doing.
        status: What the last good reading of the run said.
    """

    def __init__(
        self,
        conversation: Conversation,
        options: Options,
        *,
        message: str | None = None,
        waits: bool = False,
        polling: PollingPolicy | None = None,
        timeout: float | None = None,
    ) -> None:
        """Prepare a turn.

        Args:
            conversation: Whose turn it is.
            options: The turn's options.
            message: The user's message.
            waits: Send no message of the user's: wait for the conversation's job, then resume the run.
            polling: How to poll; default as the client does.
            timeout: Seconds for all of it.
        """
        super().__init__(conversation.core)
        self.conversation = conversation
        self.state = State.WAITING if waits else State.SENDING
        self.status: JobStatus | None = None
        self._options = options
        self._message = message
        self._unsent = not waits  # whether the user's message is still to be accepted
        self._polling = polling or conversation.core.polling
        self._timeout = timeout
        self._deadline: float | None = None
        self._fold = Fold()
        self._stream: EventStream | None = None
        self._known: tuple[Message, ...] | None = None  # the history, as read just before the next message
        self._place = Place(message)
        self._conflict: ConflictError | None = None
        self._conflicts = 0
        self._left = conversation.job if waits else None
        self._wait: Wait | None = None
        self._jobs = 0
        self._round = self._left.round if self._left else 0
        self._cut: str | None = None  # why the answer of this round is not known to be whole
        self._healing: Healing | None = None
        self._resumes = False  # whether a job has followed the answer that was cut
        self._idle = False
        self._lost = False  # whether nobody knows if the resume was accepted

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the latest answer."""
        return Headers() if self._stream is None else self._stream.answer.headers

    @property
    def partial(self) -> TurnResult:
        """What has been received so far."""
        return self._fold.result(self.conversation.agent_id, self.conversation.run_id)

    @property
    def job_id(self) -> str | None:
        """The job that is being waited for, or was left running."""
        left = self.conversation.job
        if self.state is State.WAITING and self._wait is not None:
            return self._wait.job_id
        return None if left is None else left.job_id

    @property
    def token(self) -> JobToken | None:
        """What waits for the job under way, if one is."""
        wait, run_id = self._wait, self.conversation.run_id
        if wait is None or wait.job_id is None or run_id is None:
            return self._left
        began = max(0.0, time.time() - wait.elapsed)
        return JobToken(
            self.conversation.agent_id, run_id, wait.job_id, began, self._options.format, self._round
        )

    # How it begins and ends

    def _begin(self) -> None:
        if self._timeout is not None:
            self._deadline = asyncio.get_running_loop().time() + self._timeout
            if self._unsent:
                self._call_at("deadline", self._deadline, lambda: self._stop(self._too_late))

    async def _step(self) -> None:
        signal = await self._STEPS[self.state](self)
        if signal is not None:
            self.state = step(self.state, signal)
            if self.state is State.DONE:
                self._complete(background=signal is Signal.LEFT)

    def _complete(self, *, background: bool) -> None:
        token = self.token if background else None
        self.conversation.job = token
        error = self._fold.error
        if error is not None and not background:
            raise WorkerError(
                f"the worker reported an error: {error.message}"[:1000], partial=self.partial, code=error.code
            )
        self.result = self._fold.result(
            self.conversation.agent_id,
            self.conversation.run_id,
            status="background" if background else "completed",
            token=token,
        )
        self.close()
        self.events.append(TurnCompleted(self.result))

    def _fail(self, error: ToolhouseError) -> None:
        error.run_id = error.run_id or self.conversation.run_id
        if isinstance(error, JobError) and error.token is None:
            error.token = self.conversation.job = self.token
        super()._fail(error)

    def _let_go(self) -> None:
        if self._stream is not None:
            self._stream.answer.close()
        self.conversation.run.release(self)

    def _too_late(self) -> ToolhouseError:
        if self._stream is not None and self.state is State.STREAMING:
            self._stream.rest_into(self.events)
        token = self.conversation.job = self.token if self.state is State.WAITING else None
        goes_on = "; a job is running, and the token waits for it" if token else ""
        return TurnTimeoutError(
            f"the turn took longer than its timeout of {self._timeout:g} s, while {self.state.value}{goes_on}",
            partial=self.partial,
            token=token,
        )

    def _interrupted(self) -> ToolhouseError:
        kind = IdleTimeoutError if self._idle else StreamInterruptedError
        return kind(f"the answer was cut: {self._cut}"[:1000], partial=self.partial)

    # The steps

    async def _sending(self) -> Signal | None:
        conversation = self.conversation
        await conversation.run.acquire(self)
        request = requests.send(
            conversation.agent_id, conversation.run_id, self._options.format, self._fields()
        )
        self._place = conversation.place_of(
            self._message if self._unsent else self._options.resume_message, self._known
        )
        self._known = None
        try:
            answer = await self._core.service.send(request, self._deadline)
        except ConflictError as conflict:
            if conversation.run_id is None or (self._unsent and self._options.on_conflict == "raise"):
                raise
            self._conflict = conflict
            return Signal.REFUSED
        except ToolhouseError as error:
            if self._unsent or error.safe_to_retry is not None:
                raise
            self._cut = f"nobody knows whether the resume was accepted ({error})"
            self._lost = True
            return Signal.LOST
        self._stream = EventStream(
            answer, self._options.format, self._core.decoder, self._core.limits.max_line, self._fold
        )
        self._watch_idle()
        conversation.answered(self._stream.run_id)
        self._accepted()
        return Signal.ANSWERED

    def _fields(self) -> dict[str, Any]:
        """The body of the next message."""
        if not self._unsent:
            return {"message": self._options.resume_message}
        message = self._message
        if message is None and self.conversation.run_id is not None:
            message = ""
        fields = {} if message is None else {"message": message}
        return {**fields, **self.conversation.extras.fields(), **(self._options.extra_body or {})}

    def _accepted(self) -> None:
        """The service took the message."""
        self._conflicts = 0
        if self._unsent:
            self._unsent = False
            self.events.append(TurnStarted(self.conversation.agent_id, self.conversation.run_id))
        else:
            self._round += 1
            self.events.append(TurnResumed(self.conversation.known_run_id(), self._round))

    def _watch_idle(self) -> None:
        """See to it that a silent answer is cut; one timer per answer, moved on as bytes come."""
        limit, stream = self._core.timeouts.idle, self._stream
        if limit is None or stream is None:
            return
        now = asyncio.get_running_loop().time()
        since = stream.answer.waiting_since
        if since is not None and now - since >= limit:
            self._idle = True
            stream.answer.fail(f"nothing was received for {limit:g} s (Timeouts.idle)")
        else:
            self._call_at("idle", (now if since is None else since) + limit, self._watch_idle)

    async def _streaming(self) -> Signal | None:
        stream = self._stream
        assert stream is not None  # noqa: S101 - the state says so
        try:
            if await stream.read_into(self.events):
                return None
        except Cut as cut:
            self._cut = str(cut)
        stream.answer.close()
        self._cancel_call("idle")
        if self._cut is not None and not self._can_heal:
            raise self._interrupted()
        if stream.job_id is not None:
            self._resumes = self._cut is not None
            return self._job(stream.job_id)
        if self._cut is not None:
            return Signal.CUT
        return Signal.DOUBTFUL if self._is_doubtful(stream) else Signal.ENDED

    @property
    def _can_heal(self) -> bool:
        return self._options.recover and self.conversation.run_id is not None

    def _is_doubtful(self, stream: EventStream) -> bool:
        if self._options.settle != "auto":
            return self._options.settle
        if not stream.is_proven:
            return True
        if self._fold.error is not None or self.conversation.run_id is None:
            return False
        return not self._fold.round_text or self._fold.unanswered_call

    async def _settling(self) -> Signal | None:
        stream, text = self._stream, self._fold.round_text
        assert stream is not None  # noqa: S101 - the state says so
        try:
            status = await self._read()
            if status.job_id is not None:
                return self._job(status.job_id)
            reply = find_reply(status.history or (), self._place, text)
            agrees = stream.is_proven if reply is None else reply.strip() == text.strip()
        except ToolhouseError as error:
            if self.conversation.run_id is None:
                raise
            log.info("run %s: its history could not be read: %s", self.conversation.run_id, error)
            agrees = stream.is_proven and self._options.settle == "auto"
        if agrees:
            return Signal.SAME
        self._cut = "it ended, but the history does not show that this is the whole of it"
        if not self._can_heal:
            raise self._interrupted()
        return Signal.DIFFERS

    async def _read(self) -> JobStatus:
        run_id = self.conversation.known_run_id()
        self.status = await self._core.service.read(self.conversation.agent_id, run_id, self._deadline)
        return self.status

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
        """A job runs: wait for it, or leave it to the user."""
        before = self._wait
        missed = before is not None and before.job_id == job_id  # a poll did not see it, and it is not new
        self._wait = self._new_wait(job_id, before.elapsed if before is not None and missed else 0.0)
        self._wait.begin(self.events)
        if self._options.background == "detach" and not self._unsent:
            return Signal.LEFT
        self._jobs += 1
        if self._jobs > self._polling.max_rounds:
            raise TooManyRoundsError(
                f"the worker started more than {self._polling.max_rounds} jobs in one turn (PollingPolicy.max_rounds)"
            )
        return Signal.JOB

    def _new_wait(self, job_id: str | None, elapsed: float, *, until: float | None = None) -> Wait:
        conversation = self.conversation
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
        status = await wait.next(self.events, self._fold.jobs)
        if status is None:
            return None
        self.status = status
        if self._deadline is not None:
            self._call_at("deadline", self._deadline, lambda: self._stop(self._too_late))
        self._known = status.history
        if self._resumes:
            return Signal.OVER_CUT
        if not self._unsent:
            self._fold.next_round()
        return Signal.OVER

    async def _recovering(self) -> Signal | None:
        conversation = self.conversation
        run_id = conversation.known_run_id()
        healing = self._healing
        if healing is None:
            healing = self._healing = Healing(
                self._core.service,
                self._place,
                self._fold.round_text,
                self._core.recovery,
                self._polling,
                open_end=self._resumes,
            )
        try:
            status = await healing.look(conversation.agent_id, run_id)
        except ToolhouseError as error:
            raise self._unhealed(f"the history cannot be read: {error}") from None
        if status is not None and status.job_id is not None:
            self._healing = None
            self._resumes = True
            return self._job(status.job_id)
        if healing.is_quiet:
            return self._heal(healing)
        if healing.is_too_late:
            raise self._unhealed("and the history did not show the whole of it in time")
        return None

    def _heal(self, healing: Healing) -> Signal:
        reply, partial = healing.reply or "", self._fold.round_text
        if self._lost:
            self._lost = False
            self._accepted()
        missing = reply.removeprefix(partial) if reply.startswith(partial) else ""
        self._fold.heal(reply)
        self.events.append(StreamRecovered(reply, missing))
        if missing:
            self.events.append(TextDelta(missing))
        self._cut, self._healing = None, None
        if not self._resumes:
            return Signal.HEALED
        self._resumes = False
        self._known = healing.history
        self._fold.next_round()
        return Signal.HEALED_RESUME

    def _unhealed(self, why: str) -> ToolhouseError:
        self._cut = f"{self._cut}; {why}"
        return ResumeUncertainError(self._cut[:1000]) if self._lost else self._interrupted()

    _STEPS: ClassVar[Mapping[State, Step]] = {
        State.SENDING: _sending,
        State.STREAMING: _streaming,
        State.SETTLING: _settling,
        State.PROBING: _probing,
        State.WAITING: _waiting,
        State.RECOVERING: _recovering,
    }
