"""Requests of OpenAI's clients, checked: what a worker is asked, and in which conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import orjson
from attrs import field, frozen

from .ids import run_id_of
from .messages import Said, fault, last_of_user, one_message, read_messages
from .refusals import Refusal, RefusedError

__all__ = ["HEADER", "Asked", "read_body", "read_chat", "read_model", "read_response"]

HEADER: Final = "x-conversation-id"
"""The header that may have the key of a conversation."""
KEY_LENGTH: Final = 256
"""Characters that it may have."""


@frozen
class Asked:
    """What a request asks.

    Attributes:
        message: What to say to the worker.
        stream: Whether the answer is streamed.
        key: The conversation that a manager keeps; ``None`` for none.
        run_id: The run to go on with; ``None`` for a new one.
        echo: Fields of the request that the answer repeats.
    """

    message: str
    stream: bool
    key: str | None = None
    run_id: str | None = None
    echo: Mapping[str, Any] = field(factory=dict[str, Any])

    @property
    def named_run(self) -> str | None:
        """The field of the request that names the run; ``None`` for a new one."""
        return None if self.run_id is None else "previous_response_id"


def read_body(raw: bytes) -> dict[str, Any]:
    """Read a request's body.

    Raises:
        RefusedError: It is no JSON object.
    """
    try:
        body: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise RefusedError(Refusal(400, "The body is not JSON.", code="invalid_json")) from None
    if not isinstance(body, dict):
        raise RefusedError(Refusal(400, "The body must be a JSON object.", code="invalid_json"))
    return cast("dict[str, Any]", body)


def read_model(body: Mapping[str, Any]) -> str:
    """The model that is asked for.

    Raises:
        RefusedError: None is.
    """
    model = body.get("model")
    if not isinstance(model, str):
        raise fault("model", "'model' must be the name of a model.", "missing_required_parameter")
    return model


def read_chat(body: Mapping[str, Any], header: str | None, *, managed: bool) -> Asked:
    """Read a request for a chat completion.

    Args:
        body: The request's fields.
        header: The conversation's key where a header has it.
        managed: Whether a manager keeps conversations with this worker.

    Raises:
        RefusedError: A field is wrong, or asks for what a worker cannot do.
    """
    if body.get("n") not in (None, 1):
        raise fault("n", "A worker gives one answer: 'n' must be 1.", "unsupported_value")
    _refuse_calls(body, "tool_choice", "function_call")
    _refuse_format(body.get("response_format"), "response_format")
    _refuse_logprobs(body, "logprobs", "top_logprobs")
    if body.get("modalities") not in (None, ["text"]):
        raise fault("modalities", "A worker answers in text.", "unsupported_value")
    said = read_messages(body.get("messages"), "messages")
    key = (_key({HEADER: header}, HEADER) or _key(body, "user")) if managed else None
    message = one_message(said) if key is None else _words(last_of_user(said, "messages"), "messages")
    options = _optional(body, "stream_options", dict) or {}
    echo = {"usage": None} if options.get("include_usage") else {}
    return Asked(message, bool(_optional(body, "stream", bool)), key, echo=echo)


def read_response(body: Mapping[str, Any], header: str | None, *, managed: bool) -> Asked:
    """Read a request for a response. Arguments and errors as for :func:`read_chat`."""
    if _optional(body, "background", bool):
        raise fault("background", "Responses in the background are not supported; stream them.", "unsupported_value")
    if body.get("prompt") is not None:
        raise fault("prompt", "Stored prompts are not supported: a worker has its own.", "unsupported_value")
    _refuse_calls(body, "tool_choice")
    _refuse_format((_optional(body, "text", dict) or {}).get("format"), "text.format")
    _refuse_logprobs(body, "top_logprobs")
    if "message.output_text.logprobs" in (_optional(body, "include", list) or []):
        raise fault("include", "A worker tells no probabilities.", "unsupported_value")
    previous = _optional(body, "previous_response_id", str)
    key = _key({HEADER: header}, HEADER) or _conversation(body.get("conversation"))
    if key is not None and previous is not None:
        raise fault("previous_response_id", "It cannot be used in a conversation that has a name.")
    if key is not None and not managed:
        raise fault(
            "conversation", "Conversations have no names here; use 'previous_response_id'.", "unsupported_value"
        )
    echo = {
        "instructions": _optional(body, "instructions", str),
        "metadata": _optional(body, "metadata", dict) or {},
        "previous_response_id": previous,
        "conversation": None if key is None else {"id": key},
    }
    message = one_message(_input(body))
    return Asked(
        message if key is None and previous is None else _words(message, "input"),
        bool(_optional(body, "stream", bool)),
        key,
        None if previous is None else _run_id(previous),
        echo,
    )


def _words(message: str, param: str) -> str:
    """A message that goes on with a conversation: an empty one would resume it."""
    if not message.strip():
        raise fault(param, "A message that goes on with a conversation must not be empty.")
    return message


def _input(body: Mapping[str, Any]) -> list[Said]:
    """What is new: the instructions, where there are some, and the input."""
    given = body.get("input")
    said = [Said("user", given)] if isinstance(given, str) else read_messages(given, "input")
    instructions = _optional(body, "instructions", str)
    return [Said("system", instructions), *said] if instructions else said


def _run_id(previous: str) -> str:
    run_id = run_id_of(previous)
    if run_id is None:
        raise fault("previous_response_id", "There is no such response.", "previous_response_not_found")
    return run_id


def _conversation(value: object) -> str | None:
    if isinstance(value, dict):
        return _key(cast("dict[str, Any]", value), "id", "conversation.id")
    return _key({"conversation": value}, "conversation")


def _key(fields: Mapping[str, Any], name: str, param: str = "") -> str | None:
    """The key of a conversation that a field has; none where it is empty."""
    key = fields.get(name)
    if key is None or key == "":
        return None
    if not isinstance(key, str) or len(key) > KEY_LENGTH:
        raise fault(param or name, f"'{param or name}' must be a string of at most {KEY_LENGTH} characters.")
    return key


def _optional(fields: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    """A field that may be missing or null."""
    value = fields.get(name)
    if value is not None and not isinstance(value, kind):
        kinds = {bool: "a boolean", dict: "an object", list: "a list", str: "a string"}
        raise fault(name, f"'{name}' must be {kinds[kind]}.", "invalid_type")
    return value


def _refuse_calls(body: Mapping[str, Any], *names: str) -> None:
    """Refuse to have tools called; that they may be called can be passed over."""
    for name in names:
        if body.get(name) not in (None, "none", "auto"):
            raise fault(name, "A worker calls no tools of its clients.", "unsupported_value")


def _refuse_format(value: object, param: str) -> None:
    kind = cast("dict[str, Any]", value).get("type") if isinstance(value, dict) else value
    if kind not in (None, "text"):
        raise fault(param, "A worker answers in text; ask for JSON in words.", "unsupported_value")


def _refuse_logprobs(body: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if body.get(name):
            raise fault(name, "A worker tells no probabilities.", "unsupported_value")
