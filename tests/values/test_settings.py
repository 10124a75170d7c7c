from __future__ import annotations

import math
import pickle
from typing import Any

import attrs
import pytest

from tests.support.numbers import Floating, Whole
from toolhouse_async._values.settings import Limits, PollingPolicy, RecoveryPolicy, RetryPolicy, Timeouts
from toolhouse_async.errors import ConfigurationError

DEFAULTS: list[tuple[type, dict[str, Any]]] = [
    (Timeouts, {"connect": 10, "pool": None, "response": 600, "idle": 300}),
    (RetryPolicy, {"max_attempts": 3, "initial": 0.5, "maximum": 8, "max_retry_after": 60}),
    (
        PollingPolicy,
        {
            "min_interval": 1,
            "max_interval": 10,
            "growth": 0.15,
            "jitter": 0.2,
            "deadline": 1800,
            "max_rounds": 20,
            "failure_budget": 5,
            "failure_window": 60,
            "max_in_flight": 64,
        },
    ),
    (RecoveryPolicy, {"quiet": 10, "deadline": 120, "absence": 120}),
    (Limits, {"max_connections": 1000, "max_line": 16 * 2**20, "max_body": None, "max_error_body": 64 * 2**10}),
]
FIELDS = [(kind, name) for kind, defaults in DEFAULTS for name in defaults]
OPTIONAL = {
    (RecoveryPolicy, "absence"),
    (Timeouts, "connect"),
    (Timeouts, "pool"),
    (Timeouts, "response"),
    (Timeouts, "idle"),
    (PollingPolicy, "deadline"),
    (Limits, "max_body"),
}
WHOLE = {
    (RetryPolicy, "max_attempts"),
    (PollingPolicy, "max_rounds"),
    (PollingPolicy, "failure_budget"),
    (PollingPolicy, "max_in_flight"),
    *((Limits, name) for name in DEFAULTS[-1][1]),
}
MAY_BE_ZERO = {
    (RecoveryPolicy, "absence"),
    (RetryPolicy, "initial"),
    (RetryPolicy, "maximum"),
    (RetryPolicy, "max_retry_after"),
    (PollingPolicy, "growth"),
    (PollingPolicy, "jitter"),
    (PollingPolicy, "deadline"),
    (PollingPolicy, "failure_budget"),
    (PollingPolicy, "failure_window"),
    (RecoveryPolicy, "quiet"),
    (RecoveryPolicy, "deadline"),
    (Limits, "max_error_body"),
}
every_field = pytest.mark.parametrize(("kind", "name"), FIELDS)


def refused(kind: type, name: str, value: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        kind(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{kind.__name__}.{name} must be ")
    assert len(message) < 250
    return message


@pytest.mark.parametrize(("kind", "defaults"), DEFAULTS)
def test_defaults(kind: Any, defaults: dict[str, Any]) -> None:
    made = kind()
    assert attrs.asdict(made) == defaults
    assert made == kind(**defaults)
    assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(AttributeError):
        setattr(made, next(iter(defaults)), 1)


@every_field
def test_what_is_no_finite_number_is_refused(kind: type, name: str) -> None:
    wanted = "a whole number" if (kind, name) in WHOLE else "a finite number"
    for value in ("1", True, math.nan, math.inf, -math.inf, [], 1j, "x" * 10_000):
        assert wanted in refused(kind, name, value)


@every_field
def test_what_is_negative_is_refused(kind: type, name: str) -> None:
    for value in (-1, -(10**400)):
        assert "least" in refused(kind, name, value) or "above 0" in refused(kind, name, value)


@every_field
def test_zero(kind: type, name: str) -> None:
    if (kind, name) in MAY_BE_ZERO:
        kind(**{name: 0})
    else:
        refused(kind, name, 0)


@every_field
def test_none_is_no_bound_where_there_may_be_none(kind: type, name: str) -> None:
    if (kind, name) in OPTIONAL:
        kind(**{name: None})
        assert " or None, not" in refused(kind, name, "x")
    else:
        assert "None, not" not in refused(kind, name, None)


@every_field
def test_fractions(kind: type, name: str) -> None:
    if (kind, name) in WHOLE:
        refused(kind, name, 1.5)
    elif name not in ("min_interval", "max_interval"):
        kind(**{name: 0.5})


def test_jitter_is_a_share() -> None:
    assert PollingPolicy(jitter=1).jitter == 1
    assert "at least 0 and at most 1" in refused(PollingPolicy, "jitter", 1.01)


def test_the_longest_pause_is_not_shorter_than_the_shortest() -> None:
    assert PollingPolicy(min_interval=3, max_interval=3).max_interval == 3
    with pytest.raises(ConfigurationError, match=r"max_interval \(2\) is below min_interval \(3\)"):
        PollingPolicy(min_interval=3, max_interval=2)


def test_a_huge_integer_is_a_number() -> None:
    assert Limits(max_body=10**400).max_body == 10**400


def test_numbers_of_other_libraries_become_plain_ones() -> None:
    timeouts = Timeouts(connect=Whole(5), idle=Floating(0.5))  # type: ignore[arg-type]
    assert timeouts == Timeouts(connect=5, idle=0.5)
    assert (type(timeouts.connect), type(timeouts.idle)) == (int, float)
    assert RetryPolicy(max_attempts=Whole(2)).max_attempts == 2  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="must be a whole number, not"):
        RetryPolicy(max_attempts=Floating(2.0))  # type: ignore[arg-type]
