from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolhouse_async.web._openai.messages import Said, last_of_user, one_message, read_messages
from toolhouse_async.web._openai.refusals import RefusedError

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def read(*messages: Any) -> list[tuple[str, str]]:
    return [(each.role, each.text) for each in read_messages(list(messages), "messages")]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_text_in_all_its_forms() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]
    answer = {"role": "assistant", "content": [{"type": "output_text", "text": "c"}], "tool_calls": []}
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "d"}], "tool_calls": None}
    assert read(user(parts), user(""), answer, refusal) == [
        ("user", "a\nb"),
        ("user", ""),
        ("assistant", "c"),
        ("assistant", "d"),
    ]
    assert read({"role": "developer", "content": "x"}, {"role": "system", "content": "y", "name": "z"}) == [
        ("developer", "x"),
        ("system", "y"),
    ]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("Hello", "messages[0]"),
        (None, "messages[0]"),
        ({}, "messages[0].role"),
        ({"role": "critic", "content": "x"}, "messages[0].role"),
        ({"role": ["user"], "content": "x"}, "messages[0].role"),
        (user(None), "messages[0].content"),
        (user(1), "messages[0].content"),
        (user([{"type": "text", "text": "see"}, IMAGE]), "messages[0].content[1]"),
        (user([{"type": "input_audio", "input_audio": {}}]), "messages[0].content[0]"),
        (user([{"type": "text"}]), "messages[0].content[0]"),
        (user([{"type": ["text"], "text": "x"}]), "messages[0].content[0]"),
        (user(["text"]), "messages[0].content[0]"),
        ({"role": "tool", "tool_call_id": "1", "content": "42"}, "messages[0]"),
        ({"role": "function", "name": "f", "content": "42"}, "messages[0]"),
        ({"type": "function_call_output", "call_id": "1", "output": "42"}, "messages[0]"),
        ({"type": "item_reference", "id": "msg_1"}, "messages[0]"),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, "messages[0]"),
        ({"role": "assistant", "content": "x", "function_call": {"name": "f"}}, "messages[0]"),
    ],
)
def test_what_a_worker_cannot_take_is_refused(message: Any, param: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read(message)
    assert (caught.value.refusal.status, caught.value.refusal.param) == (400, param)
    assert str(caught.value) == caught.value.refusal.message


def test_one_message_of_the_user_is_itself() -> None:
    assert one_message([Said("user", " Hello\n\n")]) == " Hello\n\n"


def test_anything_else_says_who_speaks() -> None:
    assert one_message([Said("system", "Be brief.\n\nAnd kind.")]) == "system:\n    Be brief.\n\n    And kind."


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text()), min_size=2, max_size=5))
def test_nobody_can_speak_for_another(said: list[tuple[str, str]]) -> None:
    text = one_message([Said(role, text) for role, text in said])
    assert [line for line in text.splitlines() if line and not line.startswith("    ")] == [f"{r}:" for r, _ in said]


def test_the_last_word_is_the_users() -> None:
    assert last_of_user([Said("assistant", "a"), Said("user", "b")], "messages") == "b"
    with pytest.raises(RefusedError):
        last_of_user([Said("user", "b"), Said("system", "a")], "messages")
