from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolhouse_async._values.settings import PollingPolicy, RetryPolicy
from toolhouse_async._wire.pauses import CONFLICT_PAUSES, RETRY_AFTER_CAP, first_poll, in_words, next_attempt, next_poll

DEFAULT = PollingPolicy()


@pytest.mark.parametrize(("u", "pause"), [(0.0, 0.5), (0.5, 1.0), (1.0, 1.5)])
def test_the_first_poll_comes_after_half_to_one_and_a_half_intervals(u: float, pause: float) -> None:
    assert first_poll(DEFAULT, u) == pytest.approx(pause)
    assert first_poll(PollingPolicy(min_interval=4), u) == pytest.approx(4 * pause)


@pytest.mark.parametrize(
    ("elapsed", "base"), [(0, 1), (1, 1), (20 / 3, 1), (10, 1.5), (20, 3), (60, 9), (200 / 3, 10), (1e9, 10)]
)
@pytest.mark.parametrize(("u", "factor"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_pauses_grow_with_the_elapsed_time_within_bounds(elapsed: float, base: float, u: float, factor: float) -> None:
    assert next_poll(DEFAULT, elapsed, None, u) == pytest.approx(base * factor)


@pytest.mark.parametrize(
    ("asked", "pause"), [(None, 1), (0, 1), (0.5, 1), (1, 1), (7, 7), (60, 60), (61, 60), (1e9, 60)]
)
def test_retry_after_is_a_floor_with_a_cap(asked: float | None, pause: float) -> None:
    assert next_poll(DEFAULT, 0, asked, 0.5) == pause


def test_a_policy_without_jitter_is_exact() -> None:
    policy = PollingPolicy(min_interval=2, max_interval=30, growth=0.5, jitter=0)
    assert {next_poll(policy, 20, None, u) for u in (0.0, 0.3, 1.0)} == {10.0}


@given(
    st.floats(0, 1e12),
    st.none() | st.floats(0, 1e12),
    st.floats(0, 1),
    st.floats(0.001, 100),
    st.floats(0, 1),
    st.floats(0, 10),
)
def test_no_pause_is_negative_or_endless(
    elapsed: float, asked: float | None, u: float, shortest: float, jitter: float, growth: float
) -> None:
    policy = PollingPolicy(min_interval=shortest, max_interval=100, jitter=jitter, growth=growth)
    pause = next_poll(policy, elapsed, asked, u)
    assert math.isfinite(pause)
    assert min(asked or 0, RETRY_AFTER_CAP) <= pause <= max(200, RETRY_AFTER_CAP)


def test_the_pauses_of_a_conflict_without_a_job() -> None:
    assert CONFLICT_PAUSES == (0.5, 1, 2, 4)


@pytest.mark.parametrize(("attempt", "bound"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 8), (5000, 8)])
def test_retries_have_full_jitter_below_a_bound_that_doubles(attempt: int, bound: float) -> None:
    policy = RetryPolicy(max_attempts=10_000)
    assert [next_attempt(policy, attempt, None, u) for u in (0.0, 0.5, 1.0)] == [0, bound / 2, bound]


def test_attempts_are_counted_with_the_first() -> None:
    assert next_attempt(RetryPolicy(), 2, None, 1.0) == 1
    assert next_attempt(RetryPolicy(), 3, None, 1.0) is None
    assert next_attempt(RetryPolicy(max_attempts=1), 1, None, 1.0) is None


@pytest.mark.parametrize(("asked", "pause"), [(0, 0.5), (0.2, 0.5), (3, 3), (60, 60), (60.1, None), (1e9, None)])
def test_a_retry_waits_as_told_or_not_at_all(asked: float, pause: float | None) -> None:
    assert next_attempt(RetryPolicy(), 1, asked, 1.0) == pause


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 second"),
        (7.2, "7 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (121, "3 minutes"),
        (3600, "60 minutes"),
        (7199, "120 minutes"),
        (7200, "2 hours"),
        (86400, "24 hours"),
        (172799, "48 hours"),
        (172800, "2 days"),
        (31536000, "365 days"),
        (31622400, "366 days"),
        (31622401, "more than a year"),
        (1e99, "more than a year"),
    ],
)
def test_a_pause_is_told_in_a_unit_that_people_read(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
