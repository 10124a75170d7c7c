"""Healing a cut answer from the history, and finding out there about a resume or a message of unknown fate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NotFoundError
from . import sending, waiting
from .commands import Note, Over
from .heard import is_same_text
from .polls import asked_for, tolerated
from .reading import Sight
from .table import Signal, State

if TYPE_CHECKING:
    from .._values.results import JobStatus
    from ..errors import ToolhouseError
    from .progress import Progress
    from .search import Search


def looked(turn: Progress, status: JobStatus, now: float, draw: float) -> None:
    """The run was read."""
    search = turn.seeking
    if turn.state is not State.HEALING and not turn.run.transcript.has(turn.known_said):
        _absent(turn, now, draw)  # another who had sent it with us has found that out, or the user has decided so
        return
    search.take(status, now)
    _catch_up(turn, status)
    if status.job_id is None:
        _judge(turn, now, status.retry_after, draw)
        return
    if turn.state is not State.RESUMING:
        turn.has_job = True
    elif turn.job is None or status.job_id != turn.job.job_id:
        _arrive(turn)  # only the resumed worker can have started another job
        turn.lost, turn.has_job = None, True
    turn.search = None
    waiting.follow(turn, status.job_id, now)


def blind(turn: Progress, error: ToolhouseError, now: float, draw: float) -> None:
    """The run could not be read."""
    if not tolerated(error) or (turn.status is None and turn.seeking.is_too_late(now)):
        unhealed = turn.unhealed(f"the history cannot be read: {error}")
        unhealed.has_vanished = isinstance(error, NotFoundError)
        raise unhealed from error
    _judge(turn, now, asked_for(error), draw)


def _judge(turn: Progress, now: float, asked: float | None, draw: float) -> None:
    """What the readings so far say."""
    search = turn.seeking
    if turn.state is not State.HEALING:
        if search.is_absent:
            _absent(turn, now, draw)
            return
        if search.sight is not Sight.ARRIVED and not turn.known_said.is_certain:
            if search.is_odd:
                raise turn.unhealed("the history holds what this client cannot explain")
            if search.is_too_late(now):
                raise turn.unhealed("the history does not tell")
            turn.look_again(now, asked, draw)
            return
        _arrive(turn)
    if search.waits_for_resume and (turn.lost is not None or search.is_too_late(now)):
        if not turn.has_job:
            waiting.miss(turn)
        _heal(turn, search)
    elif search.is_found:
        _heal(turn, search)
    elif search.is_too_late(now):
        raise turn.unhealed("the history does not show the whole of it")
    else:
        turn.look_again(now, asked, draw)


def _catch_up(turn: Progress, status: JobStatus) -> None:
    """Let what the history has of the turn's earlier rounds be what was received, where another process has heard it.

    The store says how far the turn has come, and not what it has brought.
    """
    search, others = turn.seeking, turn.others
    if others is None or status.history is None:
        return
    if search.reply is None and (turn.state is not State.RESUMING or search.sight is not Sight.ABSENT):
        return  # the reading may lag, and show an earlier turn
    found = others.turn_in(status.history)
    if found is None or not found.is_last:
        return
    fold = found.fold_before("" if search.reply is None else search.reply.text, turn.rules.decoder)
    if fold is not None:
        fold.jobs = turn.fold.jobs
        turn.fold = fold


def _arrive(turn: Progress) -> None:
    """What was said last has arrived; its answer is still to be healed."""
    turn.accept()
    turn.cut = "the message had arrived, and the history does not show the whole of its answer"
    turn.go(Signal.ARRIVED)
    turn.note(Note.ARRIVED)


def _absent(turn: Progress, now: float, draw: float) -> None:
    """What was said last has not arrived: the resume is sent again, a message is left to the user."""
    turn.take_back()
    why, is_resume = turn.cut, turn.state is State.RESUMING
    turn.lost, turn.since, turn.cut, turn.search, turn.others = None, None, None, None, None
    turn.go(Signal.ABSENT)
    if is_resume:
        sending.resume_later(turn, why, now, None, draw)
    else:
        turn.run.unfinished = None
        turn.todo = Over()


def _heal(turn: Progress, search: Search) -> None:
    """Put the history's answer in place of what was received."""
    reply, partial = "" if search.reply is None else search.reply.text, turn.fold.round_text
    if reply:
        is_trimmed = is_same_text(reply, partial) and not reply.startswith(partial)
        turn.take_over(partial if is_trimmed else reply, partial)
    turn.cut, turn.search, turn.is_idle, turn.lost, turn.since = None, None, False, None, None
    turn.is_whole, turn.others = True, None
    if turn.has_job:
        turn.has_job = False
        turn.go(Signal.HEALED_RESUME)
        turn.end_round()
    else:
        turn.complete(Signal.HEALED)
