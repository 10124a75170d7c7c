from __future__ import annotations

import math
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import pytest

from toolhouse_async import ConfigurationError
from toolhouse_async._batch.rows import RECORDS, Questions


def test_a_string_is_its_own_message() -> None:
    questions = Questions(None, None)
    asked = [questions.ask(row) for row in ("a {b}", "", "a {b}")]
    assert [(each.key, each.row, each.message) for each in asked] == [
        ("0", "a {b}", "a {b}"),
        ("1", "", ""),
        ("2", "a {b}", "a {b}"),
    ]
    assert asked[0].digest == asked[2].digest != asked[1].digest
    assert questions.count == 3


def test_templates() -> None:
    assert Questions(None, "Say {}!").ask("{x}").message == "Say {x}!"
    row = {"city": "Graz", "year": 1128, "more": [1]}
    assert Questions(None, "{city} in {year:05}, {more[0]}").ask(row).message == "Graz in 01128, 1"
    assert Questions(None, "{city}").ask(MappingProxyType(row)).message == "Graz"
    assert Questions(None, "{a}{b}").ask({"a": Numbers(), "b": "", "c": None}).message == "[1 2]"


def test_keys_are_made_of_a_row_and_its_index() -> None:
    questions = Questions(lambda row, index: f"{row}-{index}", None)
    assert [questions.ask(row).key for row in "xxy"] == ["x-0", "x-1", "y-2"]


def test_two_rows_with_one_key() -> None:
    questions = Questions(lambda row, index: row[0], None)
    questions.ask("ab")
    questions.ask("b")
    with pytest.raises(ConfigurationError, match=r"two rows have the key 'a'; row 2 \(counted from 0\) is"):
        questions.ask("ac")


class Missing:
    """Like NaT of pandas, or its NA."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> Any:
        return False if self.name == "NaT" else self

    def __ne__(self, other: object) -> Any:
        return True if self.name == "NaT" else self

    def __bool__(self) -> bool:
        raise TypeError("ambiguous")

    def __repr__(self) -> str:
        return self.name


class Numbers:
    """Like an array of numpy: comparing it gives no truth value."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> Any:
        return Numbers()

    __ne__ = __eq__

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")

    def __str__(self) -> str:
        return "[1 2]"


@pytest.mark.parametrize(
    ("template", "row", "why"),
    [
        (None, {"a": 1}, "row 0 .counted from 0.: a row that is a mapping needs template="),
        (None, 5, "row 0 .counted from 0.: a row must be a string or a mapping, not int"),
        (
            "{b}",
            {"a": 1, "c": 2},
            r"row 0 .counted from 0.: it does not fit the template \(KeyError: 'b'\); the row has 'a', 'c'$",
        ),
        ("{b}", {1: 1}, r"row 0 .counted from 0.: it does not fit the template \(KeyError: 'b'\); the row has 1$"),
        ("{a}", "x", r"it does not fit the template \(KeyError: 'a'\); the row is a string: \{\} stands for it$"),
        ("{}", {"a": 1}, "row 0 .counted from 0.: it does not fit the template"),
        ("{a.b}", {"a": 1}, "row 0 .counted from 0.: it does not fit the template .AttributeError"),
        ("{a:d}", {"a": "x"}, "row 0 .counted from 0.: it does not fit the template .ValueError"),
        ("{a[b]}", {"a": 1}, "row 0 .counted from 0.: it does not fit the template .TypeError"),
        ("{row}", "text", "row 0 .counted from 0.: it does not fit the template .KeyError"),
        (
            '{a}: {"b": 1}',
            {"a": 1},
            r"template \(KeyError: '\"b\"'\); the row has 'a'; braces that stay are doubled: \{\{ \}\}$",
        ),
        ('{}: {"b": 1}', "text", r"template \(KeyError: '\"b\"'\); braces that stay are doubled: \{\{ \}\}$"),
        ("{a.b}", {"a.b": 1}, r"KeyError: 'a'\); the row has 'a.b'; rename 'a.b': a template takes no name "),
        ("{a[b]}", {"a": 1, "a[b]": 1}, r"TypeError: .*; rename 'a\[b\]': a template"),
        ("{0}", {"0": 1}, r"ValueError: .*; rename '0': a template"),
        ("{0}", {0: 1}, r"ValueError: .*; the row has 0; rename '0': a template"),
        ("{a} {b}", {"a": 1, "b": None}, "row 0 .counted from 0.: {b} has no value, but None: fill it"),
        ("{a[0].real:5}", {"a": [math.nan]}, r"row 0 .counted from 0.: {a\[0\]\.real} has no value, but nan: fill it"),
        ("{a!r}", {"a": Missing("NaT")}, "row 0 .counted from 0.: {a} has no value, but NaT: fill it"),
        ("{a}", {"a": Missing("<NA>")}, "row 0 .counted from 0.: {a} has no value, but <NA>: fill it"),
        (None, math.nan, "row 0 .counted from 0.: it has no value, but nan: fill it, or leave the row out$"),
        (None, "\ud83d", "row 0 .counted from 0.: the message .* half of a character"),
    ],
)
def test_rows_that_are_none(template: str | None, row: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Questions(None, template).ask(row)


def test_arguments_that_are_wrong() -> None:
    wrong: Any = 5
    with pytest.raises(ConfigurationError, match="key must be a function"):
        Questions(wrong, None)
    with pytest.raises(ConfigurationError, match="template must be a string, not int"):
        Questions(None, wrong)
    with pytest.raises(ConfigurationError, match=r"template is no pattern of str\.format"):
        Questions(None, "{a")
    with pytest.raises(ConfigurationError, match=r"template has no field .*, so every row would be asked the same"):
        Questions(None, "What is {{city}}?")
    with pytest.raises(ConfigurationError, match=r"key must return a string, not 5, as of row 0 .*: make one by str"):
        Questions(lambda row, index: wrong, None).ask("x")
    with pytest.raises(ConfigurationError, match=r"key must return a string, not None, as of row 0 .counted from 0.$"):
        Questions(lambda row, index: None, None).ask("x")  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("key", [lambda row: row, lambda: "x", itemgetter("id"), str.upper])
def test_a_key_is_called_with_a_row_and_its_index(key: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"called with a row and its index, as in key\(row, index\): "):
        Questions(key, None).ask({"id": "x"})


def test_a_key_of_a_column_that_a_row_does_not_have() -> None:
    questions = Questions(lambda row, index: row["id"], "{a}")
    questions.ask({"a": 1, "id": "x"})
    with pytest.raises(ConfigurationError, match=r"^row 1 .counted from 0. has no column 'id', .*; the row has 'a'$"):
        questions.ask({"a": 1})
    with pytest.raises(KeyError, match="other"):
        Questions(lambda row, index: {}["other"], "{a}").ask({"a": 1, "other": 2})


def test_rows_as_tables_of_pandas_give_them() -> None:
    class Series:
        def to_dict(self) -> dict[str, Any]:
            return {}

    for row in ((0, Series()), Series()):
        with pytest.raises(ConfigurationError, match="of a table of pandas pass ") as caught:
            Questions(None, "{a}").ask(row)
        assert RECORDS in str(caught.value)


def test_what_a_key_itself_raises_is_its_own() -> None:
    wrong: Any = 5
    with pytest.raises(TypeError, match="not subscriptable") as caught:
        Questions(lambda row, index: wrong["id"], None).ask({})
    assert not isinstance(caught.value, ConfigurationError)


def test_a_template_is_checked_against_columns() -> None:
    columns = ("city", "year", "more")
    Questions(None, "{city!r:>5} in {year:05}, {{x}} {more[0].real}").check_columns(columns)
    Questions(None, None).check_columns(columns)
    for template, name in (("{city} {town}", "town"), ("{}", ""), ("{0}", "0"), ("{towns[city]}", "towns")):
        with pytest.raises(ConfigurationError, match=rf"names \{{{name}\}}; the columns are 'city', 'year', 'more'$"):
            Questions(None, template).check_columns(columns)
    with pytest.raises(ConfigurationError, match="braces that stay are doubled"):
        Questions(None, '{city}: {"b": 1}').check_columns(columns)
