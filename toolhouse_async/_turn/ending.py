"""The end of a turn that fails: what its error says of the message, and what is left open on the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._wire.stage import Stage
from ..errors import ClosedError, JobError, OutcomeUnknownError, ProtocolError, ToolhouseError, WorkerError
from .commands import Over, Send
from .knowledge import Unfinished
from .table import State

if TYPE_CHECKING:
    from .progress import Progress


def stop(turn: Progress, error: ToolhouseError, now: float, *, in_flight: bool) -> None:
    """End the turn with an error, which is told what is known of the message.

    Args:
        turn: The turn.
        error: Why it ends.
        now: The time.
        in_flight: Whether a message is under way, that may be accepted or not.
    """
    error.run_id = error.run_id or turn.run.run_id
    is_unknown = in_flight and error.safe_to_retry is None
    if turn.is_accepted:
        error.safe_to_retry = False
    elif turn.is_unsent and not in_flight and error.safe_to_retry is None:
        error.safe_to_retry = True
    token = turn.token if _is_behind_a_job(turn) or isinstance(error, JobError) else None
    if token is not None and error.token is None:
        error.token = turn.run.job = token
    _leave_open(turn, error, now, is_unknown=is_unknown)
    turn.state = State.DONE
    turn.todo = Over(error=error)


def _is_behind_a_job(turn: Progress) -> bool:
    if turn.state is State.SENDING:
        return not turn.is_unsent
    return turn.has_job or turn.state in (State.WAITING, State.PROBING, State.RESUMING)


def _leave_open(turn: Progress, error: ToolhouseError, now: float, *, is_unknown: bool) -> None:
    """Note on the run how far this turn has come."""
    run, said, head = turn.run, turn.said, turn.head
    if isinstance(error, WorkerError):
        run.unfinished, run.ended = None, error
        return
    stage = _stage(turn, is_unknown=is_unknown)
    if said is not None and not is_unknown and isinstance(turn.todo, Send):
        turn.take_back()
    if turn.is_unsent and stage is None:
        run.ended = None  # of this message nothing is known but that it was not accepted
    if stage is None or said is None or turn.leaves_more_open:
        return
    job = None if turn.job is None else (turn.job.job_id, turn.job.started)
    has_job = turn.has_job
    if stage is Stage.ANSWER:
        run.transcript.hear(said, turn.fold.round_text, whole=False)
        if head is not None and head.job_id is not None and turn.state is not State.HEALING:
            stage, has_job, job = Stage.JOB, True, (head.job_id, now)
    elif stage is Stage.JOB:
        run.transcript.hear(said, turn.fold.round_text, whole=turn.is_whole)
    run.ended = None
    run.unfinished = Unfinished(
        stage,
        said,
        turn.words,
        now if turn.since is None else turn.since,
        turn.fold,
        turn.options,
        head,
        turn.round,
        has_job,
        job,
        bars=stage is Stage.MESSAGE and isinstance(error, OutcomeUnknownError | ProtocolError),
        told=not isinstance(error, ClosedError),
        before=turn.before,
        missed=turn.missed,
        others=turn.others,
    )


def _stage(turn: Progress, *, is_unknown: bool) -> Stage | None:
    """How far it has come; ``None`` where that leaves nothing open that was not open before."""
    if turn.state is State.RESUMING or turn.lost is State.RESUMING:
        return Stage.RESUME
    if turn.is_unsent or (not turn.is_accepted and turn.state not in (State.SENDING, State.PROBING)):
        return Stage.MESSAGE if is_unknown else None
    match turn.state:
        case State.SENDING if is_unknown:
            return Stage.RESUME
        case State.SENDING | State.PROBING:
            return Stage.RESUME_DUE if turn.is_accepted else None
        case State.WAITING:
            return Stage.JOB
        case _:
            return Stage.ANSWER
