"""All that the turns on one run share."""

from __future__ import annotations

from typing import Protocol

from .._turn.knowledge import Run
from .queue import Holder, Queue
from .resume import SharedResume


class Waiter(Holder, Protocol):
    """Who waits for the run's job and would resume the run after it: a participant."""

    def inherit(self, resume: SharedResume) -> None:
        """Take part in a resume that another sends, in place of sending one."""
        ...


class SharedRun:
    """One run of one client.

    Attributes:
        known: What the client knows of it.
        queue: Whose turn it is.
        waiting: Who waits for its job, and would resume it.
        resuming: The latest resume.
    """

    __slots__ = ("__weakref__", "known", "queue", "resuming", "waiting")

    def __init__(self, known: Run) -> None:
        self.known: Run = known
        self.queue: Queue = Queue()
        self.waiting: dict[Waiter, None] = {}  # a dictionary, since an empty set is larger
        self.resuming: SharedResume | None = None

    def share(self, resume: SharedResume, sender: Waiter) -> None:
        """Let all who wait take part in a resume that ``sender`` sends, also those in the queue for the run."""
        self.resuming = resume
        for waiter in [waiter for waiter in self.waiting if waiter is not sender]:
            waiter.inherit(resume)
            self.queue.call(waiter)
        self.waiting.clear()

    def leave(self, resume: SharedResume) -> None:
        """Forget a resume that nobody can take part in any more, and what is kept of its answer."""
        if self.resuming is resume and not resume.may_join:
            self.resuming = None
