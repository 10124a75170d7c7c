"""The policies a client is built with: plain values, checked when they are made. Times are seconds."""

from __future__ import annotations

import math
from typing import Any, Final

from attrs import Attribute, AttrsInstance, field, fields, frozen

from ..errors import ConfigurationError
from .numeric import plain_number

__all__ = ["Limits", "PollingPolicy", "RecoveryPolicy", "RetryPolicy", "Timeouts", "check_setting"]

MIB: Final = 1024 * 1024


def _check(
    *,
    least: float = 0.0,
    most: float = math.inf,
    above: bool = False,
    whole: bool = False,
    optional: bool = False,
) -> Any:
    """A validator for numbers: in ``[least, most]`` (above ``least`` if ``above``), ``None`` if ``optional``.

    It makes them plain, too: what a converter takes would be the type of the argument, for type checkers.
    """

    def validate(instance: object, attribute: Attribute[Any], given: object) -> None:
        value = plain_number(given)
        object.__setattr__(instance, attribute.name, value)
        if value is None and optional:
            return
        kinds: tuple[type, ...] = (int,) if whole else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool) or not _is_finite(value):  # type: ignore[arg-type]
            wanted = "a whole number" if whole else "a finite number"
        elif value < least or value > most or (above and value == least):  # type: ignore[operator]
            wanted = f"{'above' if above else 'at least'} {least:g}" + (
                f" and at most {most:g}" if most < math.inf else ""
            )
        else:
            return
        raise ConfigurationError(
            f"{type(instance).__name__}.{attribute.name} must be {wanted}"
            f"{' or None' if optional else ''}, not {value!r:.80}"
        )

    return validate


def _is_finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)  # a huge integer is finite, and no float


@frozen
class Timeouts:
    """How long to wait, in seconds; ``None`` waits for ever.

    Attributes:
        connect: For DNS, TCP and TLS together.
        pool: For a free connection, in order of asking.
        response: From the first byte of the request sent to the answer's headers.
        idle: Between bytes received.
    """

    connect: float | None = field(default=10.0, validator=_check(above=True, optional=True))
    pool: float | None = field(default=None, validator=_check(above=True, optional=True))
    response: float | None = field(default=600.0, validator=_check(above=True, optional=True))
    idle: float | None = field(default=300.0, validator=_check(above=True, optional=True))


@frozen
class RetryPolicy:
    """When a request is sent again that provably was not accepted.

    Attributes:
        max_attempts: Attempts in all, the first included.
        initial: Upper bound of the first random delay, in seconds; it doubles with each attempt.
        maximum: Upper bound of any random delay, in seconds.
        max_retry_after: The longest ``Retry-After`` that is waited for, in seconds; above it the error is raised.
    """

    max_attempts: int = field(default=3, validator=_check(least=1, whole=True))
    initial: float = field(default=0.5, validator=_check())
    maximum: float = field(default=8.0, validator=_check())
    max_retry_after: float = field(default=60.0, validator=_check())


@frozen
class PollingPolicy:
    """How a background job is waited for.

    Attributes:
        min_interval: Shortest pause between polls, in seconds.
        max_interval: Longest pause between polls, in seconds.
        growth: Share of the elapsed time that a pause grows to.
        jitter: Random share by which a pause varies, 0 to 1.
        deadline: Seconds that one job is waited for, from its ``JobStarted``; ``None`` waits for ever.
        max_rounds: Jobs that one turn may start.
        failure_budget: Consecutive failed polls that are tolerated, or attempts to send the resume after a job …
        failure_window: … and seconds without a good one; contact is lost only when both are passed.
        max_in_flight: Polls that one client has under way at once.
    """

    min_interval: float = field(default=1.0, validator=_check(above=True))
    max_interval: float = field(default=10.0, validator=_check(above=True))
    growth: float = field(default=0.15, validator=_check())
    jitter: float = field(default=0.2, validator=_check(most=1.0))
    deadline: float | None = field(default=1800.0, validator=_check(optional=True))
    max_rounds: int = field(default=20, validator=_check(least=1, whole=True))
    failure_budget: int = field(default=5, validator=_check(whole=True))
    failure_window: float = field(default=60.0, validator=_check())
    max_in_flight: int = field(default=64, validator=_check(least=1, whole=True))

    def __attrs_post_init__(self) -> None:
        if self.max_interval < self.min_interval:
            raise ConfigurationError(
                f"PollingPolicy.max_interval ({self.max_interval:g}) is below min_interval ({self.min_interval:g})"
            )


@frozen
class RecoveryPolicy:
    """How answers and messages are looked for in the history.

    Attributes:
        quiet: Seconds for which the history must not have changed. Also seconds after which a message of unknown fate
            that is not there counts as not arrived, where the service was seen to show a message before its answer
            was complete.
        deadline: Seconds after which the attempt is given up.
        absence: Seconds after which such a message counts as not arrived where the service was not seen to do that:
            it may record a turn only when that has ended. ``None``: it never counts as not arrived.
    """

    quiet: float = field(default=10.0, validator=_check())
    deadline: float = field(default=120.0, validator=_check())
    absence: float | None = field(default=120.0, validator=_check(optional=True))


@frozen
class Limits:
    """Upper bounds; ``None`` is no bound.

    Attributes:
        max_connections: Connections for messages and their answers. Polls have ``PollingPolicy.max_in_flight`` more.
        max_line: Bytes of one NDJSON line.
        max_body: Bytes of one answer's body.
        max_error_body: Bytes kept of an error answer's body.
    """

    max_connections: int = field(default=1000, validator=_check(least=1, whole=True))
    max_line: int = field(default=16 * MIB, validator=_check(least=1, whole=True))
    max_body: int | None = field(default=None, validator=_check(least=1, whole=True, optional=True))
    max_error_body: int = field(default=64 * 1024, validator=_check(whole=True))


def check_setting(name: str, value: object, kind: type[AttrsInstance]) -> None:
    """Refuse what is none of the classes above, such as a number in place of :class:`Timeouts`.

    Raises:
        ConfigurationError: It is none.
    """
    if not isinstance(value, kind):
        example = f"{name}={kind.__name__}({fields(kind)[0].name}=…)"
        raise ConfigurationError(f"{name} must be {kind.__name__}, as in {example}, not {type(value).__name__}")
