"""Stdin and stdout for the protocol alone; whoever waits for them in a thread can be told to stop."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Pipes", "standard_pipes"]

_CAN_WAIT: Final = sys.platform != "win32"
"""Whether several files can be waited for at once; where not, stdin ends by its other side alone."""
_PIECE: Final = getattr(select, "PIPE_BUF", 512)
"""Bytes that can be written without waiting where any can."""
_GRACE: Final = 2.0
"""Seconds that the reader of stdout has for what is still to be said once the server is told to stop."""


class Pipes:
    """What is read and what is written, by threads: they wait for that, or until they are told to stop.

    Args:
        source: The descriptor to read from.
        target: The descriptor to write to.

    Attributes:
        stdin: Text; it ends when this is stopped.
        stdout: Text.
    """

    def __init__(self, source: int, target: int) -> None:
        self._told, self._tell = os.pipe()
        self.stdin: io.TextIOWrapper = io.TextIOWrapper(
            io.BufferedReader(_Source(source, self._told)), encoding="utf-8", errors="replace"
        )
        self.stdout: io.TextIOWrapper = io.TextIOWrapper(
            io.BufferedWriter(_Target(target, self._told, self.stop)), encoding="utf-8"
        )

    def stop(self) -> None:
        """End ``stdin``, and give up ``stdout`` where nobody reads it. Idempotent."""
        os.write(self._tell, b".")

    def close(self) -> None:
        """Close what was opened here; the descriptors stay open."""
        self.stdin.detach()
        self.stdout.detach()
        os.close(self._told)
        os.close(self._tell)


class _Source(io.RawIOBase):
    def __init__(self, descriptor: int, told: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._told = told

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if _CAN_WAIT:
            ready, _, _ = select.select([self._told, self._descriptor], [], [])
            if self._told in ready:
                return 0
        view = memoryview(buffer)
        data = os.read(self._descriptor, len(view))
        view[: len(data)] = data
        return len(data)


class _Target(io.RawIOBase):
    def __init__(self, descriptor: int, told: int, stop: Callable[[], None]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._told = told
        self._stop = stop
        self._has_reader = True

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if not self._has_reader:
            return len(view)  # it has been told, and buffers want to be rid of what they hold
        try:
            if _CAN_WAIT:
                self._wait()
            return os.write(self._descriptor, view[:_PIECE])
        except OSError:
            self._has_reader = False
            self._stop()  # whoever cannot be answered need not be heard
            raise

    def _wait(self) -> None:
        told, ready, _ = select.select([self._told], [self._descriptor], [])
        if told and not ready:
            _, ready, _ = select.select([], [self._descriptor], [], _GRACE)
            if not ready:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@contextmanager
def standard_pipes() -> Generator[Pipes]:
    """Take stdin and stdout; until this is left, what is printed goes to stderr, and programs find nothing to read."""
    source, target, nowhere = descriptors = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDONLY)
    pipes = Pipes(source, target)
    try:
        sys.stdout.flush()
        os.dup2(nowhere, 0)
        os.dup2(2, 1)
        yield pipes
    finally:
        os.dup2(source, 0)
        os.dup2(target, 1)
        pipes.close()
        for descriptor in descriptors:
            os.close(descriptor)
