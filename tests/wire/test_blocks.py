"""Which blocks are calls and which are results, in the words of many services."""

from __future__ import annotations

from typing import Any

import pytest

from toolhouse_async import ToolCall, ToolResult
from toolhouse_async._wire.blocks import is_call, is_result, of_tools

CALLS: list[dict[str, Any]] = [
    {"type": "tool_call", "id": "1", "name": "f"},
    {"type": "tool-call", "toolCallId": "1", "toolName": "f"},
    {"type": "tool_use", "id": "1", "name": "f"},
    {"type": "server_tool_use", "id": "1", "name": "f"},
    {"type": "mcp_tool_use", "id": "1", "name": "f"},
    {"type": "function_call", "call_id": "1", "name": "f"},
    {"type": "custom_tool_call", "call_id": "1", "name": "f"},
    {"type": "web_search_call", "id": "1"},
    {"type": "tool-f", "toolCallId": "1"},
    {"type": "dynamic-tool", "toolName": "f", "toolCallId": "1"},
    {"type": "tool-invocation", "toolInvocation": {"toolName": "f", "toolCallId": "1"}},
    {"functionCall": {"id": "1", "name": "f"}},
    {"toolUse": {"toolUseId": "1", "name": "f"}},
]
RESULTS: list[dict[str, Any]] = [
    {"type": "tool_result", "tool_use_id": "1", "content": "x"},
    {"type": "tool-result", "toolCallId": "1", "toolName": "f", "result": "x"},
    {"type": "web_search_tool_result", "tool_use_id": "1", "content": []},
    {"type": "function_call_output", "call_id": "1", "output": "x"},
    {"type": "custom_tool_call_output", "call_id": "1", "output": "x"},
    {"type": "tool-error", "toolCallId": "1", "toolName": "f", "error": "x"},
    {"functionResponse": {"id": "1", "name": "f", "response": {}}},
    {"toolResult": {"toolUseId": "1", "content": []}},
]
BOTH: list[dict[str, Any]] = [
    {"type": "mcp_call", "id": "1", "name": "f", "output": "x"},
    {"type": "web_search_call", "id": "1", "status": "completed"},
    {"type": "tool-f", "toolCallId": "1", "output": "x"},
    {"type": "tool-f", "toolCallId": "1", "errorText": "x"},
    {"type": "tool-invocation", "toolInvocation": {"toolName": "f", "toolCallId": "1", "result": "x"}},
]
NEITHER: list[Any] = [
    {"type": "text", "text": "hello"},
    {"type": "reasoning"},
    {"text": "hello"},
    {"inlineData": {"mimeType": "image/png"}},
    {"type": "tooling"},
    {"type": 5},
    {},
    "functionCall",
    ["toolUse"],
    None,
    7,
]


def kinds(block: dict[str, Any]) -> list[type]:
    return [type(event) for event in of_tools(block, b"")]


@pytest.mark.parametrize("block", CALLS, ids=str)
def test_calls(block: dict[str, Any]) -> None:
    assert (is_call(block), is_result(block)) == (True, False)
    (call,) = of_tools(block, b"line")
    assert (type(call), call.id, call.line) == (ToolCall, "1", b"line")
    assert call.name == ("web_search" if block.get("type") == "web_search_call" else "f")


@pytest.mark.parametrize("block", RESULTS, ids=str)
def test_results(block: dict[str, Any]) -> None:
    assert (is_call(block), is_result(block)) == (False, True)
    (result,) = of_tools(block, b"line")
    assert (type(result), result.id, result.line) == (ToolResult, "1", b"line")
    assert result.is_error is (block.get("type") == "tool-error")


@pytest.mark.parametrize("block", BOTH, ids=str)
def test_calls_with_their_results(block: dict[str, Any]) -> None:
    assert (is_call(block), is_result(block)) == (False, True)
    call, result = of_tools(block, b"")
    assert (type(call), type(result)) == (ToolCall, ToolResult)
    assert (call.id, call.name) == (result.id, result.name)
    assert result.is_error is ("errorText" in block)


@pytest.mark.parametrize("block", NEITHER, ids=str)
def test_what_is_neither(block: Any) -> None:
    assert (is_call(block), is_result(block)) == (False, False)
    if isinstance(block, dict):
        assert of_tools(block, b"") == []


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool-f"},
        {"type": "dynamic-tool", "toolCallId": "1"},
        {"type": "tool-invocation", "toolInvocation": {}},
    ],
    ids=str,
)
def test_a_part_without_a_name_or_an_id_tells_of_nothing(block: dict[str, Any]) -> None:
    assert of_tools(block, b"") == []


@pytest.mark.parametrize("name", ["functionResponse", "toolResult"])
def test_a_marked_result_may_be_a_failure(name: str) -> None:
    (result,) = of_tools({name: {"id": "1", "name": "f", "content": "x", "status": "error"}}, b"")
    assert result.is_error
    (result,) = of_tools({name: {"id": "1", "name": "f", "content": "x", "status": "success"}}, b"")
    assert not result.is_error


@pytest.mark.parametrize(("status", "is_error"), [("completed", False), ("failed", True)])
def test_a_tool_of_the_service_that_is_over(status: str, is_error: bool) -> None:
    call, result = of_tools({"type": "web_search_call", "id": "1", "status": status}, b"")
    assert (call.name, result.content, result.is_error) == ("web_search", None, is_error)


@pytest.mark.parametrize("key", ["arguments", "action", "queries", "code"])
def test_what_a_tool_of_the_service_was_asked(key: str) -> None:
    (call,) = of_tools({"type": "x_call", "id": "1", key: {"a": 1}, "status": "in_progress"}, b"")
    assert (call.name, call.arguments) == ("x", {"a": 1})


@pytest.mark.parametrize("key", ["output", "outputs", "results", "result"])
def test_what_a_tool_of_the_service_found(key: str) -> None:
    _, result = of_tools({"type": "x_call", "id": "1", key: ["a"]}, b"")
    assert (result.name, result.content, result.is_error) == ("x", ["a"], False)


def test_a_tool_of_the_service_that_failed_says_why() -> None:
    _, result = of_tools({"type": "mcp_call", "id": "1", "name": "f", "output": "x", "error": "no"}, b"")
    assert (result.content, result.is_error) == ("no", True)
