from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from tests.support.numbers import Floating, Truth, Whole
from toolhouse_async._values.numeric import plain_number


@pytest.mark.parametrize(
    ("given", "plain"),
    [(Whole(5), 5), (Whole(10**400), 10**400), (Floating(0.5), 0.5), (Fraction(1, 2), 0.5), (5, 5), (0.5, 0.5)],
)
def test_real_numbers_of_any_class_are_plain_ones(given: Any, plain: float) -> None:
    assert plain_number(given) == plain
    assert type(plain_number(given)) is type(plain)


def test_no_number_is_still_none() -> None:
    assert math.isnan(plain_number(Floating(math.nan)))


@pytest.mark.parametrize("given", [None, True, "5", b"5", [5], 5j, Decimal(5), Truth(), int, Fraction(10**400)])
def test_anything_else_is_left_as_it_is(given: Any) -> None:
    assert plain_number(given) is given
