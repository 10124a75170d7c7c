"""Waiting for a job: it is followed, waited for or left, and its end tells how to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .commands import ENTER, Look, Note, Over, Poll
from .heard import goes_on_from, is_same_text
from .job import Job, too_many_jobs
from .progress import nameless
from .table import Signal, State

if TYPE_CHECKING:
    from .._values.results import Message
    from ..errors import StreamInterruptedError
    from .polls import Report
    from .progress import Progress


def follow(turn: Progress, job_id: str, now: float) -> None:
    """A job runs: wait for it, or leave it to the user.

    Raises:
        TooManyRoundsError: The worker has started more jobs than the policy allows.
        ToolhouseError: It cannot be waited for, or what came before it is not whole.
    """
    job = turn.job = Job(turn.polling, job_id, seen_first(turn, job_id, now), until=None)
    turn.missed = None
    job.begin(turn.events)
    if turn.run.run_id is None:
        raise nameless()
    if turn.options.background == "detach" and not turn.is_unsent:
        turn.run.job = token = turn.token
        if turn.cut is not None:
            why = "a job is running, which this turn does not wait for"
            raise turn.unhealed(why, turn.result_of("background", token))
        turn.note(Note.WAITING)
        turn.complete(Signal.LEFT)
        return
    _count(turn)
    turn.go(Signal.JOB)
    turn.note(Note.WAITING)
    turn.todo = Poll(job.deadline)


def miss(turn: Progress) -> None:
    """A job has followed that was over before anybody looked.

    Raises:
        TooManyRoundsError: As for :func:`follow`.
    """
    _count(turn)
    turn.job, turn.left, turn.missed, turn.has_job = None, None, turn.said, True


def _count(turn: Progress) -> None:
    turn.jobs += 1
    if turn.jobs > turn.polling.max_rounds:
        raise too_many_jobs(turn.polling)


def interrupted(turn: Progress, job_id: str | None, now: float) -> StreamInterruptedError:
    """The error for an answer that is not whole; its token waits for the job that runs, if one does."""
    if job_id is not None:
        turn.job = Job(turn.polling, job_id, seen_first(turn, job_id, now), until=None)
    return turn.interrupted()


def seen_first(turn: Progress, job_id: str, now: float) -> float:
    """When a job was seen first: now, unless this turn has waited for it, or an earlier one has left it."""
    job, left = turn.job, turn.run.job
    if job is not None and job.job_id == job_id:
        return job.started  # a poll did not see it, and it is not new
    if left is not None and left.job_id == job_id:
        return min(now, left.started - turn.drift)
    return now


def polled(turn: Progress, report: Report, now: float) -> None:
    """A poll of the run was made."""
    job = turn.job
    assert job is not None  # noqa: S101 - the state says so
    status = job.take(report, now, turn.events, turn.fold.jobs)
    if status is None:
        turn.todo = Poll(job.deadline)
        return
    turn.status = status
    if turn.only_waits:
        turn.todo = Over()
    elif turn.lost is State.RECOVERING:
        turn.go(Signal.OVER_OTHERS)
        turn.todo = Look(now)
    elif turn.lost is not None:
        turn.go(Signal.OVER_LOST if turn.lost is State.FINDING else Signal.OVER_UNSURE)
        turn.look_for_last(now)
    elif turn.has_job:
        turn.go(Signal.OVER_CUT)
        turn.look_for_last(now)
    elif turn.is_unsent:
        turn.go(Signal.OVER)
        turn.todo = ENTER
    else:
        history = status.history or ()
        heard = _made_whole(turn, history)
        turn.run.transcript.saw(history)
        turn.go(Signal.OVER)
        turn.end_round(heard)


def _made_whole(turn: Progress, history: tuple[Message, ...]) -> str | None:
    """Once the round's job is over: give what the history has of its words that did not come.

    Framing proves only the last hop: a proxy can make a clean end of a cut. The last poll has read the history. An
    answer that tells of its job may have no body at all; then the words that stand there are only noted.

    Returns:
        All that the worker has said in the round, where the history has more of it than was received.
    """
    said, partial = turn.said, turn.fold.round_text
    if said is None or turn.head is None or not turn.run.transcript.has(said):
        return None
    reply = turn.run.transcript.find(history, said, partial).reply
    if reply is None or not goes_on_from(reply.text, partial) or is_same_text(reply.text, partial):
        return None
    if partial and turn.can_heal and turn.options.settle is not False:
        turn.take_over(reply.text, partial)
    return reply.text
