"""What is to be done with a row, by what the store says of it; and what its failure means."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, unique
from typing import Final

from .._wire.records import Record
from .._wire.stage import Stage
from ..errors import (
    APIStatusError,
    ClosedError,
    ContactLostError,
    LeaseLostError,
    ProtocolError,
    RateLimitError,
    RedirectError,
    ResumeUncertainError,
    ServerError,
    SessionBusyError,
    StoreError,
    TLSError,
    ToolhouseError,
    TransportError,
    TurnTimeoutError,
    UnexpectedContentError,
    WorkerError,
)


@unique
class Standing(Enum):
    """How far a row has come, as the store has it."""

    NEW = "nothing was sent"
    SENDING = "its message was about to be sent"
    ACCEPTED = "its run is known, and its answer is not"
    DONE = "its result is stored"
    FAILED = "its error is stored"
    UNKNOWN = "it is stored that nobody knows whether it was accepted"


@unique
class Step(Enum):
    """What to do with a row."""

    ASK = "send its message"
    RECOVER = "get its answer, and send no message"
    NOTE_UNKNOWN = "store that nobody knows whether it was accepted"
    GIVE = "give out what is stored"
    LEAVE = "leave it to the process that has it, and look again later"
    REFUSE = "say that its message has changed"


TABLE: Final[Mapping[Standing, tuple[Step, Step, Step, Step]]] = {
    #                  nobody has it       … and retry_unknown  somebody has it  its message has changed
    Standing.NEW: (Step.ASK, Step.ASK, Step.LEAVE, Step.ASK),
    Standing.SENDING: (Step.NOTE_UNKNOWN, Step.ASK, Step.LEAVE, Step.REFUSE),
    Standing.ACCEPTED: (Step.RECOVER, Step.RECOVER, Step.LEAVE, Step.REFUSE),
    Standing.DONE: (Step.GIVE, Step.GIVE, Step.GIVE, Step.REFUSE),
    Standing.FAILED: (Step.GIVE, Step.GIVE, Step.GIVE, Step.REFUSE),
    Standing.UNKNOWN: (Step.GIVE, Step.ASK, Step.LEAVE, Step.REFUSE),
}
"""A message that has changed is refused first; but where nothing was sent nobody has seen the old one."""


def standing_of(record: Record) -> Standing:
    """How far a row has come."""
    row, unsettled = record.row, record.unsettled
    if row is not None and row.status != "open":
        return Standing[row.status.upper()]
    if unsettled is not None and unsettled.stage is Stage.MESSAGE:
        return Standing.SENDING
    return Standing.NEW if unsettled is None and record.run_id is None else Standing.ACCEPTED


def step_for(record: Record, digest: str, *, is_free: bool, retry_unknown: bool) -> Step:
    """What to do with a row.

    Args:
        record: What the store says of it.
        digest: What stands for its message.
        is_free: Whether nobody has it, or whoever has it has failed.
        retry_unknown: Whether a message is sent again of which nobody knows whether it was accepted.
    """
    plain, again, held, changed = TABLE[standing_of(record)]
    if changed is Step.REFUSE and record.row is not None and record.row.digest != digest:
        return changed
    if not is_free:
        return held
    return again if retry_unknown else plain


@unique
class Verdict(Enum):
    """What the failure of a row means."""

    AGAIN = "nothing was sent, and the service is away: the row waits for it"
    RECOVER = "the message was accepted: its answer may be there once the service is"
    FAILED = "the row has failed"
    UNKNOWN = "nobody knows whether the message was accepted"
    TAKEN = "another process has the row by now"
    STOP = "it says nothing of the row: the batch cannot go on"


def is_away(error: Exception) -> bool:
    """Whether an error shows that the service, or the way to it, is away for now."""
    if isinstance(error, APIStatusError):
        # A redirect and a 407 come from a proxy or a network; a 403 may be the service's, and of this row alone.
        return isinstance(error, ServerError | RateLimitError | RedirectError) or error.status in (407, 408)
    if isinstance(error, ProtocolError):  # something else answers in its place, as the sign-in page of a network
        is_none_of_its_answers = type(error) is ProtocolError and error.safe_to_retry is not False
        return is_none_of_its_answers or isinstance(error, UnexpectedContentError)
    return isinstance(error, TransportError | ContactLostError) and not isinstance(error, TLSError)


def shows_outage(error: Exception, *, is_accepted: bool) -> bool:
    """Whether a row's failure shows that the service is away: it may be silent for longer than the row may take."""
    return is_away(error) or (isinstance(error, TurnTimeoutError) and not is_accepted)


def was_accepted(error: Exception | None) -> bool:
    """Whether the message of a row that has failed by this was accepted, so that only its answer is looked for."""
    return isinstance(error, ToolhouseError) and error.safe_to_retry is False and not isinstance(error, WorkerError)


def verdict_on(error: Exception, *, is_accepted: bool) -> Verdict:
    """What a failure means.

    Args:
        error: The failure.
        is_accepted: Whether the service has accepted the row's message.
    """
    if isinstance(error, LeaseLostError) and not error.has_vanished:
        return Verdict.TAKEN  # but where the store was emptied, nothing says any more what was sent
    if isinstance(error, StoreError | ClosedError | SessionBusyError):
        return Verdict.STOP
    if is_accepted:
        may_be_there = is_away(error) or isinstance(error, ResumeUncertainError)
        return Verdict.RECOVER if may_be_there else Verdict.FAILED
    if not isinstance(error, ToolhouseError) or error.safe_to_retry is False:
        return Verdict.FAILED
    if error.safe_to_retry is None:
        return Verdict.UNKNOWN
    return Verdict.AGAIN if shows_outage(error, is_accepted=False) else Verdict.FAILED
