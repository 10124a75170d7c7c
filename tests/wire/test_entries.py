from __future__ import annotations

from typing import Any

import pytest

from toolhouse_async._values.results import Message
from toolhouse_async._wire.entries import End, how_it_ends, is_message, is_of_a_turn


def entry(role: str, content: Any = None, **more: Any) -> Message:
    return Message(role, content, {"role": role, "content": content, **more})


RESULT = {"type": "tool_result", "content": "x"}
WORDS = {"type": "text", "text": "words"}
CALL = {"type": "tool_use", "id": "1"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("hi", True),
        ("", True),
        (None, True),
        ([], True),
        ([WORDS], True),
        ([RESULT], False),
        ([RESULT, {"type": "Tool-Output"}], False),
        ([RESULT, WORDS], True),
        (RESULT, False),
        ([{"toolResult": {}}], False),
        (["hi"], True),
    ],
)
def test_a_user_s_entry_that_holds_only_results_is_no_message(content: Any, expected: bool) -> None:
    assert is_message(entry("user", content)) is expected
    assert not is_message(entry("assistant", content))


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (entry("user", "hi"), True),
        (entry("assistant"), True),
        (entry("tool", "x"), True),
        (entry("function", "x"), True),
        (Message("", None, {"type": "function_call_output"}), True),
        (Message("", "x", {"type": "tool-result", "content": "x"}), True),
        (Message("", None, {"type": "reasoning"}), True),
        (Message("", "words", "words"), False),
        (entry("system", "They have talked."), False),
        (entry("human", "hi"), False),
        (entry("human", ""), False),
    ],
)
def test_what_is_in_a_name_that_nobody_knows_is_of_no_turn(each: Message, expected: bool) -> None:
    assert is_of_a_turn(each) is expected


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (entry("assistant", "words"), End.WORDS),
        (entry("assistant", [WORDS]), End.WORDS),
        (entry("assistant", ""), End.NOTHING),
        (entry("assistant", None), End.NOTHING),
        (Message("assistant", "words", "odd"), End.WORDS),
        (entry("assistant", "words", tool_calls=[{"id": "1"}]), End.CALL),
        (entry("assistant", "words", tool_calls=[]), End.WORDS),
        (entry("assistant", None, function_call={"name": "f"}), End.CALL),
        (entry("assistant", [WORDS, CALL]), End.CALL),
        (entry("assistant", [CALL, WORDS]), End.CALL),
        (entry("assistant", [WORDS, CALL, RESULT]), End.TOOL),
        (entry("assistant", [CALL, RESULT, WORDS]), End.WORDS),
        (entry("assistant", [{"type": "tool-f", "toolCallId": "1", "input": {}}]), End.CALL),
        (entry("assistant", [{"type": "tool-f", "toolCallId": "1", "output": "x"}]), End.TOOL),
        (entry("assistant", [{"type": "mcp_call", "name": "f", "output": "x"}]), End.TOOL),
        (entry("assistant", [{"type": "mcp_call", "name": "f"}, WORDS]), End.CALL),
        (entry("assistant", None, parts=[WORDS, {"type": "tool-f", "toolCallId": "1"}]), End.CALL),
        (entry("assistant", None, parts=[{"type": "tool-f", "toolCallId": "1", "output": 1}, WORDS]), End.WORDS),
        (entry("tool", [{"type": "tool-error", "toolCallId": "1", "error": "no"}]), End.TOOL),
        (entry("assistant", [CALL, {"type": "web_search_tool_result"}]), End.TOOL),
        (entry("user", [RESULT]), End.TOOL),
        (entry("tool", "x"), End.TOOL),
        (entry("user", ""), End.NOTHING),
        (Message("", None, {"type": "function_call", "name": "f"}), End.CALL),
        (Message("", None, {"type": "function_call_output"}), End.TOOL),
        (Message("", None, {"type": 7}), End.TOOL),
    ],
)
def test_what_stands_last(last: Message, expected: End) -> None:
    assert how_it_ends([entry("assistant", "before"), last]) is expected


def test_nothing_stands_where_there_are_no_entries() -> None:
    assert how_it_ends([]) is End.NOTHING
