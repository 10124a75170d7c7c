"""What a client knows of one conversation, shared by all its sessions on that run."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from .errors import SessionBusyError


class Holder(Protocol):
    """Who holds a run: one exchange at a time."""

    stepped_by: asyncio.Task[object] | None
    """The task that stepped it last."""


class Run:
    """Serialises the exchanges of one conversation: first come, first served.

    Attributes:
        begun: The loop's time at which this client started the run; ``None`` if it did not.
    """

    def __init__(self) -> None:
        self.begun: float | None = None
        self._said: set[int] = set()
        self._holder: Holder | None = None
        self._queue: deque[tuple[asyncio.Future[None], Holder]] = deque()

    def says(self, words: str) -> bool:
        """Note a message; whether the same words may have been said in this conversation before."""
        key = hash(words)
        repeated = self.begun is None or key in self._said
        self._said.add(key)
        return repeated

    async def acquire(self, holder: Holder) -> None:
        """Wait for the exchanges that came before; not at all if ``holder`` has the run already.

        A cancelled call leaves the queue as if it had not been.

        Raises:
            SessionBusyError: The exchange to wait for is the caller's own, which could never go on.
        """
        if self._holder is None or self._holder is holder:
            self._holder = holder
            return
        if self._holder.stepped_by is asyncio.current_task():
            raise SessionBusyError(
                "this task has another turn open on the same run; finish or close that one first "
                "(async with session.stream(...) as turn)"
            )
        place = asyncio.get_running_loop().create_future()
        entry = (place, holder)
        self._queue.append(entry)
        try:
            await place
        except BaseException:
            if self._holder is holder:
                self.release(holder)  # handed over in the very moment of being cancelled
            else:
                self._queue.remove(entry)
            raise

    def release(self, holder: Holder) -> None:
        """Hand the run to the next in the queue. Does nothing if ``holder`` does not hold it."""
        if self._holder is not holder:
            return
        self._holder = None
        if self._queue:
            place, self._holder = self._queue.popleft()
            place.set_result(None)
