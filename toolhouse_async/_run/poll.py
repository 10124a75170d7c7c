"""Polling a run until its background job is over: one poll at a time for all who wait."""

from __future__ import annotations

import asyncio
from typing import Final

from .._http.port import Service
from .._turn.polls import Polls, Report
from ..errors import ToolhouseError

LAST_POLL: Final = 5.0
"""Seconds behind a deadline that the poll which is made at it may take, waiting for its turn included."""


class RunPoll:
    """The polls of one run.

    Whoever waits drives: the first to ask for a report polls, the others wait for it, and if the one who polls
    leaves, another takes its place. There is no task that could be left behind.
    """

    def __init__(self, service: Service, agent_id: str, run_id: str, slots: asyncio.Semaphore, polls: Polls) -> None:
        self._service = service
        self._ids = (agent_id, run_id)
        self._slots = slots
        self._polls = polls
        self._driven = False
        self._alarm: asyncio.Future[None] | None = None  # what the one who polls sleeps on
        self._news: asyncio.Future[None] | None = None  # what the others wait for

    @property
    def is_over(self) -> bool:
        """Whether there will be no further poll."""
        return self._polls.is_over

    @property
    def number(self) -> int:
        """The number of the last report."""
        return self._polls.latest.number

    def join(self, now: float) -> None:
        """Somebody more begins to wait. Where nobody is waiting, what failed before is no matter of theirs."""
        if not self._driven:
            self._polls.renew(now)

    async def report_after(self, number: int, deadline: float | None, service: Service | None = None) -> Report:
        """Return the first report later than ``number``, or at ``deadline`` what a last poll finds.

        Where that one has not come to its end a while later, which a service can do by an answer that drips, or others
        by holding all places, it is a report that nothing was found out, of the number that the caller gave.

        Args:
            number: The last report the caller has seen, 0 for none.
            deadline: The loop's time at which the caller gives up.
            service: What the caller polls by, if it is the one who does; ``None`` for the client's.

        Cancelling one caller does not disturb the others.
        """
        polls, left = self._polls, None
        if deadline is not None:
            left = max(deadline - asyncio.get_running_loop().time(), 0.0) + LAST_POLL
        try:
            async with self._service.within(left):
                while polls.latest.number <= number:
                    if deadline is not None and polls.advance(deadline):
                        _wake(self._alarm)
                    if self._driven:
                        if self._news is None:
                            self._news = asyncio.get_running_loop().create_future()
                        await asyncio.shield(self._news)
                        continue
                    self._driven = True
                    try:
                        await self._poll(service or self._service)
                    finally:
                        self._driven = False
                        if self._news is not None:
                            _wake(self._news)
                            self._news = None
        except TimeoutError:
            return Report(number)
        return polls.latest

    def hurry(self) -> None:
        """Poll now, whatever was planned."""
        self._polls.advance(asyncio.get_running_loop().time())
        _wake(self._alarm)

    async def _poll(self, service: Service) -> None:
        loop, polls = asyncio.get_running_loop(), self._polls
        while (pause := polls.next_at - loop.time()) > 0:
            self._alarm = loop.create_future()
            timer = loop.call_later(pause, _wake, self._alarm)
            try:
                await self._alarm
            finally:
                timer.cancel()
                self._alarm = None
        draw = self._service.randomness.random
        try:
            async with self._slots:
                status = await service.poll(*self._ids)
        except ToolhouseError as failure:
            polls.failed(failure, loop.time(), draw())
        else:
            polls.polled(status, loop.time(), draw())


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
