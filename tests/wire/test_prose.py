from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import json_values
from toolhouse_async._wire.prose import find_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # the whole text
        ('{"a": 1}', {"a": 1}),
        (" \n[1, 2]\r\n", [1, 2]),
        ("42", 42),
        ('"words"', "words"),
        ('{"id": 18446744073709551616}', {"id": 2**64}),
        ("```json\n[-9223372036854775809]\n```", [-(2**63) - 1]),
        ("It is [18446744073709551617].", [2**64 + 1]),
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


@pytest.mark.parametrize(
    "text",
    [
        # cut by the end
        '{"items": [{"id": 1}, {"id": 2}, {"id": 3',
        '{"items": [{"id": 1}, {"id": 2}, {"id": 3}',
        '{"items": [{"id": 1}, {"id": 2}]',
        '{"items": [{"id": 1}, {"id": 2}],',
        '{"items": [{"id": 1}, {"id": 2}], "x',
        '{"items": [{"id": 1}, {"id": 2}], "more": "so ',
        '{"a": {"b": [1], "c": ',
        '[{"id": 1}, {"id": 2}, ',
        '[{"id": 1}, {"id": 2}',
        '[{"id": 1}',
        '[{"id": 1}\n',
        '[{"id": 1}, {"id": 2}...',
        '[{"id": 1}...',
        '[{"id": 1} …',
        '[{"id": 1}, … and 17 more',
        "[[1, 2], [3, 4], [5",
        '[{"id": 1}\n\nLet me know.',
        '[\n  {"id": 1}\n\nLet me know.',
        'It said {\\"id\\": [1]',
        "[1, 2, [3], ",
        '["a", {"b": 1}, "c',
        # in prose and in fences
        'Here you are: {"items": [{"id": 1}, {"id": 2}, {"id": 3',
        'Here you are:\n```json\n{"items": [\n  {"id": 1},\n  {"id": 2},\n  {"id',
        'Here you are:\n```json\n[{"id": 1}, {"id": 2}, {"id":\n```\n',
        'Here you are:\n```json\n{"items": [{"id": 1},\n[connection lost: {"code": 5}]',
        'Here you are:\n```\n[{"id": 1}\n```\n```\n{"items": [{"id": 1}\n```',
        # in a string
        '{"text": "see [1] and {}',
        '{"text": "see {\\"id\\": 1} and [1], ',
        '{"text": "a } and [1]',
        '{"text": "one\ntwo [1]',
        '{"text": "he said {"id": 1} and {"id": 2}',
        '["see [1] for',
        '{"the key [1]',
        # broken in the middle
        '{"a": [1, 2], oops}',
        '{"a": [1, 2], oops',
        '{"a": {"id": 1} "b": {"id": 2}}',
        '{"a": [1, 2}, "b": [3]',
        '[{"id": 1}, {"id": 2},]',
        '[{"id": 1} {"id": 2}]',
        '[{"id": 1}\n{"id": 2}\n]',
        '[{"id": 1}}, {"id": 2}]',
        '[{"id": 1}, // the first\n{"id": 2}]',
        '{"a": see {"id": 1}',
        '{"a": {"id": 1}, b: {"id": 2}}',
        '{"a": [{"id": 1}, {"id": 2}] and {"id": 3}',
        "{'ids': [1, 2], 'more': [3]}",
        "{ 'ids' : [1, 2], 'more': [3",
        # broken at the first key
        '{items": [{"id": 1}, {"id": 2}]}',
        '{"items" [{"id": 1}]}',
        '{"items" = [{"id": 1}]}',
        '{"items"; [{"id": 1}]}',
        '{"items", [{"id": 1}]}',
        '{"items": : [{"id": 1}]}',
        '{"items: [{"id": 1}, {"id": 2}]}',
        '{""items": [{"id": 1}]}',
        '{“items”: [{"id": 1}]}',
        '{`items`: [{"id": 1}]}',
        '{items: [{"id": 1}]}',
        '{\n  items : [\n    {"id": 1}\n  ]\n}',
        '{1: [{"id": 1}]}',
        '{items = [{"id": 1}]}',
        '{, "items": [{"id": 1}]}',
        '{"a" {"b": 1}}',
        '{// those\n"items": [{"id": 1}]}',
        '{...rest, "items": [{"id": 1}]}',
        "[{items: [1, 2]}, {items: [3]}]",
        'Here: {"status" "ok", "items": [{"id": 1}]} Bye.',
    ],
)
def test_a_piece_of_json_that_is_broken_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError, match="JSON that is broken or broke off"):
        find_json(text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A { alone: ", ""),
        ("A [ alone: ", "."),
        ("An empty [] or {} pair: ", ""),
        ("As [1] says, ", ""),
        ("As [1, p. 5] says, ", ""),
        ("As [[link]] and [name](url) say, ", ""),
        ("Dear {name}, {{first name}}: ", ""),
        ("Dear {name, ", ""),
        ("For x in [0, 1), ", ""),
        ("For x in [0, 1) or [2, 3): ", ""),
        ("For x in (0, 1]: ", ""),
        ("For {x, y}, {1, 2} and {}: ", ""),
        ("if (x) { return [ ", " .\n"),
        ('A " alone, ', ""),
        ('An inch is [" here: ', '"'),
        ('Say {"so"} or {"so" or [2 3]: ', ""),
        ("The set {'a', 'b'} and {'a'}: ", ""),
        # JSON that is broken and closed
        ('{"a": oops} but ', ""),
        ('{"a": [1, 2], oops} but ', ""),
        ('[{"id": 1}, {"id": 2},] but ', ""),
        ('{"a": "\x01"} but ', ""),
        ('{"a": "he said "}" and "]"", b} but ', ""),
        ("{'ids': [1, 2]} but ", ""),
        ('{"a": [1, 2}, ]} but ', ""),
        ('```json\n{"a": [1, {"b": "cut\n```\nOnce more: ', ""),
        ('```json\n{"a": [1, {"b": 2}\n```\nOnce more: ', ""),
        ('It begins with [{"a": 1},\n```\n', ""),
        # what comes behind
        ("So ", " {"),
        ("So ", " ["),
        ("So ", ' [and "so'),
        ("So ", " {name}"),
        ("So ", ' {"a": 1'),
        ("So ", ' {"a": [1, {"b": 2}, '),
        ("So ", ' and [{"id": 1}, {"id": 2'),
    ],
)
@pytest.mark.parametrize("value", [{"good": [{"a": 1}, 2]}, [[1], {"a": "}"}], ["x", "y"]])
def test_brackets_in_prose_hide_no_json(before: str, after: str, value: Any) -> None:
    assert find_json(f"{before}{json.dumps(value)}{after}") == value


@given(json_values.filter(lambda value: isinstance(value, dict | list) and len(json.dumps(value)) > 2), st.data())
def test_json_that_was_cut_is_no_answer_wherever_it_was_cut(value: Any, data: st.DataObject) -> None:
    text = json.dumps({"answer": value, "more": [value, value]})
    size = data.draw(st.integers(len('{"answer":'), len(text) - 1))
    before = data.draw(st.sampled_from(["", "Here: ", "So {x} [and: ", "```json\n"]))
    with pytest.raises(ValueError, match="no JSON"):
        find_json(before + text[:size])


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
    "begun arrays": lambda n: "[1," * n + "}" * n,
    "begun arrays of strings": lambda n: '["a",' * n,
    "begun objects": lambda n: '{"a":x}' * n,
    "broken objects": lambda n: '{"a":{x' * n,
    "intervals": lambda n: '["a", 2)' * n,
    "intervals in one another": lambda n: "[1, [" * n + ")",
    "strings on several lines": lambda n: '["\n' * n,
    "single quotes": lambda n: "{'" * n,
    "keys of another notation": lambda n: "{'a':" * n,
    "arrays after spaces": lambda n: "[[1 x" + " " * n,
    "spaces after values": lambda n: ("[[1" + " " * 50) * n,
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_time_is_linear_in_the_text(shape: str) -> None:
    def seconds(n: int) -> float:
        text = HOSTILE[shape](n)
        started = time.thread_time()
        with pytest.raises(ValueError, match="no JSON"):
            find_json(text)
        return time.thread_time() - started

    small = min(seconds(500) for _ in range(3))
    # Quadratic would be 256 times as long. A busy machine may slow down one attempt.
    assert any(seconds(8_000) < 16 * 6 * max(small, 0.000_06) for _ in range(3))
