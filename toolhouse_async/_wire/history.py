"""Reading a conversation's history."""

from __future__ import annotations

from typing import Any

from .._values.results import Message
from ..errors import UnexpectedContentError
from .jsontext import loads


def parse_history(body: bytes) -> tuple[Message, ...]:
    """Read the JSON array that a GET of a run answers with.

    Raises:
        UnexpectedContentError: It is not a JSON array.
    """
    try:
        entries = loads(body)
    except ValueError as error:
        raise UnexpectedContentError(f"the history could not be read as JSON: {error}", safe_to_retry=True) from None
    if not isinstance(entries, list):
        raise UnexpectedContentError("the history is not a JSON array", safe_to_retry=True)
    return tuple(_message(entry) for entry in entries)


def _message(entry: Any) -> Message:
    if not isinstance(entry, dict):
        return Message("", entry, entry)
    role = entry.get("role")
    return Message(role if isinstance(role, str) else "", entry.get("content"), entry)
