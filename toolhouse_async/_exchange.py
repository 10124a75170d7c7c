"""A message, its answer, and every job and resume that follow, as the table of steps says."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from ._answer import Answer, Cut
from ._jobsteps import JobSteps
from ._results import JobStatus, TurnResult
from ._run import Uncertain
from ._shared import SharedResume
from ._stream import EventStream
from ._transport import Dispatch
from ._wire import requests
from ._wire.answers import Headers, run_id_of
from ._wire.fold import Fold
from ._wire.history import Place
from ._wire.requests import Format
from ._wire.steps import Signal, State, step
from .errors import (
    ConflictError,
    JobError,
    NotFoundError,
    OutcomeUnknownError,
    ProtocolError,
    ToolhouseError,
    TurnTimeoutError,
    WorkerError,
)
from .events import TurnCompleted, TurnResumed, TurnStarted

if TYPE_CHECKING:
    from ._conversation import Conversation
    from ._options import Options
    from ._settings import PollingPolicy


class Exchange(JobSteps):
    """One turn in motion."""

    result: TurnResult | None
    state: State
    status: JobStatus | None

    __slots__ = ("_accepted_at", "_dispatch", "_message")

    def __init__(
        self,
        conversation: Conversation,
        options: Options,
        *,
        message: str | None = None,
        begin: State = State.SENDING,
        polling: PollingPolicy | None = None,
        timeout: float | None = None,
    ) -> None:
        """Prepare a turn.

        Args:
            conversation: Whose turn it is.
            options: The turn's options.
            message: The user's message.
            begin: ``SENDING`` the message; or no message, but ``WAITING`` for the conversation's job, or ``RECOVERING``
                the answer to its message of unknown fate.
            polling: How to poll; default as the client does.
            timeout: Seconds for all of it.
        """
        super().__init__(conversation, options, begin, polling, timeout)
        self._message = message
        self._dispatch = Dispatch()  # how far the user's message has come
        self._accepted_at: Place | None = None  # where its answer begins, once it is accepted
        self._uncertain = conversation.run.uncertain if begin is State.RECOVERING else None
        if self._uncertain is not None and self._uncertain.fold is not None:
            self._fold = self._uncertain.fold
            self._round = self._fold.rounds

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the latest answer."""
        return Headers() if self._stream is None else self._stream.answer.headers

    def _begin(self) -> None:
        if self.state is not State.WAITING:
            self.conversation.check_open()
            self.conversation.open_turns.add(self)
        if self._timeout is not None:
            self._deadline = self._core.time() + self._timeout
            if self.state is not State.WAITING:
                self._arm_deadline()

    def _step(self) -> Coroutine[Any, Any, Signal | None]:
        match self.state:
            case State.STREAMING:
                return self._streaming()
            case State.SENDING:
                return self._sending()
            case State.WAITING:
                return self._waiting()
            case State.PROBING:
                return self._probing()
            case State.SETTLING:
                return self._settling()
            case _:
                return self._recovering()

    def _write_down(self, signal: Signal) -> Coroutine[Any, Any, None] | None:
        journal = self.conversation.journal
        if journal is None:
            return None
        if signal is Signal.ANSWERED:
            return journal.answered()
        if signal in (Signal.JOB, Signal.LEFT) and (token := self.token) is not None:
            return journal.waiting(token)
        if signal is not Signal.ABSENT and step(self.state, signal) is State.DONE:
            journal.completed()
        return None

    def _follow(self, signal: Signal) -> None:
        self.state = step(self.state, signal)
        if self.state is State.DONE:
            self._complete(signal)

    def _begins_anew(self) -> bool:
        """Whether the message goes to a new run, the service not knowing the old one any more."""
        conversation, run = self.conversation, self.conversation.run
        if self.state is not State.SENDING or not self._unsent or conversation.journal is None:
            return False
        if conversation.run_id is None or not conversation.journal.begin_anew():
            return False
        self._dispatch.in_flight = False
        run.release(self)
        return True

    def _complete(self, signal: Signal) -> None:
        background = signal is Signal.LEFT
        token = self.conversation.job = self.token if background else None
        error = self._fold.error
        if error is not None and not background:
            assert self._stream is not None  # noqa: S101 - the error came by it
            redact = self._stream.answer.redact
            code = redact(error.code) if isinstance(error.code, str) else error.code
            said = redact(error.message)[:1000]
            raise WorkerError(f"the worker reported an error: {said}", partial=self.partial, code=code)
        if signal is not Signal.ABSENT:
            status: Literal["background", "completed"] = "background" if background else "completed"
            self.result = self._received(status, token)
            self.conversation.run.heard = self._fold.round_text
            self.events.append(TurnCompleted(self.result))
        self.close()

    def _fail(self, error: ToolhouseError) -> None:
        if isinstance(error, NotFoundError) and self._begins_anew():
            return
        error.run_id = error.run_id or self.conversation.run_id
        if self._accepted_at is not None:
            error.safe_to_retry = False
        elif self._unsent and not self._dispatch.in_flight and error.safe_to_retry is None:
            error.safe_to_retry = None if isinstance(error, OutcomeUnknownError) else True
        if isinstance(error, JobError) and error.token is None:
            error.token = self.conversation.job = self.token
        super()._fail(error)

    def _let_go(self) -> None:
        run = self.conversation.run
        if self._dispatch.head is not None:
            with suppress(ProtocolError):  # a name that is none cannot be kept
                self.conversation.answered(run_id_of(self._dispatch.head))
        place = self._place if self._dispatch.in_flight else self._accepted_at
        if place is not None and self.result is None and not isinstance(self.error, WorkerError):
            bars = isinstance(self.error, OutcomeUnknownError)
            run.uncertain = Uncertain(place, self._core.time(), bars, fold=self._fold_at(place))
        self._dispatch.in_flight, self._accepted_at = False, None
        if self._tap is not None:
            others = self._tap.shared.others(self._tap)
            if others:
                run.pass_on(self, others[0])
            self._tap.close()
        if self._stream is not None:
            self._stream.answer.close()
        self._core.watch.drop(self._watch_idle)
        self._core.watch.drop(self._at_deadline)
        run.waiting.pop(self, None)
        run.release(self)
        self.conversation.open_turns.discard(self)

    def _may_read(self) -> bool:
        return self._dispatch.in_flight or not self._unsent

    def _fold_at(self, place: Place) -> Fold:
        """What was received, up to the round that was begun at that place."""
        if place is self._accepted_at and self._is_between_rounds:
            self._fold.reopen_round()
        return self._fold

    def _too_late(self) -> ToolhouseError:
        if self._stream is not None and self.state is State.STREAMING:
            self._stream.feed_rest(self.events)
        token = self.conversation.job = self.token if self.state is State.WAITING else None
        goes_on = "; a job is running, and the token waits for it" if token else ""
        return TurnTimeoutError(
            f"the turn took longer than its timeout of {self._timeout:g} s, while {self.state.value}{goes_on}",
            partial=self.partial,
            token=token,
        )

    async def _sending(self) -> Signal | None:
        conversation = self.conversation
        if self._tap is None:
            await conversation.run.acquire(self)
            if conversation.is_nameless:
                conversation.known_run_id()
            if self._unsent:
                await self._make_certain()
        try:
            answer = await self._send() if self._tap is None else await self._tap.shared.answer()
        except ConflictError as conflict:
            self._dispatch.in_flight = False
            self._drop_tap()
            if not self._unsent:
                conversation.run.waiting[self] = None
            if conversation.run_id is None or (self._unsent and self._options.on_conflict == "raise"):
                raise
            self._conflict = conflict
            return Signal.REFUSED
        except ToolhouseError as error:
            self._drop_tap()
            self._dispatch.in_flight = self._dispatch.in_flight and error.safe_to_retry is None
            if self._unsent or error.safe_to_retry is not None:
                # A good answer that is no use means a conversation was begun, and its name is lost.
                conversation.is_nameless = conversation.run_id is None and error.safe_to_retry is False
                raise
            self._cut = f"nobody knows whether the resume was accepted ({error})"
            self._lost = True
            return Signal.LOST
        self._dispatch.in_flight = False
        tap = self._tap
        if tap is not None:
            self._place = tap.shared.place
        format_: Format = self._options.format if tap is None else tap.shared.format
        self._stream = EventStream(tap or answer, format_, self._core.decoder, self._core.limits.max_line, self._fold)
        self._watch_idle()
        conversation.answered(self._stream.answer.run_id)
        self._accepted()
        return Signal.ANSWERED

    async def _send(self) -> Answer:
        """Send the user's message or the resume; together with others, if they wait for the same."""
        conversation, run = self.conversation, self.conversation.run
        words = self._message if self._unsent else self._options.resume_message
        request = requests.send(conversation.agent_id, conversation.run_id, self._options.format, self._fields())
        self._place = conversation.place_of(words, self._known)
        self._known = None
        if conversation.journal is not None:
            await conversation.journal.sending(self._place, resumes=not self._unsent)
        send = self._core.service.send(request, self._deadline, self._dispatch if self._unsent else None)
        if self._wait is not None:
            shared = SharedResume(send, format=self._options.format, place=self._place)
            self._tap = shared.join(self)
            run.share(shared, self)
            return await shared.answer()
        return await send

    def inherit(self, resume: SharedResume) -> None:
        """Take part in a resume that another exchange sends, in place of sending one."""
        self._tap = resume.join(self)
        assert self._wait is not None  # noqa: S101 - only who waits is offered one
        self._wait.hurry()  # the job is over: no need to find that out later

    def _drop_tap(self) -> None:
        if self._tap is not None:
            self._tap.close()
            self._tap = None

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
        self._conflicts = 0
        run = self.conversation.run
        if self._tap is None or not self._tap.shared.is_counted():
            run.said(self._place.words)
            run.uncertain = None
        self._accepted_at = self._place
        self._is_between_rounds = False
        if self._unsent:
            self._unsent = False
            self.events.append(TurnStarted(self.conversation.agent_id, self.conversation.run_id))
        else:
            self._round += 1
            self.events.append(TurnResumed(self.conversation.known_run_id(), self._round))

    def _watch_idle(self) -> None:
        """See to it that a silent answer is cut; the limit is moved on when it is reached, if bytes have come."""
        limit, stream = self._core.timeouts.idle, self._stream
        if limit is None or stream is None:
            return
        now, since = self._core.time(), stream.answer.waiting_since
        if since is not None and now - since >= limit - 1e-6:  # a timer may be early by a rounding
            self._idle = True
            stream.answer.fail(f"nothing was received for {limit:g} s (Timeouts.idle)")
        else:
            self._core.watch.at(self._watch_idle, (now if since is None else since) + limit, self._watch_idle)

    async def _streaming(self) -> Signal | None:
        stream = self._stream
        assert stream is not None  # noqa: S101 - the state says so
        try:
            data = await stream.answer.read()
        except Cut as cut:
            stream.cut(self.events)
            self._cut = str(cut)
        else:
            if data:
                stream.feed(data, self.events)
                if not stream.answer.at_end:
                    return None
            stream.end(self.events)
        stream.answer.close()
        self._tap = None
        self._core.watch.drop(self._watch_idle)
        if self._cut is not None and not self._can_heal:
            raise self._interrupted()
        job_id = stream.answer.job_id
        if self._cut is not None:
            if job_id is None:
                return Signal.CUT
            self._resumes = True
            return self._job(job_id)
        if self._is_doubtful(stream, job_id):
            return Signal.DOUBTFUL
        return Signal.ENDED if job_id is None else self._job(job_id)

    def _is_doubtful(self, stream: EventStream, job_id: str | None) -> bool:
        """Whether to look at the history once the answer has ended."""
        if self._options.settle != "auto":
            return self._options.settle
        if not stream.is_proven:
            return True
        if self._fold.error is not None or self.conversation.run_id is None or job_id is not None:
            return False  # a job that the headers tell of need not be looked for
        return not self._fold.round_text or self._fold.round_has_call or stream.shows_no_tools
