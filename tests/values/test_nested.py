from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given

from tests.wire.strategies import json_values, nested
from toolhouse_async._values.nested import flatten, short, unflatten


@given(json_values)
def test_a_value_comes_back(value: Any) -> None:
    assert unflatten(flatten(value)) == value


@given(json_values, json_values)
def test_flat_values_are_equal_where_the_values_are(one: Any, other: Any) -> None:
    assert (flatten(one) == flatten(other)) == (one == other)


def test_the_order_of_keys_does_not_matter() -> None:
    assert flatten({"a": 1, "b": [2, {}]}) == flatten({"b": [2, {}], "a": 1})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([[]], []),
        ([1, [2]], [[1], 2]),
        ({"a": {}}, {"a": []}),
        ([], {}),
        ({"a": 1}, {"b": 1}),
        ([None], None),
        ({}, []),
    ],
)
def test_different_shapes_differ(one: Any, other: Any) -> None:
    assert flatten(one) != flatten(other)


def test_any_depth() -> None:
    deep = nested(50_000, "leaf")
    assert flatten(unflatten(flatten(deep))) == flatten(deep)
    assert flatten(deep) != flatten(nested(50_000, "other"))
    assert len(short(deep)) < 200


def test_odd_keys_have_an_order() -> None:
    odd: dict[Any, Any] = {1: "a", "1": "b", None: "c", (1, 2): "d"}
    assert unflatten(flatten(odd)) == odd


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000_000,
        b"x" * 10_000_000,
        list(range(100_000)),
        {str(n): n for n in range(100_000)},
        [["y" * 1000] * 1000] * 1000,
        {"k" * 10_000 + str(n): {"k" * 10_000 + str(m): ["z" * 10_000] * 9 for m in range(20)} for n in range(20)},
        10**4000,
        object(),
        None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_shown_is_short(value: object) -> None:
    started = time.process_time()
    assert 0 < len(short(value)) < 1000
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("it's", '"it\'s"'),
        ({"a": [1, None]}, "{'a': [1, None]}"),
        (b"ab", "b'ab'"),
        (bytearray(b"x" * 81), f"b'{'x' * 80}'…(81 bytes)"),
    ],
)
def test_what_is_short_is_shown_whole(value: object, shown: str) -> None:
    assert short(value) == shown
