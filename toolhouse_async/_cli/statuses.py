"""The exit statuses of the command line: what it ends with, what its help says, and what its reference lists."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MEANINGS", "Status"]


class Status(IntEnum):
    """How a command ended; after a signal, 128 and its number, as shells say it."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 128 + 2
    BROKEN_PIPE = 128 + 13
    TERMINATED = 128 + 15


MEANINGS: Final[Mapping[Status, str]] = {
    Status.DONE: "done; notices that stderr could not take change nothing",
    Status.FAILED: "the service or the connection failed, or stdout could not be written",
    Status.USAGE: "a wrong argument, setting or file, or an extra that is not installed",
    Status.INTERRUPTED: "Ctrl-C (SIGINT); a server that is told to stop ends with 0",
    Status.BROKEN_PIPE: "the program that read stdout has gone, such as head",
    Status.TERMINATED: "SIGTERM; a server that is told to stop ends with 0",
}
