"""A turn as it happens, on a terminal or as plain lines."""

from __future__ import annotations

import re
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from rich.cells import cell_len
from rich.live import Live
from rich.text import Text

from .. import events as ev
from .terminal import Marks, harmless, make_marks, one_line

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

__all__ = ["TurnView"]

_WIDEST = 100
_PIECES = re.compile(r"\n|[^\S\n]+|\S+")


class TurnView:
    """Shows the events of one turn; a context manager, so that a live line is never left behind.

    Args:
        console: Where to; on a terminal a running job has a live line with its elapsed time.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._marks = make_marks(console)
        self._column = 0
        self._live: tuple[Live, _Waiting] | None = None
        self._round: list[str] = []  # the words since the last resume

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_live()
        self._end_line()

    def show(self, event: ev.Event) -> None:
        """Show one event."""
        marks = self._marks
        match event:
            case ev.TextDelta(text):
                self._round.append(text)
                self._words(text)
            case ev.ToolCall(name=name, arguments=arguments):
                self._line(marks.call, "yellow", f"{name} {_brief(arguments)}")
            case ev.ToolResult(name=name, content=content, is_error=is_error):
                mark, style = (marks.failed, "red") if is_error else (marks.done, "green")
                self._line(mark, style, f"{name or 'result'}: {_brief(content)}")
            case ev.StreamRecovered(text, missing):
                self._recovered(text, missing)
            case ev.ErrorEvent():  # the error that ends the turn, which the caller shows, says it
                pass
            case ev.UnknownEvent() | ev.MalformedLine():
                self._line(marks.failed, "red", repr(event))
            case _:
                self._show_job(event)

    def _show_job(self, event: ev.Event) -> None:
        marks = self._marks
        match event:
            case ev.JobStarted(job_id):
                self._line(marks.waiting, "magenta", f"job {job_id} runs in the background")
                self._start_live()
            case ev.JobProgress(elapsed=elapsed, polls=polls, next_poll=next_poll):
                self._progress(elapsed, polls, next_poll)
            case ev.JobFinished(elapsed=elapsed, polls=polls):
                self._end_live()
                self._line(marks.done, "green", f"job over after {elapsed:.1f} s and {_polls(polls)}")
            case ev.TurnResumed(round=number):
                self._round.clear()
                self._line(marks.resumed, "magenta", f"resumed (round {number})")
            case _:  # the beginning and the end of the turn, which the caller shows
                pass

    def _recovered(self, text: str, missing: str) -> None:
        """Say that the history has healed the answer; what is missing follows, else all that it has in its place."""
        self._line(self._marks.resumed, "magenta", "the connection was cut; the answer is completed from the history")
        if not missing and "".join(self._round) != text:
            self._words(text)

    def _words(self, text: str) -> None:
        """Print words as they come, broken between words at the edge of the screen."""
        width = min(self._console.width, _WIDEST)
        line = Text()
        for piece in _PIECES.findall(harmless(text).expandtabs(4)):
            if piece == "\n" or (self._column + cell_len(piece) > width and self._column):
                line.append("\n")
                self._column = 0
                if piece.isspace():
                    continue
            line.append(piece)
            self._column += cell_len(piece)
        self._console.print(line, end="", soft_wrap=True)

    def _line(self, mark: str, style: str, text: str) -> None:
        self._end_line()
        room = min(self._console.width, 2 * _WIDEST) - 4
        self._console.print(Text(f"  {mark} ", style) + Text(one_line(text, room), "dim"), soft_wrap=True)

    def _end_line(self) -> None:
        if self._column:
            self._console.print()
            self._column = 0

    def _start_live(self) -> None:
        if self._console.is_terminal:
            waiting = _Waiting(self._marks)
            live = Live(waiting, console=self._console, refresh_per_second=10, transient=True)
            self._live = live, waiting
            live.start()

    def _progress(self, elapsed: float, polls: int, next_poll: float) -> None:
        if self._live is None:
            text = f"still running after {elapsed:.1f} s; {_polls(polls)}, next in {next_poll:.1f} s"
            self._line(self._marks.waiting, "magenta", text)
        else:
            self._live[1].polled(polls, next_poll)

    def _end_live(self) -> None:
        if self._live is not None:
            self._live[0].stop()
            self._live = None


class _Waiting:
    """The live line of a job: a spinner, the seconds since it was noticed, and the polls."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._began = monotonic()
        self._polls = 0
        self._next_poll: float | None = None

    def polled(self, polls: int, next_poll: float) -> None:
        self._polls, self._next_poll = polls, monotonic() + next_poll

    def __rich__(self) -> Text:
        now = monotonic()
        frames = self._marks.spinner
        line = Text(f"  {frames[int(now * 10) % len(frames)]} ", "magenta")
        line.append(f"{now - self._began:.1f} s", "bold default")
        line.append(f"  {_polls(self._polls)}", "dim default")
        if self._next_poll is not None:
            line.append(f", next in {max(0.0, self._next_poll - now):.1f} s", "dim default")
        return line


def _polls(number: int) -> str:
    return "1 poll" if number == 1 else f"{number} polls"


def _brief(value: object) -> str:
    """A value in a few words: the keys of an object with what is short in it."""
    if not isinstance(value, dict):
        return str(value)
    items: dict[Any, Any] = value
    parts: list[str] = []
    for key, item in items.items():
        if isinstance(item, list | dict):
            size: int = len(item)  # pyright: ignore[reportUnknownArgumentType]
            parts.append(f"{key}[{size}]")
        else:
            parts.append(f"{key}={item!r}" if isinstance(item, str) else f"{key}={item}")
    return ", ".join(parts)
