"""A turn of another process, as one reading shows it."""

from __future__ import annotations

from typing import Any

import pytest

from toolhouse_async import EventDecoder, Message, ToolCall, ToolResult
from toolhouse_async._turn.heard import Said
from toolhouse_async._turn.others import Others, OthersTurn
from toolhouse_async._turn.reading import Sight
from toolhouse_async._wire.entries import End


def entry(role: str, content: Any = "", **more: Any) -> Message:
    return Message(role, content, {"role": role, "content": content, **more})


GO, WAIT, DONE, RESUME = entry("user", "go"), entry("assistant", "wait"), entry("assistant", "done"), entry("user")
RESULT = entry("tool", "7", tool_call_id="c1")


def turn_in(*entries: Message, message: str | None = None, resume: str = "") -> OthersTurn:
    turn = Others(message, resume).turn_in(entries)
    assert turn is not None
    return turn


def rounds(turn: OthersTurn) -> tuple[str, ...]:
    return turn.fold(EventDecoder()).result("a", "r").rounds


@pytest.mark.parametrize(
    ("message", "words", "text", "is_last"),
    [
        ("go", "go", "wait", False),
        ("and", "and", "done", True),
        (" a nd", "and", "done", True),
        (None, "and", "done", True),
    ],
)
def test_which_turn_it_is(message: str | None, words: str, text: str, *, is_last: bool) -> None:
    turn = turn_in(GO, WAIT, entry("user", "and"), DONE, message=message)
    assert (turn.words, turn.reply.text, turn.is_last) == (words, text, is_last)


@pytest.mark.parametrize("message", ["else", " go", ""])
def test_a_message_that_is_not_there(message: str) -> None:
    others = Others(message, "")
    assert others.turn_in((GO, WAIT, entry("user", "and"), DONE)) is None
    assert others.turn_in(()) is None
    assert others.find((), Said(message), "").sight is Sight.LAGS


def test_a_conversation_without_a_message() -> None:
    assert turn_in(RESUME, DONE, message="").words is None
    assert Others(None, "").turn_in((RESUME, DONE)) is None
    turn = turn_in(WAIT, entry("user", "on"), DONE, message="", resume="on")
    assert rounds(turn) == ("wait", "done")


def test_a_round_behind_each_resume() -> None:
    assert rounds(turn_in(GO, WAIT, RESULT, RESUME, DONE)) == ("wait", "done")
    assert rounds(turn_in(GO, WAIT, RESULT, entry("user", "on"), DONE, resume="on")) == ("wait", "done")
    assert rounds(turn_in(GO, WAIT, RESULT, DONE)) == ("waitdone",)
    assert rounds(turn_in(GO, RESUME, DONE)) == ("done",)


def test_a_message_that_says_what_resumes_say() -> None:
    assert turn_in(GO, WAIT, entry("user", "on"), DONE, message="on", resume="on").reply.text == "done"


@pytest.mark.parametrize(
    ("entries", "is_resumed", "end"),
    [
        ((GO,), False, End.NOTHING),
        ((GO, WAIT), False, End.WORDS),
        ((GO, WAIT, RESULT), False, End.TOOL),
        ((GO, WAIT, RESULT, RESUME), True, End.NOTHING),
        ((GO, WAIT, RESULT, entry("user", "on")), True, End.NOTHING),
        ((GO, WAIT, RESULT, RESUME, DONE), False, End.WORDS),
    ],
)
def test_whether_a_resume_stands_last(entries: tuple[Message, ...], end: End, *, is_resumed: bool) -> None:
    turn = turn_in(*entries, resume="on")
    assert (turn.is_resumed, turn.reply.end) == (is_resumed, end)


def test_nobody_waits_where_others_have_gone_on() -> None:
    assert turn_in(GO, WAIT, RESULT, entry("user", "and"), message="go").reply.end is End.NOTHING


def test_what_tools_were_asked_and_have_said() -> None:
    call = entry("assistant", "let me see", tool_calls=[{"id": "c1", "function": {"name": "f", "arguments": "{}"}}])
    item = Message("", None, {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"})
    turn = turn_in(GO, call, RESULT, item, Message("", "odd", "odd"), DONE)
    first, second = turn.fold(EventDecoder()).result("a", "r").tool_calls
    assert (first.call, first.result) == (ToolCall("c1", "f", {}), ToolResult("c1", None, "7", is_error=False))
    assert (second.call, second.result) == (ToolCall("c2", "g", {}), None)
    assert turn.has_results
    assert not turn_in(GO, call, DONE).has_results


def test_what_nobody_here_can_explain() -> None:
    found = Others("go", "").find((GO, WAIT, entry("human", "and"), DONE), Said("go"), "")
    assert found.sight is Sight.ODD
    assert Others("go", "").find((entry("system", "be kind"), GO, DONE), Said("go"), "").sight is Sight.ARRIVED


def test_words_that_differ_in_white_space_are_the_last_ones_alone() -> None:
    entries = (GO, WAIT, entry("user", "and"), DONE, entry("user", "more"), WAIT)
    assert turn_in(*entries, message="mo re").words == "more"
    assert Others("an d", "").turn_in(entries) is None


def test_a_message_without_words_is_no_resume_that_has_some() -> None:
    assert turn_in(GO, WAIT, entry("user", "on"), DONE, resume="").words == "on"


def test_what_stands_there_beside_what_nobody_can_explain() -> None:
    found = Others("go", "").find((GO, WAIT, entry("human", "and"), DONE), Said("go"), "")
    assert found.reply is not None
    assert found.reply.text == "waitdone"


def test_words_behind_a_call_come_last() -> None:
    call = entry("assistant", "let me see", tool_calls=[{"id": "c1", "function": {"name": "f", "arguments": "{}"}}])
    assert not turn_in(GO, call, DONE).fold(EventDecoder()).unanswered_call
