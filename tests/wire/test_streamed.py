"""Pieces of calls and of messages: which belong together, and where what they make stands."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.services import lines_of
from toolhouse_async._wire.decode import EventDecoder
from toolhouse_async._wire.learned import Stream
from toolhouse_async.events import Event, TextDelta, ToolCall, UnknownEvent


def read(*values: dict[str, Any]) -> list[Event]:
    """What a stream of these objects gives, but for what is unknown."""
    return [event for event in EventDecoder().decode(lines_of(*values)) if type(event) is not UnknownEvent]


def start(message: str, role: str) -> dict[str, Any]:
    return {"type": "TEXT_MESSAGE_START", "messageId": message, "role": role}


def content(message: str | None, words: str, **more: Any) -> dict[str, Any]:
    own = {} if message is None else {"messageId": message}
    return {"type": "TEXT_MESSAGE_CONTENT", **own, "delta": words, **more}


def end(message: str) -> dict[str, Any]:
    return {"type": "TEXT_MESSAGE_END", "messageId": message}


def call(kind: str, id_: str | None = None, name: str | None = None, delta: str | None = None) -> dict[str, Any]:
    told = {"toolCallId": id_, "toolCallName": name, "delta": delta}
    return {"type": f"TOOL_CALL_{kind}", **{key: value for key, value in told.items() if value is not None}}


def chunk(*choices: dict[str, Any]) -> dict[str, Any]:
    return {"choices": list(choices)}


def piece(index: Any, arguments: Any = None, *, id_: str | None = None, name: str | None = None) -> dict[str, Any]:
    function = {key: value for key, value in {"name": name, "arguments": arguments}.items() if value is not None}
    return {"index": index, **({} if id_ is None else {"id": id_}), "function": function}


def pieces(*calls: dict[str, Any]) -> dict[str, Any]:
    return chunk({"index": 0, "delta": {"tool_calls": list(calls)}})


# Messages in somebody's name


def test_messages_side_by_side_are_told_apart() -> None:
    assert read(
        start("mine", "user"),
        start("yours", "assistant"),
        content("mine", "a"),
        content("yours", "b"),
        content("mine", "c"),
        content("yours", "d"),
    ) == [TextDelta("b"), TextDelta("d")]


def test_an_id_may_be_used_again() -> None:
    assert read(start("m", "user"), content("m", "a"), end("m"), content("m", "b")) == [TextDelta("b")]
    assert read(start("m", "user"), start("m", "assistant"), content("m", "b")) == [TextDelta("b")]


def test_a_chunk_may_name_whose_it_is() -> None:
    assert read(content("m", "a", role="user"), content("m", "b"), content("n", "c", role="assistant")) == [
        TextDelta("c")
    ]


def test_a_piece_without_an_id_is_of_the_latest_message() -> None:
    assert read(start("m", "user"), content(None, "a"), start("n", "assistant"), content(None, "b")) == [TextDelta("b")]


def test_streams_do_not_share_whose_messages_are_open() -> None:
    decoder = EventDecoder()
    one, other = Stream(), Stream()
    events: list[Event] = []
    decoder.extend(events, lines_of(start("m", "user")), 1, one)
    decoder.extend(events, lines_of(content("m", "heard")), 1, other)
    decoder.extend(events, lines_of(content("m", "not heard")), 2, one)
    assert [event for event in events if type(event) is TextDelta] == [TextDelta("heard")]


# AG-UI's calls


def test_a_call_is_whole_where_it_ends() -> None:
    assert read(
        call("START", "c1", "f"), call("ARGS", "c1", delta='{"a": 1}'), call("END", "c1"), content(None, "then")
    ) == [ToolCall("c1", "f"), ToolCall("c1", "f", {"a": 1}), TextDelta("then")]


def test_chunks_of_a_call_that_is_over_are_not_another_s() -> None:
    assert read(
        call("CHUNK", "c1", "f", '{"a":'),
        call("CHUNK", "c1", delta=" 1}"),
        call("CHUNK", "c2", "g", '{"b":'),
        call("CHUNK", "c1", delta=" 3"),
        call("CHUNK", delta=" 2}"),
    ) == [ToolCall("c1", "f", {"a": 1}), ToolCall("c2", "g", {"b": 2})]


# Anthropic's blocks


@pytest.mark.parametrize("indices", [(0, 1), ("a", "b"), (0, None)])
def test_pieces_of_two_blocks(indices: tuple[Any, Any]) -> None:
    blocks = [
        {"type": "content_block_start", "index": index, "content_block": {"type": "tool_use", "id": id_, "name": "f"}}
        for index, id_ in zip(indices, ("c1", "c2"), strict=True)
    ]
    deltas = [
        {
            "type": "content_block_delta",
            "index": indices[at],
            "delta": {"type": "input_json_delta", "partial_json": said},
        }
        for at, said in ((0, '{"a":'), (1, '{"b":'), (0, "1}"), (1, "2}"))
    ]
    stops = [{"type": "content_block_stop", "index": index} for index in indices]
    assert read(*blocks, *deltas, *stops) == [ToolCall("c1", "f", {"a": 1}), ToolCall("c2", "f", {"b": 2})]


# OpenAI's chunks


def test_other_choices_are_passed_over() -> None:
    one, other = {"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}
    assert read(chunk(other, one), chunk(one, other)) == [TextDelta("a"), TextDelta("a")]


def test_words_beside_words() -> None:
    assert read(chunk({"index": 0, "text": "a", "delta": {"content": "b"}})) == [TextDelta("a"), TextDelta("b")]


def test_pieces_of_two_calls() -> None:
    assert read(
        pieces(piece(0, '{"a":', id_="c1", name="f"), piece(1, '{"b":', id_="c2", name="g")),
        pieces(piece(1, "2}"), piece(0, "1}")),
    ) == [ToolCall("c1", "f", {"a": 1}), ToolCall("c2", "g", {"b": 2})]


def test_a_call_whose_name_comes_with_each_piece() -> None:
    assert read(
        pieces(piece(0, '{"a":', id_="c1", name="f")), pieces(piece(0, "1}", id_="c1", name="f")), pieces(piece(0))
    ) == [ToolCall("c1", "f", {"a": 1})]


def test_calls_that_take_the_places_of_others() -> None:
    assert read(
        pieces(piece(0, "{}", id_="c1", name="f"), piece(1, "{}", id_="c2", name="g")),
        pieces(piece(0, "[]", id_="c3", name="f"), piece(1, "[]", id_="c4", name="g")),
    ) == [ToolCall("c1", "f", {}), ToolCall("c2", "g", {}), ToolCall("c3", "f", []), ToolCall("c4", "g", [])]


def test_what_is_no_piece_is_passed_over() -> None:
    assert read(pieces(piece("0", "{}", name="f"), piece(0, "{}", id_="c1", name="f"))) == [ToolCall("c1", "f", {})]


def test_arguments_that_are_no_text() -> None:
    assert read(pieces(piece(0, {"a": 1}, id_="c1", name="f")), pieces(piece(0)), pieces(piece(0, ""))) == [
        ToolCall("c1", "f", {"a": 1})
    ]
    assert read(pieces(piece(0, {"a": 1})), pieces(piece(0, id_="c1", name="f"))) == [ToolCall("c1", "f")]
