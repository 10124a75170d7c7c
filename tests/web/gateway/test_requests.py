from __future__ import annotations

from typing import Any

import pytest

from toolhouse_async.web._openai.refusals import RefusedError
from toolhouse_async.web._openai.requests import read_body, read_chat, read_model, read_response

from .support import chat, response

RUN = "resp_0123456789abcdef_run-1"


def refused(read: Any, *arguments: Any, **options: Any) -> Any:
    with pytest.raises(RefusedError) as caught:
        read(*arguments, **options)
    refusal = caught.value.refusal
    assert refusal.status == 400
    assert refusal.headers() == {"x-should-retry": "false"}
    return refusal


@pytest.mark.parametrize("raw", [b"", b"{", b"NaN", b"[" * 5000, b'{"a": "\\ud83d"}', b"\xff"])
def test_a_body_that_is_no_json(raw: bytes) -> None:
    assert refused(read_body, raw).code == "invalid_json"


@pytest.mark.parametrize("empty", ["", " \n"])
def test_an_empty_message_goes_on_with_nothing(empty: str) -> None:
    """It would resume the conversation."""
    assert refused(read_chat, chat(empty), "ada", managed=True).param == "messages"
    for fields in ({"conversation": "ada"}, {"previous_response_id": RUN}):
        assert refused(read_response, response(empty, **fields), None, managed=True).param == "input"
    assert read_chat(chat(empty), None, managed=True).message == empty
    assert read_response(response(empty), None, managed=True).message == empty


@pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b'"model"'])
def test_a_body_that_is_no_object(raw: bytes) -> None:
    assert refused(read_body, raw).code == "invalid_json"


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": 1}])
def test_a_model_must_be_named(body: Any) -> None:
    assert refused(read_model, body).param == "model"


def test_a_model_is_named() -> None:
    assert read_model(read_body(b'{"model": "a"}')) == "a"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"response_format": "json"}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"user": 7}, "user"),
        ({"user": "u" * 257}, "user"),
    ],
)
def test_what_a_chat_completion_cannot_be(fields: dict[str, Any], param: str) -> None:
    assert refused(read_chat, chat("Hello", **fields), None, managed=True).param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"background": "no"}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format"),
        ({"text": "json"}, "text"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"include": "all"}, "include"),
        ({"instructions": []}, "instructions"),
        ({"metadata": "a"}, "metadata"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 1}, "input"),
        ({"stream": 1}, "stream"),
        ({"previous_response_id": 1}, "previous_response_id"),
        ({"previous_response_id": ""}, "previous_response_id"),
        ({"previous_response_id": "resp_of_others"}, "previous_response_id"),
        ({"previous_response_id": "resp_0123456789abcdef_a/b"}, "previous_response_id"),
        ({"previous_response_id": "../history"}, "previous_response_id"),
        ({"previous_response_id": RUN, "conversation": "ada"}, "previous_response_id"),
        ({"conversation": {"id": 1}}, "conversation.id"),
        ({"conversation": ["ada"]}, "conversation"),
        ({"conversation": "c" * 257}, "conversation"),
    ],
)
def test_what_a_response_cannot_be(fields: dict[str, Any], param: str) -> None:
    assert refused(read_response, response("Hello", **fields), None, managed=True).param == param


def test_a_response_that_went_before_is_said_to_be_missing() -> None:
    refusal = refused(read_response, response("Hello", previous_response_id="resp_1"), None, managed=False)
    assert refusal.code == "previous_response_not_found"


HARMLESS: dict[str, Any] = {
    "temperature": 0.2,
    "top_p": 1,
    "max_tokens": 10,
    "max_completion_tokens": 10,
    "max_output_tokens": 10,
    "stop": ["\n"],
    "seed": 1,
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "auto",
    "function_call": "none",
    "parallel_tool_calls": True,
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "modalities": ["text"],
    "response_format": {"type": "text"},
    "text": {"format": {"type": "text"}, "verbosity": "low"},
    "include": ["reasoning.encrypted_content"],
    "store": False,
    "background": False,
    "prompt": None,
    "stream": None,
    "stream_options": None,
    "instructions": None,
    "metadata": None,
    "conversation": None,
    "reasoning": {"effort": "low"},
    "truncation": "auto",
    "something_of_next_year": {},
}


@pytest.mark.parametrize("managed", [True, False])
def test_what_can_be_passed_over_is(managed: bool) -> None:
    for read, body in ((read_chat, chat("Hello")), (read_response, response("Hello"))):
        asked = read({**HARMLESS, **body}, None, managed=managed)
        assert (asked.message, asked.stream, asked.key, asked.run_id) == ("Hello", False, None, None)


def test_a_key_of_a_chat_is_the_header_or_else_the_user() -> None:
    body = chat("first", {"role": "assistant", "content": "yes"}, "second", user="ada")
    assert (read_chat(body, "one", managed=True).key, read_chat(body, None, managed=True).key) == ("one", "ada")
    assert read_chat(body, None, managed=True).message == "second"
    assert read_chat({**body, "user": ""}, None, managed=True).key is None
    assert refused(read_chat, body, "k" * 257, managed=True).param == "x-conversation-id"


def test_without_a_manager_a_chat_is_told_whole() -> None:
    body = chat("first", {"role": "assistant", "content": "yes"}, "second", user="ada")
    asked = read_chat(body, "one", managed=False)
    assert asked.key is None
    assert asked.message == "user:\n    first\n\nassistant:\n    yes\n\nuser:\n    second"


def test_with_a_key_the_last_word_must_be_the_users() -> None:
    body = chat("first", {"role": "assistant", "content": "I th"})
    assert refused(read_chat, body, "one", managed=True).param == "messages"
    assert "I th" in read_chat(body, "one", managed=False).message


def test_a_stream_may_be_asked_to_tell_its_usage() -> None:
    asked = read_chat(chat("x", stream=True, stream_options={"include_usage": True}), None, managed=False)
    assert (asked.stream, asked.echo) == (True, {"usage": None})
    assert read_chat(chat("x", stream=True, stream_options={}), None, managed=False).echo == {}


def test_a_response_goes_on_with_a_run() -> None:
    for previous in (RUN, "run-1"):
        asked = read_response(response("x", previous_response_id=previous), None, managed=False)
        assert (asked.run_id, asked.named_run) == ("run-1", "previous_response_id")
        assert asked.echo["previous_response_id"] == previous
    assert read_response(response("x"), None, managed=False).named_run is None


def test_a_conversation_of_a_response_is_its_key() -> None:
    for header, conversation in (("ada", None), ("ada", "other"), (None, "ada"), (None, {"id": "ada"})):
        asked = read_response(response("x", conversation=conversation), header, managed=True)
        assert asked.key == "ada"
        assert asked.echo["conversation"] == {"id": "ada"}
    assert refused(read_response, response("x"), "ada", managed=False).param == "conversation"


def test_instructions_go_before_what_is_new() -> None:
    asked = read_response(response("Hello", instructions="Be brief."), None, managed=False)
    assert asked.message == "system:\n    Be brief.\n\nuser:\n    Hello"
    assert read_response(response("Hello", instructions=""), None, managed=False).message == "Hello"
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]
    assert read_response(response(items), None, managed=False).message == "Hello"
