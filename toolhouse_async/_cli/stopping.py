"""The end of a command that serves until it is told to stop."""

from __future__ import annotations

import asyncio
import signal

__all__ = ["stopped_by_signal"]


def stopped_by_signal() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set from now on, in place of what they did before."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        except NotImplementedError:  # an event loop of Windows, where Ctrl-C cancels the task
            break
    return stopped
