"""What a stream learns of its lines changes their price and nothing else."""

from __future__ import annotations

import copy
import itertools
import json
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.services import EXAMPLES, chunk, lines_of
from tests.wire.strategies import json_values
from toolhouse_async._turn.answering import Answering
from toolhouse_async._turn.fold import Fold
from toolhouse_async._wire.decode import EventDecoder
from toolhouse_async._wire.fields import ARGUMENT_KEYS, CONTENT_KEYS, ID_KEYS, NAME_KEYS
from toolhouse_async._wire.learned import Stream
from toolhouse_async.events import ErrorEvent, Event, MalformedLine, TextDelta, ToolCall, UnknownEvent

WORDS: dict[str, Callable[[Any], Any]] = {
    "text": lambda text: {"type": "text", "text": text},
    "content": lambda text: {"type": "text", "content": text},
    "delta": lambda text: {"type": "text_delta", "delta": text},
    "token": lambda text: {"event": "token", "token": text},
    "nested": lambda text: {"event": "token", "data": {"text": text}},
    "AI SDK 4": lambda text: {"type": "text-delta", "textDelta": text},
    "AI SDK 5": lambda text: {"type": "text-delta", "id": "0", "delta": text},
    "AG-UI": lambda text: {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m1", "delta": text},
    "Anthropic": lambda text: {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": text},
    },
    "Responses": lambda text: {"type": "response.output_text.delta", "item_id": "i", "delta": text, "logprobs": []},
    "chunks": lambda text: chunk({"content": text}),
    "Ollama": lambda text: {"model": "m", "message": {"role": "assistant", "content": text}, "done": False},
    "Ollama's prompts": lambda text: {"model": "m", "response": text, "done": False},
    "entry": lambda text: {"role": "assistant", "content": text},
    "message": lambda text: {"type": "message", "role": "assistant", "content": [{"type": "text", "text": text}]},
    "string": lambda text: text,
    "data stream": lambda text: b"0:" + json.dumps(text).encode(),
    "SSE": lambda text: b"data: " + json.dumps({"type": "text", "text": text}).encode(),
    "SSE strings": lambda text: b"data: " + json.dumps(text).encode(),
}
UNKNOWN: dict[str, Callable[[Any], Any]] = {
    "thought": lambda text: {"type": "reasoning-delta", "id": "0", "delta": text},
    "status": lambda text: {"type": "status", "state": text, "more": {"type": "text", "text": ["a", None]}},
    "nested": lambda text: {"type": "status", "state": {"deep": [1, text]}},
    "type": lambda text: {"type": text, "text": "a"},
    "field": lambda text: {"type": "status", f"{text}": "a"},
    "error": lambda text: {"type": "status", "error": text},
    "errorText": lambda text: {"type": "status", "id": "a", "errorText": text},
    "number": lambda text: {"type": "status", "at": len(text), "state": "a"},
    "two types": lambda text: b'{"type":' + json.dumps(text).encode() + b',"type":"status"}',
}
"""Lines of types that are not known, by what differs in them."""
WORDS_OR_NOT = WORDS | UNKNOWN
BEGUN = {
    "Anthropic": {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "tool_use", "id": "c", "name": "f", "input": {}},
    },
    "AG-UI": {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "f"},
    "AI SDK": {"type": "tool-input-start", "toolCallId": "c", "toolName": "f"},
    "chunks": chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}),
}
"""Lines that begin a call, which others have the rest of."""
WITH_CALLS: dict[str, Callable[[Any], Any]] = {
    "end": lambda text: {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]},
    "whole end": lambda text: {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]},
    "arguments": lambda text: chunk({"content": text, "tool_calls": [{"index": 0, "function": {"arguments": " "}}]}),
    "block": lambda text: {"type": "content_block_delta", "index": 0, "delta": {"text": text, "partial_json": " "}},
}
"""Words on lines that also have a piece of a call, or its end."""
ALIKE = lines_of(*BEGUN.values(), *(shape("a ") for shape in (WORDS | WITH_CALLS).values()))
HARD = ["", " ", "word ", '"', "\\", "\n", "\x00", "\x7f", "é", "\u2028", "😀", '"}', ',"', "\ud800", "text", "a" * 300]
OTHERS = [
    *(line for *_, lines, _ in EXAMPLES for line in lines),
    *lines_of(
        {"type": "odd", "text": "x"},
        {"type": "odd", "error": "no"},
        {"type": "odd", "error": ""},
        {"type": "text", "text": "x", "thought": True},
        {"type": "text", "text": None, "delta": "x"},
        {"type": "text", "text": "a", "delta": "x"},
        {"type": "text", "delta": "x"},
        {"type": "text", "text": 5},
        {"type": "tool_call", "id": "c", "name": "f", "args": None},
        {"type": "tool_call", "id": 5, "name": "f", "args": "{}"},
        {"type": "tool_call", "id": "c", "name": "f", "args": "{}"},
        {"type": "tool_call", "id": "c", "name": "f", "arguments": "{}"},
        {"type": "tool_result", "id": "c", "content": None},
        {"type": "tool_result", "id": "c", "content": {"type": "error-text"}},
        {"type": "tool_result", "id": "c", "content": "x"},
        {"type": "tool_result", "id": "c", "name": 5, "content": "x"},
        {"type": ["text"]},
    ),
    b'{"type":"text","text":"\xff"}',
    b'{"type":"text","text":"\x01"}',
    b'{"type":"text","text":"}',
    b'{"type":"text","text":NaN}',
    b"",
]


def at_once(lines: list[bytes]) -> list[Event]:
    return EventDecoder().decode(lines)


def in_batches(lines: list[bytes], sizes: list[int], decoder: EventDecoder | None = None) -> list[Event]:
    decoder, stream, events, at = decoder or EventDecoder(), Stream(), list[Event](), 0
    for size in [*sizes, len(lines)]:
        decoder.extend(events, lines[at : at + size], at + 1, stream)
        at += size
    decoder.finish(events, stream)
    return events


def same(one: list[Event], other: list[Event]) -> None:
    assert one == other
    assert [event.line for event in one] == [event.line for event in other]


@pytest.mark.parametrize("shape", WORDS)
def test_words_of_any_shape_are_read_alike_in_any_number(shape: str) -> None:
    texts = [f"word {number} " for number in range(60)]
    lines = lines_of(*(WORDS[shape](text) for text in texts))
    events = [TextDelta(text) for text in texts]
    same(at_once(lines), in_batches(lines, [1] * 60))
    assert at_once(lines) == events
    assert [event.line for event in at_once(lines)] == lines
    assert in_batches(lines, [20, 3, 17]) == events


@pytest.mark.parametrize("shape", UNKNOWN)
def test_lines_of_unknown_types_are_read_alike_in_any_number(shape: str) -> None:
    texts = ["" if shape == "error" else "0", *(f"word {number} " for number in range(30)), "error", "text", "type"]
    lines = lines_of(*map(UNKNOWN[shape], texts))
    for size in (2, 17, 30):
        same(EventDecoder(strict=True).decode(lines * 3), in_batches(lines * 3, [1] * size))
    for event in at_once(lines):
        assert type(event) is not UnknownEvent or (
            event.data == event.raw == _read(event.line) and event.data is event.data
        )


@pytest.mark.parametrize("shape", WORDS_OR_NOT)
def test_words_that_need_care_among_others(shape: str) -> None:
    numbers = [f"{number} " for number in range(20)]
    for hard, ascii_alone in itertools.product(HARD, (True, False)):
        texts = [*numbers, hard, "and", hard, hard, *numbers]
        lines = [
            line
            if isinstance(line, bytes)
            else json.dumps(line, ensure_ascii=ascii_alone).encode(errors="surrogatepass")
            for line in map(WORDS_OR_NOT[shape], texts)
        ]
        same(at_once(lines), in_batches(lines, [1] * len(lines)))


@pytest.mark.parametrize("begun", BEGUN)
@pytest.mark.parametrize("shape", [*WORDS_OR_NOT, *WITH_CALLS])
def test_a_call_that_has_begun_is_whole_where_it_is_whatever_is_read_at_once(shape: str, begun: str) -> None:
    words = [(WORDS_OR_NOT | WITH_CALLS)[shape](f"{number} ") for number in range(20)]
    lines = lines_of(*words, BEGUN[begun], *words, BEGUN[begun], *words)
    same(at_once(lines), in_batches(lines, [1] * len(lines)))


@pytest.mark.parametrize("whole", ["text", "entry", "message"])
@pytest.mark.parametrize("shape", WORDS)
def test_a_message_that_was_said_in_pieces_is_known_in_every_turn_of_a_client(shape: str, whole: str) -> None:
    lines = lines_of(WORDS[shape]("Hel"), WORDS[shape]("lo"), WORDS[whole]("Hello"))
    decoder = EventDecoder()
    first = decoder.decode(lines)
    for _ in range(2):
        same(decoder.decode(lines), first)
        same(in_batches(lines, [1] * len(lines), decoder), first)


def test_an_answer_that_is_summed_up_is_no_message_like_others() -> None:
    """What it comes to depends on whether anything was said since the last time."""
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}
    summed = {"type": "response.completed", "response": {"output": [message]}}
    idle = {"model": "m", "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False}
    lines = lines_of(summed, idle, summed, *[idle] * 17)
    same(at_once(lines), in_batches(lines, [1] * len(lines)))


@given(st.data())
def test_any_lines_in_any_batches_give_the_same_events(data: st.DataObject) -> None:
    shapes = data.draw(st.lists(st.sampled_from(sorted(WORDS_OR_NOT)), min_size=1, max_size=3))
    texts = st.sampled_from(HARD) | st.integers(0, 99).map(str)
    words = st.builds(lambda shape, text: lines_of(WORDS_OR_NOT[shape](text))[0], st.sampled_from(shapes), texts)
    drawn = data.draw(st.lists(words | words | words | words | st.sampled_from(OTHERS), max_size=60))
    lines = [line for part in drawn for line in [part] * data.draw(st.sampled_from([1, 1, 1, 2, 25]))]
    expected = in_batches(lines, [1] * len(lines))
    same(at_once(lines), expected)
    same(in_batches(lines, data.draw(st.lists(st.integers(0, 40), max_size=8))), expected)
    used = EventDecoder()
    used.decode(data.draw(st.permutations(lines)))  # those of another turn of the same client
    same(used.decode(lines), expected)
    same(in_batches(lines, [1] * len(lines), used), expected)
    assert {line for line in lines if line.strip()} <= {event.line for event in expected}


@given(st.data())
def test_any_chunks_of_bytes_give_the_same_result(data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.sampled_from(OTHERS) | st.sampled_from(ALIKE)))
    lines = [line for line in lines for _ in range(data.draw(st.sampled_from([1, 20])))]
    body = b"".join(line + b"\n" for line in lines)
    results = []
    used = EventDecoder()
    used.decode(lines)
    for size, decoder in ((7, EventDecoder()), (100, EventDecoder()), (32768, EventDecoder()), (7, used), (90, used)):
        fold, events = Fold(), deque[Event]()
        one = Answering("ndjson", decoder, 1 << 20, fold)
        for at in range(0, len(body), size):
            one.feed(body[at : at + size], events)
        one.end(events)
        results.append((list(events), fold.result("a", "r"), one.odd_end, fold.error, fold.unanswered_call))
        again = Fold()
        for event in events:
            if type(event) is TextDelta:
                again.say(event.text)
            else:
                again.add(event)
        assert again.result("a", "r") == results[-1][1]
        assert again.unanswered_call == fold.unanswered_call
    assert all(result == results[0] for result in results)


def test_what_was_said_is_known_however_tools_came_between() -> None:
    call = {"type": "tool-call", "toolCallId": "c", "toolName": "f", "args": {"a": 1}}
    result = {"type": "tool-result", "toolCallId": "c", "toolName": "f", "result": [1]}
    piece, whole = WORDS["AI SDK 4"], WORDS["entry"]
    pieces = [piece("a"), call, result, piece("b"), call, piece("c"), piece("d"), result, piece("e")]
    for said in ("e", "cde", "cd", "bcde", "abcde", "new"):
        lines = lines_of(*pieces, whole(said), call, whole(said))
        results = []
        for size in (1, len(lines)):
            fold, events = Fold(), deque[Event]()
            one = Answering("ndjson", EventDecoder(), 1 << 20, fold)
            for at in range(0, len(lines), size):
                one.feed(b"".join(line + b"\n" for line in lines[at : at + size]), events)
            one.end(events)
            results.append((list(events), fold.result("a", "r")))
        assert results[0] == results[1]
        assert results[0][1].text == "abcde" + ("" if said in ("e", "abcde") else said * 2)


VALUES = st.none() | st.booleans() | st.integers() | st.text() | json_values


@given(st.data())
def test_no_variant_of_a_shape_is_lost(data: st.DataObject) -> None:
    """Fields that are missing, null or of another type, in every line of every service."""
    objects = [value for line in OTHERS if isinstance(value := _read(line), dict)]
    obj = copy.deepcopy(data.draw(st.sampled_from(objects)))
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = obj
        while place:
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
                break
            place = place[key]
        if place and data.draw(st.booleans()):
            place[key] = data.draw(VALUES)
        elif place:
            del place[key]
    lines = lines_of(obj, *data.draw(st.lists(st.sampled_from(OTHERS), max_size=2)), obj)
    events = EventDecoder().decode(lines)
    assert {line for line in lines if line.strip()} <= {event.line for event in events}
    for event in events:
        assert type(event) is not MalformedLine or not isinstance(_read(event.line), dict)
        assert type(event) is not TextDelta or isinstance(event.text, str)


def _read(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


# --- what is learned, and when not


def stream_of(lines: list[bytes], decoder: EventDecoder | None = None) -> Stream:
    stream = Stream()
    (decoder or EventDecoder()).extend([], lines, 1, stream)
    return stream


@pytest.mark.parametrize("shape", WORDS)
def test_a_form_is_learned(shape: str) -> None:
    form = stream_of(lines_of(*map(WORDS[shape], map(str, range(20))))).form
    assert form is not None
    assert form.is_whole is (shape in ("entry", "message"))


def test_long_lines_are_parsed_each() -> None:
    for size, learns in ((50, True), (500, False)):
        stream, events = Stream(), list[Event]()
        words = [f"{number} {'x' * size}" for number in range(100)]
        EventDecoder().extend(events, lines_of(*map(WORDS["text"], words)), 1, stream)
        assert events == [*map(TextDelta, words)]
        assert (stream.form is not None) is learns


@pytest.mark.parametrize("shape", UNKNOWN)
def test_a_form_of_an_unknown_type_is_learned_where_nothing_depends_on_what_differs(shape: str) -> None:
    form = stream_of(lines_of(*map(UNKNOWN[shape], map(str, range(20))))).form
    kind = {"thought": "reasoning-delta"}.get(shape, "status")
    learned = None if form is None else (form.unknown, form.is_whole)
    assert learned == ((kind, False) if shape in ("thought", "status", "nested", "two types") else None)


def test_words_behind_lines_of_an_unknown_type_find_their_own_form() -> None:
    thoughts, words = (lines_of(*map(shape, map(str, range(100)))) for shape in (UNKNOWN["thought"], WORDS["text"]))
    decoder, stream, forms = EventDecoder(), Stream(), []
    for lines in (thoughts, words, words, words):
        decoder.extend([], lines, 1, stream)
        forms.append(stream.form and stream.form.unknown)
    assert forms == ["reasoning-delta", None, None, None]
    assert stream.form is not None


def test_other_lines_among_those_of_an_unknown_type_are_read_by_themselves() -> None:
    thoughts, chunks = (lines_of(*map(WORDS_OR_NOT[shape], map(str, range(30)))) for shape in ("thought", "chunks"))
    decoder, stream, events = EventDecoder(), Stream(), list[Event]()
    decoder.extend(events, thoughts, 1, stream)
    decoder.extend(events, [*chunks[:5], *thoughts[:5]], 31, stream)
    same(events, in_batches([*thoughts, *chunks[:5], *thoughts[:5]], [1] * 40))
    assert [type(event) for event in events] == [UnknownEvent] * 30 + [TextDelta] * 5 + [UnknownEvent] * 5


@pytest.mark.parametrize(
    "line",
    [
        {"type": "text", "text": "text"},  # where the words are is not sure
        {"type": "text", "text": "a\n"},
        {"type": "odd", "text": "a"},
        {"type": "tool_call", "name": "f", "id": "a"},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}, "b"]},
        {"choices": [{"delta": {"content": "a", "tool_calls": [{"function": {"name": "f"}}]}}]},
        b"odd",
        b"\xff",
        b'data: {"type":',
    ],
)
def test_lines_of_which_no_form_is_learned(line: Any) -> None:
    assert stream_of(lines_of(*[line] * 30)).form is None


def test_a_form_is_looked_for_later_and_later() -> None:
    odd, words = lines_of({"type": "odd"})[0], lines_of({"type": "text", "text": "a"})[0]
    decoder, stream = EventDecoder(), Stream()
    learned = []
    for lines in ([odd] * 20, [words] * 20, [words] * 20, [odd] * 100, [words] * 20, [words] * 20):
        decoder.extend([], lines, 1, stream)
        learned.append(stream.form is not None)
    assert learned == [False, False, True, False, False, True]


def test_a_form_that_fits_few_lines_is_not_used_for_all() -> None:
    words, call = lines_of({"type": "text", "text": "a"}, {"type": "tool_call", "id": "c", "name": "f", "args": {}})
    decoder, stream, tried = EventDecoder(), Stream(), []
    for _ in range(10):
        decoder.extend([], [words, words, call, call] * 10, 1, stream)
        tried.append(stream._pause)
    assert stream.form is not None
    assert tried == [1, 0, 3, 2, 1, 0, 7, 6, 5, 4]  # nor compared with all: that is dear, too


def test_a_form_does_not_outlast_what_it_depends_on() -> None:
    content = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "a"}
    start = {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "user"}
    events = EventDecoder().decode(lines_of(*[content] * 20, start, *[content] * 20))
    assert [type(event) for event in events] == [TextDelta] * 20 + [UnknownEvent] * 21
    named = [*lines_of(*[{"type": "text", "text": "a"}] * 20), b"event: token", *[b'data: "b"'] * 20, b"data: {"]
    assert [type(event) for event in EventDecoder().decode(named)][20:] == [
        UnknownEvent,
        *[TextDelta] * 20,
        MalformedLine,
    ]


def test_registering_is_heeded_in_the_middle_of_a_stream() -> None:
    decoder, stream, events = EventDecoder(), Stream(), list[Event]()
    lines = lines_of(*[{"type": "text", "text": "a"}] * 20)
    decoder.extend(events, lines, 1, stream)
    decoder.register("text", lambda obj, line: TextDelta("b", line=line))
    decoder.extend(events, lines, 21, stream)
    assert events == [TextDelta("a")] * 20 + [TextDelta("b")] * 20


def test_a_function_of_the_users_is_called_once_a_line() -> None:
    seen: list[bytes] = []

    def mine(obj: dict[str, Any], line: bytes) -> Event:
        seen.append(line)
        return TextDelta(obj["said"], line=line)

    decoder = EventDecoder()
    decoder.register("mine", mine)
    lines = lines_of(*({"type": "mine", "said": f"{number}"} for number in range(50)))
    assert decoder.decode(lines) == [TextDelta(f"{number}") for number in range(50)]
    assert seen == lines
    blocks = lines_of(*[{"role": "assistant", "content": [{"type": "mine", "said": "a"}]}] * 50)
    assert decoder.decode(blocks) == [TextDelta("a")] * 50
    assert seen == lines + blocks
    assert stream_of(lines_of(*[{"type": "text", "text": "a"}] * 50), decoder).form is not None


def test_an_unknown_type_may_have_an_error_on_a_later_line() -> None:
    odd: dict[str, Any] = {"type": "odd", "state": "x"}
    events = EventDecoder().decode(lines_of(odd, odd, {"type": "odd", "error": "no"}, {"type": "odd", "error": None}))
    assert [type(event) for event in events] == [UnknownEvent, UnknownEvent, ErrorEvent, UnknownEvent]


def test_calls_and_results_with_the_same_fields_are_read_alike() -> None:
    calls = [
        {"type": "tool-call", "toolCallId": f"c{n}", "toolName": "f", "args": args} for n, args in enumerate("12x")
    ]
    assert EventDecoder().decode(lines_of(*calls)) == [
        ToolCall("c0", "f", 1),
        ToolCall("c1", "f", 2),
        ToolCall("c2", "f", "x"),
    ]


def test_many_types_take_no_endless_memory() -> None:
    def spelled(name: str) -> list[str]:
        return ["".join(c.upper() if n >> at & 1 else c for at, c in enumerate(name)) for n in range(1000)]

    calls = [{"type": name, "id": "c", "name": "f", "args": {}} for name in spelled("tool_call")]
    words = [{"type": name, "delta": "a"} for name in (*spelled("text_delta"), *spelled("output_text"))]
    odd = [{"type": name} for name in spelled("other_types")]
    decoder = EventDecoder()
    for obj in [*words, *calls, *odd]:
        decoder.decode(lines_of(obj))
    learned = (decoder._words, decoder._piece_words, decoder._plans, decoder._unknown)
    assert list(map(len, learned)) == [200] * 4


def test_a_form_helps_where_lines_come_one_by_one() -> None:
    lines = lines_of(*({"choices": [{"delta": {"content": f"{number}"}}]} for number in range(40)))
    decoder, stream, events = EventDecoder(), Stream(), list[Event]()
    decoder.extend(events, lines[:20], 1, stream)
    for number, line in enumerate(lines[20:], 21):
        decoder.extend(events, [line], number, stream)
    assert events == [TextDelta(f"{number}") for number in range(40)]


def test_what_is_no_json_among_lines_of_a_form() -> None:
    words, odd = lines_of({"type": "text", "text": "a"}, {"type": "odd"})
    bad = b'{"type": "text", "text": "\x01"}'
    events = EventDecoder().decode([*[words] * 20, odd, words, bad, words])
    assert [type(event) for event in events[20:]] == [UnknownEvent, TextDelta, MalformedLine, TextDelta]


@pytest.mark.parametrize("rare", ["\x7f", "\x7f\x7f", "a\x7fb", '"', "\\", "\n"])
@pytest.mark.parametrize("place", [0, 1, 20, 24, 25, 26, 47, 49])
def test_rare_characters_among_words_and_other_lines(rare: str, place: int) -> None:
    texts = [f"word {number}" for number in range(50)]
    texts[place] = rare
    values = [{"type": "text", "text": text} for text in texts]
    values[25:25] = [{"type": "odd", "text": text} for text in ("\x7f", "x")]
    lines = [json.dumps(value, ensure_ascii=False).encode() for value in values]
    same(at_once(lines * 2), in_batches(lines * 2, [1] * len(lines) * 2))


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (
            {"type": "tool_call", "id": "c", "name": "f", "args": {}},
            {"type": "tool_call", "id": "c", "name": "f", "args": None},
        ),
        (
            {"type": "tool_call", "id": "c", "name": "f", "args": {}},
            {"type": "tool_call", "id": 5, "name": "f", "args": {}},
        ),
        ({"type": "tool_call", "id": "c", "name": "f", "args": {}}, {"type": "tool_call", "id": "c", "name": "f"}),
        ({"type": "tool_result", "id": "c", "content": 1}, {"type": "tool_result", "id": "c", "content": None}),
        ({"type": "tool_result", "id": "c", "content": 1}, {"type": "tool_result", "id": "c", "output": 1}),
        (
            {"type": "tool_result", "id": "c", "content": 1},
            {"type": "tool_result", "id": "c", "content": {"type": "text"}},
        ),
    ],
)
def test_a_line_that_is_not_as_the_others_of_its_type(first: dict[str, Any], then: dict[str, Any]) -> None:
    (expected,) = EventDecoder().decode(lines_of(then))
    assert EventDecoder().decode(lines_of(first, first, then))[-1] == expected


def test_calls_and_results_of_one_type_may_be_spelled_in_every_way_by_turns() -> None:
    calls = [
        {"type": "tool_call", id_: "c", name: "f", arguments: {"a": 1}}
        for id_, name, arguments in itertools.product(ID_KEYS, NAME_KEYS, ARGUMENT_KEYS)
    ]
    results = [
        {"type": "tool_result", id_: "c", content: [1], **more}
        for id_, content, more in itertools.product(ID_KEYS, CONTENT_KEYS, ({}, {"name": "f"}, {"is_error": True}))
    ]
    for spelled in (calls, results):
        each = {line: EventDecoder().decode([line])[0] for line in lines_of(*spelled)}
        for first in each:
            decoder = EventDecoder()
            for line, event in each.items():
                assert decoder.decode([first, line]) == [each[first], event]


def test_a_batch_may_begin_with_other_lines() -> None:
    words, odd = lines_of({"type": "text", "text": "a"}, {"type": "odd"})
    decoder, stream, events = EventDecoder(), Stream(), list[Event]()
    decoder.extend(events, [words] * 20, 1, stream)
    decoder.extend(events, [odd, odd, *[words] * 20], 21, stream)
    assert [type(event) for event in events[20:]] == [UnknownEvent] * 2 + [TextDelta] * 20
