"""The end of a command that is told to stop by a signal."""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import Callable
from typing import Final, ParamSpec

__all__ = ["stopped_by_signal", "without_repeats"]

P = ParamSpec("P")

_AT_ONCE: Final = 1.0
"""Seconds within which a signal is the same as the one before."""


def without_repeats(act: Callable[P, object]) -> Callable[P, None]:
    """Handle a signal on the event loop, but not the same one that comes at once behind it.

    ``timeout`` of GNU sends its signal twice: to the command, and to all processes of the command's group.
    """
    last = -math.inf

    def handle(*args: P.args, **kwargs: P.kwargs) -> None:
        nonlocal last
        now = asyncio.get_running_loop().time()
        if now >= last + _AT_ONCE:
            last = now
            act(*args, **kwargs)

    return handle


def stopped_by_signal() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set from now on, in place of what they did before."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        except NotImplementedError:  # an event loop of Windows, where Ctrl-C cancels the task
            break
    return stopped
