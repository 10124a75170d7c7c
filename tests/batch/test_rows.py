from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from toolhouse_async import ConfigurationError
from toolhouse_async._batch.rows import Questions


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


def test_keys_are_made_of_a_row_and_its_index() -> None:
    questions = Questions(lambda row, index: f"{row}-{index}", None)
    assert [questions.ask(row).key for row in "xxy"] == ["x-0", "x-1", "y-2"]


def test_two_rows_with_one_key() -> None:
    questions = Questions(lambda row, index: row[0], None)
    questions.ask("ab")
    questions.ask("b")
    with pytest.raises(ConfigurationError, match="two rows have the key 'a'; row 2 is the second"):
        questions.ask("ac")


@pytest.mark.parametrize(
    ("template", "row", "why"),
    [
        (None, {"a": 1}, "row '0': a row that is a mapping needs template="),
        (None, 5, "row '0': a row must be a string or a mapping, not int"),
        ("{b}", {"a": 1, "c": 2}, r"row '0': it does not fit the template \(KeyError: 'b'\); the row has a, c$"),
        ("{b}", {1: 1}, r"row '0': it does not fit the template \(KeyError: 'b'\); the row has 1$"),
        ("{}", {"a": 1}, "row '0': it does not fit the template"),
        ("{a.b}", {"a": 1}, "row '0': it does not fit the template .AttributeError"),
        ("{a:d}", {"a": "x"}, "row '0': it does not fit the template .ValueError"),
        ("{a[b]}", {"a": 1}, "row '0': it does not fit the template .TypeError"),
        ("{row}", "text", "row '0': it does not fit the template .KeyError"),
        (
            '{a}: {"b": 1}',
            {"a": 1},
            r"template \(KeyError: '\"b\"'\); the row has a; braces that stay are doubled: \{\{ \}\}$",
        ),
        ('{}: {"b": 1}', "text", r"template \(KeyError: '\"b\"'\); braces that stay are doubled: \{\{ \}\}$"),
        (None, "\ud83d", "row '0': the message .* half of a character"),
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
    with pytest.raises(ConfigurationError, match="key must return a string, not 5, as of row 0"):
        Questions(lambda row, index: wrong, None).ask("x")
