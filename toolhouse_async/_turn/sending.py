"""Sending: the user's message or a resume, its refusals, and what becomes of one that got no good answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from .._wire.pauses import next_poll
from ..errors import ConflictError, ContactLostError, NotSentError, RateLimitError, TLSError, ToolhouseError
from . import waiting
from .answering import Answering
from .commands import ENTER, READ, Look, Note, Send
from .conflicts import Conflicts
from .polls import Patience, asked_for
from .table import Signal, State

if TYPE_CHECKING:
    from .._values.results import JobStatus
    from .heard import Said
    from .knowledge import Head
    from .progress import Progress


def send(turn: Progress) -> None:
    """Send the user's message or the resume."""
    run, is_unsent = turn.run, turn.is_unsent
    words, behind = turn.words if is_unsent else turn.options.resume_message, turn.behind
    said = turn.said = run.transcript.say(words)
    if is_unsent:
        fields: dict[str, Any] = {} if words is None and run.run_id is None else {"message": words or ""}
        if given := turn.fields():
            fields.update(given)
        if turn.options.extra_body:
            fields.update(turn.options.extra_body)
    else:
        turn.words = words
        fields = {"message": words or ""}
    if behind is not None:
        run.resumed[behind] = said
    turn.todo = Send(turn.not_before, said, fields, run.run_id, resumes=not is_unsent)


def resume(turn: Progress, now: float) -> None:
    """Resume the run after a job; not where a message of this client has done so before."""
    said = _resumed_before(turn) or _resumed_late(turn)
    if said is None:
        send(turn)
        return
    turn.said, turn.words = said, turn.options.resume_message
    if said.is_certain:
        turn.cut = "a message of this client has resumed the run"
        turn.go(Signal.RESUMED)
    else:
        turn.lost, turn.since = State.RESUMING, now
        turn.go(Signal.LOST)
    turn.look_for_last(now)


def _resumed_before(turn: Progress) -> Said | None:
    """The resume that this client has sent after the job already, for somebody else."""
    run, behind = turn.run, turn.behind
    if behind is not None:
        return run.resumed.get(behind)
    latest = run.transcript.latest  # a job of unknown id was waited for, and none was running
    return latest if latest is not turn.said and latest in run.resumed.values() else None


def _resumed_late(turn: Progress) -> Said | None:
    """A message that was given up while it was under way, and that the service has taken as the resume."""
    run, behind, status = turn.run, turn.behind, turn.status
    if behind is None or status is None or status.history is None:
        return None
    said = run.transcript.find_overtaken(status.history)
    if said is not None:
        run.resumed[behind] = said
    return said


def joined(turn: Progress, said: Said, format_: Literal["ndjson", "text"], now: float) -> None:
    """Another turn on the run sends the resume that this one would send."""
    if turn.state is State.WAITING:
        assert turn.job is not None  # noqa: S101 - only who waits is joined
        turn.job.finish(now, turn.events, turn.fold.jobs)
        turn.go(Signal.OVER)
        turn.end_round()
    turn.said, turn.format, turn.words = said, format_, turn.options.resume_message
    turn.todo = Send(now, said, {}, turn.run.run_id, resumes=True)


def answered(turn: Progress, head: Head, now: float) -> None:
    """The service has taken what was sent."""
    turn.head = head
    run, run_id = turn.run, head.run_id
    run.is_nameless = run_id is None and run.run_id is None
    if run_id is not None:  # an answer without one keeps the old
        if run.run_id is None:
            run.begun = now
        run.run_id = run_id
    if head.job_id is not None:
        run.resumed.pop(head.job_id, None)  # a job that was over before: its id comes again
    turn.answering = Answering(turn.format, turn.rules.decoder, turn.rules.max_line, turn.fold)
    turn.accept()
    turn.conflicts = turn.patience = None
    turn.not_before, turn.is_whole = 0.0, False
    turn.go(Signal.ANSWERED)
    if turn.notes is not None:
        turn.notes.append(Note.ANSWERED)
    turn.todo = READ


def refused(turn: Progress, conflict: ConflictError, now: float) -> None:
    """What was sent was refused with 409.

    Raises:
        ConflictError: There is no job to look for, or the user does not want that.
    """
    turn.take_back()
    if turn.run.run_id is None or (turn.is_unsent and turn.options.on_conflict == "raise"):
        raise conflict
    if turn.conflicts is None:
        turn.conflicts = Conflicts(conflict)
    turn.conflicts.latest = conflict
    turn.go(Signal.REFUSED)
    turn.todo = Look(now)


def probed(turn: Progress, status: JobStatus, now: float) -> None:
    """Whether a job stands behind a 409; else the message is sent again, while the worker speaks or a few times.

    Raises:
        ConflictError: That was often enough.
    """
    if status.job_id is not None:
        waiting.follow(turn, status.job_id, now)
        return
    conflicts = turn.conflicts
    assert conflicts is not None  # noqa: S101 - one led here
    pause = conflicts.pause(status.history or (), now, turn.polling.deadline)
    if conflicts.grew:
        turn.rules.shows_messages_early = True  # a worker that is speaking is refused, and is seen to speak
    if pause is None:
        raise conflicts.latest
    turn.not_before = now + pause
    turn.go(Signal.NO_JOB)
    turn.todo = ENTER


def failed(turn: Progress, error: ToolhouseError, now: float, draw: float, *, in_flight: bool) -> None:
    """There is no good answer to what was sent."""
    if turn.is_unsent or error.safe_to_retry is False:
        # A good answer that is no use means a conversation was begun, and its name is lost.
        turn.run.is_nameless = turn.run.run_id is None and error.safe_to_retry is False
        raise error
    if in_flight and error.safe_to_retry is None:
        turn.cut = f"nobody knows whether the resume was accepted ({error})"
        turn.lost, turn.since = State.RESUMING, now
        turn.go(Signal.LOST)
        turn.look_for_last(now)
        return
    turn.take_back()
    if isinstance(error, TLSError) or not isinstance(error, NotSentError | RateLimitError):
        raise error
    resume_later(turn, error, now, asked_for(error), draw)


def resume_later(turn: Progress, reason: object, now: float, asked: float | None, draw: float) -> None:
    """Send the resume again, which did not get through: with the patience that polls have.

    Raises:
        ContactLostError: That is at its end.
    """
    if turn.patience is None:
        turn.patience = Patience(turn.polling, now)
    if turn.patience.is_spent(now):
        raise ContactLostError(
            f"the job is over, and the resume could not be sent for {turn.patience.silence(now):.0f} s. "
            f"The last failure: {reason}"[:1000]
        )
    turn.not_before = now + next_poll(turn.polling, turn.patience.silence(now), asked, draw)
    turn.todo = ENTER
