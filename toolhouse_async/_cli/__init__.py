"""The command line ``toolhouse-async``: its commands stand in ``app``; the extra ``[cli]``."""

from __future__ import annotations

import sys

from .statuses import Status
from .streams import OutputError, prepared_streams

__all__ = ["main"]


def main() -> int:
    """Run the command line.

    Returns:
        The exit status, a `Status`.
    """
    try:
        with prepared_streams():
            return _run()
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    except OutputError as error:
        return Status.BROKEN_PIPE if error.reader_left else Status.FAILED


def _run() -> int:
    try:
        from .app import run_command_line  # here, since it imports what only the extra installs

        return run_command_line()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("click", "prompt_toolkit", "rich"):
            raise
        print(
            f"The command line needs {error.name}, which the extra [cli] installs:\n"
            "  pip install 'toolhouse-async[cli]'",
            file=sys.stderr,
        )
        return Status.USAGE
