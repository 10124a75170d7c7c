"""What a client says, as the one message that a worker takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from attrs import frozen

from .refusals import Refusal, RefusedError

__all__ = ["Said", "fault", "last_of_user", "one_message", "read_messages"]

_ROLES: Final = ("system", "developer", "user", "assistant")
_TEXTS: Final = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Types of parts that are text, and the field that has it."""
_MARGIN: Final = " " * 4


@frozen
class Said:
    """A message: who says it, and what."""

    role: str
    text: str


def fault(param: str, message: str, code: str = "invalid_value") -> RefusedError:
    """What to raise about a field of the request."""
    return RefusedError(Refusal(400, message, code=code, param=param))


def read_messages(value: object, param: str) -> list[Said]:
    """Read a list of messages.

    Args:
        value: What the request has.
        param: The field in which it stands.

    Raises:
        RefusedError: It is none, or there is something in it that a worker cannot take.
    """
    if not isinstance(value, list) or not value:
        raise fault(param, f"'{param}' must be a list of at least one message.", "invalid_type")
    return [_message(each, f"{param}[{number}]") for number, each in enumerate(cast("list[object]", value))]


def _message(value: object, param: str) -> Said:
    if not isinstance(value, dict):
        raise fault(param, "A message must be an object.", "invalid_type")
    message = cast("dict[str, Any]", value)
    role = message.get("role")
    if message.get("type", "message") != "message" or role in ("tool", "function"):
        what = "Results of tools" if role in ("tool", "function") else "Items that are no messages"
        raise fault(param, f"{what} are not supported: a worker runs its tools itself.", "unsupported_value")
    if not isinstance(role, str) or role not in _ROLES:
        raise fault(f"{param}.role", f"'role' must be one of {', '.join(_ROLES)}.")
    if message.get("tool_calls") or message.get("function_call"):
        raise fault(param, "Calls of tools are not supported: a worker runs its tools itself.", "unsupported_value")
    return Said(role, _text(message.get("content"), f"{param}.content"))


def _text(content: object, param: str) -> str:
    """The text of a content, which has parts or is the text itself."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise fault(param, "'content' must be a string or a list of parts.", "invalid_type")
    return "\n".join(_part(part, f"{param}[{number}]") for number, part in enumerate(cast("list[object]", content)))


def _part(part: object, param: str) -> str:
    fields = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
    kind = fields.get("type")
    text = fields.get(_TEXTS[kind]) if isinstance(kind, str) and kind in _TEXTS else None
    if not isinstance(text, str):
        raise fault(param, "Only parts with text are supported: a worker takes text alone.", "unsupported_value")
    return text


def last_of_user(said: Sequence[Said], param: str) -> str:
    """The new message of a conversation whose earlier ones the worker has kept.

    Raises:
        RefusedError: The last message is none of the user's.
    """
    if said[-1].role != "user":
        raise fault(param, "In a conversation that the worker keeps, the last message must be the user's.")
    return said[-1].text


def one_message(said: Sequence[Said]) -> str:
    """All messages as one: a user's alone as it is, else each under its role.

    What is said is indented, so that nobody's words can be taken for another's.
    """
    if len(said) == 1 and said[0].role == "user":
        return said[0].text
    return "\n\n".join(f"{each.role}:\n{_indented(each.text)}" for each in said)


def _indented(text: str) -> str:
    return "\n".join(f"{_MARGIN}{line}" if line else "" for line in text.splitlines())
