"""What a row waits for before its message is sent: the service, where it is away, and its place in the pace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from .._log import in_own_words, log
from ..errors import APIStatusError, ToolhouseError
from .outage import Outage, Pace
from .steps import is_away

if TYPE_CHECKING:
    from random import Random


class Stopped(Exception):  # noqa: N818 - no error: it ends the course of a row that is not to go on
    """The batch goes on with no row that would have to wait."""


class Gate:
    """Lets rows through: all while the service is there, and one to try it behind each pause while it is not.

    Attributes:
        is_stopped: Whether nothing is let through any more.
    """

    def __init__(self, pace: Pace, *, is_there: Callable[[], Awaitable[bool]], chance: Random) -> None:
        """Begin with a service that is there.

        Args:
            pace: Of messages.
            is_there: Asks the service for something that changes nothing.
            chance: Spreads the pauses.
        """
        self._pace = pace
        self._outage = Outage()
        self._is_blind = False
        self._is_there = is_there
        self._chance = chance
        self._trial: asyncio.Task[object] | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._compared = 0  # rows, from the first on without a gap
        self._compared_behind: set[int] = set()
        self._in_order: dict[int, asyncio.Future[None]] = {}
        self.is_stopped: bool = False

    async def enter(self, *, paced: bool) -> None:
        """Wait until a row may go on.

        Args:
            paced: Whether it sends a message, for which it takes a place in the pace.

        Raises:
            Stopped: The batch was stopped.
        """
        at = None
        while True:
            if self._outage.is_on:
                await self._wait_for_service()
            if paced and at is None:
                at = self._pace.place(_now())
            if at is not None and at > _now():
                await self.sleep(at - _now())
            self.check()
            if not self._outage.is_on or self._trial is asyncio.current_task():
                return

    def compared(self, number: int) -> None:
        """Note that the row of this number has the message with which the store knows it, if it does."""
        if number >= self._compared:
            self._compared_behind.add(number)
        while self._compared in self._compared_behind:
            self._compared_behind.discard(self._compared)
            self._compared += 1
            if (waiter := self._in_order.pop(self._compared, None)) is not None:
                _set(waiter)

    async def wait_for_those_before(self, number: int) -> None:
        """Wait until all rows before one have been compared: where one has another message, the table has shifted.

        Raises:
            Stopped: The batch was stopped.
        """
        self.check()
        if number > self._compared:
            waiter = self._in_order[number] = asyncio.get_running_loop().create_future()
            await waiter
            self.check()

    async def _wait_for_service(self) -> None:
        """Wait until the service is there, or this row is the one to try it."""
        while self._outage.is_on:
            trial, task = self._trial, asyncio.current_task()
            if trial is task:
                return
            if trial is not None and not trial.done():
                await self._changed(None)
            elif self._outage.until > _now():
                await self._changed(self._outage.until - _now())
            else:
                self._trial = task
                if await self._is_there():
                    return
                self.failed(None, began=_now())

    def worked(self) -> None:
        """The service has answered a message."""
        was_on = self._outage.is_on
        self._outage.worked(_now())
        if (self._is_blind or was_on) and not self._outage.is_on:
            log.info("the service is there again: the batch goes on")
            self._is_blind = False
            self._trial = None
            self._wake()

    def blind(self, error: ToolhouseError) -> None:
        """A row looks for its answer, and the service is away: say so once, since such rows fail much later."""
        if is_away(error) and not self._outage.is_on and not self._is_blind:
            self._is_blind = True
            why = in_own_words(error)
            log.warning(
                "the service is away (%.300s): rows that have begun look for their answers until it is there", why
            )

    def failed(self, error: Exception | None, *, began: float, name: str = "a read") -> None:
        """What is called ``name`` has met with the service being away; it began at the loop's time ``began``."""
        asked = error.retry_after if isinstance(error, APIStatusError) else None
        if self._trial is asyncio.current_task():
            self._trial, began = None, _now()
        if self._outage.failed(_now(), began=began, asked=asked, draw=self._chance.random()):
            why = "a read failed" if error is None else in_own_words(error)
            left = self._outage.until - _now()
            log.warning(
                "the service is away (%.300s): the batch waits %.1f s, since %s has met with that", why, left, name
            )
        self._wake()

    def left(self) -> None:
        """Note that the row of this task goes on no more: it tries nothing."""
        if self._trial is asyncio.current_task():
            self._trial = None
            self._wake()

    async def sleep(self, seconds: float) -> None:
        """Wait for so long.

        Raises:
            Stopped: The batch was stopped.
        """
        until = _now() + seconds
        while (left := until - _now()) > 0:
            await self._changed(left)

    async def _changed(self, seconds: float | None) -> None:
        """Wait until something has changed, but no longer than this."""
        self.check()
        loop = asyncio.get_running_loop()
        change: asyncio.Future[None] = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _set, change)
        self._waiting.add(change)
        try:
            await change
        finally:
            self._waiting.discard(change)
            if timer is not None:
                timer.cancel()
        self.check()

    def check(self) -> None:
        """Check that rows may go on.

        Raises:
            Stopped: The batch was stopped.
        """
        if self.is_stopped:
            raise Stopped

    def stop(self) -> None:
        """Let nothing through any more."""
        self.is_stopped = True
        self._wake()
        for waiter in self._in_order.values():
            _set(waiter)

    def _wake(self) -> None:
        for change in self._waiting:
            _set(change)


def _set(change: asyncio.Future[None]) -> None:
    if not change.done():
        change.set_result(None)


def _now() -> float:
    return asyncio.get_running_loop().time()
