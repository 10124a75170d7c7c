"""Server-Sent Events and the AI SDK's data stream: what belongs to an event, and when it is whole."""

from __future__ import annotations

import pytest

from tests.wire.services import lines_of
from toolhouse_async._wire.decode import EventDecoder
from toolhouse_async._wire.learned import Stream
from toolhouse_async.events import ErrorEvent, Event, MalformedLine, TextDelta, ToolCall, UnknownEvent


def read(*lines: bytes) -> list[Event]:
    """What a stream of these lines gives, but for what is unknown."""
    return [event for event in EventDecoder().decode(list(lines)) if type(event) is not UnknownEvent]


def test_the_name_of_an_event_may_hold_a_colon() -> None:
    assert EventDecoder().decode([b"event: a:b"]) == [UnknownEvent(None, "event: a:b")]


@pytest.mark.parametrize("between", [b"id: 7", b"retry: 10", b": a comment"])
def test_the_name_of_an_event_stays_until_its_data(between: bytes) -> None:
    assert read(b"event: text", between, b"data: hello", b"") == [TextDelta("hello")]


def test_the_name_of_an_event_is_of_one_event() -> None:
    hello, there = read(b"event: text", b"data: hello", b"", b"data: there", b"")
    assert hello == TextDelta("hello")
    assert type(there) is MalformedLine


def test_words_that_are_no_utf_8() -> None:
    assert read(b"event: text", b"data: a \xe9", b"") == [TextDelta("a \ufffd")]
    assert read(b"event: error", b"data: a \xe9", b"") == [ErrorEvent("a \ufffd")]
    events = EventDecoder().decode([b"event: text", b"data: [\xe9", b"data: b", b""])
    assert events[1:3] == [UnknownEvent(None, "data: [\ufffd"), TextDelta("[\ufffd\nb")]


def test_the_end_of_the_data_is_shown_and_ends_the_calls() -> None:
    begun, piece = lines_of(
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}}]},
    )
    assert EventDecoder().decode([b"data: " + begun, b"data:", b"data: " + piece, b"data: [DONE]"])[1:] == [
        UnknownEvent(None, "data: "),
        *EventDecoder().decode([b"data: " + piece]),
        ToolCall("c", "f", {}),
        UnknownEvent(None, "data: [DONE]"),
    ]


def test_data_on_several_lines_stand_once() -> None:
    lines = [b'data: {"type": "text",', b'data: "text":', b'data: "hello"}']
    events = EventDecoder().decode([*lines, b""])
    assert events == [*(UnknownEvent(None, line.decode()) for line in lines[:2]), TextDelta("hello")]
    assert [event.line for event in events] == lines


def test_data_that_cannot_go_on_are_read_at_once() -> None:
    events: list[Event] = []
    EventDecoder().extend(events, [b"data: hello"], 1, Stream())
    assert [type(event) for event in events] == [MalformedLine]


@pytest.mark.parametrize("line", [b"data: {", b"data: [", b'data: "'])
def test_data_that_may_go_on_are_kept_up_to_a_number_of_lines(line: bytes) -> None:
    decoder, stream, events = EventDecoder(), Stream(), list[Event]()
    decoder.extend(events, [line] * 99, 1, stream)
    assert events == []
    decoder.extend(events, [line], 100, stream)
    assert [(type(event), event.line) for event in events] == [(MalformedLine, line)] * 100
    assert [event.number for event in events if isinstance(event, MalformedLine)] == list(range(1, 101))


def test_an_object_in_the_place_of_words_is_unknown() -> None:
    assert EventDecoder().decode([b'0:{"text": "x"}']) == [UnknownEvent("text", {"text": "x"})]
