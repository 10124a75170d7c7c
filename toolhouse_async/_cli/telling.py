"""What a command says of a turn that it did not send itself: the answer, or why there is none."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from .. import events as ev
from ..errors import ToolhouseError
from .jsonlines import event_line, failure_line
from .terminal import described, fail
from .words import Words

if TYPE_CHECKING:
    from .._values.results import JobToken, TurnResult

__all__ = ["show_failure", "show_json", "show_result"]


def show_json(event: ev.Event) -> None:
    """Write an event to stdout, as a line of JSON."""
    sys.stdout.write(event_line(event))
    sys.stdout.flush()


def show_result(result: TurnResult, *, as_json: bool) -> None:
    """Write an answer that came as a whole to stdout: its words, or its last event."""
    if as_json:
        show_json(ev.TurnCompleted(result))
        return
    words = Words()
    words(ev.TextDelta(result.text))
    words.end_line()
    words(ev.TurnCompleted(result))


def show_failure(
    error: ToolhouseError | asyncio.CancelledError,
    run_id: str | None,
    *,
    as_json: bool,
    begun: bool = False,
    token: JobToken | None = None,
) -> None:
    """Say that there is no whole answer: on stderr, and, as JSON, by the last event on stdout.

    ``begun`` and ``token`` say what an interruption does not: that the message was accepted, and of a job that runs.
    """
    if as_json:
        sys.stdout.write(failure_line(error, run_id, begun=begun, token=token))
        sys.stdout.flush()
    if isinstance(error, ToolhouseError):
        fail(described(error))
