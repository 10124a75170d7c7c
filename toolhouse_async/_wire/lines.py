"""Bytes into lines: bounded, linear in the number of bytes however they are cut into chunks."""

from __future__ import annotations

from codecs import BOM_UTF8


class LineSplitter:
    r"""Cuts a stream of bytes at ``\n`` or ``\r\n`` and at nothing else.

    Text inside JSON strings may hold U+2028, U+0085 or a bare carriage return, which are no line ends here. A
    byte order mark at the start of the stream is dropped.

    Attributes:
        lines: Lines given out so far, blank ones included.
        too_long: Whether a line is longer than ``max_line``; what came before it has been given out.
    """

    __slots__ = ("_max_line", "_pending", "lines", "too_long")

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._pending = bytearray()
        self.lines = 0
        self.too_long = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the lines they complete, without their newlines."""
        lines = data.split(b"\n")
        tail = lines.pop()
        most = len(data)
        if lines and self._pending:
            self._pending += lines[0]
            first = bytes(self._pending)
            lines[0] = first if b"\r" in data else first.removesuffix(b"\r")
            most += len(first)
            self._pending.clear()
        if tail:
            self._pending += tail
        if lines:
            if b"\r" in data:
                lines = [line.removesuffix(b"\r") for line in lines]
            if not self.lines:
                lines[0] = lines[0].removeprefix(BOM_UTF8)
            if most > self._max_line:
                lines = self._short_enough(lines)
            self.lines += len(lines)
        if len(self._pending) > self._max_line and len(self._last_line()) > self._max_line:
            self.too_long = True
        return lines

    def _short_enough(self, lines: list[bytes]) -> list[bytes]:
        """The lines before the first that is too long."""
        for index, line in enumerate(lines):
            if len(line) > self._max_line:
                self.too_long = True
                return lines[:index]
        return lines

    def finish(self) -> list[bytes]:
        """Return the last line if the stream ended without a newline; empty otherwise."""
        if not self._pending or self.too_long:
            return []
        line = self._last_line()
        self._pending.clear()
        self.lines += 1
        return [line]

    def _last_line(self) -> bytes:
        """What is pending, as a line."""
        line = bytes(self._pending).removesuffix(b"\r")
        return line if self.lines else line.removeprefix(BOM_UTF8)
