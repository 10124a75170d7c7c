"""How far a turn has come, as a store writes it down."""

from __future__ import annotations

from enum import Enum, unique


@unique
class Stage(Enum):
    """How far a turn has come that has brought no result."""

    MESSAGE = "its message was sent, and nobody knows whether it was accepted"
    ANSWER = "an answer was being read, or compared with the history"
    JOB = "a job was being waited for"
    RESUME_DUE = "the resume was still to be sent"
    RESUME = "the resume was sent, and nobody knows whether it was accepted"

    @property
    def is_accepted(self) -> bool:
        """Whether what was sent last was accepted for certain."""
        return self not in (Stage.MESSAGE, Stage.RESUME)
