"""The turn that users hold."""

from __future__ import annotations

from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Self

from ._exchange import Exchange
from ._reader import EventReader
from .events import TextDelta


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
        engine = self._engine
        while not self._events and not engine.is_over:
            await engine.advance()
        if not self._events:
            self._raise_once()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        engine = self._engine
        return f"<Turn of agent {self.agent_id}, run {self.run_id}: {'over' if engine.is_over else engine.state.value}>"

    @property
    def agent_id(self) -> str:
        """The worker."""
        return self._engine.conversation.agent_id

    @property
    def run_id(self) -> str | None:
        """The conversation; ``None`` before the first answer."""
        return self._engine.conversation.run_id

    @property
    def job_id(self) -> str | None:
        """The job that is being waited for, or was left running; ``None`` if there is none."""
        return self._engine.job_id

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the latest answer; names in any case. Empty before the first."""
        return self._engine.headers

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The words alone, piece by piece, to the end of the turn; it takes the events that it passes over."""
        return _TextStream(self, self._engine)


class _TextStream:
    """The text of a turn's events."""

    __slots__ = ("_engine", "_events", "_loop", "_turn")

    def __init__(self, turn: Turn, engine: Exchange) -> None:
        self._turn = turn
        self._engine = engine
        self._events = engine.events
        self._loop: AbstractEventLoop | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        events = self._events
        if get_running_loop() is not self._loop:
            self._loop = self._engine.check_loop()
        while True:
            while events:
                event = events.popleft()
                if type(event) is TextDelta:
                    return event.text
            event = await self._turn.__anext__()  # the first of what comes next
            if type(event) is TextDelta:
                return event.text
