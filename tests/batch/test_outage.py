from __future__ import annotations

import pytest

from toolhouse_async._batch.outage import LONGEST, MOST_ASKED, Outage, Pace


def test_pauses_grow_up_to_the_longest() -> None:
    outage, now = Outage(), 100.0
    pauses = []
    for _ in range(10):
        outage.failed(now, began=now, asked=None, draw=1)
        assert outage.is_on
        pauses.append(outage.until - now)
        now = outage.until
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    for _ in range(2000):  # a power of two that is no number any more
        outage.failed(now, began=now, asked=None, draw=1)
    assert outage.until - now == LONGEST


def test_chance_shortens_a_pause_by_up_to_a_half() -> None:
    outage = Outage()
    outage.failed(0, began=0, asked=None, draw=0)
    assert outage.until == 0.5


def test_what_began_before_the_pause_does_not_lengthen_the_next() -> None:
    outage = Outage()
    for began in range(10):
        outage.failed(10, began=began, asked=None, draw=1)
    assert outage.until == 11
    outage.failed(10, began=9, asked=7, draw=1)  # but what it was asked counts
    assert outage.until == 17
    outage.failed(20, began=18, asked=None, draw=1)
    assert outage.until == 22


def test_the_service_may_ask_for_more_and_is_given_an_hour_at_most() -> None:
    outage = Outage()
    outage.failed(0, began=0, asked=300, draw=1)
    assert outage.until == 300
    outage.failed(300, began=300, asked=1e6, draw=1)
    assert outage.until == 300 + MOST_ASKED


def test_a_message_that_was_answered_ends_it() -> None:
    outage = Outage()
    for _ in range(5):
        outage.failed(0, began=0, asked=None, draw=1)
    outage.worked(0)
    assert not outage.is_on
    outage.failed(50, began=50, asked=None, draw=1)
    assert outage.until == 51


def test_a_pause_that_was_asked_for_lasts_whatever_is_answered_meanwhile() -> None:
    outage = Outage()
    outage.failed(0, began=0, asked=70, draw=1)
    outage.failed(5, began=-1, asked=70, draw=1)
    outage.worked(74)
    assert outage.is_on
    assert outage.until == 75
    outage.worked(75)
    assert not outage.is_on


@pytest.mark.parametrize(("rate", "interval"), [(2, 0.5), (0.1, 10), (4.0, 0.25)])
def test_an_even_pace(rate: float, interval: float) -> None:
    pace = Pace(rate)
    assert [pace.place(7) for _ in range(4)] == [7 + number * interval for number in range(4)]
    assert pace.place(1000) == 1000  # what was not used is not saved up
    assert pace.place(1000) == 1000 + interval


def test_no_pace() -> None:
    pace = Pace(None)
    assert [pace.place(now) for now in (3, 3, 4)] == [3, 3, 4]
