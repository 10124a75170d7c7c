from __future__ import annotations

import copy
import json
import pickle
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import json_values, nested
from toolhouse_async import events
from toolhouse_async._values.results import JobToken, Message, ToolExchange, TurnResult
from toolhouse_async.events import (
    ErrorEvent,
    Event,
    JobFinished,
    JobProgress,
    JobStarted,
    MalformedLine,
    StreamRecovered,
    TextDelta,
    ToolCall,
    ToolResult,
    TurnCompleted,
    TurnResumed,
    TurnStarted,
    UnknownEvent,
)

RESULT = TurnResult("agent", "run", text="hi", rounds=("hi",))
SAMPLES: list[Event] = [
    TurnStarted("agent", "run"),
    TextDelta("hi"),
    ToolCall("1", "f", {"a": [1]}),
    ToolResult("1", "f", [{"b": 2}], True),
    ErrorEvent("no", "E1"),
    UnknownEvent("odd", {"x": None}),
    MalformedLine(b"{", 3, "why"),
    JobStarted("job"),
    JobProgress("job", 1.5, 2, 3.0),
    JobFinished("job", 1.5, 2),
    TurnResumed("run", 1),
    StreamRecovered("all", "ll"),
    TurnCompleted(RESULT),
]
FIELDS = {
    TurnStarted: "agent_id run_id",
    TextDelta: "text",
    ToolCall: "id name arguments",
    ToolResult: "id name content is_error",
    ErrorEvent: "message code",
    UnknownEvent: "type data",
    MalformedLine: "line number reason",
    JobStarted: "job_id",
    JobProgress: "job_id elapsed polls next_poll",
    JobFinished: "job_id elapsed polls",
    TurnResumed: "run_id round",
    StreamRecovered: "text missing",
    TurnCompleted: "result",
}


def values(event: Event) -> list[Any]:
    return [getattr(event, name) for name in FIELDS[type(event)].split()]


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other and one.line == other.line


each = pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)


def test_event_is_the_union_of_all() -> None:
    assert set(get_args(Event)) == set(FIELDS) == {type(event) for event in SAMPLES}
    assert set(events.__all__) == {kind.__name__ for kind in FIELDS} | {"Event"}


@each
def test_positional_and_keyword_construction(event: Event) -> None:
    kind, names = type(event), FIELDS[type(event)].split()
    assert kind(*values(event)) == event
    assert kind(**dict(zip(names, values(event), strict=True))) == event
    assert kind.__match_args__ == tuple(names)


def test_positional_match() -> None:
    match ToolCall("1", "f", {"a": 1}):
        case ToolCall("1", name, {"a": value}):
            assert (name, value) == ("f", 1)
        case _:
            pytest.fail("no match")


def test_keyword_match() -> None:
    match ToolCall("1", "f", {"a": 1}, line=b"raw"):
        case ToolCall(name=name, arguments=arguments, line=line):
            assert (name, arguments, line) == ("f", {"a": 1}, b"raw")
        case _:
            pytest.fail("no match")


@each
def test_slots(event: Event) -> None:
    assert not hasattr(event, "__dict__")
    with pytest.raises(AttributeError):
        event.surprise = 1  # type: ignore[union-attr]


@pytest.mark.parametrize("event", [event for event in SAMPLES if not isinstance(event, MalformedLine)])
def test_the_line_is_for_keywords_only_and_no_part_of_equality(event: Event) -> None:
    assert event.line == b""
    other = attrs.evolve(event, line=b'{"a": 1}')
    assert other == event
    assert other.line == b'{"a": 1}'
    assert other.raw == {"a": 1}
    assert repr(other) == repr(event)
    with pytest.raises(TypeError):
        type(event)(*values(event), b"line")


@each
def test_events_of_different_values_or_kinds_differ(event: Event) -> None:
    assert event != object()
    assert all(event != other for other in SAMPLES if other is not event)


def test_defaults() -> None:
    assert ToolCall("1", "f").arguments is None
    assert ToolResult("1", None) == ToolResult("1", None, None, False)
    assert ErrorEvent("x").code is None


@pytest.mark.parametrize(
    ("line", "raw"),
    [
        (b"", None),
        (b"{", None),
        (b"\xff", None),
        (b'{"type":"text","x":[1]}', {"type": "text", "x": [1]}),
        (b"null", None),
        (rb'"a\ud83d"', "a\ufffd"),
    ],
)
def test_raw_is_the_line_parsed(line: bytes, raw: Any) -> None:
    assert TextDelta("x", line=line).raw == raw


def test_a_malformed_line_knows_its_bytes_number_and_reason() -> None:
    event = MalformedLine(b"\xff{", 7, "not UTF-8")
    assert (event.line, event.number, event.reason, event.raw) == (b"\xff{", 7, "not UTF-8", None)


BIG = "x" * 5_000_000
DEEP = nested(20_000)
LARGE: list[Any] = [
    TurnStarted(BIG, BIG),
    TextDelta(BIG),
    ToolCall(BIG, BIG, DEEP),
    ToolCall("1", "f", {BIG: [BIG] * 1000}),
    ToolResult(BIG, BIG, [[BIG] * 20] * 1000),
    ToolResult("1", "f", DEEP),
    ErrorEvent(BIG, BIG),
    UnknownEvent(BIG, DEEP),
    UnknownEvent(None, {f"{BIG}{n}": {f"{m}": [BIG] * 20 for m in range(20)} for n in range(20)}),
    MalformedLine(BIG.encode(), 1, BIG),
    JobStarted(BIG),
    JobProgress(BIG, 1.0, 1, 1.0),
    JobFinished(BIG, 1.0, 1),
    TurnResumed(BIG, 1),
    StreamRecovered(BIG, BIG),
    TextDelta("x", line=BIG.encode()),
    TurnCompleted(
        TurnResult(
            "agent",
            "run",
            text=BIG,
            tool_calls=(ToolExchange(ToolCall(BIG, BIG, DEEP), ToolResult(BIG, BIG, DEEP)),) * 1000,
            token=JobToken("agent", "run", "j" * 256, 0.0),
            rounds=(BIG,),
        )
    ),
    Message(BIG, DEEP, DEEP),
]


@pytest.mark.parametrize("event", LARGE, ids=lambda event: type(event).__name__)
def test_what_is_shown_is_bounded(event: Any) -> None:
    assert len(repr(event)) < 5000
    assert len(str(event)) < 5000
    assert len(f"{event!r}") < 5000


def test_what_is_shown_of_a_small_event() -> None:
    assert repr(ToolCall("1", "f", {"a": [1, "b"]})) == "ToolCall(id='1', name='f', arguments={'a': [1, 'b']})"
    assert repr(TextDelta("it's")) == """TextDelta(text="it's")"""


@each
def test_events_pickle(event: Event) -> None:
    event = event if isinstance(event, MalformedLine) else attrs.evolve(event, line=b'{"a":1}')
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert same(pickle.loads(pickle.dumps(event, protocol)), event)
    assert same(copy.deepcopy(event), event)
    assert same(copy.copy(event), event)


@given(st.text(), json_values)
def test_events_with_any_value_pickle(text: str, value: Any) -> None:
    line = json.dumps(value).encode()
    for event in (ToolCall(text, text, value, line=line), ToolResult(None, None, value), UnknownEvent(text, value)):
        again = pickle.loads(pickle.dumps(event))
        assert same(again, event)
        assert repr(again) == repr(event)


def test_events_of_any_depth_are_compared_pickled_and_copied() -> None:
    event = UnknownEvent("deep", nested(20_000), line=b"x")
    for again in (pickle.loads(pickle.dumps(event)), copy.deepcopy(event)):
        assert same(again, event)
        assert again != UnknownEvent("deep", nested(20_001))
    call = ToolCall("1", "f", nested(20_000))
    result = TurnResult("a", "r", tool_calls=(ToolExchange(call, ToolResult("1", "f", nested(20_000))),))
    completed = TurnCompleted(result)
    assert pickle.loads(pickle.dumps(completed)) == completed
    message = Message("user", nested(20_000), nested(20_000))
    assert pickle.loads(pickle.dumps(message)) == message


def unread(line: bytes) -> UnknownEvent:
    """An event whose data nobody has asked for; the decoder makes such of lines that it knows to be JSON."""
    event = object.__new__(UnknownEvent)
    event.type, event.line = "odd", line
    return event


def test_data_that_were_not_parsed_are_when_they_are_asked_for() -> None:
    line, whole = b'{"type":"odd","n":[1]}', UnknownEvent("odd", {"type": "odd", "n": [1]})
    assert unread(line).data == whole.data
    assert unread(line) == whole == unread(line)
    assert repr(unread(line)) == repr(whole)
    assert pickle.loads(pickle.dumps(unread(line))) == copy.copy(unread(line)) == copy.deepcopy(unread(line)) == whole
    assert attrs.asdict(unread(line)) == attrs.asdict(attrs.evolve(whole, line=line))
    match unread(line):
        case UnknownEvent("odd", {"n": [number]}):
            assert number == 1
        case _:
            pytest.fail("it does not match")
    event = unread(line)
    event.data["n"] = 2
    assert event.data["n"] == 2
    assert not hasattr(event, "other")
    with pytest.raises(AttributeError, match="'UnknownEvent' object has no attribute 'text'"):
        _ = event.text  # type: ignore[attr-defined]
