"""One turn as a machine without I/O: it is told what happened, and says what to do next.

There is no clock, socket, task, log or chance in it: times come in as ``now``, random numbers as ``draw``. What comes
of it stands in its ``progress``: what to do next in ``todo``, what users see in ``events``. Where a call raises, who
made it ends the turn with :meth:`TurnMachine.stopped`.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Literal

from .._wire.stage import Stage
from ..errors import OutcomeUnknownError, ToolhouseError
from . import checking, ending, healing, recovering, sending, settling, streaming, waiting
from .commands import ENTER, Over, Poll
from .job import Job
from .progress import Progress
from .table import Signal, State

if TYPE_CHECKING:
    from .._values.results import JobStatus
    from ..errors import ConflictError
    from .heard import Said
    from .knowledge import Head, Unfinished
    from .polls import Report


class TurnMachine:
    """A message, its answer, and every job and resume that follow.

    Attributes:
        progress: How far it has come.
    """

    __slots__ = ("progress",)

    def __init__(self, progress: Progress) -> None:
        self.progress: Progress = progress

    # Its beginning

    def begin(self, now: float, *, elapsed: float = 0.0, until: float | None = None) -> None:
        """Begin.

        Args:
            now: The time.
            elapsed: Seconds since the job started that was left running.
            until: The time until which that is waited for, whatever the policy says.
        """
        turn = self.progress
        if turn.state is State.WAITING:
            turn.job = Job(turn.polling, turn.left.job_id if turn.left else None, now - elapsed, until=until)
            turn.job.begin(turn.events)
            turn.todo = Poll(turn.job.deadline)

    def _find_out(self) -> None:
        """Take up what is to be found out, or end: turns that went before this one may have settled it.

        Raises:
            OutcomeUnknownError: They have left it, and gone on.
            WorkerError: The latest turn has come to that.
        """
        turn, run = self.progress, self.progress.run
        asked, left = turn.said, run.unfinished
        if asked is not None and not asked.is_certain and (left is None or left.said is not asked):
            if run.transcript.has(asked):
                raise OutcomeUnknownError(
                    "nobody knew what became of the message when another was sent: recover() looks for its answer"
                )
            turn.go(Signal.ABSENT)
            turn.todo = Over()
        elif left is not None:
            self._go_on(left)
        elif isinstance(run.ended, ToolhouseError):
            raise copy(run.ended)
        else:
            turn.go(Signal.HEALED)
            turn.todo = Over(run.ended)

    def _go_on(self, left: Unfinished) -> None:
        """Take up the run's latest turn where it was left."""
        turn = self.progress
        turn.fold, turn.format = left.fold, left.options.format
        turn.said, turn.words, turn.since = left.said, left.words, left.since
        turn.head, turn.before = left.head, left.before
        turn.round, turn.has_job, turn.missed, turn.others = left.round, left.has_job, left.missed, left.others
        turn.is_accepted = not left.is_uncertain
        if left.job is not None:
            turn.job = Job(turn.polling, left.job[0], left.job[1], until=None)
        match left.stage:
            case Stage.MESSAGE:
                turn.lost = State.FINDING
            case Stage.ANSWER:
                turn.state, turn.cut = State.HEALING, "its turn was ended before the answer was"
            case Stage.JOB:
                turn.state = State.WAITING
            case Stage.RESUME_DUE if turn.others is not None:  # the history says what it was that is to be resumed
                turn.state, turn.said, turn.words, turn.has_job = State.RECOVERING, None, None, True
            case Stage.RESUME_DUE:
                turn.state = State.SENDING
            case _:  # a resume of unknown fate
                turn.state = turn.lost = State.RESUMING
                turn.cut = "nobody knows whether the resume was accepted"

    def begin_anew(self) -> None:
        """Send the message to the run that is there now: the service does not know the old one."""
        turn = self.progress
        turn.said, turn.search, turn.state, turn.todo = None, None, State.SENDING, ENTER

    def entered(self, now: float) -> None:
        """The turns before it on the run are over."""
        turn, left = self.progress, self.progress.run.unfinished
        if turn.state is State.FINDING:
            self._find_out()
        elif turn.state is State.RECOVERING and left is not None and turn.others is None:
            turn.began = turn.state = State.FINDING  # this client itself has left the run's latest turn
            self._go_on(left)
        match turn.state:
            case State.DONE:
                pass
            case State.SENDING if turn.is_unsent:
                checking.begin(turn, now)
            case State.SENDING:
                sending.resume(turn, now)
            case State.WAITING:
                assert turn.job is not None  # noqa: S101 - the turn was left with it
                turn.todo = Poll(turn.job.deadline)
            case State.RECOVERING:
                recovering.begin(turn, now)
            case _:
                turn.look_for_last(now)

    # Sending

    def joined(self, said: Said, format_: Literal["ndjson", "text"], now: float) -> None:
        """Another turn on the run sends the resume that this one would send: its answer is this one's too."""
        sending.joined(self.progress, said, format_, now)

    def answered(self, head: Head, now: float) -> None:
        """The service has taken what was sent; its answer is still to be read."""
        sending.answered(self.progress, head, now)

    def refused(self, conflict: ConflictError, now: float) -> None:
        """What was sent was refused with 409."""
        sending.refused(self.progress, conflict, now)

    def failed(self, error: ToolhouseError, now: float, draw: float, *, in_flight: bool) -> None:
        """There is no good answer to what was sent.

        Args:
            error: Why.
            now: The time.
            draw: A random number from 0 to 1.
            in_flight: Whether it may have been accepted.
        """
        sending.failed(self.progress, error, now, draw, in_flight=in_flight)

    # Reading the answer

    def received(self, data: bytes) -> None:
        """More of the answer has come.

        Raises:
            LineTooLongError: A line is above the limit; what came before it has been added.
            MalformedEventError: The decoder is strict; what came before the line has been added.
        """
        turn = self.progress
        turn.answering.feed(data, turn.events)  # type: ignore[union-attr] # it is there while an answer is read

    def received_last(self, data: bytes) -> None:
        """Add what was received and not read yet, for a reader who stops."""
        turn = self.progress
        try:
            self.received(data)
        finally:
            turn.answering.cut(turn.events)  # type: ignore[union-attr] # it is there while an answer is read

    def ended(self, now: float, *, proven: bool) -> None:
        """The answer has come to a clean end; ``proven`` if its framing shows that this is the whole of it."""
        streaming.ended(self.progress, now, proven=proven)

    def cut(self, why: str, now: float, *, is_idle: bool = False) -> None:
        """The answer was cut; ``is_idle`` if by silence."""
        streaming.cut(self.progress, why, now, is_idle=is_idle)

    # Looking at the run

    def looked(self, status: JobStatus, now: float, draw: float) -> None:
        """The run was read."""
        turn = self.progress
        turn.status = status
        match turn.state:
            case State.PROBING:
                sending.probed(turn, status, now)
            case State.CHECKING:
                checking.looked(turn, status, now, draw)
            case State.SETTLING:
                settling.looked(turn, status, now, draw)
            case State.RECOVERING:
                recovering.looked(turn, status, now, draw)
            case _:
                healing.looked(turn, status, now, draw)

    def blind(self, error: ToolhouseError, now: float, draw: float) -> None:
        """The run could not be read."""
        turn = self.progress
        match turn.state:
            case State.PROBING:
                raise error
            case State.CHECKING:
                checking.blind(turn, error, now, draw)
            case State.SETTLING:
                settling.blind(turn, error, now, draw)
            case State.RECOVERING:
                recovering.blind(turn, error, now, draw)
            case _:
                healing.blind(turn, error, now, draw)

    # Its job, and its end

    def polled(self, report: Report, now: float) -> None:
        """A poll of the run was made.

        Raises:
            JobWaitTimeoutError: The job was still running at the deadline.
            ToolhouseError: Polling has ended for good.
        """
        waiting.polled(self.progress, report, now)

    def stopped(self, error: ToolhouseError, now: float, *, in_flight: bool) -> None:
        """End the turn with an error, which is told what is known of the message.

        Args:
            error: Why it ends.
            now: The time.
            in_flight: Whether a message is under way, that may be accepted or not.
        """
        if self.progress.state is not State.DONE:
            ending.stop(self.progress, error, now, in_flight=in_flight)
