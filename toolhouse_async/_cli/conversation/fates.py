"""What an error says of the message whose turn it ended."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from ...errors import OutcomeUnknownError, ResumeUncertainError, ToolhouseError, UncertainSessionError, WorkerError
from ..statuses import Status, status_of

__all__ = ["FORGONE", "Fate", "fate_of", "status_after"]

FORGONE: Final = (
    "It was to begin a conversation, so nobody can look what became of it. The next message begins a new conversation."
)
"""What is said of a message without an answer and without a run id."""


class Fate(Enum):
    """What became of a message."""

    NOT_ACCEPTED = auto()
    """The service does not have it: sending it again is right."""
    BEHIND = auto()
    """It was not sent, since an earlier one is of unknown outcome."""
    UNKNOWN = auto()
    """Nobody knows whether the service has it."""
    INCOMPLETE = auto()
    """The service has it, and its answer was not seen to its end."""
    OVER = auto()
    """The worker has answered it, with an error."""


def fate_of(error: ToolhouseError) -> Fate:
    """Say what became of a message whose turn ended in an error."""
    match error:
        case WorkerError():
            return Fate.OVER
        case UncertainSessionError():
            return Fate.BEHIND
        case OutcomeUnknownError():
            return Fate.UNKNOWN
        case ResumeUncertainError():  # which speaks of the resume: the message itself was accepted
            return Fate.INCOMPLETE
        case ToolhouseError(safe_to_retry=True):
            return Fate.NOT_ACCEPTED
        case ToolhouseError(safe_to_retry=False):
            return Fate.INCOMPLETE
        case _:
            return Fate.UNKNOWN


def status_after(error: ToolhouseError) -> Status:
    """The exit status of a command whose own message has no whole answer by an error."""
    match fate_of(error):
        case Fate.NOT_ACCEPTED | Fate.OVER:
            return Status.FAILED
        case Fate.UNKNOWN | Fate.BEHIND:
            return Status.UNKNOWN
        case Fate.INCOMPLETE:
            return status_of(error)
