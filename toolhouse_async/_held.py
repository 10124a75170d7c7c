"""What users hold: an iterator of events that is a turn, or waits for a background job."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Mapping
from sys import get_asyncgen_hooks
from types import TracebackType
from typing import Final, Self

from ._driver import Driver
from ._values.nested import half_made
from ._values.results import TurnResult
from .errors import ClosedError
from .events import Event, StreamRecovered, TextDelta

_NOWHERE: Final = object()
_MANY: Final = 16
"""More events than these at once are worth an entry in the event loop's queue."""


def _place_of(driver: Driver) -> object:
    """What is the same object only on the event loop on which the turn was begun, as long as that runs.

    A loop that runs gives its thread a hook for async generators. To ask for the loop itself costs a system call on
    Python 3.11, and this is asked for each event.

    Raises:
        ConfigurationError: It is another loop.
    """
    return _NOWHERE if driver.check_loop() is None else get_asyncgen_hooks()[0] or _NOWHERE


def _trust_this_step(driver: Driver) -> None:
    """Let the place not be asked for until the event loop goes on: what came last is in one task's hands so long."""
    driver.here = here = [True]
    loop = driver.check_loop()
    assert loop is not None  # noqa: S101 - something has come
    loop.call_soon(here.clear)


class EventReader:
    """An async iterator of events that opens at its first step and closes itself at the end or on an error."""

    __slots__ = ("__weakref__", "_driver", "_events", "_place", "_raised")

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._events = driver.events
        self._place: object = _NOWHERE
        self._raised = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event.

        Cancelling closes the connection; what had been received and not taken is lost with the reader.
        """
        events = self._events
        if events:
            if not self._driver.here and get_asyncgen_hooks()[0] is not self._place:
                self._place = _place_of(self._driver)
            return events.popleft()
        driver = self._driver
        if not driver.is_over:
            await driver.advance()
        if not events:
            self._raise_once()
            raise StopAsyncIteration
        if len(events) > _MANY:
            _trust_this_step(driver)
        return events.popleft()

    def _raise_once(self) -> None:
        """Raise why it has no result to the reader, unless they have had it."""
        if self._raised:
            return
        error = self._driver.error
        if error is None and self._driver.result is None:
            error = ClosedError("closed before its end")
        if error is not None:
            self._raised = True
            raise error

    async def result(self) -> TurnResult:
        """Read to the end without keeping the events, and return the result.

        May be called at any time and again; an error is raised each time.

        Raises:
            ToolhouseError: The turn failed; see the tree in :mod:`toolhouse_async.errors`.
            ClosedError: It was closed before its end.
        """
        driver = self._driver
        if not driver.is_over:
            driver.check_loop()
        while not driver.is_over:
            self._events.clear()
            await driver.advance()
        self._events.clear()
        self._raised = True
        if driver.error is not None:
            raise driver.error
        if driver.result is None:
            raise ClosedError("closed before its end")
        return driver.result

    async def aclose(self) -> None:
        """Close it, from any task; one that is waiting for its next event gets ``ClosedError``. Idempotent."""
        if not self._driver.is_over:
            self._driver.check_loop()
            self._driver.interrupt(ClosedError("closed before its end"))

    def __del__(self) -> None:
        driver = getattr(self, "_driver", None)  # missing if __init__ failed
        if driver is None or driver.is_over or not driver.begun:
            return
        name = repr(self)
        driver.abandon()
        warnings.warn(f"{name} was abandoned; use 'async with' or aclose()", ResourceWarning, 2, source=self)


class Turn(EventReader):
    """One exchange with a worker: a message and everything until the worker settles, jobs and resumes included.

    Iterate over it for events, over :attr:`text_stream` for words alone, or await :meth:`result`. ``async with``
    sends the message on entering and closes the turn on leaving; without it, the turn opens at its first step and
    closes itself at the end or on an error. It has one reader; a second one gets ``SessionBusyError``.

    Cancelling the reader closes the turn's connection and passes the cancellation on. The message was sent by
    then or not; ``run_id`` is set if the service had answered.
    """

    __slots__ = ()

    async def __aenter__(self) -> Self:
        driver = self._driver
        if not self._events and not driver.is_over:
            await driver.advance()
            self._place = get_asyncgen_hooks()[0] or _NOWHERE
        if not self._events:
            self._raise_once()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @half_made
    def __repr__(self) -> str:
        doing = "over" if self._driver.is_over else self._driver.turn.state.value
        return f"<Turn of agent {self.agent_id}, run {self.run_id}: {doing}>"

    @property
    def agent_id(self) -> str:
        """The worker."""
        return self._driver.conversation.agent_id

    @property
    def run_id(self) -> str | None:
        """The conversation; ``None`` before the first answer."""
        return self._driver.conversation.run_id

    @property
    def job_id(self) -> str | None:
        """The job that is being waited for, or was left running; ``None`` if there is none."""
        return self._driver.turn.job_id

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the latest answer; names in any case. Empty before the first."""
        return self._driver.headers

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The words alone, piece by piece, to the end of the turn; it takes the events that it passes over.

        Where a cut answer is healed by one that does not begin with what was received, all of that one follows, behind
        an empty line: nothing that was given can be taken back. :meth:`result` has it alone.
        """
        return _TextStream(self, self._driver)


class _TextStream:
    """The text of a turn's events."""

    __slots__ = ("_driver", "_events", "_place", "_turn")

    def __init__(self, turn: Turn, driver: Driver) -> None:
        self._turn = turn
        self._driver = driver
        self._events = driver.events
        self._place: object = _NOWHERE

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        events = self._events
        if not self._driver.here and get_asyncgen_hooks()[0] is not self._place:
            self._place = _place_of(self._driver)
        while True:
            while events:
                event = events.popleft()
                if type(event) is TextDelta:
                    return event.text
                if type(event) is StreamRecovered and self._driver.turn.fold.is_replaced:
                    return f"\n\n{event.text}"
            events.appendleft(await self._turn.__anext__())  # the first of what comes next
