"""What a client knows of one conversation, shared by all its sessions on that run."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .errors import SessionBusyError

if TYPE_CHECKING:
    from ._shared import SharedResume
    from ._wire.history import Place


class Holder(Protocol):
    """Who holds a run, or waits for it: an exchange."""

    stepped_by: asyncio.Task[object] | None
    """The task that stepped it last."""

    def inherit(self, resume: SharedResume) -> None:
        """Take part in a resume that another exchange sends."""
        ...


class Uncertain(NamedTuple):
    """A message of which nobody knows whether the service accepted it.

    Attributes:
        place: Where its answer would stand in the history.
        since: The loop's time at which its fate became unknown.
        bars: Whether nothing more is sent before it is settled: so where the library said that nobody knows, not where
            the user gave it up (cancelled, closed, timed out) or was told of a refusal (5xx).
    """

    place: Place
    since: float
    bars: bool


class Run:
    """Serialises the exchanges of one conversation: first come, first served.

    Attributes:
        begun: The loop's time at which this client started the run; ``None`` if it did not.
        uncertain: The message whose fate is unknown, if there is one.
        waiting: Exchanges that wait for a job and would resume the run themselves after it.
        resuming: The latest resume.
    """

    def __init__(self) -> None:
        self.begun: float | None = None
        self.uncertain: Uncertain | None = None
        self.waiting: set[Holder] = set()
        self.resuming: SharedResume | None = None
        self._said: dict[int, int] = {}
        self._holder: Holder | None = None
        self._queue: deque[tuple[asyncio.Future[None], Holder]] = deque()

    def said(self, words: str | None) -> None:
        """Note a message that the service accepted."""
        key = hash(words or "")
        self._said[key] = self._said.get(key, 0) + 1

    def times_said(self, words: str | None) -> int | None:
        """How often the same words were said in this conversation before; ``None`` if others may have said them."""
        return None if self.begun is None else self._said.get(hash(words or ""), 0)

    def share(self, resume: SharedResume, sender: Holder) -> None:
        """Let all who wait take part in a resume that ``sender`` sends, also those in the queue for the run."""
        self.resuming = resume
        for exchange in self.waiting - {sender}:
            exchange.inherit(resume)
            for entry in [entry for entry in self._queue if entry[1] is exchange]:
                self._queue.remove(entry)
                if not entry[0].done():
                    entry[0].set_result(None)
        self.waiting.clear()

    def pass_on(self, holder: Holder, successor: Holder) -> None:
        """Hand the run to an exchange that goes on with the same answer, ahead of the queue."""
        if self._holder is holder:
            self._holder = successor

    async def acquire(self, holder: Holder) -> None:
        """Wait for the exchanges that came before; not at all if ``holder`` has the run already.

        Also returns, without the run, when ``holder`` inherits a resume meanwhile. A cancelled call leaves the queue
        as if it had not been.

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
            elif entry in self._queue:
                self._queue.remove(entry)
            raise

    def release(self, holder: Holder) -> None:
        """Hand the run to the next in the queue. Does nothing if ``holder`` does not hold it."""
        if self._holder is not holder:
            return
        self._holder = None
        while self._queue and self._holder is None:
            place, successor = self._queue.popleft()
            if not place.done():  # else its task is being cancelled
                self._holder = successor
                place.set_result(None)
