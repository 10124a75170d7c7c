"""Streaming: the answer that is being read, its clean end, and a cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import settling, waiting
from .table import Signal

if TYPE_CHECKING:
    from .progress import Progress


def ended(turn: Progress, now: float, *, proven: bool) -> None:
    """The answer has come to a clean end; ``proven`` if its framing shows that this is the whole of it."""
    answering, head = turn.answering, turn.head
    assert answering is not None and head is not None  # noqa: S101, PT018 - it was being read
    answering.end(turn.events)
    turn.is_whole = proven and not answering.odd_end
    if settling.is_due(turn, answering, head.job_id):
        settling.begin(turn, now)
    elif head.job_id is not None:
        waiting.follow(turn, head.job_id, now)
    else:
        turn.complete(Signal.ENDED)


def cut(turn: Progress, why: str, now: float, *, is_idle: bool) -> None:
    """The answer was cut; ``is_idle`` if by silence.

    Raises:
        StreamInterruptedError: It is not to be healed.
    """
    answering, job_id = turn.answering, turn.known_head.job_id
    assert answering is not None  # noqa: S101 - it was being read
    answering.cut(turn.events)
    turn.cut, turn.is_idle, turn.is_whole = why, is_idle, False
    turn.has_job = job_id is not None
    if not turn.can_heal:
        raise waiting.interrupted(turn, job_id, now)
    if job_id is not None:
        waiting.follow(turn, job_id, now)
        return
    turn.go(Signal.CUT)
    turn.look_for_last(now)
