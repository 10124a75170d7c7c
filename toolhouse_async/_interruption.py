"""How a step of a turn is ended from outside, and its task goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .errors import ToolhouseError


class Interruption:
    """Cancels the task that is in the middle of a step, and takes that back as the step ends.

    Attributes:
        make_error: Makes what the turn ends with, when the step has stopped.
        is_cancelling: Whether the task is cancelled by this.
    """

    def __init__(self, task: asyncio.Task[object], make_error: Callable[[], ToolhouseError]) -> None:
        self.make_error: Callable[[], ToolhouseError] = make_error
        self.is_cancelling: bool = False
        self._task: asyncio.Task[object] | None = task
        loop = task.get_loop()
        if asyncio.current_task(loop) is task:
            # By what the step itself calls. A cancellation would be raised where the task waits next: if that is behind
            # the step, it cannot be taken back before Python 3.13.
            loop.call_soon(self._cancel)
        else:
            self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self.is_cancelling = True
            self._task.cancel()

    def end(self) -> None:
        """Take the cancellation back: the step has ended."""
        if self.is_cancelling and self._task is not None:
            self._task.uncancel()
        self._task = None
