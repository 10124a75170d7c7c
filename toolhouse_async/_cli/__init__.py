"""The command line ``toolhouse-async``: ``demo``, ``run`` and ``emulator``; the extra ``[cli]``."""

from __future__ import annotations

import sys

from .streams import OutputError, prepared_streams

__all__ = ["main"]

_INTERRUPTED = 128 + 2  # as shells say of a program that SIGINT ended
_BROKEN_PIPE = 128 + 13
_FAILED = 1
_NOT_INSTALLED = 2


def main() -> int:
    """Run the command line.

    Returns:
        The exit status: 0; 1 for an error of the service or the connection, or where stdout cannot be written; 2 for
        a wrong argument, setting or file, or where the extra is not installed; 130 after Ctrl-C; 141 where stdout's
        reader has gone; 143 after SIGTERM.
    """
    try:
        with prepared_streams():
            return _run()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OutputError as error:
        return _BROKEN_PIPE if error.reader_left else _FAILED


def _run() -> int:
    try:
        from .app import run_command_line  # here, since it imports what only the extra installs
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("click", "rich"):
            raise
        print(
            f"The command line needs {error.name}, which the extra [cli] installs:\n"
            "  pip install 'toolhouse-async[cli]'",
            file=sys.stderr,
        )
        return _NOT_INSTALLED
    return run_command_line()
