"""A message that comes in pieces and then whole is said once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.services import chunk, lines_of
from toolhouse_async._wire.decode import EventDecoder
from toolhouse_async._wire.learned import Stream
from toolhouse_async._wire.repeats import Repeats
from toolhouse_async.events import Event, TextDelta, ToolCall, ToolResult, UnknownEvent

PIECES: dict[str, list[Any]] = {
    "text": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}],
    "deltas": [{"type": "text-delta", "textDelta": "Hel"}, {"type": "text-delta", "textDelta": "lo"}],
    "strings": ["Hel", "lo"],
    "chunks": [chunk({"content": "Hel"}), chunk({"content": "lo"})],
    "data stream": [b'0:"Hel"', b'0:"lo"'],
    "blocks": [
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hel"}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "lo"}},
    ],
    "one": [{"type": "token", "token": "Hello"}],
    "many": [{"type": "token", "token": letter} for letter in "Hello"] + [{"type": "token", "token": ""}] * 20,
}
WHOLE: dict[str, Any] = {
    "entry": {"role": "assistant", "content": "Hello"},
    "entry of blocks": {"role": "assistant", "content": [{"type": "text", "text": "Hel"}, "lo"]},
    "message": {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
    "chat": {"choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]},
    "item": {"type": "response.output_item.done", "item": {"type": "message", "content": [{"text": "Hello"}]}},
    "answer": {"type": "response.completed", "response": {"output": [{"role": "assistant", "content": "Hello"}]}},
    "answer alone": {"object": "response", "output": [{"role": "assistant", "content": "Hello"}]},
    "last of Ollama": {"message": {"content": "Hello"}, "done": True},
    "last of one prompt": {"response": "Hello", "done": True},
}
CALL = {"type": "tool-call", "toolCallId": "c1", "toolName": "f", "args": {}}
RESULT = {"type": "tool-result", "toolCallId": "c1", "result": 1}


def said(*values: Any) -> str:
    events = EventDecoder().decode(lines_of(*values))
    assert {event.line for event in events} == set(lines_of(*values))
    return "".join(event.text for event in events if type(event) is TextDelta)


@pytest.mark.parametrize("whole", WHOLE)
@pytest.mark.parametrize("pieces", PIECES)
def test_a_whole_message_behind_its_pieces_is_said_once(pieces: str, whole: str) -> None:
    assert said(*PIECES[pieces], WHOLE[whole]) == "Hello"
    assert said(*PIECES[pieces], WHOLE[whole], WHOLE[whole]) == "Hello"


@pytest.mark.parametrize("whole", WHOLE)
def test_a_whole_message_without_pieces_is_said(whole: str) -> None:
    assert said(WHOLE[whole]) == "Hello"


@pytest.mark.parametrize("whole", ["entry", "message", "chat", "item"])
def test_messages_with_the_same_words_are_said_each(whole: str) -> None:
    assert said(WHOLE[whole], WHOLE[whole]) == "HelloHello"
    assert said(*PIECES["text"], WHOLE[whole], *PIECES["text"], WHOLE[whole]) == "HelloHello"


@pytest.mark.parametrize("whole", ["entry", "message", "chat", "item"])
def test_other_words_behind_pieces_are_said(whole: str) -> None:
    assert said({"type": "text", "text": "Well. "}, WHOLE[whole]) == "Well. Hello"
    assert said(WHOLE[whole], {"type": "text", "text": "Hello"}) == "HelloHello"


@pytest.mark.parametrize("kind", ["text", "content", "output_text"])
def test_a_type_that_may_be_whole_is_so_behind_deltas_alone(kind: str) -> None:
    whole = {"type": kind, "text": "Hello"}
    assert said(*PIECES["deltas"], whole) == "Hello"
    assert said(*PIECES["deltas"], {"type": kind, "text": "!"}) == "Hello!"
    assert said(whole, whole) == "HelloHello"
    assert said(whole, whole, *PIECES["deltas"]) == "HelloHelloHello"


@pytest.mark.parametrize("many", [1, 40])
def test_deltas_whose_form_is_learned_come_whole_too(many: int) -> None:
    pieces = [{"type": "text-delta", "textDelta": f"{number} "} for number in range(many)]
    words = "".join(f"{number} " for number in range(many))
    for whole in ({"type": "text", "text": words}, {"role": "assistant", "content": words}):
        assert said(*pieces, whole) == words


def test_words_behind_a_tool_come_whole_alone_or_with_all() -> None:
    before = {"type": "text", "text": "Let me see. "}
    for words in ("Hello", "Let me see. Hello"):
        whole = {"role": "assistant", "content": words}
        assert said(before, CALL, RESULT, *PIECES["text"], whole) == "Let me see. Hello"


def test_a_call_of_a_message_that_was_said_is_no_second_call() -> None:
    block = {"type": "tool-call", "toolCallId": "c1", "toolName": "f", "args": {}}
    other = {"type": "tool-call", "toolCallId": "c2", "toolName": "f", "args": {}}
    whole = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}, block, other]}
    events = EventDecoder().decode(lines_of(*PIECES["text"], CALL, whole))
    assert events == [TextDelta("Hel"), TextDelta("lo"), ToolCall("c1", "f", {}), ToolCall("c2", "f", {})]
    events = EventDecoder().decode(lines_of(whole, {**whole, "content": "Next"}))
    assert events == [TextDelta("Hello"), ToolCall("c1", "f", {}), ToolCall("c2", "f", {}), TextDelta("Next")]


def test_calls_alone_are_called_as_often_as_they_come() -> None:
    entry = {"role": "assistant", "tool_calls": [{"id": "f:0", "function": {"name": "f", "arguments": "{}"}}]}
    result = {"role": "tool", "tool_call_id": "f:0", "content": "x"}
    events = EventDecoder().decode(lines_of(entry, result, entry, result))
    assert events == [ToolCall("f:0", "f", {}), ToolResult("f:0", None, "x")] * 2


def test_an_answer_of_calls_is_summed_up() -> None:
    item = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    done = {"type": "response.output_item.done", "item": item}
    completed = {"type": "response.completed", "response": {"output": [item]}}
    assert EventDecoder().decode(lines_of(done, completed)) == [
        ToolCall("c1", "f", {}),
        UnknownEvent("response.completed", completed),
    ]
    assert EventDecoder().decode(lines_of(completed, completed)) == [ToolCall("c1", "f", {})] * 2


def test_what_is_drained_is_given_out_once() -> None:
    said = Repeats()
    said.take([TextDelta("a"), ToolCall("1", "f"), UnknownEvent("mood", 1), TextDelta("b"), UnknownEvent(None, 2)])
    assert said.drain() == (["a", "b"], [ToolCall("1", "f")], 2)
    assert said.drain() == ([], [], 0)
    assert said.fresh([TextDelta("b")]) == []
    said.take([])
    assert said.fresh([TextDelta("ab")]) == []
    assert said.fresh([TextDelta("a")]) == [TextDelta("a")]


@pytest.mark.parametrize("many", [1, 7, 250])
def test_words_that_come_few_by_few_are_summed_up_later(many: int) -> None:
    decoder, stream = EventDecoder(), Stream()
    for letter in "ab" * many:
        events: list[Event] = []
        decoder.extend(events, lines_of({"type": "token", "token": letter}), 1, stream)
        assert stream.drain() == ([letter], [], 0)
    events = []
    decoder.extend(events, lines_of({"role": "assistant", "content": "ab" * many}), 1, stream)
    assert [type(event) for event in events] == [UnknownEvent]
    for call in (CALL, RESULT, {"type": "token", "token": "c"}, {"role": "assistant", "content": "c"}):
        events = []
        decoder.extend(events, lines_of(call), 1, stream)
        stream.drain()
    assert [type(event) for event in events] == [UnknownEvent]
