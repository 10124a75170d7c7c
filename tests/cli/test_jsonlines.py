import json

from hypothesis import given
from hypothesis import strategies as st

from toolhouse_async import events as ev
from toolhouse_async._cli.jsonlines import event_line
from toolhouse_async._results import ToolExchange, TurnResult

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.text())
def test_text_comes_back_and_nothing_reaches_a_terminal(text):
    line = event_line(ev.TextDelta(text, line=b"x"))
    assert json.loads(line) == {"event": "TextDelta", "text": text}
    assert line.endswith("\n")
    assert not [c for c in line[:-1] if ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2028"]


@given(anything)
def test_data_comes_back(data):
    assert json.loads(event_line(ev.UnknownEvent("t", data))) == {
        "event": "UnknownEvent",
        "type": "t",
        "data": data,
    }


def test_a_result_is_written_with_its_parts():
    call = ev.ToolCall("1", "look", {"a": [1]}, line=b"secret line")
    result = TurnResult("agent", "run", "words", (ToolExchange(call, None),))
    line = json.loads(event_line(ev.TurnCompleted(result)))
    assert line["event"] == "TurnCompleted"
    assert line["result"]["text"] == "words"
    call = {"event": "ToolCall", "id": "1", "name": "look", "arguments": {"a": [1]}}
    assert line["result"]["tool_calls"] == [{"call": call, "result": None}]


def test_a_malformed_line_is_shown():
    line = json.loads(event_line(ev.MalformedLine(b"\xff{", 3, "not JSON")))
    assert line == {"event": "MalformedLine", "line": "\ufffd{", "number": 3, "reason": "not JSON"}


def test_data_beyond_the_json_library_is_shown_as_received():
    deep = "[" * 400 + "]" * 400
    line = json.loads(event_line(ev.UnknownEvent("t", json.loads(deep), line=deep.encode())))
    assert (line["event"], line["line"]) == ("UnknownEvent", deep)
    wide = b'{"n":123456789012345678901234567890}'
    assert json.loads(event_line(ev.UnknownEvent(None, json.loads(wide), line=wide)))["line"] == wide.decode()
