"""``toolhouse-async run``: one turn against any Workers API."""

from __future__ import annotations

import sys
from typing import Any, Literal

import attrs

from .. import AsyncToolhouse
from .. import events as ev
from .jsonlines import event_line
from .terminal import harmless, one_line

__all__ = ["Request", "run"]


@attrs.frozen(kw_only=True)
class Request:
    """What the command line asks for."""

    agent_id: str
    message: str | None
    base_url: str | None
    api_key: str | None
    allow_insecure: bool
    format: Literal["ndjson", "text"]
    run_id: str | None
    timeout: float | None
    vars: dict[str, Any] | None
    json: bool


async def run(request: Request) -> None:
    """Do one turn: the worker's words (or, as JSON, every event) to stdout, notices to stderr.

    Raises:
        ToolhouseError: The turn failed; what had come by then is printed.
    """
    show = _show_json if request.json else _Words()
    async with (
        AsyncToolhouse(request.api_key, base_url=request.base_url, allow_insecure=request.allow_insecure) as toolhouse,
        toolhouse.session(request.agent_id, run_id=request.run_id, vars=request.vars) as session,
        session.stream(request.message, format=request.format, timeout=request.timeout) as turn,
    ):
        try:
            async for event in turn:
                show(event)
        finally:
            if isinstance(show, _Words):
                show.end_line()


def _show_json(event: ev.Event) -> None:
    sys.stdout.write(event_line(event))
    sys.stdout.flush()


class _Words:
    """The worker's words on stdout, everything else as notices on stderr."""

    def __init__(self) -> None:
        self._open = False

    def __call__(self, event: ev.Event) -> None:
        match event:
            case ev.TextDelta(text):
                sys.stdout.write(harmless(text))
                sys.stdout.flush()
                self._open = not text.endswith("\n")
            case ev.ToolCall(name=name):
                self._notice(f"tool call: {name}")
            case ev.JobStarted(job_id):
                self._notice(f"job {job_id} runs in the background")
            case ev.JobProgress(elapsed=elapsed, polls=polls, next_poll=next_poll):
                self._notice(f"still running after {elapsed:.1f} s, poll {polls}, next in {next_poll:.1f} s")
            case ev.JobFinished(elapsed=elapsed):
                self._notice(f"job over after {elapsed:.1f} s")
            case ev.TurnResumed():
                self._notice("resumed")
            case ev.TurnCompleted(result):
                self._notice(f"run id: {result.run_id}")
            case _:
                pass

    def end_line(self) -> None:
        """Begin what comes next on a line of its own."""
        if self._open:
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._open = False

    def _notice(self, text: str) -> None:
        if sys.stdout.isatty():
            self.end_line()
        sys.stderr.write(f"[{one_line(text, 200)}]\n")
        sys.stderr.flush()
