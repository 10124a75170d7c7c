"""What a client knows of one conversation, shared by all its sessions on that run."""

from __future__ import annotations

import asyncio
import math
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ._results import Message
from ._wire.entries import is_message
from ._wire.history import squeezed
from .errors import SessionBusyError

if TYPE_CHECKING:
    from ._shared import SharedResume
    from ._wire.fold import Fold
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
        told: Whether anybody was told; not where the process died that was sending it.
        fold: What the turn had received, where that is known: the rounds before, and the beginning of this one.
    """

    place: Place
    since: float
    bars: bool
    told: bool = True
    fold: Fold | None = None


def _key(words: str | None) -> str:
    """What stands for a message, in any process: its words may be long."""
    return b2a_base64(blake2b((words or "").encode("utf-8", "replace"), digest_size=9).digest(), newline=False).decode()


class Run:
    """Serialises the exchanges of one conversation: first come, first served.

    Attributes:
        begun: The loop's time at which this client started the run; ``None`` if it did not.
        uncertain: The message whose fate is unknown, if there is one.
        waiting: Exchanges that wait for a job and would resume the run themselves after it.
        resuming: The latest resume.
        heard: The words of the latest round that is whole.
    """

    __slots__ = (
        "__weakref__", "_holder", "_latest", "_queue", "_said", "begun", "heard", "resuming", "uncertain", "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self.heard: str = ""
        self.begun: float | None = None
        self.uncertain: Uncertain | None = None
        self.waiting: dict[Holder, None] = {}  # a dictionary, since an empty set is larger
        self.resuming: SharedResume | None = None
        self._said: dict[str, int] = {}
        self._latest: list[str | None] = []  # what has been said since that was asked for
        self._holder: Holder | None = None
        self._queue: list[tuple[asyncio.Future[None], Holder]] = []

    def said(self, words: str | None) -> None:
        """Note a message that the service accepted."""
        self._latest.append(words)

    def _count(self) -> dict[str, int]:
        """What was said, with the latest in it: not counted before, since most conversations have one message."""
        for words in self._latest:
            key = _key(words)
            self._said[key] = self._said.get(key, 0) + 1
        self._latest.clear()
        return self._said

    def times_said(self, words: str | None) -> int | None:
        """How often the same words were said in this conversation before; ``None`` if others may have said them."""
        return None if self.begun is None else self._count().get(_key(words), 0)

    @property
    def all_said(self) -> Mapping[str, int] | None:
        """How often each message was said, by its key; ``None`` if others may have said some."""
        return None if self.begun is None else self._count()

    def is_shown_in(self, history: Sequence[Message]) -> bool:
        """Whether a history has all that this client has said and heard last: else it lags.

        An empty message may not be recorded at all, and words of a turn may be stored with other white space.
        """
        shown: dict[str, int] = {}
        for entry in history:
            if is_message(entry):
                key = _key(entry.text)
                shown[key] = shown.get(key, 0) + 1
        empty = _key("")
        if any(shown.get(key, 0) < times for key, times in self._count().items() if key != empty):
            return False
        words = "".join(entry.text for entry in history if entry.role == "assistant")
        return not self.heard or squeezed(self.heard) in squeezed(words)

    def restore(self, said: Mapping[str, int]) -> None:
        """Go on with a run of which another client knew all that was said."""
        self.begun = -math.inf
        self._said = dict(said)
        self._latest.clear()

    def share(self, resume: SharedResume, sender: Holder) -> None:
        """Let all who wait take part in a resume that ``sender`` sends, also those in the queue for the run."""
        self.resuming = resume
        for exchange in [holder for holder in self.waiting if holder is not sender]:
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
            place, successor = self._queue.pop(0)
            if not place.done():  # else its task is being cancelled
                self._holder = successor
                place.set_result(None)
