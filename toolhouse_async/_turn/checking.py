"""Checking, before a message is sent, what became of an earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._wire.stage import Stage
from ..errors import ToolhouseError, UncertainSessionError
from . import sending
from .polls import asked_for, tolerated
from .progress import nameless
from .reading import Sight
from .table import Signal

if TYPE_CHECKING:
    from .._values.results import JobStatus
    from .progress import Progress


def begin(turn: Progress, now: float) -> None:
    """Send the user's message, or first look for the one before it.

    Raises:
        UncertainSessionError: Nobody can know what became of that.
        ProtocolError: The run has no name.
    """
    run = turn.run
    if run.is_nameless:
        raise nameless()
    earlier = run.unfinished
    if earlier is None or not earlier.bars:
        sending.send(turn)
        return
    if run.run_id is None:
        earlier.told = True
        raise UncertainSessionError(
            "nobody can know whether the message was accepted that was to start this conversation; begin another "
            "session (or SessionManager.forget() the key), or settle it by session.reconcile(assume='absent'); "
            "this message was not sent"
        )
    if not earlier.told:
        earlier.told = True
        raise UncertainSessionError(
            "a message of this conversation was being sent when its turn was closed or its process ended, and nobody "
            "knows whether it was accepted: await session.reconcile() finds out; this message was not sent"
        )
    _check_arrival(is_uncertain=earlier.is_uncertain)
    turn.go(Signal.UNCERTAIN)
    turn.search_for(earlier.said, "", now, since=earlier.since)


def looked(turn: Progress, status: JobStatus, now: float, draw: float) -> None:
    """The run was read.

    Raises:
        UncertainSessionError: The earlier message had arrived, or nobody can know yet.
    """
    search, earlier = turn.seeking, turn.run.unfinished
    if earlier is not None:  # else the user has decided that it is absent
        search.take(status, now)
    if earlier is None or search.is_absent:
        turn.run.transcript.take_back(search.said)
        turn.run.unfinished = None
        turn.go(Signal.ABSENT)
        sending.send(turn)
        return
    if search.sight is Sight.ARRIVED:
        earlier.stage, earlier.said.is_certain = Stage.ANSWER, True
    _check_arrival(is_uncertain=earlier.is_uncertain)
    _look_again(turn, now, status.retry_after, draw)


def blind(turn: Progress, error: ToolhouseError, now: float, draw: float) -> None:
    """The run could not be read.

    Raises:
        UncertainSessionError: Nobody can know yet.
    """
    if not tolerated(error) or (turn.status is None and turn.seeking.is_too_late(now)):
        raise _still_uncertain(f"its history cannot be read: {error}")
    _look_again(turn, now, asked_for(error), draw)


def _look_again(turn: Progress, now: float, asked: float | None, draw: float) -> None:
    if turn.seeking.is_odd or turn.seeking.is_too_late(now):
        raise _still_uncertain("its history does not tell")
    turn.look_again(now, asked, draw)


def _check_arrival(*, is_uncertain: bool) -> None:
    if not is_uncertain:
        raise UncertainSessionError(
            "an earlier message, of which nobody knew whether it had been accepted, did arrive: "
            "await session.reconcile() brings its answer; this message was not sent"
        )


def _still_uncertain(why: str) -> UncertainSessionError:
    return UncertainSessionError(
        f"nobody can know yet whether an earlier message was accepted: {why}; this one was not sent"[:1000]
    )
