"""Standard streams that may be closed, full, or left by their reader."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["OutputError", "are_mixed", "prepared_streams"]


class OutputError(Exception):
    """Stdout cannot be written to; no ``OSError``, since click and rich end the program at some of those.

    Attributes:
        reader_left: It is a pipe whose reader has gone, as ``head`` does when it has seen enough.
    """

    def __init__(self, message: str, *, reader_left: bool = False) -> None:
        super().__init__(message)
        self.reader_left = reader_left


@contextmanager
def prepared_streams() -> Generator[None]:
    """Make the standard streams such that commands need not care how they were set up.

    What their encoding lacks is written as escapes. Stderr loses what it cannot write, since notices are not worth
    the answer. Stdout raises :class:`OutputError`, and then is quiet at the interpreter's end.

    Raises:
        OutputError: Stdout is closed, or could not be written to; stderr has had a word about it, except where the
            reader has left.
    """
    _occupy_descriptors()
    out, err = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout = cast("TextIO", _Stdout(out or nowhere))
        sys.stderr = cast("TextIO", _Stream(err or nowhere))
        try:
            if out is None:
                raise OutputError("cannot write to stdout: it is closed")  # noqa: TRY301 - told below like any other
            yield
            sys.stdout.flush()
        except OutputError as error:
            if not error.reader_left:
                print(f"Error: {error}", file=sys.stderr)
            raise
        finally:
            with suppress(OutputError):
                sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = out, err


def are_mixed() -> bool:
    """Whether stdout and stderr are one terminal, pipe or file, so that a line of one may stand within the other's."""
    try:
        out, err = os.fstat(sys.stdout.fileno()), os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):  # no files of the system's
        return False
    return out.st_ino != 0 and os.path.samestat(out, err)  # Windows numbers no pipes


def _occupy_descriptors() -> None:
    """Let no socket get the number of a standard stream that was closed: what others write there would go to it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


class _Stream:
    """A text stream that loses what it cannot write; in all else it is the stream.

    It has no ``buffer``, so that everything goes through here.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._failed(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """Send what is still to be written nowhere, so that the interpreter's end has nothing to complain of."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class _Stdout(_Stream):
    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._error: OutputError | None = None

    def write(self, text: str) -> int:
        written = super().write(text)
        self._check()
        return written

    def flush(self) -> None:
        super().flush()
        self._check()

    def _failed(self, error: OSError) -> None:
        super()._failed(error)
        message = f"cannot write to stdout: {error.strerror or error}"
        self._error = OutputError(message, reader_left=isinstance(error, BrokenPipeError))

    def _check(self) -> None:
        """Raise what went wrong, now or before: whoever was told may have kept it to themselves, as click does."""
        if self._error is not None:
            raise self._error
