from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from tests.support.answers import text
from tests.support.raw_server import ndjson
from toolhouse_async import (
    EventDecoder,
    LineTooLongError,
    MalformedEventError,
    MalformedLine,
    TextDelta,
    ToolCall,
    UnknownEvent,
)
from toolhouse_async._turn.answering import Answering
from toolhouse_async._turn.fold import Fold
from toolhouse_async.events import Event

LIMIT = 60


def answering(
    format_: Literal["ndjson", "text"] = "ndjson", decoder: EventDecoder | None = None, limit: int = LIMIT
) -> tuple[Answering, Fold]:
    fold = Fold()
    return Answering(format_, decoder or EventDecoder(), limit, fold), fold


def read(one: Answering, *pieces: bytes, cut: bool = False) -> list[Event]:
    """What the pieces of a body give, which comes to its end or is cut."""
    events: deque[Event] = deque()
    for piece in pieces:
        one.feed(piece, events)
    (one.cut if cut else one.end)(events)
    return list(events)


def read_until(error: type[Exception], one: Answering, *pieces: bytes) -> tuple[list[Event], Any]:
    events: deque[Event] = deque()
    with pytest.raises(error) as caught:
        for piece in pieces:
            one.feed(piece, events)
    return list(events), caught.value


def calls(fold: Fold) -> Sequence[ToolCall]:
    return [exchange.call for exchange in fold.result("a", "r").tool_calls]


def test_lines_across_pieces() -> None:
    one, fold = answering()
    assert read(one, b'{"type": "te', b'xt", "text": "a"}\n{"type"', b': "text", "text": "b"}\n') == [
        TextDelta("a"),
        TextDelta("b"),
    ]
    assert fold.round_text == "ab"
    assert not one.odd_end
    assert not one.shows_no_tools


def test_characters_across_pieces() -> None:
    data = "aé€😀".encode()
    one, fold = answering("text")
    assert read(one, *(data[n : n + 1] for n in range(len(data)))) == [TextDelta(c) for c in "aé€😀"]
    assert fold.round_text == "aé€😀"
    assert not one.odd_end
    assert one.shows_no_tools


def test_an_end_within_a_character_is_odd() -> None:
    one, fold = answering("text")
    assert read(one, b"a\xe2\x82") == [TextDelta("a")]
    assert one.odd_end
    assert fold.round_text == "a"


def test_bytes_that_are_no_characters_within_a_text_are_shown_as_such() -> None:
    one, _ = answering("text")
    assert read(one, b"a\xffb") == [TextDelta("a\N{REPLACEMENT CHARACTER}b")]
    assert not one.odd_end


@pytest.mark.parametrize(
    ("last", "odd"),
    [(b"", False), (b"\n\n", False), (b'{"type": "text", "text": "b"}', False), (b'{"type": "te', True), (b'"b', True)],
)
def test_an_end_within_a_line_is_odd_unless_it_is_whole(last: bytes, odd: bool) -> None:
    one, fold = answering()
    events = read(one, ndjson(text("a")) + last)
    assert events[0] == TextDelta("a")
    assert one.odd_end is odd
    assert fold.malformed == odd
    assert [type(event) for event in events[1:]] in ([], [TextDelta], [MalformedLine])


def test_a_bad_line_amid_others_is_not_an_odd_end() -> None:
    one, fold = answering()
    events = read(one, b"nonsense\n" + ndjson(text("a")))
    assert [type(event) for event in events] == [MalformedLine, TextDelta]
    assert isinstance(events[0], MalformedLine)
    assert events[0].number == 1
    assert not one.odd_end
    assert fold.malformed == 1


def test_before_a_cut_what_was_whole_is_given() -> None:
    one, _ = answering()
    assert read(one, ndjson(text("a")), b'{"type": "text", "text": "b"}', cut=True) == [TextDelta("a"), TextDelta("b")]


@pytest.mark.parametrize("half", [b'{"type": "te', b'"b"', b"12", b"nonsense"])
def test_half_a_line_before_a_cut_is_no_event(half: bytes) -> None:
    one, fold = answering()
    assert read(one, ndjson(text("a")), half, cut=True) == [TextDelta("a")]
    assert fold.malformed == 0


def test_half_a_character_before_a_cut_is_no_event() -> None:
    one, _ = answering("text")
    assert read(one, b"a\xe2\x82", cut=True) == [TextDelta("a")]


@pytest.mark.parametrize("line", [b'data: {"type":"text","text":"b"}', b'0:"b"'])
def test_a_last_line_behind_a_prefix_is_given_before_a_cut(line: bytes) -> None:
    for size, events in ((len(line), [TextDelta("a"), TextDelta("b")]), (len(line) - 1, [TextDelta("a")])):
        one, _ = answering()
        assert read(one, ndjson(text("a")) + line[:size], cut=True) == events


@pytest.mark.parametrize("tail", [b"", b"\n", b"\n" + ndjson(text("c"))])
def test_a_line_above_the_limit_comes_after_what_stood_before_it(tail: bytes) -> None:
    one, fold = answering()
    events, error = read_until(LineTooLongError, one, ndjson(text("a")) + b'"' + b"x" * LIMIT + b'"' + tail)
    assert events == [TextDelta("a")]
    assert fold.round_text == "a"
    assert f"line 2 is longer than Limits.max_line ({LIMIT} bytes)" in str(error)


def test_text_has_no_lines_to_be_too_long() -> None:
    one, fold = answering("text")
    read(one, b"x" * 1000)
    assert len(fold.round_text) == 1000


def test_a_strict_decoder_raises_after_what_stood_before() -> None:
    one, fold = answering(decoder=EventDecoder(strict=True))
    events, _ = read_until(MalformedEventError, one, ndjson(text("a")) + b"nonsense\n")
    assert events == [TextDelta("a")]
    assert fold.round_text == "a"


def test_a_shape_of_the_users_own_that_raises() -> None:
    def broken(obj: Any, line: bytes) -> None:
        raise LookupError("theirs")

    decoder = EventDecoder()
    decoder.register("mine", broken)
    one, fold = answering(decoder=decoder)
    events, _ = read_until(LookupError, one, ndjson(text("a"), {"type": "mine"}))
    assert events == [TextDelta("a")]
    assert fold.round_text == "a"


BEGUN = ndjson({"choices": [{"delta": {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{"}}]}}]})


def test_a_call_in_pieces_is_whole_at_the_end() -> None:
    rest = b'{"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "}"}}]}}]}'
    one, fold = answering(limit=1000)
    assert read(one, BEGUN, rest)[-1] == ToolCall("c", "f", {})
    assert calls(fold) == [ToolCall("c", "f", {})]


def test_half_a_call_of_a_cut_answer_is_none() -> None:
    one, fold = answering(limit=1000)
    assert [type(event) for event in read(one, BEGUN, cut=True)] == [UnknownEvent]
    assert calls(fold) == []


WORDS, OTHER = b'{"type": "text", "text": "a"}', b'{"type": "status", "step": 1}'


@pytest.mark.parametrize(
    "odd",
    [
        b'{"type": "text", "text": "a", "error": "x"}',
        b'{"type": "text", "text": 1}',
        b'{"type": "text"}',
        b'{"type": "status", "error": "x"}',
        b'{"type": "status", "errorText": "x"}',
        b'{"type": ["text"], "text": "a"}',
        b'{"text": "a"}',
        b'[{"type": "text"}]',
        b'"text"',
        b"7",
        b"{",
        b"",
        b'data: {"type": "text",',
        b'data: "text": "b"}',
        b'{"type": "tool_call", "id": "1", "name": "f", "arguments": {}}',
        b'{"role": "assistant", "content": "aa"}',
        b'{"type": "text", "text": "\xff"}',
    ],
)
def test_a_line_that_comes_alone_is_what_it_is_among_others(odd: bytes) -> None:
    lines = [each + b"\n" for each in (WORDS, OTHER, odd, WORDS, OTHER, odd, odd, OTHER, WORDS, WORDS)]
    together, at_once = answering(limit=1000)
    apart, one_by_one = answering(limit=1000)
    assert read(apart, *lines) == read(together, b"".join(lines))
    assert one_by_one.result("a", "r") == at_once.result("a", "r")
    assert one_by_one.unanswered_call == at_once.unanswered_call


def test_many_lines_that_come_alone_are_summed_up() -> None:
    """A whole message at the end that says once more what was said in pieces is known as such."""
    pieces = [b'{"type": "text", "text": "%d "}\n' % number for number in range(250)]
    whole = "".join(f"{number} " for number in range(250)).encode()
    one, fold = answering(limit=10_000)
    events = read(one, *pieces, b'{"role": "assistant", "content": "%s"}\n' % whole)
    assert [type(event) for event in events] == [*[TextDelta] * 250, UnknownEvent]
    assert fold.round_text == whole.decode()


def test_lines_that_come_two_by_two_are_both_read() -> None:
    one, fold = answering()
    assert read(one, ndjson(text("a")), ndjson(text("b"), text("c"))) == [TextDelta(c) for c in "abc"]
    assert fold.round_text == "abc"


def test_a_call_in_pieces_whose_last_line_is_whole_is_whole_at_the_end() -> None:
    rest = b'{"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "}"}}]}}]}\n'
    one, _ = answering(limit=1000)
    assert read(one, BEGUN, rest)[-1] == ToolCall("c", "f", {})


@pytest.mark.parametrize("cut", [False, True])
def test_data_on_lines_that_are_none_together_are_given_at_the_end(cut: bool) -> None:
    one, fold = answering(limit=1000)
    events = read(one, b'data: {"type": "text",\n', cut=cut)
    assert [type(event) for event in events] == ([] if cut else [MalformedLine])
    assert one.odd_end is not cut
    assert fold.malformed == len(events)


@pytest.mark.parametrize("cut", [False, True])
def test_data_on_several_lines_that_are_one_together_are_given_before_a_cut_too(cut: bool) -> None:
    one, _ = answering(limit=1000)
    events = read(one, b'data: {"type": "text",\n', b'data: "text": "b"}\n', cut=cut)
    assert events == [UnknownEvent(None, 'data: {"type": "text",'), TextDelta("b")]


CALL = {"type": "tool_call", "id": "1", "name": "f", "arguments": {}}
MOOD = {"type": "mood", "value": 1}


@pytest.mark.parametrize(
    ("pieces", "is_open"),
    [
        ([ndjson(text("a"), CALL)], True),
        ([ndjson(CALL, text("a"))], False),
        ([ndjson(CALL), ndjson(text("a"), text("b"))], False),
        ([ndjson(CALL), ndjson(text("a"))], False),
        ([ndjson(CALL), ndjson({"type": "error", "message": "x"})], False),
        ([ndjson({"type": "error", "message": "x"})], False),
        ([ndjson(CALL, MOOD)], False),
        ([ndjson(MOOD, CALL)], True),
        ([ndjson(CALL), ndjson(MOOD, MOOD)], False),
        ([ndjson(CALL), ndjson(MOOD)], False),
    ],
)
def test_whether_a_call_without_a_result_came_last(pieces: list[bytes], is_open: bool) -> None:
    one, fold = answering(limit=1000)
    read(one, *pieces)
    assert fold.unanswered_call is is_open
