"""What is printed: made harmless first, and plain where there is no terminal."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TextIO

import attrs
from rich.console import Console
from rich.text import Text

__all__ = ["HARMFUL", "Marks", "fail", "harmless", "make_console", "make_marks", "one_line", "prepare_output", "warn"]

HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline: escape sequences begin with one
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of what follows
    "\u2028\u2029\ud800-\udfff]"  # separators that some programs take for newlines; halves of characters
)
"""What is never printed as it is."""

_NEWLINE = re.compile("\r\n?")
_PLAIN_WIDTH = 100


def harmless(text: str) -> str:
    r"""Write characters that a terminal obeys instead of showing them as escapes such as ``\x1b``.

    Newlines and tabs stay, and a carriage return becomes a newline, so that nothing is overwritten.
    """
    return HARMFUL.sub(_escape, _NEWLINE.sub("\n", text))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def one_line(text: str, width: int = 80) -> str:
    """Make text harmless and fit one line of at most ``width`` characters."""
    line = " ".join(harmless(text[: width * 4]).split())
    return line if len(line) <= width and len(text) <= width * 4 else line[: width - 3] + "..."


@attrs.frozen
class Marks:
    """The signs that stand before lines, and what bars are made of."""

    worker: str
    call: str
    done: str
    failed: str
    waiting: str
    resumed: str
    spinner: str
    bar: str
    """What a bar's last cell is made of, from the emptiest to the full one."""
    dash: str


UNICODE = Marks("●", "▸", "✓", "✗", "⧗", "↻", "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "▏▎▍▌▋▊▉█", "–")
_ASCII = Marks("*", ">", "+", "x", "~", "@", "|/-\\", "#", "-")


def make_console(file: TextIO | None = None) -> Console:
    """A console on ``file`` (stdout): live and in colour on a terminal, plain lines anywhere else."""
    target = sys.stdout if file is None else file
    live = target.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    width = None if target.isatty() or "COLUMNS" in os.environ else _PLAIN_WIDTH
    # what workers and files say is no markup, and nothing in it is coloured by guesswork
    return Console(file=target, force_terminal=live, width=width, highlight=False, markup=False, emoji=False)


def make_marks(console: Console) -> Marks:
    """Signs that the console's encoding can write."""
    try:
        "".join(attrs.astuple(UNICODE)).encode(console.encoding)
    except UnicodeEncodeError:
        return _ASCII
    return UNICODE


def prepare_output() -> None:
    """Let stdout and stderr write what their encoding lacks as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def fail(message: str) -> None:
    """Say on stderr, in one line, what went wrong."""
    console = make_console(sys.stderr)
    console.print(Text("Error: ", "bold red") + Text(one_line(message, 1000)), soft_wrap=True)


def warn(message: str) -> None:
    """Say on stderr, in one line, what is dangerous."""
    make_console(sys.stderr).print(Text("Warning: ", "bold yellow") + Text(one_line(message, 1000)), soft_wrap=True)
