"""The JSON form of events."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolhouse_async import events as ev
from toolhouse_async._values.eventjson import event_json, json_text
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
    assert json.loads(json_text(data, ev.TextDelta("x"))) == data


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


def test_data_beyond_the_json_library_is_shown_as_received():
    deep = "[" * 400 + "]" * 400
    event = ev.UnknownEvent("t", json.loads(deep), line=deep.encode())
    line = json.loads(event_json(event))
    assert (line["event"], line["line"]) == ("UnknownEvent", deep)
    assert json_text(event.data, event) == deep
    wide = b'{"n":123456789012345678901234567890}'
    assert json.loads(event_json(ev.UnknownEvent(None, json.loads(wide), line=wide)))["line"] == wide.decode()


def test_what_no_event_holds_is_not_written_at_random():
    @attrs.frozen
    class Holder:
        inside: object

    event = ev.UnknownEvent(None, {"x": Holder(object())}, line=b"as it came")
    assert json.loads(event_json(event))["line"] == "as it came"


@pytest.mark.parametrize("text", ["\u2028", "\N{GRINNING FACE}", "\0\x1b[2J"])
def test_text_of_any_kind_comes_back(text):
    assert json.loads(event_json(ev.TextDelta(text))) == {"event": "TextDelta", "text": text}
