"""``python -m toolhouse_async._cli.analyse_csv PATH``: analyse a CSV file in a process of its own.

Prints one JSON object: what the columns hold, or, with ``--intervals``, how sure their means and medians are.
Progress goes to stderr as JSON lines, ``{"rows": …, "share": …}``. A file that cannot be analysed gives
``{"error": …}`` and exit status 2.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from .analysis.encoding import CSVError
from .analysis.intervals import intervals
from .analysis.profile import profile, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["main"]

_PROGRESS_INTERVAL = 0.2


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0, or 2 for a file that cannot be analysed.
    """
    parser = argparse.ArgumentParser(prog="analyse_csv", description="Print what a CSV file holds, as JSON.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--column", help="the column of the histogram (default: the first measurement)")
    parser.add_argument("--intervals", action="store_true", help="print confidence intervals instead")
    parser.add_argument("--exit-with-parent", action="store_true", help="end as soon as stdin is closed")
    options = parser.parse_args(arguments)
    if options.exit_with_parent:
        _exit_with_parent()
    report: Mapping[str, Any]
    try:
        table = read_table(options.path, _Progress())
        report = intervals(table.columns) if options.intervals else profile(table, options.column)
    except CSVError as error:
        print(json.dumps({"error": str(error)}))
        return 2
    print(json.dumps(report))
    return 0


class _Progress:
    """Reports progress a few times a second."""

    def __init__(self) -> None:
        self._next = monotonic() + _PROGRESS_INTERVAL

    def __call__(self, rows: int, share: float) -> None:
        if monotonic() >= self._next:
            self._next = monotonic() + _PROGRESS_INTERVAL
            print(json.dumps({"rows": rows, "share": round(share, 4)}), file=sys.stderr, flush=True)


def _exit_with_parent() -> None:
    """End this process when the other end of stdin is closed, as it is when the parent dies in any way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(3)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
