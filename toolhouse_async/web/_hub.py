"""Turns that go on when their readers go away, and readers that come back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from copy import copy
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

from .._held import EventReader, Turn
from .._log import log
from .._session import BackgroundJobWaiter
from .._values.nested import half_made
from .._values.results import TurnResult
from ..errors import ClosedError, ConfigurationError, EventsDroppedError, SessionBusyError, ToolhouseError
from ..events import Event
from ._replay import Replay

__all__ = ["HubReader", "HubTurn", "TurnHub"]

PASSES: Final = 3
"""Passes of the event loop in which those who follow may take what came before an event that cannot be kept."""
_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


class TurnHub:
    """Runs turns for readers that come and go: a closed tab, lost Wi-Fi, a second window.

    A turn in a hub is read by the hub. It goes on without readers, any number of them follow it, each from where they
    were; when it is over it can be read for a while longer. Used as an async context manager, or closed by
    :meth:`aclose`, which stops what is running.

    One process serves a turn's readers: where there are several, see to it that a browser comes back to the same.

    Args:
        keep: Seconds for which a turn can be read when it is over.
        max_bytes: How many bytes of memory the events of one turn may take, beside its result: their words, their data
            as Python has them, and each line once. Beyond it the oldest are dropped, and a reader who has not had them
            gets :class:`~toolhouse_async.EventsDroppedError`. An event that is beyond it alone is given to those who
            follow at that moment, and not kept. What is held in truth is below twice as much, or 256 KiB.
        max_turns: How many turns are held, running or over. Where there are more, the one that has been over for the
            longest is forgotten before its time.

    Raises:
        ConfigurationError: An argument is wrong.
    """

    def __init__(self, *, keep: float = 300, max_bytes: int = 4 << 20, max_turns: int = 1000) -> None:
        for name, value in (("keep", keep), ("max_bytes", max_bytes), ("max_turns", max_turns)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigurationError(f"{name} must be a number above 0, not {value!r:.80}")
        self._keep = keep
        self._max_bytes = int(max_bytes)
        self._max_turns = int(max_turns)
        self._turns: dict[str, HubTurn] = {}
        self._over: dict[HubTurn, asyncio.TimerHandle] = {}  # those that are over, in the order in which they ended
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __len__(self) -> int:
        return len(self._turns)

    def __iter__(self) -> Iterator[str]:
        """The names of the turns that it holds, running or over."""
        return iter(list(self._turns))

    def start(self, name: str, turn: Turn | BackgroundJobWaiter) -> HubTurn:
        """Run a turn, in a task of the hub.

        Args:
            name: What it can be found by: a conversation, a user. A turn of that name that is over is forgotten.
            turn: A turn that nobody reads yet.

        Returns:
            The running turn.

        Raises:
            SessionBusyError: A turn of that name is running, or the hub is full of running ones. Nothing was sent.
            ClosedError: The hub is closed.
            ConfigurationError: ``turn`` is none.
        """
        if self._is_closed:
            raise ClosedError("the hub is closed", safe_to_retry=True)
        if not isinstance(turn, EventReader):
            raise ConfigurationError(f"a hub runs turns and waiters, not {type(turn).__name__}")
        self.forget(name)
        self._make_room()
        made = self._turns[name] = HubTurn(name, turn, self._max_bytes)
        made.task.add_done_callback(lambda _: self._expire_later(made))
        return made

    def get(self, name: str) -> HubTurn | None:
        """The turn of that name, running or over; ``None`` if there was none or it is forgotten."""
        return self._turns.get(name)

    def forget(self, name: str) -> None:
        """Forget a turn that is over before its time; nothing happens where there is none.

        Raises:
            SessionBusyError: It is running.
        """
        turn = self._turns.get(name)
        if turn is not None:
            if not turn.is_over:
                raise SessionBusyError("a turn of this name is running; wait for it, or stop it", safe_to_retry=True)
            self._forget(turn)

    def _make_room(self) -> None:
        if len(self._turns) < self._max_turns:
            return
        oldest = next(iter(self._over), None)
        if oldest is None:
            raise SessionBusyError(f"the hub has {self._max_turns} turns running already", safe_to_retry=True)
        self._forget(oldest)

    def _expire_later(self, turn: HubTurn) -> None:
        if self._turns.get(turn.name) is turn:  # not forgotten in this very moment
            self._over[turn] = asyncio.get_running_loop().call_later(self._keep, self._forget, turn)

    def _forget(self, turn: HubTurn) -> None:
        if (expiry := self._over.pop(turn, None)) is not None:
            expiry.cancel()
        if self._turns.get(turn.name) is turn:  # not forgotten by another meanwhile
            del self._turns[turn.name]

    async def aclose(self) -> None:
        """Stop the turns that are running, wait until they have ended, and forget all. Idempotent.

        Their readers get what was said, then ``ClosedError``.
        """
        self._is_closed = True
        turns = list(self._turns.values())
        await asyncio.gather(*(turn.stop() for turn in turns))
        for turn in turns:
            self._forget(turn)


class HubTurn:
    """A turn in a :class:`TurnHub`.

    Attributes:
        name: What it can be found by.
        id: What names it among all turns, also those of the same name before and after it; part of its events' ids.
        turn: The turn itself, which the hub reads. Its ``run_id`` and ``job_id`` say how it stands.
        error: Why it ended, if it failed.
    """

    def __init__(self, name: str, turn: Turn | BackgroundJobWaiter, max_bytes: int) -> None:
        """Run a turn; made by :meth:`TurnHub.start`."""
        self.name: str = name
        self.id: str = uuid4().hex[:16]
        self.turn: Turn | BackgroundJobWaiter = turn
        self.error: Exception | None = None
        self._replay = Replay(max_bytes)
        self._waiting: set[asyncio.Future[Event | None]] = set()
        self.task: asyncio.Task[None] = asyncio.ensure_future(self._run())

    @half_made
    def __repr__(self) -> str:
        return f"<HubTurn {self.name!r:.80}, {self._replay.count} events: {'over' if self.is_over else 'running'}>"

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.task.done()

    async def _run(self) -> None:
        try:
            async for event in self.turn:
                if self._replay.can_hold(event):
                    self._replay.add(event)
                    self._wake()
                else:
                    await self._pass_on(event)
        except asyncio.CancelledError:
            self.error = ClosedError("the event loop was stopped")
            raise
        except Exception as error:  # noqa: BLE001 - its readers are told
            self.error = error
            if not isinstance(error, ToolhouseError):
                log.exception("a turn in a hub failed")
        finally:
            asyncio.get_running_loop().call_soon(self._wake)  # when the task is done

    async def _pass_on(self, event: Event) -> None:
        """Give an event that cannot be held to those who have had all before it."""
        for _ in range(PASSES):
            await asyncio.sleep(0)
        self._replay.add(event)
        self._wake(event)

    def _wake(self, event: Event | None = None) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(event)
        self._waiting.clear()

    def follow(self, after: str | None = None) -> HubReader:
        """Read the turn's events from the start, or from where a reader was.

        Args:
            after: The id of the last event that was had (``Last-Event-ID``). Of another turn, or no id at all: from the
                start.

        Returns:
            A reader for one; any number may read at once.
        """
        turn, _, number = (after or "").rpartition("-")
        had = int(number) if turn == self.id and _NUMBER.fullmatch(number) else 0
        return HubReader(self, min(had, self._replay.count))

    async def result(self) -> TurnResult:
        """Wait for the end, and return the result.

        Raises:
            ToolhouseError: The turn failed, or was stopped (``ClosedError``).

        Cancelling leaves the turn running.
        """
        await asyncio.wait({self.task})
        self._raise_error()
        return await self.turn.result()

    async def stop(self) -> None:
        """Stop it, and wait until it has ended; its readers get what was said, then ``ClosedError``. Idempotent.

        The service may go on with the run, and surely does with a background job.
        """
        if not self.task.done():
            await self.turn.aclose()
            await asyncio.wait({self.task})

    def _raise_error(self) -> None:
        if self.error is not None:
            raise copy(self.error)  # each reader gets one of their own: a traceback belongs to one of them

    async def _next(self, had: int) -> tuple[int, Event]:
        while had == self._replay.count:
            if self.is_over:
                self._raise_error()
                raise StopAsyncIteration
            waiter: asyncio.Future[Event | None] = asyncio.get_running_loop().create_future()
            self._waiting.add(waiter)
            try:
                event = await waiter
            finally:
                self._waiting.discard(waiter)
            if event is not None:
                return had + 1, event
        try:
            return self._replay.after(had)
        except LookupError:
            raise EventsDroppedError(
                "the hub has dropped what this reader missed; the history has it once the turn is over",
                safe_to_retry=False,
            ) from None


class HubReader:
    """An async iterator of the events of a :class:`HubTurn`: what was missed first, words together, then as they come.

    Leaving it does nothing to the turn. Where what was missed has been dropped it raises
    :class:`~toolhouse_async.EventsDroppedError`.
    """

    __slots__ = ("_had", "_is_over", "_turn")

    def __init__(self, turn: HubTurn, had: int) -> None:
        """Made by :meth:`HubTurn.follow`."""
        self._turn = turn
        self._had = had
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event.

        May be cancelled; the next call goes on where this one was.
        """
        if self._is_over:
            raise StopAsyncIteration
        try:
            self._had, event = await self._turn._next(self._had)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        except Exception:
            self._is_over = True
            raise
        return event

    @property
    def last_id(self) -> str:
        """The id of the event that was given last: a reader who comes back passes it to :meth:`HubTurn.follow`."""
        return f"{self._turn.id}-{self._had}"

    async def aclose(self) -> None:
        """Leave the turn, which goes on. Idempotent."""
        self._is_over = True
