"""What is printed: made harmless first, and plain where there is no terminal."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final, TextIO

import attrs
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from ..errors import ToolhouseError

__all__ = [
    "HARMFUL",
    "Marks",
    "described",
    "fail",
    "harmless",
    "in_options",
    "make_console",
    "make_marks",
    "one_line",
    "warn",
]

HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline: escape sequences begin with one
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of what follows
    "\u2028\u2029\ud800-\udfff]"  # separators that some programs take for newlines; halves of characters
)
"""What is never printed as it is."""

_NEWLINE = re.compile("\r\n?")
_PLAIN_WIDTH = 100
_NARROWEST = 40
_WIDEST = 1000


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
    """A console on ``file`` (stdout): live and in colour on a terminal, plain lines anywhere else.

    ``COLUMNS`` and ``LINES`` count where they are sizes; a width below 40 or above 1000 is taken for that.
    """
    target = sys.stdout if file is None else file
    live = target.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    sizes = {name: size for name in ("COLUMNS", "LINES") if (size := _size(os.environ.get(name, "")))}
    width = sizes.get("COLUMNS", None if target.isatty() else _PLAIN_WIDTH)
    return Console(
        file=target,
        force_terminal=live,
        width=None if width is None else min(max(width, _NARROWEST), _WIDEST),
        height=sizes.get("LINES"),
        # what workers and files say is no markup, and nothing in it is coloured by guesswork
        highlight=False,
        markup=False,
        emoji=False,
        _environ={k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")},
    )


def _size(text: str) -> int | None:
    """A size that the environment gives; ``None`` for what is none, such as the 0 of programs that know no size."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 and int(text) else None


def make_marks(console: Console) -> Marks:
    """Signs that the console's encoding can write."""
    try:
        "".join(attrs.astuple(UNICODE)).encode(console.encoding)
    except UnicodeEncodeError:
        return _ASCII
    return UNICODE


def described(error: ToolhouseError) -> str:
    """An error with its kind and its run."""
    run = f" (run {error.run_id})" if error.run_id else ""
    return f"{type(error).__name__}: {in_options(str(error))}{run}"


_OPTIONS: Final = {
    "pass base_url= to the client to use": "pass --base-url to use",
    "pass allow_insecure=True": "pass --allow-insecure",
    "pass the key as api_key": "pass the key as --api-key",
    "or pass api_key=": "or pass --api-key",
    "goes to api_key= or": "goes to --api-key or",
    "goes to run_id=": "is RUN_ID or goes to --run-id",
    "check base_url, proxy and ssl_context": "check --base-url",
    "check base_url": "check --base-url",
    "check the run id, base_url": "check the run id, --base-url",
    "check the network and base_url": "check the network and --base-url",
    "await session.reconcile() finds out": "/look finds out",
    "await session.reconcile() brings its answer": "/look brings its answer",
    "s, and timeout= is over": "s, and --timeout is over",
    "s, and PollingPolicy(deadline=...) is over": "s, and this command waits no longer",
    "retry_failed() (on the command line: batch retry) lets": "'batch retry' lets",
    "another key, or the batch another name": "another key (--key), or the batch another --name",
    "or give the batch another name, which": "or give the batch another --name, which",
    "give this one another name": "give this one another --name",
    "leave key= (on the command line: --key)": "leave --key",
    "give this batch another name": "give this batch another --name",
    "base_url is": "--base-url is",
    "base_url must be": "--base-url must be",
    "base_url takes": "--base-url takes",
    "base_url has": "--base-url has",
}
"""What the library's errors say of its arguments, and what commands say. Whole phrases: errors quote services too."""


def in_options(text: str) -> str:
    """Say of options what an error of the library says of arguments."""
    named = "--base-url or TOOLHOUSE_BASE_URL" if os.environ.get("TOOLHOUSE_BASE_URL") else "--base-url"
    for argument, option in _OPTIONS.items():
        text = text.replace(argument, option.replace("--base-url", named) if argument.startswith("check") else option)
    return text


def fail(message: str) -> None:
    """Say on stderr, in one line, what went wrong."""
    console = make_console(sys.stderr)
    console.print(Text("Error: ", "bold red") + Text(one_line(message, 1000)), soft_wrap=True)


def warn(message: str) -> None:
    """Say on stderr, in one line, what is dangerous."""
    make_console(sys.stderr).print(Text("Warning: ", "bold yellow") + Text(one_line(message, 1000)), soft_wrap=True)
