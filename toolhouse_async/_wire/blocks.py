"""Tools in messages: blocks and items that are calls, results, or both, in the words of many services."""

from __future__ import annotations

from typing import Any, Final

from ..events import Event, ToolCall, ToolResult
from .fields import Json, failed_tool, first_text, id_of, parsed, tool_call, tool_result
from .words import normal

_CALLS: Final = frozenset({"tool_call", "tool_use", "function_call"})
_RESULTS: Final = frozenset(
    {"tool_result", "tool_response", "tool_output", "function_call_output", "tool_call_result"}
    | {"tool_error", "tool_output_error", "tool_input_error", "tool_output_available"}
)
_UI_PARTS: Final = ("tool_invocation", "dynamic_tool")
_MARKS: Final = ("functionCall", "toolUse", "functionResponse", "toolResult")
"""How Gemini and Bedrock mark a block that has no type: calls, then results."""
_IDS: Final = ("toolCallId", "call_id", "tool_use_id", "toolUseId", "tool_call_id", "id")
"""In a block, ``id`` may be its own, beside that of the call."""


def kind_of(block: Any) -> str:
    """The type of a block as it is compared; ``""`` without one."""
    kind = block.get("type") if type(block) is dict else None
    return normal(kind) if type(kind) is str else ""


def is_call(block: Any) -> bool:
    """Whether a block or item is a call that it does not answer itself."""
    kind = kind_of(block)
    if kind in _CALLS or kind.endswith("_tool_use"):
        return True
    if _is_of_ui(kind) or (kind.endswith("_call") and type(block) is dict):
        return not is_result(block)
    return type(block) is dict and any(key in block for key in _MARKS[:2])


def is_result(block: Any) -> bool:
    """Whether a block or item is a tool's result, or a call with its result."""
    kind = kind_of(block)
    if kind in _RESULTS or kind.endswith(("_tool_result", "_call_output")):
        return True
    if _is_of_ui(kind) or (kind.endswith("_call") and kind not in _CALLS):
        return any(type(event) is ToolResult for event in of_tools(block, b""))
    return type(block) is dict and any(key in block for key in _MARKS[2:])


def _is_of_ui(kind: str) -> bool:
    return kind in _UI_PARTS or (kind.startswith("tool_") and kind not in _CALLS | _RESULTS)


def of_tools(block: Json, line: bytes) -> list[Event]:
    """The call and the result that a block of a message or an item of an answer is; nothing if it is neither."""
    kind = kind_of(block)
    if not kind:
        return _marked(block, line)
    named = {**block, "id": id_of(block, _IDS)}
    if kind in _CALLS or kind.endswith("_tool_use") or kind == "custom_tool_call":
        return _those(tool_call(named, line))
    if kind in _RESULTS or kind.endswith(("_tool_result", "_call_output")):
        return _those((failed_tool if kind.endswith("_error") else tool_result)(named, line))
    if kind.endswith("_call"):
        return _of_server(kind.removesuffix("_call"), named, line)
    return _of_ui(kind, named, line) if _is_of_ui(kind) else []


def _those(event: Event | None) -> list[Event]:
    return [] if event is None else [event]


def _of_server(name: str, item: Json, line: bytes) -> list[Event]:
    """A tool of the model's service: ``mcp_call``, ``web_search_call``, ``code_interpreter_call`` and the like."""
    asked = next((item[key] for key in ("arguments", "action", "queries", "code") if item.get(key)), None)
    call = ToolCall(item["id"], first_text(item, ("name",)) or name, parsed(asked), line=line)
    found = next((item[key] for key in ("output", "outputs", "results", "result") if item.get(key) is not None), None)
    status = item.get("status")
    if item.get("error"):
        return [call, ToolResult(call.id, call.name, item["error"], True, line=line)]
    if found is None and status not in ("completed", "failed"):
        return [call]
    return [call, ToolResult(call.id, call.name, found, status == "failed", line=line)]


def _of_ui(kind: str, part: Json, line: bytes) -> list[Event]:
    """A part of the AI SDK's messages, which holds a call and, once it is there, its result."""
    inner = part.get("toolInvocation")
    part = inner if type(inner) is dict else part
    name = first_text(part, ("toolName",)) or (
        part["type"][5:] if kind.startswith("tool_") and part is not inner else ""
    )
    id_ = id_of(part, ("toolCallId",))
    if not name or id_ is None:
        return []
    call = tool_call({**part, "id": id_, "name": name}, line)
    answer = {key: part[key] for key in ("output", "result", "errorText") if part.get(key) is not None}
    result = tool_result({**answer, "id": id_, "name": name}, line) if answer else None
    return [*_those(call), *_those(result)]


def _marked(block: Json, line: bytes) -> list[Event]:
    for key in _MARKS:
        if type(inner := block.get(key)) is dict:
            named = {**inner, "id": id_of(inner, _IDS)}
            made = tool_call(named, line) if key in _MARKS[:2] else tool_result(named, line)
            if type(made) is ToolResult and inner.get("status") == "error":
                made.is_error = True
            return _those(made)
    return []
