from __future__ import annotations

from typing import Any

import pytest

from toolhouse_async._wire.words import block_text, entry_text, is_thought, normal


@pytest.mark.parametrize("spelling", ["text_delta", "TEXT-DELTA", "Text.Delta"])
def test_how_types_are_compared(spelling: str) -> None:
    assert normal(spelling) == "text_delta"


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ("a", "a"),
        ({"text": "a"}, "a"),
        ({"type": "text", "text": ""}, ""),
        ({"type": "reasoning_text", "text": "a"}, None),
        ({"type": ["text"], "text": "a"}, None),
        ({"type": "text", "text": ["a"]}, None),
        ({"type": "text", "text": "a", "thought": True}, None),
        ({"type": "refusal", "refusal": "a"}, "a"),
        ({"type": "refusal", "text": "a"}, None),
        ({}, None),
        (None, None),
        (["a"], None),
    ],
)
def test_the_text_of_a_block(block: Any, text: str | None) -> None:
    assert block_text(block) == text


@pytest.mark.parametrize(
    ("obj", "thought"),
    [
        ({"type": "thinking_delta"}, True),
        ({"type": "response.reasoning_summary_text.delta"}, True),
        ({"type": "Thought"}, True),
        ({"thought": True}, True),
        ({"thought": "true"}, False),
        ({"type": "text_delta"}, False),
        ({"type": 5}, False),
        ({}, False),
    ],
)
def test_what_is_a_thought(obj: dict[str, Any], thought: bool) -> None:
    assert is_thought(obj) is thought


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"content": "a", "parts": [{"text": "b"}]}, "a"),
        ({"content": "", "parts": [{"type": "text", "text": "b"}, {"type": "reasoning", "text": "c"}, "d"]}, "bd"),
        ({"content": None, "refusal": "a"}, "a"),
        ({"content": [{"text": "a"}, {"type": "refusal", "refusal": "b"}], "refusal": "c"}, "ab"),
        ({"parts": 5}, ""),
        ({}, ""),
        ("odd", ""),
    ],
)
def test_the_text_of_an_entry(entry: Any, text: str) -> None:
    assert entry_text(entry.get("content") if isinstance(entry, dict) else None, entry) == text
