"""A terminal as a person sees it: a program of its own behind a pseudo-terminal, and what stands on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

_CONTROL = re.compile(rb"\x1b\[([?>]?[0-9;]*)([A-Za-z])|\x1b[=>]|\x1b[()][0B]|\x1b([^\[()=>])", re.DOTALL)
_MODES = {"?1", "?7", "?12", "?25", "?2004"}
"""What programs that read lines switch: keys, wrapping, the cursor, and pasting."""
_PATIENCE = 50.0


class Screen:
    """What a terminal shows once it was sent some bytes: every line since the beginning, and where the cursor stands.

    It knows what prompt_toolkit and rich send. A sequence that it does not know is an error, so that a test notices
    what would have reached a person's terminal.
    """

    def __init__(self, columns: int = 80) -> None:
        self._columns = columns
        self._lines: list[list[str]] = [[]]
        self._row = self._column = 0
        self._rest = b""
        self.colours: set[str] = set()

    @property
    def text(self) -> str:
        """All lines, without blanks at their ends."""
        return "\n".join("".join(line).rstrip() for line in self._lines).rstrip()

    def feed(self, data: bytes) -> None:
        """Show what a program has written."""
        data = self._rest + data
        self._rest = b""
        place = 0
        while place < len(data):
            if data[place] == 0x1B:
                match = _CONTROL.match(data, place)
                if match is None:
                    self._rest = data[place:]
                    return
                self._control(match)
                place = match.end()
                continue
            end = place + 1
            while end < len(data) and data[end] != 0x1B:
                end += 1
            whole = data[place:end]
            try:
                text = whole.decode()
            except UnicodeDecodeError as error:
                if end < len(data) or len(whole) - error.start > 3:
                    raise
                self._rest = whole[error.start :]
                text = whole[: error.start].decode()
            for character in text:
                self._show(character)
            place = end

    def _show(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._down()
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character == "\x07":
            pass
        else:
            assert character.isprintable(), f"the terminal was sent {character!r}"
            if self._column >= self._columns:
                self._column = 0
                self._down()
            line = self._lines[self._row]
            line.extend(" " * (self._column + 1 - len(line)))
            line[self._column] = character
            self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._lines):
            self._lines.append([])

    def _control(self, match: re.Match[bytes]) -> None:
        if match[2] is None:
            assert match[3] is None, f"the terminal was sent {match[0]!r}"
            return
        given, kind = match[1].decode(), match[2].decode()
        if kind in "ABCD":
            self._move(kind, int(given or 1))
        elif kind in "JK":
            self._erase(kind, given)
        elif kind == "m":
            self.colours.update(given.split(";"))
        else:
            assert kind in "hl" and given in _MODES, f"the terminal was sent {match[0]!r}"  # noqa: PT018

    def _move(self, kind: str, number: int) -> None:
        if kind == "A":
            self._row = max(0, self._row - number)
        elif kind == "B":
            for _ in range(number):
                self._down()
        else:
            column = self._column + (number if kind == "C" else -number)
            self._column = min(max(column, 0), self._columns - 1)

    def _erase(self, kind: str, given: str) -> None:
        del self._lines[self._row][0 if given == "2" else self._column :]
        if kind == "J":
            del self._lines[self._row + 1 :]


class Terminal:
    """A program on a terminal; a context manager that ends it.

    Args:
        command: The program and its arguments.
        env: Its environment.
    """

    def __init__(self, command: Sequence[str], env: dict[str, str], columns: int = 80) -> None:
        self.screen = Screen(columns)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

        def own_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=env, close_fds=True, preexec_fn=own_terminal
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        """Press keys: ``\\r`` is Enter, ``\\x03`` Ctrl-C, ``\\x04`` Ctrl-D, ``\\x1b\\r`` Alt-Enter."""
        os.write(self._master, text.encode())

    def until(self, condition: Callable[[str], object] | str) -> str:
        """Wait until the screen shows something.

        Returns:
            What it shows then.
        """
        shows = condition if callable(condition) else lambda text: condition in text
        deadline = time.monotonic() + _PATIENCE
        while not shows(self.screen.text):
            assert time.monotonic() < deadline, f"the screen shows:\n{self.screen.text}"
            if not self._read(0.1):
                assert self.process.poll() is None or shows(self.screen.text), (
                    f"the program ended with {self.process.returncode}:\n{self.screen.text}"
                )
        return self.screen.text

    def ended(self) -> int:
        """Wait until the program has ended; its exit status."""
        deadline = time.monotonic() + _PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"the program does not end:\n{self.screen.text}"
            self._read(0.1)
        while self._read(0):
            pass
        return self.process.wait()

    @property
    def is_cooked(self) -> bool:
        """Whether the terminal shows what is typed, and hands it on by lines, as a shell wants it."""
        flags: int = termios.tcgetattr(self._master)[3]
        return bool(flags & termios.ICANON and flags & termios.ECHO)

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # its other end is closed
            return False
        self.screen.feed(data)
        return bool(data)
