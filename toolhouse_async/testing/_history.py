"""The forms in which answers and jobs stand in a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import orjson
from attrs import field, frozen

from ..events import TextDelta, ToolCall, ToolResult
from ._events import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._jobs import Job, Outcome

Spoken: TypeAlias = TextDelta | ToolCall | ToolResult
"""An event that a history may hold."""

ToolRole: TypeAlias = Literal["tool", "user"]
"""In whose name the results of tools stand."""

Entry: TypeAlias = dict[str, Any]

_ORDER: Final = (TextDelta, ToolCall, ToolResult)
"""Words, the calls behind them and their results belong together; what comes out of this order begins anew."""


@frozen
class _Step:
    words: list[TextDelta] = field(factory=list[TextDelta])
    calls: list[ToolCall] = field(factory=list[ToolCall])
    results: list[ToolResult] = field(factory=list[ToolResult])


def answer_entries(spoken: Iterable[Spoken], tool_role: ToolRole) -> list[Entry]:
    """Return the entries of an answer, in the order in which it was spoken.

    Results in the tools' own name have the form of chat completions, those in a user's name the form of
    Anthropic's messages: lists of blocks.
    """
    entries: list[Entry] = []
    for step in _steps(spoken):
        text = "".join(delta.text for delta in step.words)
        if tool_role == "user":
            entries += _in_blocks(text, step)
        else:
            entries += _as_chat(text, step)
    return entries


def outcome_entry(job: Job, outcome: Outcome, tool_role: ToolRole) -> Entry:
    """Return the entry that tells how a job ended."""
    if tool_role == "user":
        return {"role": "user", "content": [_result_block(job.id, outcome.result, is_error=outcome.failed)]}
    return {"role": "tool", "content": as_text(outcome.result)}


def _steps(spoken: Iterable[Spoken]) -> list[_Step]:
    steps: list[_Step] = []
    place = len(_ORDER)
    for event in spoken:
        before, place = place, _ORDER.index(type(event))
        if place < before:
            steps.append(_Step())
        match event:
            case TextDelta():
                steps[-1].words.append(event)
            case ToolCall():
                steps[-1].calls.append(event)
            case ToolResult():
                steps[-1].results.append(event)
    return steps


def _as_chat(text: str, step: _Step) -> list[Entry]:
    entries: list[Entry] = []
    if step.calls:
        entries.append({"role": "assistant", "content": text, "tool_calls": [_chat_call(call) for call in step.calls]})
    elif text:
        entries.append({"role": "assistant", "content": text})
    for result in step.results:
        content = as_text(result.content)
        entries.append({"role": "tool", "tool_call_id": result.id, "name": result.name, "content": content})
    return entries


def _chat_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()}
    return {"id": call.id, "type": "function", "function": function}


def _in_blocks(text: str, step: _Step) -> list[Entry]:
    entries: list[Entry] = []
    if step.calls:
        words = [{"type": "text", "text": text}] if text else []
        calls = [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in step.calls]
        entries.append({"role": "assistant", "content": [*words, *calls]})
    elif text:
        entries.append({"role": "assistant", "content": text})
    if step.results:
        blocks = [_result_block(result.id, result.content, is_error=result.is_error) for result in step.results]
        entries.append({"role": "user", "content": blocks})
    return entries


def _result_block(call_id: str | None, content: Any, *, is_error: bool) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": as_text(content), "is_error": is_error}
