from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import json_values, nested
from toolhouse_async._wire.jsontext import dumps, find_json, loads, parse_line


@given(json_values)
def test_what_json_writes_is_read(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value
    assert loads(dumps(value)) == value


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"é": "\U0001f600"}, '{"é":"\U0001f600"}'),
        ({"n": 2**70}, '{"n":1180591620717411303424}'),
        ({1: "a", "é": 2**70}, '{"1":"a","é":1180591620717411303424}'),
        (nested(300), json.dumps(nested(300), separators=(",", ":"))),
    ],
)
def test_what_orjson_refuses_is_written_by_the_standard_library(value: object, text: str) -> None:
    assert dumps(value).decode() == text


@pytest.mark.parametrize("value", ["\ud83d", object(), {"a": {1, 2}}, {(1, 2): 3}, nested(100_000), [2**70, math.nan]])
def test_what_cannot_be_written_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        dumps(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # the whole text
        ('{"a": 1}', {"a": 1}),
        (" \n[1, 2]\r\n", [1, 2]),
        ("42", 42),
        ('"words"', "words"),
        ("null", None),
        # the last fence that parses
        ('Here:\n```json\n{"a": 1}\n```\nDone.', {"a": 1}),
        ("```json\n[1]\n```\nthen\n```\n[2]\n```\n", [2]),
        ("```json\n[1]\n```\nthen\n```python\nprint([2])\n```", [1]),
        ('Not [3] but\n```json\r\n{\r\n"a": 1\r\n}\r\n```\r\nand [4]', {"a": 1}),
        ("~~~\n[1]\n~~~", [1]),
        ('````\n["```"]\n````', ["```"]),
        ("  ```json\n  [1,\n  2]\n  ```", [1, 2]),
        ("cut off:\n```json\n[1]", [1]),
        ("```\n7\n```", 7),
        ('```json\n{"a": NaN}\n```\nor [1]', None),
        # the last object or array in the prose
        ('The answer is {"a": [1, {"b": 2}]}, I think.', {"a": [1, {"b": 2}]}),
        ("first [1] then [2].", [2]),
        ("[1] and {broken: 1}", [1]),
        ("[1] and [2, 3", [1]),
        ('{"a": [1, 2], oops}', [1, 2]),
        ('[{"a": 1}, {"b": 2}, {"c": ', {"b": 2}),
        ('{{"a": 1}}', {"a": 1}),
        ("a { b [1] c } d", [1]),
        ('{"a": "}]", "b": "\\"{"} end', {"a": "}]", "b": '"{'}),
        ('he said {"so" and left [1]', [1]),
        ('an inch is [" and {"a": 1} is it', {"a": 1}),
        ('{"a"' + " " * 100 + ": 1} x", {"a": 1}),
        (
            'say {"a": -1.5e+3, "b": true, "c": null, "d": {}, "e": []}!',
            {"a": -1500.0, "b": True, "c": None, "d": {}, "e": []},
        ),
        ("set {1, 2} or [1, 2}", None),
        ('x [01] y [1 2] z [1,] [,] {"a" 1} {"a":1,} {1:2} {,}', None),
        ('limit: {"max": Infinity}.', {"max": math.inf}),
        ('one ```{"a": 1}``` line', {"a": 1}),
        ('{"bad": "\x01"} [1]', [1]),
    ],
)
def test_json_is_found_in_an_answer(text: str, value: Any) -> None:
    if value is None and text != "null" and "NaN" not in text:
        with pytest.raises(ValueError, match="in the prose"):
            find_json(text)
    elif "NaN" in text:
        assert math.isnan(find_json(text)["a"])
    else:
        assert find_json(text) == value


@pytest.mark.parametrize(
    ("text", "tried"),
    [
        ("", ["it is empty", "0 code fences", "0 objects and arrays"]),
        ("no luck", ["the whole text (", "0 code fences"]),
        ("```\nx\n```\n```\ny\n```", ["2 code fences"]),
        ("[1", ["0 objects and arrays"]),
        ("x" * 10_000, ["the whole text"]),
    ],
)
def test_the_error_says_what_was_tried(text: str, tried: list[str]) -> None:
    with pytest.raises(ValueError, match="no JSON in the worker's answer; tried") as caught:
        find_json(text)
    assert all(each in str(caught.value) for each in tried)
    assert len(str(caught.value)) < 500


@given(json_values.filter(lambda value: isinstance(value, dict | list)), st.sampled_from(["", "So {x: ", "[1] [", '"']))
def test_any_object_or_array_is_found_in_prose(value: Any, before: str) -> None:
    assert find_json(f"{before} {json.dumps(value)} .") == value
    assert find_json(f"{before}\n```json\n{json.dumps(value, indent=1)}\n```\nend") == value


@given(st.text(st.sampled_from('{}[]:,"\\ \n`~ax01-.')))
def test_no_text_makes_the_search_fail_in_another_way(text: str) -> None:
    try:
        value = find_json(text)
    except ValueError:
        return
    json.dumps(value)


HOSTILE: dict[str, Callable[[int], str]] = {
    "open objects": lambda n: "{" * n,
    "open arrays": lambda n: "[" * n,
    "objects in arrays": lambda n: '[{"a":' * n,
    "quotes after brackets": lambda n: '{"' * n,
    "quotes in arrays": lambda n: '["' * n,
    "escaped quotes": lambda n: '["\\"' * n,
    "backslashes": lambda n: '["' + "\\" * n + '{"' * n,
    "one long string": lambda n: '{"' + "a" * n,
    "brackets in a string": lambda n: '["' + "[" * n + '" x',
    "keys without values": lambda n: '{"a" ' * n,
    "spaces": lambda n: "[1" + " " * n + "x" + "[ " * n,
    "digits": lambda n: "[" + "1" * n,
    "fences": lambda n: "```\n" * n,
    "open fences": lambda n: "```json\n{\n~~~\n" * n,
    "backticks": lambda n: "`" * n,
    "complete values that do not parse": lambda n: '["\\x"] ' * n,
    "escapes": lambda n: "\\ud83d" * n,
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_time_is_linear_in_the_text(shape: str) -> None:
    def seconds(n: int) -> float:
        text = HOSTILE[shape](n)
        started = time.process_time()
        with pytest.raises(ValueError, match="no JSON"):
            find_json(text)
        return time.process_time() - started

    small = min(seconds(5_000) for _ in range(3))
    # Quadratic would be 256 times as long. A busy machine may slow down one attempt.
    assert any(seconds(80_000) < 16 * 6 * max(small, 0.001) for _ in range(3))
