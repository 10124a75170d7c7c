"""How far a turn has come: what all its parts know together, and the smallest steps that they share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from .._values.results import JobToken, TurnResult
from .._wire.stage import Stage
from ..errors import (
    IdleTimeoutError,
    OutcomeUnknownError,
    ProtocolError,
    ResumeUncertainError,
    StreamInterruptedError,
    TurnTimeoutError,
    WorkerError,
)
from ..events import ErrorEvent, Event, StreamRecovered, TextDelta, TurnCompleted, TurnResumed, TurnStarted
from .commands import ENTER, Command, Look, Note, Over
from .fold import Fold
from .joining import brought, joined
from .search import Search
from .table import TABLE, Signal, State

if TYPE_CHECKING:
    from .._values.options import Options
    from .._values.results import JobStatus
    from .._values.settings import PollingPolicy
    from .answering import Answering
    from .conflicts import Conflicts
    from .heard import Said
    from .job import Job
    from .knowledge import Head, Rules, Run
    from .others import Others
    from .polls import Patience


class Progress:
    """A message, its answer, and every job and resume that follow, so far.

    Attributes:
        agent_id: The worker.
        run: What the client knows of the conversation.
        rules: What the client's turns go by.
        options: The turn's options.
        polling: How it polls.
        words: What was said last, or is to be.
        fields: What goes with the user's message in its body.
        format: The endpoint family of the answer.
        state: What it is doing.
        todo: What is to be done next.
        events: What the user is to see, oldest first.
        notes: What a journal is to write down first, where there is one.
        fold: What was received.
        status: What the last good reading of the run said.
        drift: What the clock of tokens is ahead of the clock of all other times.
        only_waits: Whether it waits for a job and does not resume.
        began: The state that it began in.
        before: What the turn of the message itself has brought, where this one waits for its job.
        left: What waits for the job that was left to this turn.
        round: Resumes that were accepted.
        is_unsent: Whether the user's message is still to be accepted.
        is_accepted: Whether the service has accepted a message of this turn.
        said: What was said last; before it is found out what became of a message, that one.
        head: What its answer said before the body.
        answering: Its answer, while that is read.
        is_whole: Whether the round's words are all that there are.
        cut: Why the answer of this round is not known to be whole.
        is_idle: Whether silence was the reason.
        search: The search for it in the history.
        lost: Where a message of unknown fate is looked for, if one is.
        since: When its fate became unknown.
        job: The job that is being waited for.
        jobs: How many jobs there were.
        has_job: Whether a job has followed an answer that is still to be healed.
        missed: What was said before a job that was over before anybody looked.
        others: What to look for in the history, while what the turn has brought so far is known there alone.
        conflicts: The refusals with 409 of what is to be said next, since something was accepted.
        patience: With what else fails before that.
        not_before: The time before which it is not sent.
    """

    __slots__ = (
        "agent_id", "answering", "before", "began", "conflicts", "cut", "drift", "events", "fields", "fold", "format",
        "has_job", "head", "is_accepted", "is_idle", "is_unsent", "is_whole", "job", "jobs", "left", "lost", "missed",
        "not_before", "notes", "only_waits", "options", "others", "patience", "polling", "round", "rules", "run",
        "said", "search", "since", "state", "status", "todo", "words",
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
            state: ``SENDING`` the message; or nothing new, but ``WAITING`` for the run's job, ``FINDING`` out what
                became of its latest turn, or ``RECOVERING`` the answer to what another process has said.
            polling: How to poll; default as the client does.
            message: The user's message, or the one that another process has sent; ``None`` for whichever was the last.
            fields: What goes with it in its body.
        """
        self.agent_id: str = agent_id
        self.run: Run = run
        self.rules: Rules = rules
        self.options: Options = options
        self.polling: PollingPolicy = polling or rules.polling
        self.words: str | None = message
        self.fields: Callable[[], dict[str, Any]] = fields
        self.format: Literal["ndjson", "text"] = options.format
        self.state: State = state
        self.todo: Command = ENTER
        self.events: deque[Event] = deque()
        self.notes: list[Note] | None = None
        self.fold: Fold = Fold()
        self.status: JobStatus | None = None
        self.drift: float = 0.0
        self.only_waits: bool = False
        self.began: State = state
        self.before: TurnResult | None = None
        self.left: JobToken | None = None
        self.round: int = 0
        if state is State.WAITING:
            self.before, self.left = brought(agent_id, run), run.job
            self.round = self.left.round if self.left else 0
        self.is_unsent: bool = state is State.SENDING
        self.is_accepted: bool = False
        self.said: Said | None = None
        self.head: Head | None = None
        self.answering: Answering | None = None
        self.is_whole: bool = False
        self.cut: str | None = None
        self.is_idle: bool = False
        self.search: Search | None = None
        self.lost: State | None = None
        self.since: float | None = None
        self.job: Job | None = None
        self.jobs: int = 0
        self.has_job: bool = False
        self.missed: Said | None = None
        self.others: Others | None = None
        self.conflicts: Conflicts | None = None
        self.patience: Patience | None = None
        self.not_before: float = 0.0

    # What follows from it

    @property
    def partial(self) -> TurnResult:
        """What has been received so far."""
        return self.result_of("completed", None)

    def result_of(self, status: Literal["background", "completed"], token: JobToken | None) -> TurnResult:
        """What has been received so far, as a result."""
        return self.fold.result(self.agent_id, self.run.run_id, status=status, token=token)

    @property
    def token(self) -> JobToken | None:
        """What waits for the job under way, if one is."""
        job = self.job
        token = None if job is None else self._token_of(job.job_id, job.started)
        return self.left if token is None else token

    def announced(self, now: float) -> JobToken | None:
        """What waits for the job that the answer has told of before its body, if it has."""
        return self._token_of(self.known_head.job_id, now)

    def _token_of(self, job_id: str | None, started: float) -> JobToken | None:
        run_id = self.run.run_id
        if job_id is None or run_id is None:
            return None
        return JobToken(self.agent_id, run_id, job_id, max(0.0, started + self.drift), self.options.format, self.round)

    @property
    def job_id(self) -> str | None:
        """The job that is being waited for, or was left running."""
        if self.state is State.WAITING and self.job is not None:
            return self.job.job_id
        return None if self.run.job is None else self.run.job.job_id

    @property
    def behind(self) -> str | Said | None:
        """What a resume follows: a job, by its id; or where that was not seen, what was said before it."""
        return self.missed if self.job is None else self.job.job_id

    @property
    def may_join(self) -> bool:
        """Whether it would resume the run next, or once the job is over: so it may share the resume of another."""
        if self.is_unsent or self.only_waits:
            return False
        return self.state is State.SENDING or (self.state is State.WAITING and not self.has_job and self.lost is None)

    @property
    def can_heal(self) -> bool:
        """Whether a cut answer may be healed from the history."""
        return self.options.recover and self.run.run_id is not None

    @property
    def leaves_more_open(self) -> bool:
        """Whether it has waited for the job of a turn whose own answer is still to be healed, or looked for."""
        left = self.run.unfinished
        return self.began is State.WAITING and left is not None and left.stage in (Stage.ANSWER, Stage.MESSAGE)

    @property
    def known_said(self) -> Said:
        """What was said last, where something was."""
        assert self.said is not None  # noqa: S101 - it was sent
        return self.said

    @property
    def known_head(self) -> Head:
        """What its answer said before the body, where that has come."""
        assert self.head is not None  # noqa: S101 - the answer has come
        return self.head

    @property
    def seeking(self) -> Search:
        """The search under way, in states that have one."""
        assert self.search is not None  # noqa: S101 - the state says so
        return self.search

    # Steps

    def go(self, signal: Signal) -> None:
        """Go where that leads."""
        self.state = TABLE[self.state, signal]

    def note(self, note: Note) -> None:
        """Have that written down, if there is a journal."""
        if self.notes is not None:
            self.notes.append(note)

    def accept(self) -> None:
        """What was said last was accepted."""
        run, said = self.run, self.said
        assert said is not None  # noqa: S101 - it was sent
        said.is_certain = True
        run.ended = None
        if self.began is not State.WAITING:
            run.unfinished = None
        elif run.unfinished is not None and run.unfinished.has_job:
            run.unfinished.resumed()
        self.is_accepted = True
        if self.is_unsent:
            self.is_unsent = False
            self.events.append(TurnStarted(self.agent_id, run.run_id))
        elif self.state in (State.SENDING, State.RESUMING):
            self.round += 1
            self.events.append(TurnResumed(run.run_id or "", self.round))

    def take_back(self) -> None:
        """What was said last was not accepted."""
        said, run = self.known_said, self.run
        if not said.is_certain:  # else another turn that had sent it with this one knows better
            run.transcript.take_back(said)
            run.resumed = {behind: other for behind, other in run.resumed.items() if other is not said}

    def search_for(self, said: Said, partial: str, now: float, *, since: float | None = None) -> None:
        """Look for a message and its answer in the history."""
        self.search = Search(
            self.run.transcript,
            said,
            partial,
            now,
            rules=self.rules,
            polling=self.polling,
            has_job=self.has_job,
            since=since,
        )
        self.todo = Look(now)

    def look_for_last(self, now: float) -> None:
        """Look for what was said last, and its answer, in the history."""
        self.search_for(self.known_said, self.fold.round_text, now, since=self.since)

    def look_again(self, now: float, asked: float | None, draw: float) -> None:
        """Read the history once more, when that may bring something."""
        self.todo = Look(self.seeking.next_look(now, asked, draw))

    def take_over(self, reply: str, partial: str) -> None:
        """Let the history's words stand for those received, and give what is missing of them."""
        self.fold.is_replaced = not reply.startswith(partial)
        missing = "" if self.fold.is_replaced else reply.removeprefix(partial)
        self.fold.heal(reply)
        self.events.append(StreamRecovered(reply, missing))
        if missing:
            self.events.append(TextDelta(missing))

    def end_round(self, heard: str | None = None) -> None:
        """The round is over, and the run waits to be resumed; ``heard`` if more was said than was received."""
        if self.said is not None:
            text = self.fold.round_text if heard is None else heard
            self.run.transcript.hear(self.said, text, whole=self.is_whole or heard is not None)
        self.fold.next_round()
        self.todo = ENTER

    def complete(self, signal: Signal) -> None:
        """The turn has come to its end.

        Raises:
            WorkerError: The worker has reported an error.
        """
        run, said, fold = self.run, self.said, self.fold
        assert said is not None  # noqa: S101 - it was sent
        token: JobToken | None = None
        status: Literal["background", "completed"] = "completed"
        if signal is Signal.LEFT:
            token, status = self.token, "background"
        run.job = token
        if fold.error is not None and signal is not Signal.LEFT:
            raise self._failure(fold.error)
        result = fold.result(self.agent_id, run.run_id, status=status, token=token)
        run.transcript.hear(said, result.rounds[-1], whole=self.is_whole)
        if self.began is State.SENDING:
            run.unfinished, run.ended = None, result
        else:
            whole = result if self.before is None else joined(self.before, result)
            if not self.leaves_more_open:
                run.unfinished, run.ended = None, whole
            if self.began is State.FINDING:
                result = whole
        self.go(signal)
        if self.notes is not None and signal is not Signal.LEFT:
            self.notes.append(Note.COMPLETED)
        self.events.append(TurnCompleted(result))
        self.todo = Over(result)

    # Errors

    def _failure(self, error: ErrorEvent) -> WorkerError:
        redact = str if self.head is None else self.head.redact
        code = redact(error.code) if isinstance(error.code, str) else error.code
        return WorkerError(
            f"the worker reported an error: {redact(error.message)[:1000]}", partial=self.partial, code=code
        )

    def interrupted(self, partial: TurnResult | None = None) -> StreamInterruptedError:
        """The error for an answer that is not whole."""
        kind = IdleTimeoutError if self.is_idle else StreamInterruptedError
        return kind(f"the answer was cut: {self.cut}"[:1000], partial=partial or self.partial)

    def too_late(self, timeout: float | None) -> TurnTimeoutError:
        """The error for a turn that takes longer than its own timeout."""
        goes_on = "; a job is running, and the token waits for it" if self.state is State.WAITING else ""
        return TurnTimeoutError(
            f"the turn took longer than its timeout of {timeout:g} s, while {self.state.value}{goes_on}",
            partial=self.partial,
        )

    def unhealed(
        self, why: str, partial: TurnResult | None = None
    ) -> OutcomeUnknownError | ResumeUncertainError | StreamInterruptedError:
        """The error for what could not be found in the history."""
        if self.state is State.FINDING:
            return OutcomeUnknownError(f"nobody can know yet what became of the message: {why}"[:1000])
        self.cut = f"{self.cut}; {why}"
        return ResumeUncertainError(self.cut[:1000]) if self.state is State.RESUMING else self.interrupted(partial)


def nameless() -> ProtocolError:
    """The error where a run id is needed that no answer has brought."""
    return ProtocolError(
        "the first answer had no X-Toolhouse-Run-ID, so the conversation cannot be read or continued: begin another "
        "session, where it has a key by sessions.forget(key)"
    )
