from __future__ import annotations

import json
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import json_values
from toolhouse_async._values.results import JobRecord, JobStatus, JobToken, MapItem, Message, ToolExchange, TurnResult
from toolhouse_async.errors import ConfigurationError
from toolhouse_async.events import ToolCall, ToolResult

TOKEN = JobToken("agent-1", "run_1", "job 1", 1767323045.25, "text", 3)


# --- TurnResult


def test_fields_and_defaults() -> None:
    result = TurnResult("agent", "run")
    assert attrs.asdict(result) == {
        "agent_id": "agent",
        "run_id": "run",
        "text": "",
        "tool_calls": (),
        "jobs": (),
        "status": "completed",
        "token": None,
        "recovered": False,
        "unknown": 0,
        "malformed": 0,
        "rounds": (),
    }


@pytest.mark.parametrize(
    ("rounds", "value"),
    [
        (("[1]",), [1]),
        (("[1]", "[2]"), [2]),
        (("[1]", ""), [1]),
        (("[1]", " \n", ""), [1]),
        (("[1]", "```json\n[2]\n```"), [2]),
        (("",), None),
        (("[1]", "no JSON here"), None),
        (("[1", ",2]"), None),
    ],
)
def test_json_is_read_from_the_last_round_that_has_text(rounds: tuple[str, ...], value: Any) -> None:
    result = TurnResult("agent", "run", text="".join(rounds), rounds=rounds)
    if value is None:
        with pytest.raises(ValueError, match="tried"):
            result.json()
    else:
        assert result.json() == value
        assert result.parse(list[int]) == value


def test_a_result_made_of_text_alone_is_one_round() -> None:
    assert TurnResult("agent", "run", text='{"a": 1}').json() == {"a": 1}


def test_a_result_pickles() -> None:
    exchange = ToolExchange(ToolCall("1", "f", {"a": 1}, line=b"x"), ToolResult("1", None, "y"))
    result = TurnResult(
        "agent", "run", "text", (exchange,), (JobRecord("job", 2.5, 3),), "background", TOKEN, True, 1, 2, ("te", "xt")
    )
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert again.tool_calls[0].call.line == b"x"
    item = MapItem(0, "message", result)
    assert pickle.loads(pickle.dumps(item)) == item
    assert len(repr(MapItem(0, "x" * 1_000_000))) < 1000


def test_values_are_frozen() -> None:
    for value in (TurnResult("a", "r"), TOKEN, JobRecord("j", 1.0, 1), JobStatus("a", "r"), Message("user", "x", {})):
        with pytest.raises(AttributeError):
            value.run_id = "other"  # type: ignore[union-attr, misc]


# --- JobStatus


def test_a_job_runs_while_it_has_an_id() -> None:
    assert JobStatus("a", "r", "job").running
    assert not JobStatus("a", "r").running


# --- Message


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hi", "hi"),
        ("", ""),
        (None, ""),
        (5, ""),
        ([], ""),
        (["a", "b"], "ab"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "output_text", "text": "a"}, {"type": "input_text", "text": "b"}, {"text": "c"}], "abc"),
        ({"type": "text", "text": "a"}, "a"),
        ([{"type": "thinking", "text": "hm"}, {"type": "tool_result", "text": "x"}, "a"], "a"),
        ([{"type": "text"}, {"type": "text", "text": 5}, {"type": 5, "text": "x"}, None, 5], ""),
        ([{"type": None, "text": "x"}, {"type": "Output-Text", "text": "y"}], "xy"),
        (
            [
                {"type": kind, "text": "hm"}
                for kind in (
                    "reasoning_text",
                    "reasoning.text",
                    "Reasoning-Text",
                    "reasoning",
                    "thinking",
                    "thinking_text",
                    "redacted_thinking",
                    "summary_text",
                    "thought",
                    "hidden_text",
                    "context",
                )
            ]
            + [{"text": "hm", "thought": True}, {"type": "text", "text": "a", "thought": False}],
            "a",
        ),
        ({"type": "reasoning_text", "text": "hm"}, ""),
        ([{"type": "tool_use", "input": {}}], ""),
    ],
)
def test_the_plain_text_of_a_message(content: Any, text: str) -> None:
    assert Message("assistant", content, {}).text == text


@given(json_values)
def test_a_message_of_any_content(content: Any) -> None:
    message = Message("user", content, {"content": content})
    assert isinstance(message.text, str)
    assert pickle.loads(pickle.dumps(message)) == message


# --- JobToken


def test_a_token_says_ids_and_times_only() -> None:
    assert json.loads(TOKEN.to_json()) == {
        "agent_id": "agent-1",
        "run_id": "run_1",
        "job_id": "job 1",
        "started": 1767323045.25,
        "format": "text",
        "round": 3,
    }


ids = st.text(st.sampled_from("abcXYZ019_-"), min_size=1, max_size=128)
tokens = st.builds(
    JobToken,
    ids,
    ids,
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=256),
    st.floats(0, 9e10) | st.integers(0, 9 * 10**10),
    st.sampled_from(["ndjson", "text"]),
    st.integers(0, 1_000_000),
)


@given(tokens)
def test_a_token_comes_back(token: JobToken) -> None:
    assert JobToken.from_json(token.to_json()) == token
    assert pickle.loads(pickle.dumps(token)) == token


def test_a_token_may_leave_out_what_has_a_default() -> None:
    text = '{"agent_id": "a", "run_id": "r", "job_id": "j", "started": 5}'
    assert JobToken.from_json(text) == JobToken("a", "r", "j", 5, "ndjson", 0)


hostile_values = json_values | st.sampled_from(
    ["..", "a/b", "", "x" * 300, -1, 1e300, True, None, [], {}, "text", 10**30]
)
hostile_objects = st.builds(
    lambda good, bad: good | bad,
    st.just(json.loads(TOKEN.to_json())) | st.just({}),
    st.dictionaries(
        st.sampled_from(["agent_id", "run_id", "job_id", "started", "format", "round", "api_key", "base_url"]),
        hostile_values,
        min_size=1,
    ),
)


@given(hostile_objects.map(json.dumps) | st.text() | json_values.map(json.dumps) | json_values)
def test_a_hostile_token_is_refused_or_valid(text: Any) -> None:
    try:
        token = JobToken.from_json(text)
    except ConfigurationError:
        return
    assert JobToken.from_json(token.to_json()) == token


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "x",
        "[" * 100_000,
        "\ud83d",
        '{"agent_id": "a"}',
        TOKEN.to_json() + " " * 5000,
        TOKEN.to_json().encode(),
        None,
        5,
    ],
)
def test_what_is_no_token(text: Any) -> None:
    with pytest.raises(ConfigurationError, match="not a job token"):
        JobToken.from_json(text)


@pytest.mark.parametrize(
    "change",
    [
        {"agent_id": "../x"},
        {"agent_id": None},
        {"run_id": "a/b"},
        {"run_id": ""},
        {"run_id": ["r"]},
        {"job_id": ""},
        {"job_id": "j" * 257},
        {"job_id": "a\r\nb"},
        {"job_id": 5},
        {"started": -1},
        {"started": 1e11},
        {"started": "now"},
        {"started": True},
        {"started": None},
        {"format": "xml"},
        {"format": ["text"]},
        {"format": None},
        {"round": -1},
        {"round": 1.5},
        {"round": True},
        {"round": 10**9},
        {"api_key": "x"},
    ],
)
def test_every_field_of_a_token_is_checked(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"not a (job token|valid)"):
        JobToken.from_json(json.dumps(json.loads(TOKEN.to_json()) | change))


@pytest.mark.parametrize("started", [float("nan"), float("inf"), float("-inf")])
def test_a_token_is_checked_where_it_is_made(started: float) -> None:
    with pytest.raises(ConfigurationError, match="started"):
        JobToken("a", "r", "j", started)
