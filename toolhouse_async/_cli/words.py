"""A turn in plain lines: the worker's words on stdout, notices on stderr."""

from __future__ import annotations

import sys

from .. import events as ev
from .streams import are_mixed
from .terminal import harmless, one_line

__all__ = ["Words"]


class Words:
    """Shows the events of a turn where nobody watches a terminal."""

    def __init__(self) -> None:
        self._open = False

    def __call__(self, event: ev.Event) -> None:
        """Show one event."""
        match event:
            case ev.TextDelta(text):
                sys.stdout.write(harmless(text))
                sys.stdout.flush()
                self._open = not text.endswith("\n")
            case ev.ToolCall(name=name):
                self.notice(f"tool call: {name}")
            case ev.JobStarted(job_id):
                self.notice(f"job {job_id} runs in the background")
            case ev.JobProgress(elapsed=elapsed, polls=polls, next_poll=next_poll):
                self.notice(f"still running after {elapsed:.1f} s, poll {polls}, next in {next_poll:.1f} s")
            case ev.JobFinished(elapsed=elapsed):
                self.notice(f"job over after {elapsed:.1f} s")
            case ev.TurnResumed():
                self.notice("resumed")
            case ev.TurnCompleted(result):
                self.end_line()
                if not result.text and result.status == "completed":
                    self.notice("the answer has no text")
                self.notice(f"run id: {result.run_id}")
            case _:
                pass

    def end_line(self) -> None:
        """Begin what comes next on a line of its own."""
        if self._open:
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._open = False

    def notice(self, text: str) -> None:
        """Say something that is no word of the worker's."""
        if sys.stdout.isatty() or are_mixed():  # elsewhere nothing breaks the worker's own lines
            self.end_line()
        sys.stderr.write(f"[{one_line(text, 200)}]\n")
        sys.stderr.flush()
