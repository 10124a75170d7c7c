"""The queue of the turns on one run: one at a time, first come, first served."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..errors import SessionBusyError


class Holder(Protocol):
    """Who has the run, or waits for it: a participant."""

    stepped_by: asyncio.Task[object] | None
    """The task that stepped it last."""


class Visitor:
    """Who waits for the turns on a run, and has none."""

    stepped_by: asyncio.Task[object] | None = None


class Queue:
    """Who has a run, and who waits for it."""

    __slots__ = ("_entries", "_holder")

    def __init__(self) -> None:
        self._holder: Holder | None = None
        self._entries: list[tuple[asyncio.Future[None], Holder]] = []

    def is_held_by(self, holder: Holder) -> bool:
        """Whether ``holder`` has the run."""
        return self._holder is holder

    def take(self, holder: Holder) -> bool:
        """Take the run if nobody else has it; whether ``holder`` has it now."""
        if self._holder is None:
            self._holder = holder
        return self._holder is holder

    async def acquire(self, holder: Holder) -> None:
        """Wait for the turns that came before; not at all if ``holder`` has the run already.

        Also returns, without the run, when :meth:`call` takes ``holder`` out of the queue. A cancelled call leaves the
        queue as if it had not been.

        Raises:
            SessionBusyError: The turn to wait for is the caller's own, which could never go on.
        """
        if self.take(holder):
            return
        if self._holder is not None and self._holder.stepped_by is asyncio.current_task():
            raise SessionBusyError(
                "this task has another turn open on the same run; finish or close that one first "
                "(async with session.stream(...) as turn)"
            )
        place = asyncio.get_running_loop().create_future()
        entry = (place, holder)
        self._entries.append(entry)
        try:
            await place
        except BaseException:
            if self._holder is holder:
                self.release(holder)  # handed over in the very moment of being cancelled
            elif entry in self._entries:
                self._entries.remove(entry)
            raise

    def call(self, holder: Holder) -> None:
        """Take ``holder`` out of the queue, if it waits there: it need not have the run any more."""
        for entry in [entry for entry in self._entries if entry[1] is holder]:
            self._entries.remove(entry)
            if not entry[0].done():
                entry[0].set_result(None)

    def pass_on(self, holder: Holder, successor: Holder) -> None:
        """Hand the run to a turn that goes on with the same answer, ahead of the queue."""
        if self._holder is holder:
            self._holder = successor

    def release(self, holder: Holder) -> None:
        """Hand the run to the next in the queue. Does nothing if ``holder`` does not have it."""
        if self._holder is not holder:
            return
        self._holder = None
        while self._entries and self._holder is None:
            place, successor = self._entries.pop(0)
            if not place.done():  # else its task is being cancelled
                self._holder = successor
                place.set_result(None)
