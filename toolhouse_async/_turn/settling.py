"""Settling: an answer that has come to a clean end is compared with the history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import waiting
from .commands import Look
from .comparison import Ended, Verdict, compare
from .polls import asked_for, tolerated
from .reading import Sight
from .table import Signal

if TYPE_CHECKING:
    from .._values.results import JobStatus
    from ..errors import ToolhouseError
    from .answering import Answering
    from .progress import Progress


def begin(turn: Progress, now: float) -> None:
    """Compare the answer that has ended with the history."""
    turn.go(Signal.DOUBTFUL)
    turn.search_for(turn.known_said, turn.fold.round_text, now)


def is_due(turn: Progress, answering: Answering, job_id: str | None) -> bool:
    """Whether to look at the history once the answer has ended; the headers may have told of a job."""
    settle, fold = turn.options.settle, turn.fold
    if settle != "auto":
        return settle
    if not turn.is_whole:
        return True
    if fold.error is not None or turn.run.run_id is None or job_id is not None:
        return False  # a job that the headers tell of need not be looked for
    return not fold.round_text or fold.round_has_call or answering.shows_no_tools


def looked(turn: Progress, status: JobStatus, now: float, draw: float) -> None:
    """The run was read."""
    turn.seeking.take(status, now)
    _go_by(turn, now, status.retry_after, draw)


def blind(turn: Progress, error: ToolhouseError, now: float, draw: float) -> None:
    """The run could not be read."""
    if not tolerated(error):
        _end(turn, Verdict.DIFFERS if _is_strict(turn) else Verdict.SAME, now)
    elif turn.seeking.is_too_late(now):
        _go_by(turn, now, asked_for(error), draw)
    else:
        turn.look_again(now, asked_for(error), draw)


def _is_strict(turn: Progress) -> bool:
    return turn.options.settle is True or not turn.is_whole


def _go_by(turn: Progress, now: float, asked: float | None, draw: float) -> None:
    """Go by the readings so far."""
    search, head = turn.seeking, turn.known_head
    job_id = search.job_id or head.job_id
    if job_id is not None and not _is_strict(turn):
        _end(turn, Verdict.SAME, now)
        return
    answer = Ended(
        turn.fold.round_text,
        proven=turn.is_whole,
        strict=_is_strict(turn),
        open_call=turn.fold.unanswered_call,
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
        verdict = Verdict.SAME if turn.is_whole and search.sight is None else Verdict.DIFFERS
    if verdict is Verdict.AGAIN:
        turn.look_again(now, asked, draw)
    else:
        _end(turn, verdict, now)


def _end(turn: Progress, verdict: Verdict, now: float) -> None:
    """Go by what the history says of an answer, and of the job that follows it, if one does."""
    job_id = turn.seeking.job_id or turn.known_head.job_id
    if verdict is Verdict.DIFFERS:
        turn.cut = "it ended, but the history does not show that this is the whole of it"
        turn.has_job = job_id is not None
        if not turn.can_heal:
            raise waiting.interrupted(turn, job_id, now)
        if job_id is None:
            turn.go(Signal.DIFFERS)
            turn.todo = Look(now)  # the search goes on
            return
    else:
        turn.is_whole = True
    turn.search = None
    if job_id is not None:
        waiting.follow(turn, job_id, now)
    elif verdict is Verdict.WAITS:
        waiting.miss(turn)
        turn.has_job = False
        turn.go(Signal.WAITS)
        turn.end_round()
    else:
        turn.complete(Signal.SAME)
