"""Whose turn it is in a conversation, as far as one reading of it shows."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from ... import events as ev
from .transcript import events_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..._values.results import Message

__all__ = ["MEANINGS", "Next", "next_of"]


class Next(StrEnum):
    """Who is to act next on a run."""

    JOB = "job"
    RESUME = "resume"
    WORKER = "worker"
    USER = "user"


MEANINGS: Final[Mapping[Next, str]] = {
    Next.JOB: "a background job runs; the worker goes on when it is over",
    Next.RESUME: "a tool's result came last: the run waits to be resumed, as after a job",
    Next.WORKER: "the worker: it is answering, or its answer is not recorded",
    Next.USER: "the user: the worker's last words stand",
}


def next_of(history: Sequence[Message], *, running: bool) -> Next:
    """Say who is to act next, by the last entry of a history.

    Args:
        history: The conversation.
        running: Whether a background job runs.
    """
    if running:
        return Next.JOB
    if not history:
        return Next.USER
    last = events_of(history[-1])
    if any(isinstance(each, ev.ToolCall) for each in last):
        return Next.WORKER
    if last and all(isinstance(each, ev.ToolResult) for each in last):
        return Next.RESUME
    return Next.WORKER if history[-1].role == "user" else Next.USER
