"""What the entries of a history are: messages, the worker's words, tool calls and their results.

The service's documents show entries of a role and a content alone. Public traces and other agent services show tool
calls in the worker's entries, and results in entries of role ``tool``, of no role, or of role ``user``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, unique
from typing import Any, Final

from .._values.results import Message
from .blocks import is_call, is_result

_ROLES: Final = frozenset({"user", "assistant", "tool", "function"})


@unique
class End(Enum):
    """What stands last in an answer."""

    NOTHING = "nothing"
    WORDS = "the worker's words"
    CALL = "a tool call without a result"
    TOOL = "a tool's result"


def is_message(entry: Message) -> bool:
    """Whether an entry is something that a user said: some services store tool results in a user's name."""
    return entry.role == "user" and not _holds_only_results(entry.content)


def is_of_a_turn(entry: Message) -> bool:
    """Whether an entry is a message, the worker's words, or a tool's call or result, or is in nobody's name and silent.

    A summary is none, nor is what stands in a name that this library does not know: it may be a message of the user's.
    """
    is_silent = not entry.role and not entry.text
    return entry.role in _ROLES or is_silent or is_call(entry.raw) or is_result(entry.raw)


def how_it_ends(entries: Sequence[Message]) -> End:
    """Say what stands last in the entries that follow a message."""
    if not entries:
        return End.NOTHING
    last = entries[-1]
    if last.role == "assistant":
        return _how_the_worker_ends(last)
    if is_message(last):
        return End.NOTHING  # an empty one, that resumed the run
    return End.CALL if is_call(last.raw) else End.TOOL


def _how_the_worker_ends(entry: Message) -> End:
    """What stands last in an entry of the worker's; a call counts until its result stands behind it."""
    raw = entry.raw if isinstance(entry.raw, dict) else {}
    blocks = list(_blocks(entry.content or raw.get("parts")))
    if raw.get("tool_calls") or raw.get("function_call"):
        return End.CALL
    end = End.NOTHING
    is_open = False
    for block in blocks:
        if is_call(block):
            is_open = True
        elif is_result(block):
            is_open, end = False, End.TOOL
    if is_open:
        return End.CALL
    return End.WORDS if entry.text and (end is End.NOTHING or not is_result(blocks[-1])) else end


def _holds_only_results(content: Any) -> bool:
    blocks = list(_blocks(content))
    return bool(blocks) and all(map(is_result, blocks))


def _blocks(content: Any) -> Iterator[Any]:
    if isinstance(content, list):
        yield from content
    elif isinstance(content, dict):
        yield content
