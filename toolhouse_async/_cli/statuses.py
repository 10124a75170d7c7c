"""The exit statuses of the command line: what it ends with, what its help says, and what its reference lists."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from ..errors import (
    ConfigurationError,
    JobWaitTimeoutError,
    OutcomeUnknownError,
    ResumeUncertainError,
    StreamInterruptedError,
    TurnTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..errors import ToolhouseError

__all__ = ["MEANINGS", "Status", "status_of"]


class Status(IntEnum):
    """How a command ended; after a signal, 128 and its number, as shells say it."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    RUNNING = 3
    UNKNOWN = 4
    PARTLY = 5
    INTERRUPTED = 128 + 2
    BROKEN_PIPE = 128 + 13
    TERMINATED = 128 + 15


MEANINGS: Final[Mapping[Status, str]] = {
    Status.DONE: "done; notices that stderr could not take change nothing",
    Status.FAILED: "the service or the connection failed, or stdout could not be written",
    Status.USAGE: "a wrong argument, setting or file, or an extra that is not installed",
    Status.RUNNING: "run, chat, status, wait, reconcile: a background job still runs, or the answer is not complete",
    Status.UNKNOWN: "run, chat, wait, reconcile: nobody knows whether a message was accepted",
    Status.PARTLY: "batch run: it is over, and some of its rows have no answer, or hold no JSON where that was wanted",
    Status.INTERRUPTED: "Ctrl-C (SIGINT); a server that is told to stop ends with 0",
    Status.BROKEN_PIPE: "the program that read stdout has gone, such as head",
    Status.TERMINATED: "SIGTERM; a server that is told to stop ends with 0",
}


def status_of(error: ToolhouseError) -> Status:
    """The exit status of a command that an error ends, and that is about what became of messages and jobs."""
    match error:
        case ConfigurationError():
            return Status.USAGE
        case OutcomeUnknownError() | ResumeUncertainError():
            return Status.UNKNOWN
        case JobWaitTimeoutError() | StreamInterruptedError():
            return Status.RUNNING
        case TurnTimeoutError(token=token, partial=partial):
            seen = token is not None or (partial is not None and partial.text)
            return Status.RUNNING if seen else Status.UNKNOWN
        case _:
            return Status.FAILED
