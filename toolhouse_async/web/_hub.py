"""Turns that go on when their readers go away, and readers that come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from copy import copy
from types import TracebackType
from typing import Self
from uuid import uuid4

from .._held import EventReader, Turn
from .._log import in_own_words, log
from .._session import BackgroundJobWaiter
from .._values.nested import half_made
from .._values.results import TurnResult
from ..errors import ClosedError, ConfigurationError, EventsDroppedError, SessionBusyError, ToolhouseError
from ..events import Event, TurnCompleted
from ._live import BehindError, HubReader, Live, had_of

__all__ = ["HubTurn", "TurnHub", "busy", "check_name", "check_numbers", "check_start", "dropped", "full", "new_id"]


class TurnHub:
    """Runs turns for readers that come and go: a closed tab, lost Wi-Fi, a second window.

    A turn in a hub is read by the hub. It goes on without readers, any number of them follow it, each from where they
    were; when it is over it can be read for a while longer. Used as an async context manager, or closed by
    :meth:`aclose`, which stops what is running.

    One process serves a turn's readers. Where there are several, take a :class:`RedisTurnHub`, or see to it that a
    browser comes back to the same.

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
        check_numbers(keep=keep, max_bytes=max_bytes, max_turns=max_turns)
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

    def start(self, name: str, turn: Turn | BackgroundJobWaiter, *, note: str = "") -> HubTurn:
        """Run a turn, in a task of the hub.

        Args:
            name: What it can be found by: a conversation, a user. A turn of that name that is over is forgotten.
            turn: A turn that nobody reads yet.
            note: Whatever text whoever finds it is to have with it (:attr:`HubTurn.note`), such as the message.

        Returns:
            The running turn.

        Raises:
            SessionBusyError: A turn of that name is running, or the hub is full of running ones. Nothing was sent.
            ClosedError: The hub is closed.
            ConfigurationError: ``name`` or ``note`` is no string, or ``turn`` no turn; or no event loop runs here, as
                in a plain ``def`` endpoint, which a framework runs in a thread.
        """
        if self._is_closed:
            raise ClosedError("the hub is closed", safe_to_retry=True)
        check_start(name, turn, note)
        self.forget(name)
        self._make_room()
        made = self._turns[name] = HubTurn(name, turn, self._max_bytes, note=note)
        made.task.add_done_callback(lambda _: self._expire_later(made))
        return made

    def get(self, name: str) -> HubTurn | None:
        """The turn of that name, running or over; ``None`` if there was none or it is forgotten.

        Raises:
            ConfigurationError: ``name`` is no string.
        """
        check_name(name)
        return self._turns.get(name)

    def forget(self, name: str) -> None:
        """Forget a turn that is over before its time; nothing happens where there is none.

        Raises:
            SessionBusyError: It is running.
            ConfigurationError: ``name`` is no string.
        """
        check_name(name)
        turn = self._turns.get(name)
        if turn is not None:
            if not turn.is_over:
                raise busy()
            self._forget(turn)

    def _make_room(self) -> None:
        if len(self._turns) < self._max_turns:
            return
        oldest = next(iter(self._over), None)
        if oldest is None:
            raise full(self._max_turns)
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


def check_numbers(**numbers: object) -> None:
    """Refuse settings that are no numbers above 0."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ConfigurationError(f"{name} must be a number above 0, not {value!r:.80}")


def check_name(name: object) -> None:
    """Refuse a name that is none, which all who have none would share."""
    if not isinstance(name, str):
        raise ConfigurationError(f"a turn's name must be a string, not {type(name).__name__}")


def check_start(name: object, turn: object, note: object) -> None:
    """Refuse what cannot be run, or found again."""
    check_name(name)
    if not isinstance(note, str):
        raise ConfigurationError(f"a turn's note must be a string, not {type(note).__name__}")
    if not isinstance(turn, EventReader):
        raise ConfigurationError(
            f"a hub runs turns, as toolhouse.stream(…) makes them, and waiters, not {type(turn).__name__}"
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "a hub starts turns on the event loop, and none runs in this thread: declare the function, such as a web "
            "framework's endpoint, with async def"
        ) from None


class HubTurn:
    """A turn in a hub, in the process that runs it.

    Attributes:
        name: What it can be found by.
        id: What names it among all turns, also those of the same name before and after it; part of its events' ids.
        note: What :meth:`TurnHub.start` was given with it.
        turn: The turn itself, which the hub reads. Its ``job_id`` says how it stands.
        error: Why it ended, if it failed.
    """

    def __init__(
        self,
        name: str,
        turn: Turn | BackgroundJobWaiter,
        max_bytes: int,
        *,
        note: str = "",
        turn_id: str | None = None,
        before: Callable[[Event], Awaitable[None]] | None = None,
    ) -> None:
        """Run a turn; made by the ``start`` of a hub.

        Args:
            name: See above.
            turn: Likewise.
            max_bytes: How many bytes of memory its events may take.
            note: See above.
            turn_id: Its id; default a new one.
            before: What to wait for before each event is given to those who follow.
        """
        self.name: str = name
        self.id: str = turn_id or new_id()
        self.note: str = note
        self.turn: Turn | BackgroundJobWaiter = turn
        self.error: Exception | None = None
        self.live: Live = Live(max_bytes)
        self._before = before
        self._reason: Exception | None = None
        self.task: asyncio.Task[None] = asyncio.ensure_future(self._run())

    @half_made
    def __repr__(self) -> str:
        doing = "over" if self.is_over else "running"
        return f"<HubTurn {self.name!r:.80}, {self.live.replay.count} events: {doing}>"

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.task.done()

    @property
    def agent_id(self) -> str:
        """The worker."""
        return self.turn._driver.conversation.agent_id  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    @property
    def run_id(self) -> str | None:
        """The conversation; ``None`` before the first answer."""
        return self.turn._driver.conversation.run_id  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    async def _run(self) -> None:
        try:
            event: Event | None = None
            async for event in self.turn:
                await self._add(event)
            if not isinstance(event, TurnCompleted):  # others have read it: what it came to is told all the same
                await self._add(TurnCompleted(await self.turn.result()))
        except asyncio.CancelledError:
            self.error = ClosedError("the event loop was stopped")
            raise
        except Exception as error:  # noqa: BLE001 - its readers are told
            self.error = self._reason or error
            self._log(self.error)
        finally:
            asyncio.get_running_loop().call_soon(self.live.end, self.error)  # when the task is done

    def _log(self, error: Exception) -> None:
        """Say why it failed: there may be no reader, whose stream says so, too."""
        if not isinstance(error, ToolhouseError):
            log.error("a turn in a hub failed: %s", in_own_words(error))
        elif not isinstance(error, ClosedError):
            log.warning("a turn in a hub failed: %s", in_own_words(error))

    async def _add(self, event: Event) -> None:
        if self._before is not None:
            await self._before(event)
        await self.live.add(event)

    def follow(self, after: str | None = None) -> HubReader:
        """Read the turn's events from the start, or from where a reader was.

        Args:
            after: The id of the last event that was had (``Last-Event-ID``). Of another turn, or no id at all: from the
                start.

        Returns:
            A reader for one; any number may read at once.

        Raises:
            ConfigurationError: ``after`` is neither a string nor ``None``.
        """
        return HubReader(self, self.id, min(had_of(after, self.id), self.live.replay.count))

    async def next(self, had: int) -> tuple[int, Event]:
        """What follows an event; for its readers."""
        try:
            return await self.live.next(had)
        except BehindError:
            raise dropped() from None

    async def result(self) -> TurnResult:
        """Wait for the end, and return the result.

        Raises:
            ToolhouseError: The turn failed, or was stopped (``ClosedError``).

        Cancelling leaves the turn running.
        """
        await asyncio.wait({self.task})
        if self.error is not None:
            raise copy(self.error)
        return await self.turn.result()

    async def stop(self, reason: ToolhouseError | None = None) -> None:
        """Stop it, and wait until it has ended. Idempotent.

        The service may go on with the run, and surely does with a background job.

        Args:
            reason: What its readers get behind what was said; default ``ClosedError``.
        """
        if not self.task.done():
            self._reason = reason
            await self.turn.aclose()
            await asyncio.wait({self.task})


def new_id() -> str:
    """What names a turn among all."""
    return uuid4().hex[:16]


def busy() -> SessionBusyError:
    """What whoever starts or forgets a turn whose name a running one has is told."""
    return SessionBusyError("a turn of this name is running; wait for it, or stop it", safe_to_retry=True)


def full(max_turns: int) -> SessionBusyError:
    """What whoever starts one turn more than a hub may hold is told."""
    turns = "1 turn" if max_turns == 1 else f"{max_turns} turns"
    error = SessionBusyError(f"the hub has {turns} running, which is its max_turns", safe_to_retry=True)
    error.is_hub_full = True
    return error


def dropped() -> EventsDroppedError:
    """What a reader is told who is behind what is kept."""
    return EventsDroppedError(
        "the hub has dropped what this reader missed; the history has it once the turn is over", safe_to_retry=False
    )
