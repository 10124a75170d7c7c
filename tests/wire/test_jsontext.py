from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given

from tests.wire.strategies import json_values
from toolhouse_async._wire.jsontext import loads, loads_exactly, parse_line


@given(json_values)
def test_what_json_writes_is_read(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (rb'"a\ud83d"', "a\ufffd"),
        (rb'"\ude00b"', "\ufffdb"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\uD83D\uDE00 \ud83dx"', "\U0001f600 \ufffdx"),
        (rb'"\\ud83d \ud83d"', "\\ud83d \ufffd"),
        (rb'"\\\ud83d"', "\\\ufffd"),
        (rb'{"\udc00": "\n"}', {"\ufffd": "\n"}),
        (b'"\xed\xa0\xbdx"', "\ufffdx"),
        (b'"\xed\xa0\xbd\xed\xb8\x80"', "\U0001f600"),
        (b"1e999", math.inf),
        (b"[-1e999, Infinity, -Infinity]", [-math.inf, math.inf, -math.inf]),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b"1" * 400, int("1" * 400)),
    ],
)
def test_what_orjson_refuses_is_read_by_the_standard_library(data: bytes, value: Any) -> None:
    read = loads(data)
    assert read == value
    json.dumps(read, ensure_ascii=False).encode("utf-8")


def test_nan_is_read() -> None:
    assert math.isnan(loads(b"NaN"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"{'a': 1}",
        b"[1,]",
        b"\xff",
        b'"\xc3"',
        b"nul",
        b"1 2",
        b"[" * 100_000,
        b"1" * 5000,
        b"x" * 9999,
    ],
)
def test_what_is_not_json_gives_a_short_reason(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        loads(data)
    assert type(caught.value) is ValueError
    assert 0 < len(str(caught.value)) <= 200
    assert parse_line(data) is None


def test_deep_json_is_read() -> None:
    value = loads(b"[" * 1000 + b"]" * 1000)
    depth = 0
    while value:
        value, depth = value[0], depth + 1
    assert depth == 999


def test_a_line_is_parsed_on_demand() -> None:
    assert parse_line(b'{"a": [1]}') == {"a": [1]}


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**300, 10**400])
def test_integers_of_any_size_are_exact(number: int) -> None:
    for value in (number, [number, 0.5], {"id": number, "name": "\U0001f600"}):
        assert repr(loads_exactly(json.dumps(value).encode())) == repr(value)


@given(json_values)
def test_what_json_writes_is_read_exactly_too(value: Any) -> None:
    assert loads_exactly(json.dumps([2**64, value]).encode()) == [2**64, value]


def test_long_numbers_change_nothing_else() -> None:
    assert loads_exactly(rb'[18446744073709551616, "a\ud83d", 1e999]') == [2**64, "a\ufffd", math.inf]
    assert loads_exactly(b"[0." + b"1" * 5000 + b"]") == [1 / 9]
    with pytest.raises(ValueError, match="infinity"):
        loads_exactly(b"1" * 5000)
    with pytest.raises(ValueError, match="nested too deeply"):
        loads_exactly(b"[" * 100_000 + b"1" * 20)


def test_what_is_nested_too_deeply_for_exact_numbers_is_read_as_ever() -> None:
    value = loads_exactly(b"[" * 1020 + b"1" * 30 + b"]" * 1020)
    while isinstance(value, list):
        (value,) = value
    assert value == pytest.approx(1e30 / 9)
