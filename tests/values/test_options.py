from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any, get_type_hints

import attrs
import pytest

from tests.support.numbers import Floating, Truth, Whole
from toolhouse_async._values.options import (
    Options,
    TurnOptions,
    check_count,
    check_message,
    check_seconds,
    check_timeout,
)
from toolhouse_async._values.settings import Timeouts
from toolhouse_async.errors import ConfigurationError


def test_defaults() -> None:
    assert attrs.asdict(Options()) == {
        "format": "ndjson",
        "background": "resume",
        "on_conflict": "wait",
        "resume_message": "",
        "recover": True,
        "settle": "auto",
        "timeout": None,
        "extra_body": None,
        "headers": None,
        "timeouts": None,
        "terms": None,
    }


def test_both_forms_have_the_same_options() -> None:
    assert get_type_hints(TurnOptions) == {k: v for k, v in get_type_hints(Options).items() if k != "terms"}
    assert TurnOptions.__required_keys__ == frozenset()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("format", ["ndjson", "text"]),
        ("background", ["resume", "detach"]),
        ("on_conflict", ["wait", "raise"]),
        ("resume_message", ["", "continue"]),
        ("recover", [True, False]),
        ("settle", ["auto", True, False]),
        ("timeout", [None, 0, 0.5, 60, 10**400, Fraction(1, 2)]),
        ("extra_body", [None, {}, {"a": 1}]),
        ("headers", [None, {}, {"X-Mine": "1", "x-other": ""}]),
        ("timeouts", [None, Timeouts(), Timeouts(idle=5)]),
    ],
)
def test_what_is_accepted(name: str, values: list[Any]) -> None:
    for value in values:
        assert getattr(Options(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("format", ["NDJSON", "json", None, 1, ["text"]]),
        ("background", ["wait", True, None]),
        ("on_conflict", ["", "Raise", None]),
        ("resume_message", [None, 5, b"x", ["x"]]),
        ("recover", [None, 1, 0, "yes"]),
        ("settle", ["always", None, 1, 0]),
        (
            "timeout",
            [-1, -0.1, math.nan, math.inf, "5", True, [], -(10**400), Whole(-1), Decimal(5)],
        ),
        ("extra_body", [[], "x", 5, [("a", 1)]]),
        ("headers", [[("X", "1")], "X: 1", 7]),
        ("timeouts", [5, {"idle": 5}, Timeouts]),
    ],
)
def test_what_is_refused_says_which_option_it_is(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ConfigurationError, match=f"^{name} must be "):
            Options(**{name: value})


def test_the_message_is_no_field_more() -> None:
    with pytest.raises(ConfigurationError, match=r"^extra_body must not have 'message': pass that as the message"):
        Options(extra_body={"mode": "fast", "message": "another"})


def test_headers_are_copied() -> None:
    given = {"X-Mine": "1"}
    options = Options(headers=given)
    given["X-Mine"] = "2"
    assert options.headers == {"X-Mine": "1"}


def test_requests_of_their_own_are_compared() -> None:
    assert Options(headers={}).terms is None
    one, two = ({"A": "1", "B": "2"}, {"B": "2", "A": "1"})
    assert Options(headers=one).terms == Options(headers=two).terms != Options(headers={"A": "1"}).terms
    assert Options(timeouts=Timeouts()).terms == Options(timeouts=Timeouts()).terms
    assert Options(timeouts=Timeouts()).terms != Options(headers=one, timeouts=Timeouts()).terms
    hash(Options(headers=one, timeouts=Timeouts()).terms)


def test_the_choices_are_named() -> None:
    with pytest.raises(ConfigurationError, match="background must be 'resume' or 'detach', not 'wait'"):
        Options(background="wait")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as caught:
        Options(format="x" * 100_000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200


def test_a_timeout_is_seconds_or_none() -> None:
    check_timeout(None)
    check_timeout(1)
    with pytest.raises(ConfigurationError, match="seconds or None"):
        check_timeout("soon")


@pytest.mark.parametrize(("given", "plain"), [(Whole(5), 5), (Floating(0.5), 0.5), (Fraction(1, 2), 0.5)])
def test_numbers_of_other_libraries_become_plain_ones(given: Any, plain: float) -> None:
    read = [Options(timeout=given).timeout, check_timeout(given), check_seconds(given, "lease")]
    assert [(each, type(each)) for each in read] == [(plain, type(plain))] * 3


def test_a_count_is_a_whole_number() -> None:
    assert [check_count(value, "it") for value in (1, 10**30, Whole(5))] == [1, 10**30, 5]
    for wrong in (0, -1, True, 2.0, 2.5, "2", None, Whole(0), Truth(), Floating(2.0), Fraction(2)):
        with pytest.raises(ConfigurationError, match=r"^it must be a whole number of at least 1, not "):
            check_count(wrong, "it")


@pytest.mark.parametrize("wrong", [0, -1, True, "2", None, math.nan, math.inf, Whole(0), Truth(), Floating(math.nan)])
def test_seconds_are_above_zero(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^it must be seconds above zero, not "):
        check_seconds(wrong, "it")


@pytest.mark.parametrize("message", [None, "", "hi"])
def test_a_message_is_text(message: object) -> None:
    check_message(message)


@pytest.mark.parametrize("message", [b"hi", 5, ["hi"], {"role": "user"}])
def test_nothing_else_is_a_message(message: object) -> None:
    with pytest.raises(ConfigurationError, match=f"must be a string, not {type(message).__name__}"):
        check_message(message)
