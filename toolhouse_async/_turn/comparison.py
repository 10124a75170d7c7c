"""What one reading of the history says of an answer whose stream has come to a clean end."""

from __future__ import annotations

from enum import Enum, unique
from typing import Final, NamedTuple

from .._wire.entries import End
from .heard import goes_on_from, is_same_text
from .reading import Reply


@unique
class Verdict(Enum):
    """What the history says."""

    SAME = "the answer is whole"
    WAITS = "the answer is whole, and the run waits to be resumed"
    DIFFERS = "the answer is not whole"
    AGAIN = "nothing yet"


class Ended(NamedTuple):
    """An answer whose stream has ended.

    Attributes:
        text: The words of the round.
        proven: Whether the framing proved the end.
        strict: Whether the words must be found in the history: one that has rested.
        open_call: Whether a tool call without a result came last.
        has_job: Whether a background job runs, or the answer's headers told of one.
    """

    text: str
    proven: bool
    strict: bool
    open_call: bool
    has_job: bool


_NOTHING: Final = Reply("", End.NOTHING, 0)


def compare(answer: Ended, reply: Reply | None, *, lags: bool, rested: bool, patient: bool) -> Verdict:
    """Compare an answer with what the history shows of it.

    Args:
        answer: What was received.
        reply: What the history shows; ``None`` if the message is not found.
        lags: Whether it does not show yet what stands before that.
        rested: Whether the last readings have agreed for long enough.
        patient: Whether it has been looked at for long enough.
    """
    if reply is None and (lags or not answer.proven) and not patient:
        return Verdict.AGAIN
    if reply is None and not answer.proven:
        return Verdict.DIFFERS
    reply = reply or _NOTHING
    if not is_same_text(reply.text, answer.text):
        return _differing(answer, reply, patient=patient)
    if answer.strict and not rested:
        return Verdict.AGAIN
    if answer.has_job:
        return Verdict.SAME
    if reply.end is End.TOOL:
        return Verdict.WAITS
    # Words that stand last say nothing of a call that came behind them: there are histories without tools.
    if (reply.end is End.CALL or answer.open_call) and not patient:
        return Verdict.AGAIN
    return Verdict.SAME if answer.proven or reply.end is End.WORDS else Verdict.DIFFERS


def _differing(answer: Ended, reply: Reply, *, patient: bool) -> Verdict:
    if not goes_on_from(answer.text, reply.text):
        return Verdict.DIFFERS
    # The history lags behind what was received.
    looks_again = answer.strict or answer.open_call or reply.text
    if looks_again and not patient:
        return Verdict.AGAIN
    return Verdict.SAME if answer.proven and not (answer.strict and reply.text) else Verdict.DIFFERS
