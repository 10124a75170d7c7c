"""One turn as a machine without I/O: it is told what happened, and says what to do next.

There is no clock, socket, task, log or chance in it: times come in as ``now``, random numbers as ``draw``. What users
see is in ``events``. Where a call raises, whoever made it ends the turn with :meth:`TurnMachine.stopped`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve

from .._values.results import JobToken, TurnResult
from .._wire.pauses import CONFLICT_PAUSES, next_poll
from .._wire.records import Stage
from ..errors import (
    ConflictError,
    ContactLostError,
    IdleTimeoutError,
    JobError,
    NotSentError,
    OutcomeUnknownError,
    ProtocolError,
    RateLimitError,
    ResumeUncertainError,
    StreamInterruptedError,
    TLSError,
    ToolhouseError,
    UncertainSessionError,
    WorkerError,
)
from ..events import Event, StreamRecovered, TextDelta, TurnCompleted, TurnResumed, TurnStarted
from .answering import Answering
from .commands import ENTER, READ, Command, Look, Note, Over, Poll, Send
from .fold import Fold
from .heard import goes_on_from, is_same_text
from .job import Job, too_many_jobs
from .knowledge import Head, Unfinished
from .polls import Patience, asked_for, tolerated
from .reading import Sight
from .search import Search
from .settling import Ended, Verdict, compare
from .table import Signal, State, step

if TYPE_CHECKING:
    from .._values.options import Options
    from .._values.results import JobStatus, Message
    from .._values.settings import PollingPolicy
    from .heard import Said
    from .knowledge import Rules, Run
    from .polls import Report


class TurnMachine:
    """A message, its answer, and every job and resume that follow.

    Attributes:
        agent_id: The worker.
        run: What the client knows of the conversation.
        options: The turn's options.
        events: What the user is to see, oldest first.
        fold: What was received.
        state: What it is doing.
        status: What the last good reading of the run said.
        todo: What is to be done next.
        notes: What a journal is to write down first, where there is one.
        job: The job that is being waited for.
        polling: How it polls.
        format: The endpoint family of the answer.
        drift: What the clock of tokens is ahead of the clock of all other times.
    """

    __slots__ = (
        "_accepted", "_answering", "_before", "_began", "_conflict", "_conflicts", "_cut", "_fields", "_has_job",
        "_head", "_is_idle", "_is_whole", "_jobs", "_left", "_lost", "_missed", "_not_before", "_patience",
        "_refused_at", "_round", "_rules", "_said", "_search", "_seen", "_since", "_unsent", "_words",
        "agent_id", "drift", "events", "fold", "format", "job", "notes", "only_waits", "options", "polling", "run",
        "state", "status", "todo",
    )  # fmt: skip

    def __init__(
        self,
        agent_id: str,
        run: Run,
        rules: Rules,
        options: Options,
        *,
        state: State = State.SENDING,
        polling: PollingPolicy | None = None,
        message: str | None = None,
        fields: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """Prepare a turn.

        Args:
            agent_id: The worker.
            run: What the client knows of the conversation.
            rules: What the client's turns go by.
            options: The turn's options.
            state: ``SENDING`` the message; or no message, but ``WAITING`` for the run's job, or ``FINDING`` out what
                became of its latest turn.
            polling: How to poll; default as the client does.
            message: The user's message.
            fields: What goes with it in its body.
        """
        self.agent_id: str = agent_id
        self.run: Run = run
        self.options: Options = options
        self.events: deque[Event] = deque()
        self.fold: Fold = Fold()
        self.state: State = state
        self.status: JobStatus | None = None
        self.todo: Command = ENTER
        self.notes: list[Note] | None = None
        self.job: Job | None = None
        self.drift: float = 0.0
        self.only_waits: bool = False
        self._rules = rules
        self.polling: PollingPolicy = polling or rules.polling
        self._words = message
        self._fields = fields
        self.format: Literal["ndjson", "text"] = options.format
        self._unsent = state is State.SENDING  # whether the user's message is still to be accepted
        self._accepted = False  # whether the service has accepted a message of this turn
        self._said: Said | None = None  # what was said last
        self._head: Head | None = None
        self._answering: Answering | None = None
        self._search: Search | None = None
        self._since: float | None = None  # when the fate of what is looked for became unknown
        self._cut: str | None = None  # why the answer of this round is not known to be whole
        self._is_idle = False  # whether silence was the reason
        self._lost: State | None = None  # where a message of unknown fate is looked for, if one is
        self._is_whole = False  # whether the round's words are all that there are
        self._has_job = False  # whether a job has followed an answer that is still to be healed
        self._missed: Said | None = None  # what was said before a job that was over before anybody looked
        self._conflict: ConflictError | None = None
        self._conflicts = 0
        self._refused_at: float | None = None  # when the first of them was looked into
        self._seen: tuple[int, int] | None = None  # how large the history was between two refusals
        self._patience: Patience | None = None
        self._not_before = 0.0
        self._jobs = 0
        self._left = run.job if state is State.WAITING else None
        self._began = state
        self._before = _brought(agent_id, run) if state is State.WAITING else None  # by the turn of the message itself
        self._round = self._left.round if self._left else 0

    # What is known of it

    @property
    def partial(self) -> TurnResult:
        """What has been received so far."""
        return self._result()

    def _result(
        self, status: Literal["background", "completed"] = "completed", token: JobToken | None = None
    ) -> TurnResult:
        return self.fold.result(self.agent_id, self.run.run_id, status=status, token=token)

    @property
    def token(self) -> JobToken | None:
        """What waits for the job under way, if one is."""
        job, run_id = self.job, self.run.run_id
        if job is None or job.job_id is None or run_id is None:
            return self._left
        started = max(0.0, job.started + self.drift)
        return JobToken(self.agent_id, run_id, job.job_id, started, self.options.format, self._round)

    @property
    def job_id(self) -> str | None:
        """The job that is being waited for, or was left running."""
        if self.state is State.WAITING and self.job is not None:
            return self.job.job_id
        return None if self.run.job is None else self.run.job.job_id

    @property
    def behind(self) -> str | Said | None:
        """What a resume follows: a job, by its id; or where that was not seen, what was said before it."""
        return self._missed if self.job is None else self.job.job_id

    @property
    def may_join(self) -> bool:
        """Whether it would resume the run next, or once the job is over: so it may share the resume of another."""
        if self._unsent or self.only_waits:
            return False
        return self.state is State.SENDING or (self.state is State.WAITING and not self._has_job and self._lost is None)

    @property
    def _can_heal(self) -> bool:
        return self.options.recover and self.run.run_id is not None

    def _go(self, signal: Signal) -> None:
        self.state = step(self.state, signal)

    def _note(self, note: Note) -> None:
        if self.notes is not None:
            self.notes.append(note)

    # Its beginning

    def begin(self, now: float, *, elapsed: float = 0.0, until: float | None = None) -> None:
        """Begin.

        Args:
            now: The time.
            elapsed: Seconds since the job started that was left running.
            until: The time until which that is waited for, whatever the policy says.
        """
        if self.state is State.FINDING:
            self._go_on()
        elif self.state is State.WAITING:
            self.job = Job(self.polling, self._left.job_id if self._left else None, now - elapsed, until=until)
            self.job.begin(self.events)
            self.todo = Poll(self.job.deadline)

    def _go_on(self) -> None:
        """Take up the run's latest turn where it was left."""
        open_turn = self.run.unfinished
        assert open_turn is not None  # noqa: S101 - else there is nothing to find out
        self.fold, self.format = open_turn.fold, open_turn.options.format
        self._said, self._words, self._since = open_turn.said, open_turn.words, open_turn.since
        self._head, self._before = open_turn.head, open_turn.before
        self._round, self._has_job = open_turn.round, open_turn.has_job
        self._accepted = not open_turn.is_uncertain
        if open_turn.job is not None:
            self.job = Job(self.polling, open_turn.job[0], open_turn.job[1], until=None)
        match open_turn.stage:
            case Stage.MESSAGE:
                self._lost = State.FINDING
            case Stage.ANSWER:
                self.state, self._cut = State.HEALING, "its turn was ended before the answer was"
            case Stage.JOB:
                self.state = State.WAITING
            case Stage.RESUME_DUE:
                self.state = State.SENDING
            case _:
                self.state = self._lost = State.RESUMING
                self._cut = "nobody knows whether the resume was accepted"

    def begin_anew(self) -> None:
        """Send the message to the run that is there now: the service does not know the old one."""
        self._said, self._search, self.state, self.todo = None, None, State.SENDING, ENTER

    def entered(self, now: float) -> None:
        """The turns before it on the run are over."""
        match self.state:
            case State.SENDING if self._unsent:
                self._enter_unsent(now)
            case State.SENDING:
                self._resume(now)
            case State.WAITING:
                assert self.job is not None  # noqa: S101 - the turn was left with it
                self.todo = Poll(self.job.deadline)
            case _:
                self._look_for(now)

    def _enter_unsent(self, now: float) -> None:
        run = self.run
        if run.is_nameless:
            raise nameless()
        open_turn = run.unfinished
        if open_turn is None or not open_turn.bars:
            self._send(now)
            return
        if run.run_id is None:
            open_turn.told = True
            raise UncertainSessionError(
                "nobody can know whether the message was accepted that was to start this conversation; begin another "
                "session (or SessionManager.forget() the key), or settle it by session.reconcile(assume='absent'); "
                "this message was not sent"
            )
        if not open_turn.told:
            open_turn.told = True
            raise UncertainSessionError(
                "a process ended while it was sending a message of this conversation, and nobody knows whether it was "
                "accepted: await session.reconcile() finds out; this message was not sent"
            )
        self._check_arrival(open_turn.is_uncertain)
        self._go(Signal.UNCERTAIN)
        self._search = self._new_search(open_turn.said, "", now, since=open_turn.since)
        self.todo = Look(now)

    @staticmethod
    def _check_arrival(is_uncertain: bool) -> None:
        if not is_uncertain:
            raise UncertainSessionError(
                "an earlier message, of which nobody knew whether it had been accepted, did arrive: "
                "await session.reconcile() brings its answer; this message was not sent"
            )

    # Sending

    def _send(self, now: float) -> None:
        """Send the user's message or the resume."""
        words, behind = self._words if self._unsent else self.options.resume_message, self.behind
        said = self._said = self.run.transcript.say(words)
        if self._unsent:
            fields = {} if words is None and self.run.run_id is None else {"message": words or ""}
            fields = {**fields, **self._fields(), **(self.options.extra_body or {})}
        else:
            self._words = words
            fields = {"message": words or ""}
        if behind is not None:
            self.run.resumed[behind] = said
        self.todo = Send(max(now, self._not_before), said, fields, self.run.run_id, resumes=not self._unsent)

    def _take_back(self) -> None:
        """What was said last was not accepted."""
        said, run = self._known_said(), self.run
        if not said.is_certain:  # else another turn that had sent it with this one knows better
            run.transcript.take_back(said)
            run.resumed = {behind: other for behind, other in run.resumed.items() if other is not said}

    def joined(self, said: Said, format_: Literal["ndjson", "text"], now: float) -> None:
        """Another turn on the run sends the resume that this one would send: its answer is this one's too."""
        if self.state is State.WAITING:
            assert self.job is not None  # noqa: S101 - only who waits is joined
            self.job.finish(now, self.events, self.fold.jobs)
            self._go(Signal.OVER)
            self._end_round()
        self._said, self.format, self._words = said, format_, self.options.resume_message
        self.todo = Send(now, said, {}, self.run.run_id, resumes=True)

    def answered(self, head: Head, now: float) -> None:
        """The service has taken what was sent; its answer is still to be read."""
        self._head = head
        self.named(head.run_id, now)
        if head.job_id is not None:
            self.run.resumed.pop(head.job_id, None)  # a job that was over before: its id comes again
        self._answering = Answering(self.format, self._rules.decoder, self._rules.max_line, self.fold)
        self._accept()
        self._conflicts, self._refused_at, self._seen = 0, None, None
        self._patience, self._not_before = None, 0.0
        self._is_whole = False
        self._go(Signal.ANSWERED)
        self._note(Note.ANSWERED)
        self.todo = READ

    def named(self, run_id: str | None, now: float) -> None:
        """Take the run id that an answer brought; one without keeps the old."""
        run = self.run
        run.is_nameless = run_id is None and run.run_id is None
        if run_id is not None:
            if run.run_id is None:
                run.begun = now
            run.run_id = run_id

    def _accept(self) -> None:
        run, said = self.run, self._said
        assert said is not None  # noqa: S101 - it was sent
        said.is_certain = True
        run.ended = None
        if self._began is not State.WAITING:
            run.unfinished = None
        elif run.unfinished is not None and run.unfinished.has_job:
            run.unfinished.resumed()
        self._accepted = True
        if self._unsent:
            self._unsent = False
            self.events.append(TurnStarted(self.agent_id, run.run_id))
        elif self.state in (State.SENDING, State.RESUMING):
            self._round += 1
            self.events.append(TurnResumed(run.run_id or "", self._round))

    def refused(self, conflict: ConflictError, now: float) -> None:
        """What was sent was refused with 409."""
        self._take_back()
        if self.run.run_id is None or (self._unsent and self.options.on_conflict == "raise"):
            raise conflict
        self._conflict = conflict
        self._go(Signal.REFUSED)
        self.todo = Look(now)

    def failed(self, error: ToolhouseError, now: float, draw: float, *, in_flight: bool) -> None:
        """There is no good answer to what was sent.

        Args:
            error: Why.
            now: The time.
            draw: A random number from 0 to 1.
            in_flight: Whether it may have been accepted.
        """
        if self._unsent or error.safe_to_retry is False:
            # A good answer that is no use means a conversation was begun, and its name is lost.
            self.run.is_nameless = self.run.run_id is None and error.safe_to_retry is False
            raise error
        if in_flight and error.safe_to_retry is None:
            self._cut = f"nobody knows whether the resume was accepted ({error})"
            self._lost, self._since = State.RESUMING, now
            self._go(Signal.LOST)
            self._look_for(now)
            return
        self._take_back()
        if isinstance(error, TLSError) or not isinstance(error, NotSentError | RateLimitError):
            raise error
        self._resume_later(error, now, asked_for(error), draw)

    def _resume_later(self, reason: object, now: float, asked: float | None, draw: float) -> None:
        """Send the resume again, which did not get through: with the patience that polls have."""
        if self._patience is None:
            self._patience = Patience(self.polling, now)
        if self._patience.is_spent(now):
            raise ContactLostError(
                f"the job is over, and the resume could not be sent for {self._patience.silence(now):.0f} s. "
                f"The last failure: {reason}"[:1000]
            )
        self._not_before = now + next_poll(self.polling, self._patience.silence(now), asked, draw)
        self.todo = ENTER

    # Reading the answer

    def received(self, data: bytes) -> None:
        """More of the answer has come.

        Raises:
            LineTooLongError: A line is above the limit; what came before it has been added.
            MalformedEventError: The decoder is strict; what came before the line has been added.
        """
        self._answering.feed(data, self.events)  # type: ignore[union-attr] # it is there while an answer is read

    def ended(self, now: float, *, proven: bool) -> None:
        """The answer has come to a clean end; ``proven`` if its framing shows that this is the whole of it."""
        answering, head = self._answering, self._head
        assert answering is not None and head is not None  # noqa: S101, PT018 - it was being read
        answering.end(self.events)
        self._is_whole = proven and not answering.odd_end
        if self._is_doubtful(answering, head.job_id):
            self._go(Signal.DOUBTFUL)
            self._search = self._new_search(self._known_said(), self.fold.round_text, now)
            self.todo = Look(now)
        elif head.job_id is not None:
            self._follow(head.job_id, now)
        else:
            self._complete(Signal.ENDED)

    def _is_doubtful(self, answering: Answering, job_id: str | None) -> bool:
        """Whether to look at the history once the answer has ended."""
        if self.options.settle != "auto":
            return self.options.settle
        if not self._is_whole:
            return True
        if self.fold.error is not None or self.run.run_id is None or job_id is not None:
            return False  # a job that the headers tell of need not be looked for
        return not self.fold.round_text or self.fold.round_has_call or answering.shows_no_tools

    def cut(self, why: str, now: float, *, is_idle: bool = False) -> None:
        """The answer was cut; ``is_idle`` if by silence."""
        answering, head = self._answering, self._head
        assert answering is not None and head is not None  # noqa: S101, PT018 - it was being read
        answering.cut(self.events)
        self._cut, self._is_idle, self._is_whole = why, is_idle, False
        self._has_job = head.job_id is not None
        if not self._can_heal:
            if head.job_id is not None:
                self.job = Job(self.polling, head.job_id, now, until=None)
            raise self._interrupted()
        if head.job_id is not None:
            self._follow(head.job_id, now)
            return
        self._go(Signal.CUT)
        self._look_for(now)

    def received_last(self, data: bytes) -> None:
        """Add what was received and not read yet, for a reader who stops."""
        try:
            self.received(data)
        finally:
            self._answering.cut(self.events)  # type: ignore[union-attr] # it is there while an answer is read

    # Looking at the run

    def looked(self, status: JobStatus, now: float, draw: float) -> None:
        """The run was read."""
        self.status = status
        match self.state:
            case State.PROBING:
                self._probed(status, now)
            case State.CHECKING:
                self._checked(status, now, draw)
            case State.SETTLING:
                self._seeking().take(status, now)
                self._settle(now, status.retry_after, draw)
            case _:
                self._looked_for(status, now, draw)

    def blind(self, error: ToolhouseError, now: float, draw: float) -> None:
        """The run could not be read."""
        asked = asked_for(error)
        match self.state:
            case State.PROBING:
                raise error
            case State.CHECKING:
                if not tolerated(error):
                    raise _still_uncertain(f"its history cannot be read: {error}")
                self._check_on(now, asked, draw)
            case State.SETTLING:
                if not tolerated(error):
                    self._settled(Verdict.DIFFERS if self._is_strict else Verdict.SAME, now)
                elif self._seeking().is_too_late(now):
                    self._settle(now, asked, draw)
                else:
                    self._look_again(now, asked, draw)
            case _:
                if not tolerated(error):
                    raise self._unhealed(f"the history cannot be read: {error}")
                self._judge(now, asked, draw)

    def _seeking(self) -> Search:
        assert self._search is not None  # noqa: S101 - the state says so
        return self._search

    def _known_said(self) -> Said:
        assert self._said is not None  # noqa: S101 - it was sent
        return self._said

    def _new_search(self, said: Said, partial: str, now: float, *, since: float | None = None) -> Search:
        return Search(
            self.run.transcript,
            said,
            partial,
            now,
            rules=self._rules,
            polling=self.polling,
            has_job=self._has_job,
            since=since,
        )

    def _look_for(self, now: float) -> None:
        """Look for what was said last, and its answer, in the history."""
        self._search = self._new_search(self._known_said(), self.fold.round_text, now, since=self._since)
        self.todo = Look(now)

    def _look_again(self, now: float, asked: float | None, draw: float) -> None:
        self.todo = Look(self._seeking().next_look(now, asked, draw))

    def _probed(self, status: JobStatus, now: float) -> None:
        """Whether a job stands behind a 409; else the message is sent again, while the worker speaks or a few times."""
        if status.job_id is not None:
            self._follow(status.job_id, now)
            return
        seen, self._seen = self._seen, _size(status.history or ())
        deadline = self.polling.deadline
        if self._refused_at is None:
            self._refused_at = now
        grows = seen is not None and self._seen > seen
        if grows and (deadline is None or now - self._refused_at < deadline):
            self._rules.shows_messages_early = True  # a worker that is speaking is refused, and is seen to speak
            self._conflicts = max(self._conflicts - 1, 0)
        if self._conflicts == len(CONFLICT_PAUSES):
            assert self._conflict is not None  # noqa: S101 - it led here
            raise self._conflict
        self._not_before = now + CONFLICT_PAUSES[self._conflicts]
        self._conflicts += 1
        self._go(Signal.NO_JOB)
        self.todo = ENTER

    def _checked(self, status: JobStatus, now: float, draw: float) -> None:
        """Whether the message before, of unknown fate, has arrived."""
        search, open_turn = self._seeking(), self.run.unfinished
        search.take(status, now)
        if open_turn is None or search.is_absent:
            self.run.transcript.take_back(search.said)
            self.run.unfinished = None
            self._go(Signal.ABSENT)
            self._send(now)
            return
        if search.sight is Sight.ARRIVED:
            open_turn.stage, open_turn.said.is_certain = Stage.ANSWER, True
        self._check_arrival(open_turn.is_uncertain)
        self._check_on(now, status.retry_after, draw)

    def _check_on(self, now: float, asked: float | None, draw: float) -> None:
        search = self._seeking()
        if search.is_odd or search.is_too_late(now):
            raise _still_uncertain("its history does not tell")
        self._look_again(now, asked, draw)

    # Settling: an answer that has ended is compared with the history

    @property
    def _is_strict(self) -> bool:
        return self.options.settle is True or not self._is_whole

    def _settle(self, now: float, asked: float | None, draw: float) -> None:
        search, head = self._seeking(), self._head
        assert head is not None  # noqa: S101 - its answer has ended
        job_id = search.job_id or head.job_id
        if job_id is not None and not self._is_strict:
            self._settled(Verdict.SAME, now)
            return
        answer = Ended(
            self.fold.round_text,
            proven=self._is_whole,
            strict=self._is_strict,
            open_call=self.fold.unanswered_call,
            has_job=job_id is not None,
        )
        verdict = compare(
            answer,
            search.reply,
            lags=search.sight in (Sight.ABSENT, Sight.LAGS),
            rested=search.is_rested,
            patient=search.is_patient,
        )
        if verdict is Verdict.AGAIN and search.is_too_late(now):
            # A proven end stands where nothing could be read at all.
            verdict = Verdict.SAME if self._is_whole and search.sight is None else Verdict.DIFFERS
        if verdict is Verdict.AGAIN:
            self._look_again(now, asked, draw)
        else:
            self._settled(verdict, now)

    def _settled(self, verdict: Verdict, now: float) -> None:
        """Go by what the history says of an answer, and of the job that follows it, if one does."""
        search, head = self._seeking(), self._head
        assert head is not None  # noqa: S101 - its answer has ended
        job_id = search.job_id or head.job_id
        if verdict is Verdict.DIFFERS:
            self._cut = "it ended, but the history does not show that this is the whole of it"
            self._has_job = job_id is not None
            if not self._can_heal:
                if job_id is not None:
                    self.job = Job(self.polling, job_id, now, until=None)
                raise self._interrupted()
            if job_id is None:
                self._go(Signal.DIFFERS)
                self.todo = Look(now)  # the search goes on
                return
        else:
            self._is_whole = True
        self._search = None
        if job_id is not None:
            self._follow(job_id, now)
        elif verdict is Verdict.WAITS:
            self._miss_job()
            self._has_job = False
            self._go(Signal.WAITS)
            self._end_round()
        else:
            self._complete(Signal.SAME)

    # Healing, and finding out about a message

    def _looked_for(self, status: JobStatus, now: float, draw: float) -> None:
        search, said = self._seeking(), self._known_said()
        if self.state is State.RESUMING and not self.run.transcript.has(said):
            self._absent(now, draw)  # another who had sent it with us has found that out
            return
        search.take(status, now)
        if status.job_id is None:
            self._judge(now, status.retry_after, draw)
            return
        if self.state is not State.RESUMING:
            self._has_job = True
        elif self.job is None or status.job_id != self.job.job_id:
            self._arrive()  # only the resumed worker can have started another job
            self._lost, self._has_job = None, True
        self._search = None
        self._follow(status.job_id, now)

    def _judge(self, now: float, asked: float | None, draw: float) -> None:
        """What the readings so far say."""
        search = self._seeking()
        if self.state is not State.HEALING:
            if search.is_absent:
                self._absent(now, draw)
                return
            if search.sight is not Sight.ARRIVED and not self._known_said().is_certain:
                if search.is_odd:
                    raise self._unhealed("the history holds what this client cannot explain")
                if search.is_too_late(now):
                    raise self._unhealed("the history does not tell")
                self._look_again(now, asked, draw)
                return
            self._arrive()
        if search.waits_for_resume and (self._lost is not None or search.is_too_late(now)):
            if not self._has_job:
                self._miss_job()
            self._heal(search, now)
        elif search.is_found:
            self._heal(search, now)
        elif search.is_too_late(now):
            raise self._unhealed("the history does not show the whole of it")
        else:
            self._look_again(now, asked, draw)

    def _arrive(self) -> None:
        """What was said last has arrived; its answer is still to be healed."""
        self._accept()
        self._cut = "the message had arrived, and the history does not show the whole of its answer"
        self._go(Signal.ARRIVED)

    def _absent(self, now: float, draw: float) -> None:
        """What was said last has not arrived: the resume is sent again, a message is left to the user."""
        self._take_back()
        why, is_resume = self._cut, self.state is State.RESUMING
        self._lost, self._since, self._cut, self._search = None, None, None, None
        self._go(Signal.ABSENT)
        if is_resume:
            self._resume_later(why, now, None, draw)
        else:
            self.run.unfinished = None
            self.todo = Over()

    def _heal(self, search: Search, now: float) -> None:
        """Put the history's answer in place of what was received."""
        reply, partial = "" if search.reply is None else search.reply.text, self.fold.round_text
        if reply:
            is_trimmed = is_same_text(reply, partial) and not reply.startswith(partial)
            self._take_over(partial if is_trimmed else reply, partial)
        self._cut, self._search, self._is_idle, self._lost, self._since = None, None, False, None, None
        self._is_whole = True
        if self._has_job:
            self._has_job = False
            self._go(Signal.HEALED_RESUME)
            self._end_round()
        else:
            self._complete(Signal.HEALED)

    def _take_over(self, reply: str, partial: str) -> None:
        """Let the history's words stand for those received, and give what is missing of them."""
        missing = reply.removeprefix(partial) if reply.startswith(partial) else ""
        self.fold.heal(reply)
        self.events.append(StreamRecovered(reply, missing))
        if missing:
            self.events.append(TextDelta(missing))

    # Jobs

    def _count_job(self) -> None:
        self._jobs += 1
        if self._jobs > self.polling.max_rounds:
            raise too_many_jobs(self.polling)

    def _miss_job(self) -> None:
        """A job has followed that was over before anybody looked."""
        self._count_job()
        self.job, self._left, self._missed, self._has_job = None, None, self._said, True

    def _follow(self, job_id: str, now: float) -> None:
        """A job runs: wait for it, or leave it to the user."""
        before = self.job
        missed = before is not None and before.job_id == job_id  # a poll did not see it, and it is not new
        job = self.job = Job(self.polling, job_id, before.started if before and missed else now, until=None)
        self._missed = None
        job.begin(self.events)
        if self.run.run_id is None:
            raise nameless()
        if self.options.background == "detach" and not self._unsent:
            self.run.job = token = self.token
            if self._cut is not None:
                why = "a job is running, which this turn does not wait for"
                raise self._unhealed(why, self._result("background", token))
            self._note(Note.WAITING)
            self._complete(Signal.LEFT)
            return
        self._count_job()
        self._go(Signal.JOB)
        self._note(Note.WAITING)
        self.todo = Poll(job.deadline)

    def polled(self, report: Report, now: float) -> None:
        """A poll of the run was made.

        Raises:
            JobWaitTimeoutError: The job was still running at the deadline.
            ToolhouseError: Polling has ended for good.
        """
        job = self.job
        assert job is not None  # noqa: S101 - the state says so
        status = job.take(report, now, self.events, self.fold.jobs)
        if status is None:
            self.todo = Poll(job.deadline)
            return
        self.status = status
        if self.only_waits:
            self.todo = Over()
            return
        if self._lost is not None:
            self._go(Signal.OVER_LOST if self._lost is State.FINDING else Signal.OVER_UNSURE)
            self._look_for(now)
        elif self._has_job:
            self._go(Signal.OVER_CUT)
            self._look_for(now)
        elif self._unsent:
            self._go(Signal.OVER)
            self.todo = ENTER
        else:
            heard = self._made_whole(status.history or ())
            self.run.transcript.saw(status.history or ())
            self._go(Signal.OVER)
            self._end_round(heard)

    def _made_whole(self, history: tuple[Message, ...]) -> str | None:
        """Once the round's job is over: give what the history has of its words that did not come.

        Framing proves only the last hop: a proxy can make a clean end of a cut. The last poll has read the history. An
        answer that tells of its job may have no body at all; then the words that stand there are only noted.

        Returns:
            All that the worker has said in the round, where the history has more of it than was received.
        """
        said, partial = self._said, self.fold.round_text
        if said is None or self._head is None or not self.run.transcript.has(said):
            return None
        reply = self.run.transcript.find(history, said, partial).reply
        if reply is None or not goes_on_from(reply.text, partial) or is_same_text(reply.text, partial):
            return None
        if partial and self._can_heal and self.options.settle is not False:
            self._take_over(reply.text, partial)
        return reply.text

    def _end_round(self, heard: str | None = None) -> None:
        """The round is over, and the run waits to be resumed; ``heard`` if more was said than was received."""
        if self._said is not None:
            text = self.fold.round_text if heard is None else heard
            self.run.transcript.hear(self._said, text, whole=self._is_whole or heard is not None)
        self.fold.next_round()
        self.todo = ENTER

    def _resume(self, now: float) -> None:
        """Resume the run after a job; not where this client has done so before."""
        said = self._resumed_before()
        if said is None:
            self._send(now)
            return
        self._said, self._words = said, self.options.resume_message
        if said.is_certain:
            self._cut = "this client has resumed the run before"
            self._go(Signal.RESUMED)
        else:
            self._lost, self._since = State.RESUMING, now
            self._go(Signal.LOST)
        self._look_for(now)

    def _resumed_before(self) -> Said | None:
        """The resume that this client has sent after the job already, for somebody else."""
        run, behind = self.run, self.behind
        if behind is not None:
            return run.resumed.get(behind)
        latest = run.transcript.latest  # a job of unknown id was waited for, and none was running
        return latest if latest is not self._said and latest in run.resumed.values() else None

    # Its end

    def _interrupted(self, partial: TurnResult | None = None) -> StreamInterruptedError:
        kind = IdleTimeoutError if self._is_idle else StreamInterruptedError
        return kind(f"the answer was cut: {self._cut}"[:1000], partial=partial or self.partial)

    def _unhealed(self, why: str, partial: TurnResult | None = None) -> ToolhouseError:
        if self.state is State.FINDING:
            return OutcomeUnknownError(f"nobody can know yet what became of the message: {why}"[:1000])
        self._cut = f"{self._cut}; {why}"
        return ResumeUncertainError(self._cut[:1000]) if self.state is State.RESUMING else self._interrupted(partial)

    def _complete(self, signal: Signal) -> None:
        """The turn has come to its end."""
        run, is_background = self.run, signal is Signal.LEFT
        run.job = token = self.token if is_background else None
        error = self.fold.error
        if error is not None and not is_background:
            redact = str if self._head is None else self._head.redact
            code = redact(error.code) if isinstance(error.code, str) else error.code
            raise WorkerError(
                f"the worker reported an error: {redact(error.message)[:1000]}", partial=self.partial, code=code
            )
        result = self._result("background" if is_background else "completed", token)
        run.transcript.hear(self._known_said(), self.fold.round_text, whole=self._is_whole)
        whole = result if self._before is None else _joined(self._before, result)
        if not self._leaves_more_open:
            run.unfinished, run.ended = None, whole
        if self._began is State.FINDING:
            result = whole
        self._go(signal)
        if not is_background:
            self._note(Note.COMPLETED)
        self.events.append(TurnCompleted(result))
        self.todo = Over(result)

    @property
    def _leaves_more_open(self) -> bool:
        """Whether it has waited for the job of a turn whose own answer is still to be healed, or looked for."""
        left = self.run.unfinished
        return self._began is State.WAITING and left is not None and left.stage in (Stage.ANSWER, Stage.MESSAGE)

    def stopped(self, error: ToolhouseError, now: float, *, in_flight: bool) -> None:
        """End the turn with an error, which is told what is known of the message.

        Args:
            error: Why it ends.
            now: The time.
            in_flight: Whether a message is under way, that may be accepted or not.
        """
        if self.state is State.DONE:
            return
        error.run_id = error.run_id or self.run.run_id
        is_unknown = in_flight and error.safe_to_retry is None
        if self._accepted:
            error.safe_to_retry = False
        elif self._unsent and not in_flight and error.safe_to_retry is None:
            error.safe_to_retry = True
        token = self.token if self._ends_behind_a_job or isinstance(error, JobError) else None
        if token is not None and error.token is None:
            error.token = self.run.job = token
        self._leave_open(error, now, is_unknown=is_unknown)
        self.state = State.DONE
        self.todo = Over(error=error)

    @property
    def _ends_behind_a_job(self) -> bool:
        if self.state is State.SENDING:
            return not self._unsent
        return self._has_job or self.state in (State.WAITING, State.PROBING, State.RESUMING)

    def _leave_open(self, error: ToolhouseError, now: float, *, is_unknown: bool) -> None:
        """Note on the run how far this turn has come."""
        if isinstance(error, WorkerError):
            self.run.unfinished, self.run.ended = None, error
            return
        stage = self._stage(is_unknown=is_unknown)
        if self._said is not None and not is_unknown and isinstance(self.todo, Send):
            self._take_back()
        if self._unsent and stage is None:
            self.run.ended = None  # of this message nothing is known but that it was not accepted
        if stage is None or self._said is None or self._leaves_more_open:
            return
        job = None if self.job is None else (self.job.job_id, self.job.started)
        has_job = self._has_job
        if stage is Stage.ANSWER:
            self.run.transcript.hear(self._said, self.fold.round_text, whole=False)
            if self._head is not None and self._head.job_id is not None and self.state is not State.HEALING:
                stage, has_job, job = Stage.JOB, True, (self._head.job_id, now)
        elif stage is Stage.JOB:
            self.run.transcript.hear(self._said, self.fold.round_text, whole=self._is_whole)
        self.run.ended = None
        self.run.unfinished = Unfinished(
            stage,
            self._said,
            self._words,
            now if self._since is None else self._since,
            self.fold,
            self.options,
            self._head,
            self._round,
            has_job,
            job,
            bars=stage is Stage.MESSAGE and isinstance(error, OutcomeUnknownError | ProtocolError),
            before=self._before,
        )

    def _stage(self, *, is_unknown: bool) -> Stage | None:
        """How far it has come; ``None`` where that leaves nothing open that was not open before."""
        if self.state is State.RESUMING or self._lost is State.RESUMING:
            return Stage.RESUME
        if self._unsent or (not self._accepted and self.state not in (State.SENDING, State.PROBING)):
            return Stage.MESSAGE if is_unknown else None
        match self.state:
            case State.SENDING if is_unknown:
                return Stage.RESUME
            case State.SENDING | State.PROBING:
                return Stage.RESUME_DUE if self._accepted else None
            case State.WAITING:
                return Stage.JOB
            case _:
                return Stage.ANSWER


def nameless() -> ProtocolError:
    """The error where a run id is needed that no answer has brought."""
    return ProtocolError("the answer has no X-Toolhouse-Run-ID, so the conversation cannot be read or continued")


def _brought(agent_id: str, run: Run) -> TurnResult | None:
    """What the turn of the message has brought whose job is waited for, where that is known and whole."""
    left = run.unfinished
    if left is None:
        return run.ended if isinstance(run.ended, TurnResult) and run.ended.status == "background" else None
    if left.is_uncertain or left.has_job:
        return None
    result = left.fold.result(agent_id, run.run_id, status="completed", token=None)
    return result if left.before is None else _joined(left.before, result)


def _joined(first: TurnResult, second: TurnResult) -> TurnResult:
    """What two turns have brought of one message."""
    return evolve(
        second,
        text=first.text + second.text,
        tool_calls=(*first.tool_calls, *second.tool_calls),
        jobs=(*first.jobs, *second.jobs),
        recovered=first.recovered + second.recovered,
        unknown=first.unknown + second.unknown,
        malformed=first.malformed + second.malformed,
        rounds=(*first.rounds, *second.rounds),
    )


def _still_uncertain(why: str) -> UncertainSessionError:
    return UncertainSessionError(
        f"nobody can know yet whether an earlier message was accepted: {why}; this one was not sent"[:1000]
    )


def _size(history: tuple[Message, ...]) -> tuple[int, int]:
    return len(history), sum(len(entry.text) for entry in history)
