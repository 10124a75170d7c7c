from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolhouse_async import (
    JobRecord,
    JobToken,
    StoreError,
    ToolCall,
    ToolExchange,
    ToolhouseError,
    ToolResult,
    TurnResult,
)
from toolhouse_async import errors as er
from toolhouse_async._wire.outcomes import dumps, loads

TOKEN = JobToken("a", "r", "job", 1234.5, "text", 2)
WHOLE = TurnResult(
    "agent",
    "run",
    "first second \N{GRINNING FACE}",
    (
        ToolExchange(ToolCall("1", "look_up", {"q": [1, None]}), ToolResult("1", "look_up", "found", False)),
        ToolExchange(ToolCall(None, "other", None)),
    ),
    (JobRecord("job", 1.5, 3),),
    "background",
    TOKEN,
    1,
    2,
    3,
    ("first ", "second \N{GRINNING FACE}"),
)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def called_with(arguments: Any) -> TurnResult:
    return TurnResult("a", "r", "x", (ToolExchange(ToolCall("1", "n", arguments)),), rounds=("x",))


@pytest.mark.parametrize(
    "result",
    [WHOLE, TurnResult("a", None), TurnResult("a", "r", "one", rounds=("one",)), TurnResult("a", "r", rounds=("", ""))],
)
def test_results_come_back_in_the_form_they_had(result: TurnResult) -> None:
    read = loads(dumps(result))
    assert read == result
    assert read.rounds == result.rounds  # type: ignore[union-attr]


@given(json)
def test_whatever_a_worker_gives_its_tools(arguments: Any) -> None:
    assert loads(dumps(called_with(arguments))) == called_with(arguments)


def test_what_orjson_would_change() -> None:
    nested: Any = "deep"
    for _ in range(5_000):
        nested = [{"a": nested}]
    for value in (nested, 2**200, -(2**64), [math.inf], {"null": None}, "\ud83d", "null"):
        assert loads(dumps(called_with(value))) == called_with(value)
    read = loads(dumps(called_with([math.nan, None])))
    assert isinstance(read, TurnResult)
    number, nothing = read.tool_calls[0].call.arguments
    assert math.isnan(number)
    assert nothing is None


def test_what_has_no_form_in_json_is_named() -> None:
    """A decoder of the user's may make anything."""
    read = loads(dumps(called_with({"when": object()})))
    assert isinstance(read, TurnResult)
    assert read.tool_calls[0].call.arguments == {"when": "<object>"}


def test_errors_keep_their_class_text_and_fields() -> None:
    error = er.RateLimitError(
        "slow \N{EURO SIGN}", safe_to_retry=True, status=429, body="{}", retry_after=7.5, run_id="r"
    )
    read: Any = loads(dumps(error))
    assert type(read) is er.RateLimitError
    assert str(read) == "slow \N{EURO SIGN}"
    assert (read.safe_to_retry, read.status, read.body, read.retry_after, read.run_id) == (True, 429, "{}", 7.5, "r")
    assert read.headers == {}
    assert read.token is None


@pytest.mark.parametrize("name", er.__all__)
def test_every_error(name: str) -> None:
    error: Any = getattr(er, name)("it failed")
    error.safe_to_retry, error.run_id, error.token = False, "run", TOKEN
    if hasattr(error, "partial"):
        error.partial = WHOLE
    read: Any = loads(dumps(error))
    assert type(read) is type(error)
    assert (str(read), read.safe_to_retry, read.run_id, read.token) == ("it failed", False, "run", TOKEN)
    assert getattr(read, "partial", None) == getattr(error, "partial", None)


def test_fields_of_some_errors() -> None:
    worker: Any = loads(dumps(er.WorkerError("no", code=17)))
    assert worker.code == 17
    format_error = er.AnswerFormatError("no")
    format_error.attempts = 3
    read: Any = loads(dumps(format_error))
    assert read.attempts == 3


def test_errors_of_others() -> None:
    read = loads(dumps(ValueError("what a decoder has raised")))
    assert type(read) is ToolhouseError
    assert str(read) == "ValueError: what a decoder has raised"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "nothing",
        '{"other":1}',
        '{"result":{}}',
        '{"error":{"class":"X"}}',
        '{"result":1}',
        "!",
        '![["x",1]]',
        '![["d",["result"]]]',
        '{"a":1,"b":2}',
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(StoreError, match="the outcome of a row cannot be read"):
        loads(text)
