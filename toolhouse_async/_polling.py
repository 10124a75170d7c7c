"""Polling a run until its background job is over: one poll at a time for all who wait."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from ._log import log
from ._results import JobStatus
from ._service import Service
from ._settings import PollingPolicy
from ._wire.pauses import first_poll, next_poll
from .errors import (
    APIStatusError,
    BodyTooLargeError,
    ConflictError,
    ContactLostError,
    NotFoundError,
    ProtocolError,
    RateLimitError,
    ServerError,
    TLSError,
    ToolhouseError,
    TransportError,
)

YOUNG: Final = 5.0
"""Seconds for which a new run may not be found yet."""
YOUNG_TRIES: Final = 2
"""Polls that are tried again in that time."""


def tolerated(error: ToolhouseError) -> bool:
    """Whether a failed poll leaves the question open, to be asked again: the one place that decides this.

    Connection faults, time-outs, 408, 409, 425, 429, 5xx, and a 200 that is not a history are no answers about
    the job. A refused certificate, any other status and a body above the limit will not change by asking again.
    """
    if isinstance(error, TLSError | BodyTooLargeError):
        return False
    if isinstance(error, APIStatusError):
        return isinstance(error, ServerError | RateLimitError | ConflictError) or error.status in (408, 425)
    return isinstance(error, TransportError | ProtocolError)


class Report(NamedTuple):
    """What one poll found.

    Attributes:
        number: Its number, from 1.
        status: What the service said; ``None`` if the poll failed.
        pause: Seconds to the next poll.
        error: Why polling has ended for good, if it has.
    """

    number: int
    status: JobStatus | None = None
    pause: float = 0.0
    error: ToolhouseError | None = None


class RunPoll:
    """The polls of one run.

    Whoever waits drives: the first to ask for a report polls, the others wait for it, and if the one who polls
    leaves, another takes its place. There is no task that could be left behind.
    """

    def __init__(
        self,
        service: Service,
        agent_id: str,
        run_id: str,
        policy: PollingPolicy,
        slots: asyncio.Semaphore,
        *,
        elapsed: float,
        run_begun: float | None,
    ) -> None:
        self._service = service
        self._ids = (agent_id, run_id)
        self._policy = policy
        self._slots = slots
        self._run_begun = run_begun
        now = self._now()
        self._started = now - elapsed
        self._next_at = now + first_poll(policy, service.randomness.random())
        self._good_at = now
        self._failures = 0
        self._latest = Report(0)
        self._driven = False
        self._alarm: asyncio.Future[None] | None = None  # what the one who polls sleeps on
        self._news: asyncio.Future[None] | None = None  # what the others wait for
        self.is_over: bool = False

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def report_after(self, number: int, deadline: float | None) -> Report:
        """Return the first report later than ``number``.

        Args:
            number: The last report the caller has seen, 0 for none.
            deadline: The loop's time at which the caller wants a poll made in any case.

        Cancelling one caller does not disturb the others.
        """
        while self._latest.number <= number:
            if deadline is not None and deadline < self._next_at:
                self._next_at = deadline
                _wake(self._alarm)
            if self._driven:
                if self._news is None:
                    self._news = asyncio.get_running_loop().create_future()
                await asyncio.shield(self._news)
                continue
            self._driven = True
            try:
                self._latest = await self._poll()
            finally:
                self._driven = False
                news, self._news = self._news, None
                _wake(news)
        return self._latest

    def hurry(self) -> None:
        """Poll now, whatever was planned."""
        self._next_at = self._now()
        _wake(self._alarm)

    @property
    def number(self) -> int:
        """The number of the last report."""
        return self._latest.number

    async def _poll(self) -> Report:
        loop = asyncio.get_running_loop()
        while (pause := self._next_at - loop.time()) > 0:
            self._alarm = loop.create_future()
            timer = loop.call_later(pause, _wake, self._alarm)
            try:
                await self._alarm
            finally:
                timer.cancel()
                self._alarm = None
        status: JobStatus | None = None
        error: ToolhouseError | None = None
        asked: float | None = None
        try:
            async with self._slots:
                status = await self._service.poll(*self._ids)
            asked = status.retry_after
            self._failures = 0
            self._good_at = loop.time()
            self.is_over = not status.running
        except ToolhouseError as failure:
            asked = failure.retry_after if isinstance(failure, APIStatusError) else None
            error = self._judge(failure)
            self.is_over = error is not None
        elapsed = loop.time() - self._started
        pause = next_poll(self._policy, elapsed, asked, self._service.randomness.random())
        self._next_at = loop.time() + pause
        return Report(self._latest.number + 1, status, pause, error)

    def _judge(self, failure: ToolhouseError) -> ToolhouseError | None:
        """The error that ends the polling, ``None`` to go on."""
        self._failures += 1
        age = None if self._run_begun is None else self._now() - self._run_begun
        if isinstance(failure, NotFoundError) and age is not None and age < YOUNG:
            return failure if self._failures > YOUNG_TRIES else None
        if not tolerated(failure):
            return failure
        silence = self._now() - self._good_at
        log.info("poll of run %s failed (%s); %d in a row", self._ids[1], type(failure).__name__, self._failures)
        if self._failures < self._policy.failure_budget or silence < self._policy.failure_window:
            return None
        return ContactLostError(
            f"{self._failures} polls in a row failed over {silence:.0f} s; the job may still be running. "
            f"The last one: {failure}",
            run_id=self._ids[1],
            headers=failure.headers,
        )


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
