"""The command ``toolhouse-async``, which Ctrl-C ends quietly while it is still being imported.

To import any module of the package is to import what the package itself imports, which takes a second on a slow
machine. So this one stands outside of it, and imports the command line only where SIGINT ends the process.
"""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> int:
    """Import and run the command line.

    Returns:
        The exit status.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where whoever started it has it ignore Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from toolhouse_async._cli import main as run
    from toolhouse_async._cli.statuses import Status

    try:
        signal.signal(signal.SIGINT, before)
        return run()
    except KeyboardInterrupt:
        return Status.INTERRUPTED
