"""The rate of a batch, and the time left."""

from __future__ import annotations

import pytest

from toolhouse_async._batch.speed import FEWEST, RECENT, SHORTEST, STEP, Speed


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.speed = Speed(lambda: self.now)

    def rows(self, count: int, every: float) -> None:
        """So many rows come to an end, one after the other."""
        for _ in range(count):
            self.now += every
            self.speed.ended()


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.speed.began()
    return clock


def told(speed: Speed, rows: int | None) -> tuple[float | None, float | None]:
    rate, left = speed.rate, speed.seconds_left(rows)
    return rate and round(rate, 3), left and round(left, 3)


def test_nothing_is_told_before_one_can_tell(clock: Clock) -> None:
    assert told(Speed(lambda: pytest.fail("nobody has begun")), 5) == (None, None)
    clock.now += 50
    assert told(clock.speed, 5) == (None, None)
    clock = Clock()
    clock.speed.began()
    clock.rows(10, SHORTEST / 11)
    assert told(clock.speed, 5) == (None, None)
    clock.now = 100 + SHORTEST
    assert told(clock.speed, 5) == (10 / SHORTEST, 0.5 * SHORTEST)


def test_time_counts_from_the_first_row_that_is_worked_on(clock: Clock) -> None:
    clock.now += 3
    clock.speed.began()
    clock.rows(1, 1)
    assert told(clock.speed, 2) == (0.25, 8)


def test_the_rate_is_that_of_the_last_minute(clock: Clock) -> None:
    clock.rows(1000, 0.1)
    assert told(clock.speed, 100) == (10, 10)
    clock.rows(200, 1)
    assert told(clock.speed, 100) == (1, 100)
    assert len(clock.speed._points) <= RECENT + 2


def test_of_rows_that_take_long_the_last_ones_count(clock: Clock) -> None:
    clock.rows(100, 300)
    assert told(clock.speed, 10) == (round(1 / 300, 3), 3000)
    assert len(clock.speed._points) == FEWEST + 1
    clock.rows(FEWEST, 600)
    assert told(clock.speed, 10) == (round(1 / 600, 3), 6000)


def test_the_rate_goes_down_while_nothing_comes_to_an_end(clock: Clock) -> None:
    clock.rows(60, 1)
    clock.now += 60
    assert told(clock.speed, 100) == (0.5, 200)
    clock.rows(40, 0.5)
    assert told(clock.speed, 10)[0] == pytest.approx(2, rel=0.7)


def test_the_time_left_is_no_less_than_that_for_which_nothing_has_come_to_an_end(clock: Clock) -> None:
    clock.rows(1000, 0.01)
    clock.now += 50
    assert told(clock.speed, 1) == (pytest.approx(1000 / 60, abs=0.001), 50)


def test_what_is_kept_does_not_grow_with_the_rows(clock: Clock) -> None:
    clock.rows(20_000, 0.01)
    assert told(clock.speed, 1) == (100, 0.01)
    assert len(clock.speed._points) <= RECENT / STEP + 2


def test_nothing_left_takes_no_time_and_an_unknown_number_an_unknown_time(clock: Clock) -> None:
    assert clock.speed.seconds_left(0) == 0
    clock.rows(10, 1)
    assert clock.speed.seconds_left(None) is None
    assert clock.speed.seconds_left(0) == 0
