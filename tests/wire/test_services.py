from __future__ import annotations

import pytest

from tests.wire.services import EXAMPLES, lines_of
from toolhouse_async._wire.decode import EventDecoder
from toolhouse_async._wire.framed import is_whole
from toolhouse_async._wire.learned import Stream
from toolhouse_async._wire.shapes import TABLE
from toolhouse_async.events import ErrorEvent, Event, MalformedLine, TextDelta, ToolCall, ToolResult, UnknownEvent

NAMES = [f"{service}: {what}" for service, what, *_ in EXAMPLES]


@pytest.mark.parametrize(("lines", "events"), [each[2:] for each in EXAMPLES], ids=NAMES)
def test_the_lines_of_services(lines: list[bytes], events: list[Event]) -> None:
    decoded = EventDecoder().decode(lines)
    assert [event for event in decoded if type(event) not in (UnknownEvent, MalformedLine)] == events
    known = {line for line in lines if line.strip() and line != b"data"}
    assert known <= {event.line for event in decoded}  # nothing is dropped
    assert {event.line for event in decoded if type(event) is MalformedLine} <= {b"data"}


@pytest.mark.parametrize(("lines", "events"), [each[2:] for each in EXAMPLES], ids=NAMES)
def test_the_lines_of_services_one_by_one_in_one_stream(lines: list[bytes], events: list[Event]) -> None:
    decoder, stream, decoded = EventDecoder(), Stream(), list[Event]()
    for line in lines:
        decoder.extend(decoded, [line], 1, stream)
    decoder.finish(decoded, stream)
    assert [event for event in decoded if type(event) not in (UnknownEvent, MalformedLine)] == events


def test_streams_of_one_decoder_do_not_mix() -> None:
    decoder = EventDecoder()
    start, rest = lines_of(
        {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "c1", "name": "look"}},
        {"type": "content_block_stop"},
    )
    assert decoder.decode([start])[-1] == ToolCall("c1", "look")  # nothing more can come
    assert [type(event) for event in decoder.decode([rest])] == [UnknownEvent]


def test_every_type_of_the_table_has_an_example() -> None:
    seen = set[str]()
    for *_, lines, _ in EXAMPLES:
        for line in lines:
            seen |= {
                name
                for row in TABLE
                for name in row.types.split()
                if name in line.decode().lower().replace("-", "_").replace(".", "_")
            }
    assert [name for row in TABLE if row.source for name in row.types.split() if name not in seen] == []


@pytest.mark.parametrize(
    "value",
    [
        {"choices": None},
        {"choices": [None, 5, {"delta": None}, {"index": 0, "delta": {"tool_calls": [None, {}, {"function": {}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": "0", "function": {"name": "f"}}], "function_call": 5}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}}]},
        {"message": {"role": "user", "content": "my words"}},
        {"message": {"content": "words of no role"}},
        {"message": {"role": "assistant"}, "done": True},
        {"message": "words", "done": True},
        {"response": "words"},
        {"response": 5, "done": False},
        {"type": "content_block_start"},
        {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "c1"}},
        {"type": "content_block_start", "content_block": {"type": "web_search_tool_result", "tool_use_id": "c"}},
        {"type": "content_block_delta", "index": [1], "delta": {"type": "input_json_delta", "partial_json": "{"}},
        {"type": "content_block_delta", "index": 0, "delta": "words"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "text": "words"}},
        {"type": "content_block_stop", "index": 7},
        {"type": "tool_call_args", "toolCallId": "c1", "delta": "{"},
        {"type": "tool_call_args", "delta": 5},
        {"type": "tool_call_end", "toolCallId": "c1"},
        {"type": "tool_call_chunk", "delta": "{"},
        {"type": "tool_call_start", "toolCallId": "c1"},
        {"type": "tool_error", "toolCallId": "c1"},
        {"type": "tool-input-start", "toolCallId": "c1"},
        {"type": "tool-input-delta", "toolCallId": "c1", "delta": "{"},
        {"type": "message", "content": "words of no role"},
        {"type": "response.completed"},
        {"object": "response"},
        {"type": "response.output_item.done", "item": {"type": None}},
        {"type": "delta", "delta": {"type": "thinking_delta", "text": "hm"}},
        {"type": "delta", "data": {"type": "reasoning", "text": "hm", "thought": True}},
        {"role": "user", "content": [{"type": "text", "text": "my words"}]},
    ],
)
def test_what_is_not_as_a_service_sends_it_is_unknown(value: dict[str, object]) -> None:
    (event,) = EventDecoder().decode(lines_of(value))
    assert event == UnknownEvent(value.get("type"), value)  # type: ignore[arg-type]


def test_thoughts_in_an_entry_are_no_words() -> None:
    blocks: list[dict[str, object]] = [
        {"type": "reasoning_text", "text": "hm"},
        {"type": "text", "text": "hm", "thought": True},
        {"text": "hm", "thought": True},
        {"type": "summary_text", "text": "hm"},
        {"type": "redacted_thinking", "data": "hm"},
    ]
    events = EventDecoder().decode(
        lines_of({"role": "assistant", "content": [*blocks, {"type": "input_text", "text": "a"}]})
    )
    assert events == [*(UnknownEvent(block.get("type"), block) for block in blocks), TextDelta("a")]  # type: ignore[arg-type]


def test_results_among_other_blocks() -> None:
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "x"}
    entry = {"role": "tool", "content": [{"type": "text", "text": "y"}, result]}
    assert EventDecoder().decode(lines_of(entry))[0] == ToolResult("c1", None, "x")
    plain = {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "y"}]}
    assert EventDecoder().decode(lines_of(plain)) == [ToolResult("c1", None, [{"type": "text", "text": "y"}])]


@pytest.mark.parametrize(
    "line", [b"l:5", b"00:5", b'0:"Hel', b"z", b"data: {", b"data: words", b"\xff: x", b"other: x", b"data"]
)
def test_other_prefixes_are_no_json(line: bytes) -> None:
    (event,) = EventDecoder().decode([line])
    assert type(event) is MalformedLine


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"0:5", UnknownEvent("text", 5)),
        (b"9:[]", UnknownEvent("tool_call", [])),
        (b"9:{}", UnknownEvent("tool_call", {})),
        (b'g:"hm"', UnknownEvent("reasoning", "hm")),
        (b":", UnknownEvent(None, ": ")),
        (b"id: 7", UnknownEvent(None, "id: 7")),
        (b"data: 5", UnknownEvent(None, 5)),
        (b"data: NaN1", None),
    ],
)
def test_what_prefixed_lines_give(line: bytes, event: Event | None) -> None:
    (decoded,) = EventDecoder().decode([line])
    assert decoded == event or (event is None and type(decoded) is MalformedLine)


def test_an_object_that_only_the_standard_library_reads_is_read_by_the_table() -> None:
    line = b'{"type":"text","text":"a","n":NaN}'
    assert EventDecoder().decode([line]) == [TextDelta("a")]
    assert EventDecoder().decode([b"data: " + line]) == [TextDelta("a")]


@pytest.mark.parametrize(
    ("line", "whole"),
    [
        (b'{"a":1}', True),
        (b'"words"', False),
        (b"12", False),
        (b'{"a":1', False),
        (b'data: {"a":1}', True),
        (b'data: {"a":1', False),
        (b'0:"Hel"', True),
        (b'0:"Hel', False),
        (b"data: 12", False),
        (b'x:{"a":1}', False),
    ],
)
def test_a_last_line_that_was_cut(line: bytes, whole: bool) -> None:
    assert is_whole(line) is whole


def test_registered_shapes_go_before_those_of_services() -> None:
    decoder = EventDecoder()
    decoder.register("content_block_stop", lambda obj, line: TextDelta("!", line=line))
    assert decoder.decode(lines_of({"type": "content_block_stop"})) == [TextDelta("!")]
    decoder.register("mine", lambda obj, line: None)
    obj = {"type": "mine", "error": "no"}
    assert decoder.decode(lines_of(obj)) == [UnknownEvent("mine", obj)]


def test_the_time_for_calls_in_pieces_is_linear() -> None:
    pieces = [{"type": "tool_call_args", "toolCallId": "c", "delta": "x"}] * 50_000
    lines = lines_of({"type": "tool_call_start", "toolCallId": "c", "toolName": "f"}, *pieces)
    (*_, last) = EventDecoder().decode(lines)
    assert last == ToolCall("c", "f", "x" * 50_000)


def test_data_on_several_lines_that_are_none_together() -> None:
    words = b'data: {"type": "text", "text": "a"}'
    decoder, broken = EventDecoder(), b'data: {"type": "text",'
    for lines in ([broken, words, b""], [broken, words], [broken, words, *lines_of({"type": "text", "text": "a"})]):
        events = decoder.decode(lines)
        assert [type(event) for event in events] == [
            MalformedLine,
            *[TextDelta] * (len(lines) - 1 - (lines[-1] == b"")),
        ]
    events = decoder.decode([broken] * 150)
    assert [(type(event), getattr(event, "number", 0)) for event in events] == [
        (MalformedLine, n) for n in range(1, 151)
    ]


def test_plain_words_of_an_error_on_several_lines() -> None:
    events = EventDecoder().decode([b"event: error", b"data: it broke,", b"data: again"])
    assert events[1:] == [UnknownEvent(None, "data: it broke,"), ErrorEvent("it broke,\nagain")]


def test_data_that_are_pending_when_the_stream_is_cut() -> None:
    decoder = EventDecoder()
    for lines, expected in (
        ([b'data: {"type": "text",'], []),
        ([b'data: {"type": "text",', b'data: "text": "a"}'], [TextDelta("a")]),
        ([b"event: error", b"data: it broke"], [ErrorEvent("it broke")]),
    ):
        stream, events = Stream(), list[Event]()
        decoder.extend(events, lines, 1, stream)
        decoder.finish(events, stream, is_cut=True)
        assert [event for event in events if type(event) is not UnknownEvent] == expected


def test_blocks_of_many_services_in_a_history() -> None:
    blocks: list[object] = [
        {"functionCall": {"name": "f", "args": {"a": 1}}},
        {"functionResponse": {"name": "f", "response": "x"}},
        {"toolUse": {"toolUseId": "t", "name": "g", "input": {}}},
        {"toolResult": {"toolUseId": "t", "content": [], "status": "error"}},
        {"toolUse": "odd"},
        {"type": "token", "token": "a"},
        {"type": "token"},
        {"type": "error", "error": "no"},
    ]
    assert EventDecoder().decode(lines_of({"role": "assistant", "content": blocks})) == [
        ToolCall(None, "f", {"a": 1}),
        ToolResult(None, "f", "x"),
        ToolCall("t", "g", {}),
        ToolResult("t", None, [], True),
        UnknownEvent(None, {"toolUse": "odd"}),
        TextDelta("a"),
        UnknownEvent("token", {"type": "token"}),
        ErrorEvent("no"),
    ]
    assert EventDecoder().decode(lines_of({"role": "assistant", "content": None, "refusal": "no"})) == [TextDelta("no")]


def test_no_endless_memory_is_taken_by_messages_of_others() -> None:
    lines = lines_of(
        *({"type": "TEXT_MESSAGE_START", "messageId": f"m{number}", "role": "user"} for number in range(1000)),
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m999", "delta": "my words"},
    )
    stream, events = Stream(), list[Event]()
    EventDecoder().extend(events, lines, 1, stream)
    assert type(events[-1]) is UnknownEvent
    assert len(stream.of_others) <= 101


@pytest.mark.parametrize("kind", [["text"], {"text": 1}, 5, None], ids=repr)
def test_a_type_that_is_no_text_within_a_message_of_others(kind: object) -> None:
    odd = {"type": kind, "value": 1}
    lines = lines_of({"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "user"}, odd)
    assert EventDecoder().decode(lines)[1:] == [UnknownEvent(None, odd)]
    decoder, stream, events = EventDecoder(), Stream(), list[Event]()
    for line in lines:
        if (event := decoder.read_alone(line, stream)) is not None:
            events.append(event)
        else:
            decoder.extend(events, [line], 1, stream)
    assert events[1:] == [UnknownEvent(None, odd)]
