"""How long to pause before a poll or a retry. Randomness comes in as ``u``, a number from 0 to 1."""

from __future__ import annotations

import math
from typing import Final

from .._values.settings import PollingPolicy, RetryPolicy

RETRY_AFTER_CAP: Final = 60.0
"""Seconds that a poll waits at most because the service asks for it."""

CONFLICT_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds before a PUT is sent again that was refused with 409 although no job was running."""


def in_words(seconds: float) -> str:
    """A pause that the service asks for, as people read it."""
    if seconds > 366 * 86400:
        return "more than a year"
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{math.ceil(seconds / size)} {unit}"
    whole = max(1, round(seconds))
    return "1 second" if whole == 1 else f"{whole} seconds"


def first_poll(policy: PollingPolicy, u: float) -> float:
    """Seconds from a job's start to its first poll: spread so that jobs started together are not polled together."""
    return policy.min_interval * (0.5 + u)


def next_poll(policy: PollingPolicy, elapsed: float, retry_after: float | None, u: float) -> float:
    """Seconds from one poll to the next, ``elapsed`` seconds after the job's start."""
    pause = min(max(policy.growth * elapsed, policy.min_interval), policy.max_interval)
    pause *= 1 + policy.jitter * (2 * u - 1)
    return max(pause, min(retry_after or 0.0, RETRY_AFTER_CAP))


def next_attempt(policy: RetryPolicy, attempt: int, retry_after: float | None, u: float) -> float | None:
    """Seconds before the attempt after number ``attempt`` (the first is 1), ``None`` to give up.

    Full jitter: anything from 0 to a bound that doubles. A ``Retry-After`` is a floor; above
    ``max_retry_after`` the error is the better answer.
    """
    if attempt >= policy.max_attempts or (retry_after is not None and retry_after > policy.max_retry_after):
        return None
    bound = min(policy.maximum, policy.initial * 2.0 ** min(attempt - 1, 60))
    return max(bound * u, retry_after or 0.0)
