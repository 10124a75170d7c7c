"""The JSON form of events."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolhouse_async import EventDecoder
from toolhouse_async import events as ev
from toolhouse_async._values.eventjson import _pieces, event_json, json_text
from toolhouse_async._values.results import ToolExchange, TurnResult

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(anything)
def test_data_comes_back(data):
    assert json.loads(event_json(ev.UnknownEvent("t", data))) == {"event": "UnknownEvent", "type": "t", "data": data}
    assert json.loads(json_text(data)) == data


@given(st.text(), st.text())
def test_an_event_is_one_line(text, more):
    line = event_json(ev.ToolCall(more, text, {more: text}))
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line) == {"event": "ToolCall", "id": more, "name": text, "arguments": {more: text}}


def test_chosen_fields_stand_for_all():
    assert json.loads(event_json(ev.TextDelta("x"), {"a": 1})) == {"event": "TextDelta", "a": 1}


def test_a_result_is_written_with_its_parts():
    call = ev.ToolCall("1", "look", {"a": [1]}, line=b"secret line")
    result = TurnResult("agent", "run", "words", (ToolExchange(call, None),))
    line = json.loads(event_json(ev.TurnCompleted(result)))
    assert line["event"] == "TurnCompleted"
    assert line["result"]["text"] == "words"
    call = {"event": "ToolCall", "id": "1", "name": "look", "arguments": {"a": [1]}}
    assert line["result"]["tool_calls"] == [{"call": call, "result": None}]


def test_a_malformed_line_is_shown():
    line = json.loads(event_json(ev.MalformedLine(b"\xff{", 3, "not JSON")))
    assert line == {"event": "MalformedLine", "line": "\ufffd{", "number": 3, "reason": "not JSON"}


def test_data_beyond_the_json_library_is_written_all_the_same():
    deep = "[" * 400 + '{"a":1}' + "]" * 400
    line = event_json(ev.UnknownEvent("t", json.loads(deep), line=deep.encode()))
    assert json.loads(line) == {"event": "UnknownEvent", "type": "t", "data": json.loads(deep)}
    assert json_text(json.loads(deep)) == deep
    for wide in ('{"n":123456789012345678901234567890}', '[-18446744073709551617,[],{},"x",null,true,1.5,{"a":[1,2]}]'):
        event = ev.UnknownEvent(None, json.loads(wide), line=wide.encode())
        assert json.loads(event_json(event))["data"] == json.loads(wide)
        assert json_text(event.data) == wide


@given(anything)
def test_what_the_json_library_would_write_is_written_the_same(data):
    assert json.loads(b"".join(_pieces(data))) == data


def test_a_depth_of_a_hundred_thousand():
    data = None
    for _ in range(100_000):
        data = {"a": data}
    assert event_json(ev.ToolCall("1", "x", data)).count(b'{"a":') == 100_000


def test_a_result_is_written_with_its_parts_whatever_they_hold():
    call = ev.ToolCall("1", "look", 2**70, line=b"secret line")
    line = json.loads(event_json(ev.TurnCompleted(TurnResult("agent", "run", "words", (ToolExchange(call, None),)))))
    call = {"event": "ToolCall", "id": "1", "name": "look", "arguments": 2**70}
    assert line["result"]["tool_calls"] == [{"call": call, "result": None}]


def test_what_no_event_holds_is_not_written_at_random():
    @attrs.frozen
    class Holder:
        inside: object

    data = {"x": Holder(object()), 5: "\ud800", "b": b"\xff"}
    line = json.loads(event_json(ev.UnknownEvent(None, data)))
    assert line["data"] == {"x": {"inside": "<object>"}, "5": "\ud800", "b": "\ufffd"}


BLOCKS = 400
SHARED_LINES = {
    "calls": {"type": "tool_use", "id": "1", "name": "look", "input": {"n": 2**70}},
    "results": {"type": "tool_result", "tool_use_id": "1", "content": {"n": 2**70}},
    "unknown": {"type": "x", "n": 2**70},
    "numbers": 2**70,
    "deep": {"type": "x", "n": json.loads("[" * 300 + "]" * 300)},
}


@pytest.mark.parametrize("name", SHARED_LINES)
def test_what_many_events_share_is_not_written_with_each(name):
    """A line of many blocks, none of which the JSON library can write."""
    line = json.dumps({"role": "assistant", "content": [SHARED_LINES[name]] * BLOCKS}).encode()
    events = list(EventDecoder().decode([line]))
    assert len(events) == BLOCKS
    assert sum(len(event_json(event)) for event in events) < 4 * len(line)


@pytest.mark.parametrize("text", ["\u2028", "\N{GRINNING FACE}", "\0\x1b[2J"])
def test_text_of_any_kind_comes_back(text):
    assert json.loads(event_json(ev.TextDelta(text))) == {"event": "TextDelta", "text": text}
