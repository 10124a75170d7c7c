"""The polls of one run: when the next is due, and what a failed one means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from .._wire.pauses import first_poll, next_poll
from ..errors import (
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

if TYPE_CHECKING:
    from .._values.results import JobStatus
    from .._values.settings import PollingPolicy

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


def asked_for(error: ToolhouseError) -> float | None:
    """Seconds that the service asks to wait in an error."""
    return error.retry_after if isinstance(error, APIStatusError) else None


class Patience:
    """How many failures in a row are borne, and for how long."""

    __slots__ = ("_good_at", "_policy", "failures")

    def __init__(self, policy: PollingPolicy, now: float) -> None:
        self._policy = policy
        self._good_at = now
        self.failures: int = 0

    def renew(self, now: float) -> None:
        """Something went well."""
        self.failures, self._good_at = 0, now

    def is_spent(self, now: float) -> bool:
        """Count a failure, and say whether that is enough."""
        self.failures += 1
        policy = self._policy
        return self.failures >= policy.failure_budget and self.silence(now) >= policy.failure_window

    def silence(self, now: float) -> float:
        """Seconds since something went well."""
        return now - self._good_at


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


class Polls:
    """The polls of a run for all who wait with one policy.

    Attributes:
        latest: The last report.
        next_at: The time at which the next poll is due.
        is_over: Whether there will be no further.
    """

    __slots__ = ("_patience", "_policy", "_run_begun", "_run_id", "_started", "is_over", "latest", "next_at")

    def __init__(
        self,
        policy: PollingPolicy,
        now: float,
        draw: float,
        *,
        elapsed: float,
        run_id: str,
        run_begun: float | None,
    ) -> None:
        """Begin to poll.

        Args:
            policy: How often.
            now: The time.
            draw: A random number from 0 to 1.
            elapsed: Seconds since the job started.
            run_id: The conversation.
            run_begun: When this client started the run, if it did.
        """
        self._policy = policy
        self._patience = Patience(policy, now)
        self._run_begun = run_begun
        self._run_id = run_id
        self._started = now - elapsed
        self.next_at: float = now + first_poll(policy, draw)
        self.latest: Report = Report(0)
        self.is_over: bool = False

    def renew(self, now: float) -> None:
        """Forget failures: nobody has polled since."""
        self._patience.renew(now)

    def advance(self, when: float) -> bool:
        """Have the next poll made at that time at the latest; whether that changes anything."""
        if when >= self.next_at:
            return False
        self.next_at = when
        return True

    def polled(self, status: JobStatus, now: float, draw: float) -> None:
        """Take what a poll found."""
        self._patience.renew(now)
        self.is_over = status.job_id is None
        self._report(status, None, status.retry_after, now, draw)

    def failed(self, failure: ToolhouseError, now: float, draw: float) -> None:
        """Take the failure of a poll."""
        error = self._judge(failure, now)
        self.is_over = error is not None
        self._report(None, error, asked_for(failure), now, draw)

    def _report(
        self, status: JobStatus | None, error: ToolhouseError | None, asked: float | None, now: float, draw: float
    ) -> None:
        pause = next_poll(self._policy, now - self._started, asked, draw)
        self.next_at = now + pause
        self.latest = Report(self.latest.number + 1, status, pause, error)

    def _judge(self, failure: ToolhouseError, now: float) -> ToolhouseError | None:
        """The error that ends the polling, ``None`` to go on."""
        is_spent = self._patience.is_spent(now)
        failures = self._patience.failures
        age = None if self._run_begun is None else now - self._run_begun
        if isinstance(failure, NotFoundError) and age is not None and age < YOUNG:
            return failure if failures > YOUNG_TRIES else None
        if not tolerated(failure):
            return failure
        if not is_spent:
            return None
        return ContactLostError(
            f"{failures} polls in a row failed over {self._patience.silence(now):.0f} s; the job may still be "
            f"running. The last one: {failure}",
            run_id=self._run_id,
            headers=failure.headers,
        )
