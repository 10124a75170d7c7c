"""Recovering a turn that another process began: its answer is read from the history, and what it waits for is done.

This client has heard nothing of it. So the history alone tells which turn that is, whether its answer is whole, and
whether the run waits to be resumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._values.results import TurnResult
from .._wire.entries import End
from ..errors import OutcomeUnknownError
from . import waiting
from .commands import Look, Over
from .heard import Said, is_same_text
from .job import Job
from .others import Others, OthersTurn
from .polls import asked_for, tolerated
from .reading import Sight
from .search import Search
from .table import Signal, State
from .transcript import Transcript

if TYPE_CHECKING:
    from .._values.results import JobStatus, Message
    from ..errors import ToolhouseError
    from .progress import Progress


def begin(turn: Progress, now: float) -> None:
    """Look for the turn in the history."""
    turn.lost = State.RECOVERING
    turn.todo = Look(now)


def looked(turn: Progress, status: JobStatus, now: float, draw: float) -> None:
    """The run was read."""
    search, job_id = _search(turn, now), status.job_id
    search.take(status, now)
    found = _found(turn, status)
    turn.is_accepted = turn.is_accepted or found is not None
    if found is not None and (job_id is not None or not turn.has_job):
        _show(turn, found)
    if job_id is None or (found is not None and not found.is_last):
        _judge(turn, found, now, status.retry_after, draw)
        return
    turn.has_job = True
    if turn.options.background == "resume":
        turn.search = None
        waiting.follow(turn, job_id, now)
    elif found is not None and (search.is_rested or search.is_too_late(now)):
        heard = _take_up(turn, found, _history(status))
        waiting.follow(turn, job_id, now)  # which leaves it
        turn.run.transcript.hear(turn.known_said, heard, whole=True)
    else:
        if turn.job is None or turn.job.job_id != job_id:  # for the token: from when it was seen first
            turn.job = Job(turn.polling, job_id, waiting.seen_first(turn, job_id, now), until=None)
        _look_again(turn, now, status.retry_after, draw)


def blind(turn: Progress, error: ToolhouseError, now: float, draw: float) -> None:
    """The run could not be read.

    Raises:
        ToolhouseError: Asking again would not help.
        OutcomeUnknownError: It has not helped until it was too late; the error is its cause.
    """
    search = _search(turn, now)
    if not tolerated(error):
        error.safe_to_retry = None  # it speaks of the message, not of the reading
        raise error
    if turn.status is None and search.is_too_late(now):
        why = f"nobody can know what became of the message: the history could not be read: {error}"
        raise OutcomeUnknownError(why[:1000]) from error
    _judge(turn, _found(turn, turn.status), now, asked_for(error), draw)


def _search(turn: Progress, now: float) -> Search:
    """The search under way: it begins anew once a job is over."""
    if turn.search is None:
        turn.search = Search(_others(turn), Said(turn.words), "", now, rules=turn.rules, polling=turn.polling)
    return turn.search


def _others(turn: Progress) -> Others:
    return Others(turn.words, turn.options.resume_message)


def _found(turn: Progress, status: JobStatus | None) -> OthersTurn | None:
    """The turn, as the last good reading shows it."""
    return _others(turn).turn_in(_history(status))


def _history(status: JobStatus | None) -> tuple[Message, ...]:
    return () if status is None or status.history is None else status.history


def _show(turn: Progress, found: OthersTurn) -> None:
    """Let what the history has so far be what was received."""
    jobs = turn.fold.jobs
    turn.fold = found.fold(turn.rules.decoder)
    turn.fold.jobs = jobs


def _judge(turn: Progress, found: OthersTurn | None, now: float, asked: float | None, draw: float) -> None:
    """What the readings so far say, no job of the turn being under way."""
    search, history = turn.seeking, _history(turn.status)
    known = None if found is None else _known(turn, found, history)
    if known is not None:
        turn.go(Signal.HEALED)
        turn.todo = Over(known)
    elif found is None or search.sight is not Sight.ARRIVED or not search.is_rested:
        _look_again(turn, now, asked, draw)
    elif _is_due(turn, found, search, now):
        _resume(turn, found, history)
    elif found.reply.end is End.WORDS:
        _complete(turn, found, history)
    else:
        _look_again(turn, now, asked, draw)


def _known(turn: Progress, found: OthersTurn, history: tuple[Message, ...]) -> TurnResult | None:
    """The result of this client's own latest turn, where that is the turn, unchanged."""
    run, reply = turn.run, found.reply
    ended, said = run.ended, run.transcript.latest
    if not isinstance(ended, TurnResult) or ended.status != "completed" or said is None or not found.is_last:
        return None
    if reply.end is not End.WORDS or not is_same_text(reply.text, ended.text):
        return None
    return ended if run.transcript.find(history, said, "").sight is Sight.ARRIVED else None


def _is_due(turn: Progress, found: OthersTurn, search: Search, now: float) -> bool:
    """Whether the run waits to be resumed; the history has rested.

    Where the job was seen running, nobody had resumed the run. Else somebody may have, and it may not be recorded yet.
    """
    reply = found.reply
    if not found.is_last or found.is_resumed:
        return False
    if turn.others is not None:
        return True  # a store says so
    if not turn.has_job:
        return reply.end is End.TOOL and (search.is_past_absence or search.is_too_late(now))
    if reply.end is not End.WORDS:
        return True
    return not found.has_results or is_same_text(reply.text, turn.partial.text)


def _look_again(turn: Progress, now: float, asked: float | None, draw: float) -> None:
    """Read the run once more.

    Raises:
        OutcomeUnknownError: It is too late, and the message was not seen.
        StreamInterruptedError: The same, and its answer was not seen to be whole.
    """
    search = turn.seeking
    if search.is_odd or search.is_too_late(now):
        _give_up(turn, search)
    turn.look_again(now, asked, draw)


def _give_up(turn: Progress, search: Search) -> None:
    if not turn.is_accepted:
        raise OutcomeUnknownError("nobody can know what became of the message: the history does not show it")
    found = _found(turn, turn.status)
    if found is not None:
        _show(turn, found)
    why = "holds what this client cannot explain" if search.is_odd else "does not show the whole of its answer"
    turn.cut = f"another process began the turn, and the history {why}"
    raise turn.interrupted()


def _take_up(turn: Progress, found: OthersTurn, history: tuple[Message, ...]) -> str:
    """Let the turn be one of this client's; what was heard last of it is returned."""
    run = turn.run
    if not run.transcript.ends(history):  # else it is one already, or others have gone on
        run.transcript = Transcript.of_last(history)
    said = turn.said = run.transcript.latest
    assert said is not None  # noqa: S101 - it has a last one now
    reply = run.transcript.find(history, said, "").reply
    run.transcript.saw(history)
    _show(turn, found)
    turn.words = found.words
    turn.is_whole, turn.lost, turn.search, turn.others = True, None, None, None
    return found.segments[-1].text if reply is None else reply.text


def _resume(turn: Progress, found: OthersTurn, history: tuple[Message, ...]) -> None:
    heard = _take_up(turn, found, history)
    if turn.job is None:
        waiting.miss(turn)
    turn.has_job = False
    turn.go(Signal.HEALED_RESUME)
    turn.end_round(heard)


def _complete(turn: Progress, found: OthersTurn, history: tuple[Message, ...]) -> None:
    if found.is_last:
        heard = _take_up(turn, found, history)
        turn.has_job = False
        turn.complete(Signal.HEALED)
        turn.run.transcript.hear(turn.known_said, heard, whole=True)
        return
    _show(turn, found)
    turn.go(Signal.HEALED)
    turn.todo = Over(turn.partial)  # what others have said since is not this client's turn either
