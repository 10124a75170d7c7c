"""What makes a turn move and stop: steps taken by whoever reads it, deadlines, and closing from any task."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from ._core import Core
from ._results import TurnResult
from ._wire.steps import Signal
from .errors import ClosedError, ConfigurationError, SessionBusyError, ToolhouseError
from .events import Event


class Engine(ABC):
    """A sequence of steps without a task of its own.

    Whoever wants the next event steps it, in their own task: cancelling them cancels exactly the step under way,
    and memory is bounded by how fast they read.

    Attributes:
        events: Events that were made and not yet taken, oldest first.
        is_over: Whether there will be no more events than those.
        error: Why it ended, if it failed.
        result: What it came to, if it did not.
        begun: Whether a step was ever made.
        stepped_by: The task that stepped it last.
    """

    __slots__ = (
        "_busy",
        "_core",
        "_interruption",
        "_stopping",
        "begun",
        "error",
        "events",
        "is_over",
        "result",
        "stepped_by",
    )

    def __init__(self, core: Core) -> None:
        self.events: deque[Event] = deque()
        self.is_over: bool = False
        self.error: ToolhouseError | None = None
        self.result: TurnResult | None = None
        self.begun: bool = False
        self.stepped_by: asyncio.Task[object] | None = None
        self._core = core
        self._busy = False
        self._stopping = False  # whether the step under way is being cancelled by ourselves
        self._interruption: Callable[[], ToolhouseError] | None = None

    async def advance(self) -> None:
        """Make one step: afterwards there may be events, and it may be over.

        Raises:
            SessionBusyError: Another task is in the middle of a step.

        Cancelling closes it.
        """
        task = self._enter()
        cancelling = task.cancelling()
        try:
            signal = await self._step()
            if signal is not None:
                if (writing := self._write_down(signal)) is not None:
                    await writing
                self._follow(signal)
        except ToolhouseError as error:
            self._fail(error if self._interruption is None else self._interruption())
        except asyncio.CancelledError:
            if not self._stopping or task.cancelling() > cancelling + 1:
                self._fail(ClosedError("closed before its end: its reader was cancelled"))
                raise
        except GeneratorExit:
            self.abandon()  # by whoever collects garbage
            raise
        except BaseException as error:
            self._fail(ClosedError(f"closed before its end by {type(error).__name__}"))
            raise
        finally:
            self._busy = False
            if self._stopping:
                self._stopping = False
                task.uncancel()
        if self._interruption is not None and not self.is_over:
            self._fail(self._interruption())

    def _enter(self) -> asyncio.Task[object]:
        """Begin a step, and before the first one everything."""
        if self._busy:
            raise SessionBusyError("another task is reading this turn")
        if self.begun:
            self._core.check_loop()
        else:
            self._core.check_usable()
        task = asyncio.current_task()
        if task is None:
            raise ConfigurationError("a turn is read in a task of asyncio")
        if not self.begun:
            self._begin()
            self._core.live.add(self)
            self.begun = True
        self.stepped_by = task
        self._busy = True
        return task

    def check_loop(self) -> asyncio.AbstractEventLoop | None:
        """Check that the event loop is the one that it was begun on, if it was; return that.

        Raises:
            ConfigurationError: It is another, or none.
        """
        if not self.begun:
            return None
        self._core.check_loop()
        return self._core.loop

    def interrupt(self, error: ToolhouseError) -> None:
        """End with ``error`` from any task: at once where a step is under way. Events not taken are dropped."""
        if not self.is_over:
            self.events.clear()
            self._stop(lambda: error)

    def close(self) -> None:
        """Let go of everything that is held. Idempotent, and never waits."""
        self.is_over = True
        self._core.live.discard(self)
        self._let_go()

    def abandon(self) -> None:
        """Let go of everything for a reader that was dropped, in whatever thread: garbage is collected in any."""
        loop = self._core.loop
        try:
            is_here = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_here = False
        if is_here or loop is None or loop.is_closed():
            with suppress(RuntimeError):  # the event loop is gone, and its connections with it
                self.close()
        else:
            self.is_over = True
            loop.call_soon_threadsafe(self.close)

    def _stop(self, make_error: Callable[[], ToolhouseError]) -> None:
        """End with an error that is made when the step under way has stopped; at once if there is none."""
        if not self._busy:
            self._fail(make_error())
            return
        if self._interruption is None and self.stepped_by is not None:
            self._stopping = True
            self.stepped_by.cancel()
        self._interruption = make_error

    def _fail(self, error: ToolhouseError) -> None:
        self.error = error
        self.close()

    @abstractmethod
    def _begin(self) -> None:
        """Prepare what needs the event loop; called once, before the first step."""

    @abstractmethod
    def _step(self) -> Coroutine[Any, Any, Signal | None]:
        """Make one step, and say what happened if that leads on."""

    @abstractmethod
    def _write_down(self, signal: Signal) -> Coroutine[Any, Any, None] | None:
        """What must be awaited before going where a step has led, if anything."""

    @abstractmethod
    def _follow(self, signal: Signal) -> None:
        """Go where a step has led."""

    @abstractmethod
    def _let_go(self) -> None:
        """Release connections and places."""
