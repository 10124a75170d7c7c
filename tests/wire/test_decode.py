from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import json_values, nested
from toolhouse_async._wire.decode import EventDecoder
from toolhouse_async._wire.fields import UNSAID
from toolhouse_async._wire.learned import Stream
from toolhouse_async.errors import ConfigurationError, MalformedEventError
from toolhouse_async.events import (
    ErrorEvent,
    Event,
    MalformedLine,
    TextDelta,
    ToolCall,
    ToolResult,
    TurnStarted,
    UnknownEvent,
)

TEXT = [
    "text",
    "text_delta",
    "content",
    "content_delta",
    "delta",
    "message_delta",
    "output_text",
    "output_text_delta",
    "response_output_text_delta",
    "token",
]
CALL = ["tool_call", "tool_use", "function_call", "tool_call_start", "tool_input_available"]
RESULT = [
    "tool_result",
    "tool_response",
    "tool_output",
    "function_call_output",
    "tool_call_result",
    "tool_output_available",
]
IDS = ["id", "tool_call_id", "tool_use_id", "call_id", "toolCallId"]
NAMES = ["name", "tool_name", "toolName", "toolCallName", "tool"]


def decode(*values: Any, decoder: EventDecoder | None = None) -> list[Event]:
    lines = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    events = (decoder or EventDecoder()).decode(lines)
    if len(events) == len(lines):
        assert [event.line for event in events] == lines
    return events


def one(value: Any) -> Event:
    (event,) = decode(value)
    return event


def spellings(type_name: str) -> Iterator[str]:
    yield type_name
    yield type_name.upper()
    yield type_name.title()
    yield type_name.replace("_", "-")
    yield type_name.replace("_", ".")
    yield type_name.replace("_", "-", 1).title()
    yield type_name.replace("_", ".", 1).upper()


@pytest.mark.parametrize("tag", ["type", "event"])
@pytest.mark.parametrize("type_name", TEXT)
def test_text_types(type_name: str, tag: str) -> None:
    for spelling in spellings(type_name):
        assert one({tag: spelling, "text": "hi"}) == TextDelta("hi")


@pytest.mark.parametrize("tag", ["type", "event"])
@pytest.mark.parametrize("type_name", CALL)
def test_call_types(type_name: str, tag: str) -> None:
    for spelling in spellings(type_name):
        event = one({tag: spelling, "id": "1", "name": "f", "arguments": {"a": 1}})
        assert event == ToolCall("1", "f", {"a": 1})


@pytest.mark.parametrize("tag", ["type", "event"])
@pytest.mark.parametrize("type_name", RESULT)
def test_result_types(type_name: str, tag: str) -> None:
    for spelling in spellings(type_name):
        assert one({tag: spelling, "id": "1", "name": "f", "content": "x"}) == ToolResult("1", "f", "x", False)


@pytest.mark.parametrize("tag", ["type", "event"])
@pytest.mark.parametrize("type_name", ["error", "run_error", "response_failed", "abort"])
def test_error_types(type_name: str, tag: str) -> None:
    for spelling in spellings(type_name):
        assert one({tag: spelling, "message": "no"}) == ErrorEvent("no")


def test_type_goes_before_event() -> None:
    assert one({"type": "text", "event": "error", "text": "x", "message": "y"}) == TextDelta("x")
    assert one({"type": None, "event": "text", "text": "x"}) == TextDelta("x")
    assert one({"type": ["text"], "event": "text", "text": "x"}) == TextDelta("x")


@pytest.mark.parametrize("key", ["text", "delta", "content", "token"])
def test_where_text_is(key: str) -> None:
    assert one({"type": "delta", key: "hi"}) == TextDelta("hi")
    assert one({"type": "delta", "delta": {key: "hi"}}) == TextDelta("hi")
    assert one({"type": "delta", "data": {key: "hi"}}) == TextDelta("hi")
    assert one({"type": "text", "text": None, key: "hi"}) == TextDelta("hi")


def test_the_order_in_which_text_is_looked_for() -> None:
    obj: dict[str, Any] = {"token": "4", "content": "3", "delta": "2", "text": "1"}
    for key in ("text", "delta", "content", "token"):
        assert one({"type": "text"} | obj) == TextDelta(obj.pop(key))
    assert one({"type": "text", "delta": {"x": 1}, "data": {"text": "d"}}) == TextDelta("d")
    assert one({"type": "text", "delta": {"text": "a"}, "data": {"text": "b"}}) == TextDelta("a")


@pytest.mark.parametrize("key", IDS)
@pytest.mark.parametrize(("value", "id_"), [("x", "x"), (7, "7"), (None, None), (True, None), ([1], None)])
def test_where_ids_are(key: str, value: Any, id_: str | None) -> None:
    assert one({"type": "tool_call", key: value, "name": "f"}) == ToolCall(id_, "f")
    assert one({"type": "tool_result", key: value, "content": 1}) == ToolResult(id_, None, 1)


@pytest.mark.parametrize("key", NAMES)
def test_where_names_are(key: str) -> None:
    assert one({"type": "tool_call", key: "f"}) == ToolCall(None, "f")
    assert one({"type": "tool_result", key: "f", "content": 1}) == ToolResult(None, "f", 1)


@pytest.mark.parametrize("key", ["arguments", "input", "args", "parameters"])
def test_where_arguments_are(key: str) -> None:
    assert one({"type": "tool_use", "name": "f", key: {"a": [1]}}) == ToolCall(None, "f", {"a": [1]})
    assert one({"type": "tool_use", "name": "f", key: '{"a": [1]}'}) == ToolCall(None, "f", {"a": [1]})


def test_a_nested_function_is_read() -> None:
    function = {"name": "f", "arguments": '{"a": 1}'}
    assert one({"type": "tool_call", "id": "1", "function": function}) == ToolCall("1", "f", {"a": 1})
    assert one({"type": "tool_call", "function": {"name": "f"}}) == ToolCall(None, "f", None)
    assert one({"type": "tool_call", "name": "g", "input": 2, "function": function}) == ToolCall(None, "g", 2)
    assert one({"type": "tool_call", "arguments": None, "function": function}) == ToolCall(None, "f", {"a": 1})


@pytest.mark.parametrize(
    ("text", "arguments"),
    [("", ""), ("not json", "not json"), ("{", "{"), ("5", 5), ('"s"', "s"), ("null", None), ("[" * 9999, "[" * 9999)],
)
def test_arguments_are_parsed_where_they_are_json_text(text: str, arguments: Any) -> None:
    assert one({"type": "tool_call", "name": "f", "arguments": text}) == ToolCall(None, "f", arguments)


@pytest.mark.parametrize("key", ["content", "output", "result", "response", "data"])
def test_where_a_results_content_is(key: str) -> None:
    for content in ("x", "", 0, False, [], {"a": 1}, None, '{"a": 1}'):
        assert one({"type": "tool_result", key: content}) == ToolResult(None, None, content)


def test_content_that_is_null_gives_way() -> None:
    assert one({"type": "tool_result", "content": None, "output": 5}) == ToolResult(None, None, 5)


@pytest.mark.parametrize("key", ["is_error", "isError"])
@pytest.mark.parametrize(("value", "is_error"), [(True, True), (False, False), (None, False), ("false", False)])
def test_whether_a_result_is_an_error(key: str, value: Any, is_error: bool) -> None:
    assert one({"type": "tool_result", "content": "x", key: value}) == ToolResult(None, None, "x", is_error)


@pytest.mark.parametrize("key", ["message", "error", "errorText", "detail", "reason", "text"])
def test_where_an_errors_message_is(key: str) -> None:
    assert one({"type": "error", key: "no", "code": 5}) == ErrorEvent("no", 5)
    assert one({"type": "error", key: "no", "code": "E5"}) == ErrorEvent("no", "E5")
    for outer in ("error", "data", "response", "message", "detail"):
        assert one({"type": "error", outer: {key: "inner", "code": "E"}}) == ErrorEvent("inner", "E")
        assert one({"type": "error", outer: {key: "inner", "code": "E"}, "code": 1}) == ErrorEvent("inner", 1)
    assert one({"type": "error", key: {"x": 1}}) == ErrorEvent('{"x":1}')
    assert one({"type": "error", key: ["x"], "code": [1]}) == ErrorEvent('["x"]')
    assert one({"type": "error", key: 500}) == ErrorEvent("500")
    assert one({"type": "error", key: "", "detail": {"message": "d"}}) == ErrorEvent("d")


def test_the_order_in_which_an_errors_message_is_looked_for() -> None:
    obj: dict[str, Any] = {"response": {"error": {"message": "8"}}, "data": {"message": "7"}, "text": "6"}
    obj |= {"reason": "5", "detail": "4", "errorText": "3", "error": "2", "message": "1"}
    for key in ("message", "error", "errorText", "detail", "reason", "text", "data", "response"):
        assert one({"type": "error"} | obj) == ErrorEvent("12345678"[len("12345678") - len(obj)])
        del obj[key]
    assert one({"type": "error", "data": "words"}) == ErrorEvent("words")


@pytest.mark.parametrize(
    "obj",
    [
        {},
        {"message": None},
        {"message": " "},
        {"error": True},
        {"error": {}},
        {"error": None, "data": []},
        {"detail": {"text": ""}},
    ],
)
def test_an_error_that_says_nothing(obj: dict[str, Any]) -> None:
    for kind in ("error", "RUN_ERROR", "response.failed", "abort"):
        (event,) = decode({"type": kind, "code": 7, **obj})
        assert event == ErrorEvent(UNSAID if obj.get("detail") is None else '{"text":""}', 7)


@pytest.mark.parametrize(
    ("obj", "message", "code"),
    [
        ({"error": "the model failed"}, "the model failed", None),
        ({"error": {"message": "no", "code": "E1", "type": "x"}}, "no", "E1"),
        ({"error": {"error": {"message": "no"}}}, "no", None),
        ({"error": {"x": 1}}, '{"x":1}', None),
        ({"error": ["a", "b"]}, '["a","b"]', None),
        ({"error": 500}, "500", None),
        ({"error": True}, UNSAID, None),
        ({"error": "Bad Gateway", "message": "upstream is down", "statusCode": 502}, "upstream is down", None),
        ({"error": True, "detail": "no", "code": 5}, "no", 5),
        ({"error": "E", "reason": "no"}, "E", None),
        ({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "no"}}, "no", -32000),
        ({"name": "TypeError", "error": "no", "stack": "…"}, "no", None),
        ({"error": "no", "done": True}, "no", None),
        ({"type": "agent_failed", "error": "no"}, "no", None),
        ({"event": "failed", "error": {"message": "no"}}, "no", None),
        ({"type": "text", "error": "no"}, "no", None),
        ({"type": 5, "error": "no"}, "no", None),
        ({"type": "response.failed", "response": {"id": "r", "error": {"code": "E", "message": "no"}}}, "no", "E"),
        ({"type": "abort", "reason": "the user left"}, "the user left", None),
    ],
)
def test_any_line_that_is_an_error_and_nothing_else(obj: dict[str, Any], message: str, code: Any) -> None:
    assert one(obj) == ErrorEvent(message, code)


@pytest.mark.parametrize(
    "obj",
    [
        {"error": None},
        {"error": False},
        {"error": ""},
        {"error": {}},
        {"error": "no", "content": "x"},
        {"error": "no", "tool_call_id": "1"},
        {"error": "no", "role": "user"},
        {"type": "status", "error": None, "state": "fine"},
        {"type": "tool_call", "tool_call_id": "1", "error": "no"},
        {"errors": 0},
    ],
)
def test_what_is_no_error(obj: dict[str, Any]) -> None:
    assert one(obj) == UnknownEvent(obj.get("type"), obj)


def test_an_error_beside_what_is_known_is_no_error_of_the_turn() -> None:
    assert one({"type": "text", "text": "x", "error": "no"}) == TextDelta("x")
    assert one({"type": "text", "content": "x", "error": None}) == TextDelta("x")
    assert one({"type": "tool_call", "name": "f", "error": ""}) == ToolCall(None, "f")
    assert one({"type": "tool_result", "id": "1", "content": "x", "error": None}) == ToolResult("1", None, "x")
    assert one({"role": "assistant", "content": "x", "error": None}) == TextDelta("x")


@pytest.mark.parametrize("key", ["error", "errorText"])
def test_a_result_that_is_nothing_but_an_error(key: str) -> None:
    assert one({"type": "tool_result", "id": "1", key: "no"}) == ToolResult("1", None, "no", True)
    assert one({"type": "tool_result", "id": "1", "result": None, key: {"a": 1}}) == ToolResult(
        "1", None, {"a": 1}, True
    )
    assert one({"type": "tool_result", "id": "1", "result": "x", key: "no"}) == ToolResult("1", None, "x", False)


@pytest.mark.parametrize("depth", [300, 900, 1000])
def test_any_error_is_an_event(depth: int) -> None:
    event = one(b'{"type":"error","message":' + b"[" * depth + b"]" * depth + b"}")
    assert type(event) is ErrorEvent
    assert event.message.startswith("[[[")
    infinite = one(b'{"type":"error","message":[1e999,' + b"[" * 300 + b"]" * 300 + b"]}")
    assert type(infinite) is ErrorEvent


@pytest.mark.parametrize(
    "obj",
    [
        {"type": "text"},
        {"type": "text", "text": 5},
        {"type": "text", "text": None, "delta": {"x": "y"}, "data": "z"},
        {"type": "tool_call", "id": "1"},
        {"type": "tool_call", "name": 5},
        {"type": "tool_call", "function": "f"},
        {"type": "tool_call", "function": {"arguments": "{}"}},
        {"type": "tool_result", "id": "1"},
        {"type": "future_thing", "text": "x"},
        {"type": ""},
        {"event": "ping"},
    ],
)
def test_what_the_table_does_not_know_is_kept(obj: dict[str, Any]) -> None:
    assert one(obj) == UnknownEvent(obj.get("type", obj.get("event")), obj)


def test_unknown_fields_stay_reachable() -> None:
    obj = {"type": "text", "text": "x", "model": "m", "n": [1]}
    assert one(obj).raw == obj


@pytest.mark.parametrize("value", [{}, {"text": "x"}, {"type": 5}, [], [1, "x"], 5, 1.5, True, None])
def test_values_without_a_type_are_unknown(value: Any) -> None:
    assert one(value) == UnknownEvent(None, value)


@pytest.mark.parametrize("text", ["", "hi", "\u2028\u0085", "\U0001f600"])
def test_a_bare_string_is_text(text: str) -> None:
    assert one(text) == TextDelta(text)


# --- objects shaped like entries of a history


def test_assistant_text() -> None:
    assert one({"role": "assistant", "content": "hi"}) == TextDelta("hi")


def test_content_blocks_give_several_events() -> None:
    blocks: list[Any] = [
        {"type": "text", "text": "a"},
        "b",
        {"text": "c"},
        {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}},
        {"type": "tool_result", "tool_use_id": "1", "content": "y"},
        {"type": "thinking", "text": "hm"},
        {"x": 1},
        5,
        None,
    ]
    line = json.dumps({"role": "assistant", "content": blocks}).encode()
    events = EventDecoder().decode([line])
    assert events == [
        TextDelta("a"),
        TextDelta("b"),
        TextDelta("c"),
        ToolCall("1", "f", {"x": 1}),
        ToolResult("1", None, "y"),
        UnknownEvent("thinking", {"type": "thinking", "text": "hm"}),
        UnknownEvent(None, {"x": 1}),
        UnknownEvent(None, 5),
    ]
    assert {event.line for event in events} == {line}
    assert decode({"role": "assistant", "content": blocks[0]}) == [TextDelta("a")]


def test_tool_calls_of_an_entry() -> None:
    calls = [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"id": "2", "name": "g"},
        {"id": "3"},
        "odd",
    ]
    assert decode({"role": "assistant", "content": None, "tool_calls": calls}) == [
        ToolCall("1", "f", {"x": 1}),
        ToolCall("2", "g", None),
        UnknownEvent("tool_call", {"id": "3"}),
        UnknownEvent("tool_call", "odd"),
    ]
    assert decode({"role": "assistant", "content": "a", "tool_calls": calls[:1]}) == [
        TextDelta("a"),
        ToolCall("1", "f", {"x": 1}),
    ]


def test_tool_entry() -> None:
    entry = {"role": "tool", "tool_call_id": "1", "content": "x"}
    assert one(entry) == ToolResult("1", None, "x")


@pytest.mark.parametrize(
    "obj",
    [
        {"role": "assistant"},
        {"role": "assistant", "content": []},
        {"role": "assistant", "content": None, "tool_calls": "odd"},
        {"role": "tool"},
        {"role": "user", "content": "hi"},
        {"role": "system", "content": "hi"},
        {"role": ["assistant"], "content": "hi"},
    ],
)
def test_other_entries_are_unknown(obj: dict[str, Any]) -> None:
    assert one(obj) == UnknownEvent(None, obj)


# --- lines


@pytest.mark.parametrize("blank", [b"", b" ", b"\t \r"])
def test_blank_lines_are_skipped_and_counted(blank: bytes) -> None:
    events = EventDecoder().decode([blank, b"1", blank, b"x"])
    assert events[0] == UnknownEvent(None, 1)
    assert type(events[1]) is MalformedLine
    assert events[1].number == 4
    assert len(events) == 2


def test_numbers_go_on_from_the_first() -> None:
    (event,) = EventDecoder().decode([b"x"], 41)
    assert type(event) is MalformedLine
    assert event.number == 41


@pytest.mark.parametrize(
    "line", [b"{", b"hello", b"{'type': 'text'}", b"\xff\xfe", b'{"type":"text","text":"\xc3"}', b"[" * 5000]
)
def test_a_line_that_is_not_json(line: bytes) -> None:
    before, event, after = EventDecoder().decode([b'"a"', line, b'"b"'])
    assert (before, after) == (TextDelta("a"), TextDelta("b"))
    assert type(event) is MalformedLine
    assert (event.line, event.number) == (line, 2)
    assert event.reason
    assert event.raw is None


def test_a_strict_decoder_raises() -> None:
    decoder = EventDecoder(strict=True)
    with pytest.raises(MalformedEventError, match="line 2 could not be read as JSON: "):
        decoder.decode([b'"a"', b"{"])
    events: list[Event] = []
    with pytest.raises(MalformedEventError, match="line 8"):
        decoder.extend(events, [b'"a"', b"{", b'"b"'], 7, Stream())
    assert events == [TextDelta("a")]
    assert decoder.decode([b"", b'{"type": "odd"}', b"NaN"])[0] == UnknownEvent("odd", {"type": "odd"})


def test_half_an_emoji_is_shown() -> None:
    assert one(rb'{"type":"text","text":"a\ud83d"}') == TextDelta("a\ufffd")


@pytest.mark.parametrize("line", [b'{"type":"odd","n":NaN}', b'{"type":"odd","n":1e999}'])
def test_numbers_that_json_does_not_have(line: bytes) -> None:
    event = one(line)
    assert type(event) is UnknownEvent
    assert not math.isfinite(event.data["n"])


def test_a_byte_order_mark_within_the_stream() -> None:
    assert one(b'\xef\xbb\xbf{"type":"text","text":"a"}') == TextDelta("a")


def test_line_separators_within_a_string() -> None:
    assert one('{"type":"text","text":"a\u2028b\u0085c"}'.encode()) == TextDelta("a\u2028b\u0085c")


def test_integers_beyond_64_bits_stay_reachable() -> None:
    number = 2**64 + 1
    event = one(b'{"type":"tool_call","name":"f","arguments":{"n":%d}}' % number)
    assert type(event) is ToolCall
    assert event.arguments["n"] == pytest.approx(number)
    assert json.loads(event.line)["arguments"]["n"] == number


def test_deep_json() -> None:
    line = b'{"type":"odd","deep":' + b"[" * 1000 + b"]" * 1000 + b"}"
    event = one(line)
    assert event == one(line)
    assert type(event) is UnknownEvent
    assert len(repr(event)) < 1000


objects = st.dictionaries(
    st.sampled_from(
        [
            "type",
            "event",
            "role",
            "text",
            "delta",
            "content",
            "data",
            "token",
            "id",
            "call_id",
            "name",
            "function",
            "arguments",
            "input",
            "output",
            "message",
            "error",
            "code",
            "tool_calls",
            "detail",
            "is_error",
        ]
    ),
    st.sampled_from([*TEXT, *CALL, *RESULT, "error", "assistant", "tool", "user"]) | json_values,
)


@given(st.lists(objects | json_values))
def test_no_value_makes_the_decoder_raise_and_none_is_dropped(values: list[Any]) -> None:
    lines = [json.dumps(value).encode() for value in values]
    events = EventDecoder(strict=True).decode(lines)
    assert {event.line for event in events} == set(lines)


@given(st.lists(st.binary()))
def test_no_line_makes_the_decoder_raise(lines: list[bytes]) -> None:
    events = EventDecoder().decode(lines)
    assert [event.line for event in events] == [line for line in lines if line.strip()]


def test_deep_values_everywhere() -> None:
    deep = json.dumps(nested(900))
    for key in ("text", "content", "arguments", "message", "delta", "data", "tool_calls", "code", "id", "name"):
        for kind in (*TEXT, *CALL, *RESULT, "error"):
            decode(f'{{"type":"{kind}","{key}":{deep}}}'.encode())
        decode(f'{{"role":"assistant","{key}":[{deep}]}}'.encode())


# --- shapes of the user's own


def test_a_registered_type_is_read_by_its_function() -> None:
    decoder = EventDecoder()
    seen: list[tuple[dict[str, Any], bytes]] = []

    def chart(obj: dict[str, Any], line: bytes) -> Event:
        seen.append((obj, line))
        return TextDelta(f"<{obj['title']}>", line=line)

    decoder.register("My.Chart", chart)
    line = b'{"type":"my-chart","title":"t"}'
    assert decoder.decode([line]) == [TextDelta("<t>")]
    assert seen == [({"type": "my-chart", "title": "t"}, line)]
    assert EventDecoder().decode([line]) == [UnknownEvent("my-chart", {"type": "my-chart", "title": "t"})]


def test_a_registered_function_may_return_several_events_or_nothing() -> None:
    decoder = EventDecoder()
    decoder.register("many", lambda obj, line: (TextDelta(text) for text in obj["texts"]))
    decoder.register("none", lambda obj, line: None)
    assert decode({"type": "MANY", "texts": ["a", "b"]}, decoder=decoder) == [TextDelta("a"), TextDelta("b")]
    assert decode({"type": "many", "texts": []}, decoder=decoder) == []
    assert decode({"type": "none", "x": 1}, decoder=decoder) == [UnknownEvent("none", {"type": "none", "x": 1})]


@pytest.mark.parametrize("spelling", ["text", "TEXT", "Text"])
def test_a_built_in_type_can_be_replaced(spelling: str) -> None:
    decoder = EventDecoder()
    assert decode({"type": "Text", "text": "a"}, decoder=decoder) == [TextDelta("a")]
    decoder.register(spelling, lambda obj, line: TextDelta(obj["text"].upper(), line=line))
    assert decode({"type": "text", "text": "a"}, {"type": "Text", "text": "b"}, decoder=decoder) == [
        TextDelta("A"),
        TextDelta("B"),
    ]


def test_what_a_registered_function_raises_passes_through() -> None:
    decoder = EventDecoder()
    decoder.register("odd", lambda obj, line: obj["absent"])
    events: list[Event] = []
    with pytest.raises(KeyError):
        decoder.extend(events, [b'"a"', b'{"type":"odd"}'], 1, Stream())
    assert events == [TextDelta("a")]


@pytest.mark.parametrize(
    "made",
    ["words", {"text": "words"}, 5, True, b"words", [TextDelta("a"), None], TextDelta(5), TurnStarted("a", None)],
)
def test_what_a_registered_function_returns_is_an_event_of_a_line(made: Any) -> None:
    for before in ([], [b'{"type":"odd"}'], [b'{"type":"text-delta","delta":"a"}']):
        decoder = EventDecoder()
        decoder.register("mine", lambda obj, line: made)
        decoder.register("odd", lambda obj, line: TextDelta("a"))
        with pytest.raises(ConfigurationError, match="registered for 'mine'"):
            decoder.decode([*before, b'{"type":"mine"}', b'{"type":"mine"}'])


def test_a_registered_function_is_no_coroutine_function() -> None:
    async def shape(obj: dict[str, Any], line: bytes) -> Event:
        return TextDelta("a")

    with pytest.raises(ConfigurationError, match="register"):
        EventDecoder().register("mine", shape)  # type: ignore[arg-type]


def test_lines_of_a_registered_type_are_read_alike_whatever_came_before() -> None:
    def own(obj: dict[str, Any], line: bytes) -> list[Event] | Event | None:
        made = {"text": TextDelta("a", line=line), "call": ToolCall("1", "f", line=line)}
        return [*made.values()] if obj["makes"] == "both" else made.get(obj["makes"])

    def decoder() -> EventDecoder:
        made = EventDecoder()
        made.register("mine", own)
        return made

    lines = [
        *(b'{"type":"mine","makes":"%b"}' % made for made in (b"text", b"call", b"both", b"nothing")),
        b'{"event":"mine","makes":"text"}',
        b'{"type":"text","text":"a"}',
        b'{"type":"text-delta","delta":"a"}',
        b'{"role":"assistant","content":"a"}',
    ]
    for each in product(lines, repeat=4):
        singly: list[Event] = []
        stream = Stream()
        for number, line in enumerate(each, 1):
            decoder().extend(singly, [line], number, stream)  # which meets all types for the first time
        assert decoder().decode(each) == singly, each


@pytest.mark.parametrize(("name", "function"), [("", print), (5, print), (None, print), ("x", None), ("x", "f")])
def test_what_cannot_be_registered(name: Any, function: Any) -> None:
    with pytest.raises(ConfigurationError, match="register"):
        EventDecoder().register(name, function)


def test_many_spellings_take_no_endless_memory() -> None:
    decoder = EventDecoder()
    for number in range(2**13):
        bits = f"{number:013b}"
        spelling = (
            "".join(c.upper() if bit == "1" else c for c, bit in zip("output_text_d", bits, strict=True)) + "elta"
        )
        assert decode({"type": spelling, "text": "a"}, decoder=decoder) == [TextDelta("a")]
    assert len(decoder._spellings) <= 1000
