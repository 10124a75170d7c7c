"""Lines of well-known agent services, and the events they give: words, calls, results, errors; thoughts are none."""

from __future__ import annotations

import json
from typing import Any, Final

from toolhouse_async.events import ErrorEvent, Event, TextDelta, ToolCall, ToolResult


def lines_of(*values: Any) -> list[bytes]:
    return [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "choices": [choice]}


def piece(arguments: str, **more: Any) -> dict[str, Any]:
    name = {"name": more.pop("name")} if "name" in more else {}
    return {"index": 0, **more, "function": {**name, "arguments": arguments}}


HELLO: Final[list[Event]] = [TextDelta("Hel"), TextDelta("lo")]
CALL: Final = ToolCall("c1", "look", {"for": "x y"})
RESULT: Final = ToolResult("c1", None, "found")
NAMED: Final = ToolResult("c1", "look", "found")

EXAMPLES: Final[list[tuple[str, str, list[bytes], list[Event]]]] = [
    (
        "Ollama",
        "words and thoughts",
        lines_of(
            {"model": "m", "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
            {"model": "m", "message": {"role": "assistant", "content": "Hel"}, "done": False},
            {"message": {"content": "lo"}, "done": False},
            {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", "eval_count": 2},
        ),
        HELLO,
    ),
    (
        "Ollama",
        "words of one prompt",
        lines_of(
            {"model": "m", "response": "Hel", "done": False},
            {"response": "lo", "done": False},
            {"response": "", "done": True},
        ),
        HELLO,
    ),
    (
        "Ollama",
        "a call and its result",
        lines_of(
            {
                "message": {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": {"for": "x y"}}}],
                },
                "done": False,
            },
            {"message": {"role": "tool", "tool_call_id": "c1", "content": "found"}},
        ),
        [CALL, RESULT],
    ),
    ("Ollama", "an error", lines_of({"error": "model not found"}), [ErrorEvent("model not found")]),
    (
        "Anthropic Messages",
        "words and thoughts",
        lines_of(
            {"type": "message_start", "message": {"id": "m1", "role": "assistant", "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "hm"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "x"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hel"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "lo"}},
            {"type": "content_block_stop", "index": 1},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ),
        HELLO,
    ),
    (
        "Anthropic Messages",
        "text in a block's beginning",
        lines_of(
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hel"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
        ),
        HELLO,
    ),
    (
        "Anthropic Messages",
        "calls in pieces, and results",
        lines_of(
            {
                "type": "content_block_start",
                "index": 1,
                "content_block": {"type": "tool_use", "id": "c1", "name": "look", "input": {}},
            },
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ""}},
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "input_json_delta", "partial_json": '{"for": "x'},
            },
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ' y"}'}},
            {"type": "content_block_stop", "index": 1},
            {
                "type": "content_block_start",
                "index": 2,
                "content_block": {"type": "server_tool_use", "id": "c2", "name": "web_search", "input": {}},
            },
            {"type": "content_block_stop", "index": 2},
            {
                "type": "content_block_start",
                "index": 3,
                "content_block": {"type": "web_search_tool_result", "tool_use_id": "c2", "content": [1]},
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "found"}]},
        ),
        [CALL, ToolCall("c2", "web_search", {}), ToolResult("c2", None, [1]), RESULT],
    ),
    (
        "Anthropic Messages",
        "an error",
        lines_of({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        [ErrorEvent("Overloaded")],
    ),
    (
        "AG-UI",
        "words and thoughts",
        lines_of(
            {"type": "RUN_STARTED", "threadId": "t", "runId": "r"},
            {"type": "THINKING_START", "title": "hm"},
            {"type": "THINKING_TEXT_MESSAGE_CONTENT", "delta": "hm"},
            {"type": "REASONING_MESSAGE_CONTENT", "messageId": "m", "delta": "hm"},
            {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"},
            {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hel"},
            {"type": "TEXT_MESSAGE_CHUNK", "messageId": "m", "role": "assistant", "delta": "lo"},
            {"type": "TEXT_MESSAGE_CHUNK", "messageId": "n", "role": "user", "delta": "my words"},
            {"type": "TEXT_MESSAGE_END", "messageId": "m"},
            {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"},
        ),
        HELLO,
    ),
    (
        "AG-UI",
        "a call in pieces, and its result",
        lines_of(
            {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "look", "parentMessageId": "m"},
            {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": '{"for": '},
            {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": '"x y"}'},
            {"type": "TOOL_CALL_END", "toolCallId": "c1"},
            {"type": "TOOL_CALL_RESULT", "messageId": "n", "toolCallId": "c1", "content": "found", "role": "tool"},
        ),
        [ToolCall("c1", "look"), CALL, RESULT],
    ),
    (
        "AG-UI",
        "a call without arguments",
        lines_of(
            {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "look"},
            {"type": "TOOL_CALL_END", "toolCallId": "c1"},
        ),
        [ToolCall("c1", "look")],
    ),
    (
        "AG-UI",
        "calls in chunks",
        lines_of(
            {"type": "TOOL_CALL_CHUNK", "toolCallId": "c0", "toolCallName": "look", "delta": "1"},
            {"type": "TOOL_CALL_CHUNK", "toolCallId": "c1", "toolCallName": "look", "delta": '{"for": '},
            {"type": "TOOL_CALL_CHUNK", "delta": '"x y"}'},
            {"type": "TOOL_CALL_RESULT", "toolCallId": "c1", "content": "found"},
        ),
        [ToolCall("c0", "look", 1), CALL, RESULT],
    ),
    (
        "AG-UI",
        "an error",
        lines_of({"type": "RUN_ERROR", "message": "boom", "code": "E"}),
        [ErrorEvent("boom", "E")],
    ),
    (
        "OpenAI Chat Completions",
        "words and thoughts",
        lines_of(
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": None, "reasoning_content": "hm"}),
            chunk({"reasoning": "hm"}),
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}),
            chunk({"content": "Hel"}),
            chunk({"content": [{"type": "text", "text": "lo"}]}),
            chunk({}, "stop"),
            {"object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 2}},
            {"choices": [{"index": 1, "delta": {"content": "another choice"}}]},
        ),
        HELLO,
    ),
    (
        "OpenAI Chat Completions",
        "a whole answer, and words of one prompt",
        lines_of(
            {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hel"}, "finish_reason": "stop"}]},
            {"object": "text_completion", "choices": [{"text": "lo", "index": 0}]},
        ),
        HELLO,
    ),
    (
        "OpenAI Chat Completions",
        "calls in pieces, and results",
        lines_of(
            chunk({"role": "assistant", "tool_calls": [piece("", id="c1", type="function", name="look")]}),
            chunk({"tool_calls": [piece('{"for": ')]}),
            chunk({"tool_calls": [piece('"x y"}'), {**piece("{}", id="c2", name="wait"), "index": 1}]}),
            chunk({}, "tool_calls"),
            {"role": "tool", "tool_call_id": "c1", "content": "found"},
        ),
        [CALL, ToolCall("c2", "wait", {}), RESULT],
    ),
    (
        "OpenAI Chat Completions",
        "calls that are whole, one after another",
        lines_of(
            chunk({"tool_calls": [piece('{"for": "x y"}', id="c1", name="look")]}),
            chunk({"tool_calls": [piece("{}", id="c2", name="wait")]}),
            {
                "choices": [
                    {
                        "message": {
                            "role": "assistant",
                            "content": None,
                            "tool_calls": [{"id": "c3", "function": {"name": "f", "arguments": {"a": 1}}}],
                        },
                        "finish_reason": "tool_calls",
                    }
                ]
            },
            chunk({"function_call": {"name": "old", "arguments": "5"}}, "function_call"),
        ),
        [CALL, ToolCall("c2", "wait", {}), ToolCall("c3", "f", {"a": 1}), ToolCall(None, "old", 5)],
    ),
    (
        "OpenAI Chat Completions",
        "a stream that ends with a call",
        lines_of(chunk({"tool_calls": [piece('{"for": "x y"}', id="c1", name="look")]})),
        [CALL],
    ),
    (
        "OpenAI Chat Completions",
        "errors",
        lines_of(
            {"error": {"message": "no", "type": "server_error", "code": "E"}},
            {**chunk({"content": "Hel"}, "error"), "error": {"code": 502, "message": "gone"}},
        ),
        [ErrorEvent("no", "E"), TextDelta("Hel"), ErrorEvent("gone", 502)],
    ),
    (
        "OpenAI Responses",
        "words and thoughts",
        lines_of(
            {"type": "response.created", "response": {"id": "r", "error": None}},
            {"type": "response.reasoning_summary_text.delta", "delta": "hm"},
            {"type": "response.reasoning_text.delta", "delta": "hm"},
            {"type": "response.output_text.delta", "item_id": "i", "delta": "Hel"},
            {"type": "response.output_text.delta", "item_id": "i", "delta": "lo"},
            {"type": "response.output_text.done", "item_id": "i", "text": "Hello"},
            {
                "type": "response.output_item.done",
                "item": {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
            },
            {"type": "response.completed", "response": {"id": "r", "output": []}},
        ),
        HELLO,
    ),
    (
        "OpenAI Responses",
        "a call in pieces, and its result",
        lines_of(
            {
                "type": "response.output_item.added",
                "item": {"type": "function_call", "id": "i", "call_id": "c1", "name": "look", "arguments": ""},
            },
            {"type": "response.function_call_arguments.delta", "item_id": "i", "delta": '{"for"'},
            {"type": "response.function_call_arguments.done", "item_id": "i", "arguments": '{"for": "x y"}'},
            {
                "type": "response.output_item.done",
                "item": {
                    "type": "function_call",
                    "id": "i",
                    "call_id": "c1",
                    "name": "look",
                    "arguments": '{"for": "x y"}',
                },
            },
            {
                "type": "response.output_item.done",
                "item": {"type": "function_call_output", "id": "j", "call_id": "c1", "output": "found"},
            },
            {"type": "response.output_item.done", "item": None},
        ),
        [CALL, RESULT],
    ),
    (
        "OpenAI Responses",
        "errors",
        lines_of(
            {"type": "response.failed", "response": {"error": {"code": "E", "message": "no"}}},
            {"type": "error", "code": "E2", "message": "gone"},
        ),
        [ErrorEvent("no", "E"), ErrorEvent("gone", "E2")],
    ),
    (
        "AI SDK",
        "words and thoughts",
        lines_of(
            {"type": "step-start"},
            {"type": "reasoning", "textDelta": "hm"},
            {"type": "reasoning-delta", "id": "0", "delta": "hm"},
            {"type": "text-start", "id": "1"},
            {"type": "text-delta", "textDelta": "Hel"},
            {"type": "text-delta", "id": "1", "delta": "lo"},
            {"type": "text-end", "id": "1"},
            {"type": "finish", "finishReason": "stop"},
        ),
        HELLO,
    ),
    (
        "AI SDK",
        "calls and results",
        lines_of(
            {"type": "tool-call-streaming-start", "toolCallId": "c1", "toolName": "look"},
            {"type": "tool-call-delta", "toolCallId": "c1", "toolName": "look", "argsTextDelta": '{"for"'},
            {"type": "tool-call", "toolCallId": "c1", "toolName": "look", "args": {"for": "x y"}},
            {"type": "tool-result", "toolCallId": "c1", "toolName": "look", "args": {}, "result": "found"},
            {"type": "tool-input-start", "toolCallId": "c1", "toolName": "look"},
            {"type": "tool-input-available", "toolCallId": "c1", "toolName": "look", "input": {"for": "x y"}},
            {"type": "tool-output-available", "toolCallId": "c1", "output": "found"},
        ),
        [CALL, NAMED, CALL, RESULT],
    ),
    (
        "AI SDK",
        "errors of tools, which are none of the turn",
        lines_of(
            {"type": "tool-error", "toolCallId": "c1", "toolName": "look", "input": {}, "error": "no"},
            {"type": "tool-output-error", "toolCallId": "c1", "errorText": "no"},
            {"type": "tool-input-error", "toolCallId": "c1", "toolName": "look", "input": "{", "errorText": "no"},
        ),
        [
            ToolResult("c1", "look", "no", True),
            ToolResult("c1", None, "no", True),
            ToolResult("c1", "look", "no", True),
        ],
    ),
    (
        "AI SDK",
        "a message of results, each with its own id",
        lines_of(
            {
                "role": "tool",
                "content": [
                    {"type": "tool-result", "toolCallId": "c1", "toolName": "look", "result": "found"},
                    {
                        "type": "tool-result",
                        "toolCallId": "c2",
                        "toolName": "wait",
                        "output": {"type": "text", "value": 1},
                    },
                    {"type": "tool-error", "toolCallId": "c3", "toolName": "f", "error": "no"},
                ],
            },
        ),
        [
            NAMED,
            ToolResult("c2", "wait", {"type": "text", "value": 1}),
            ToolResult("c3", "f", "no", True),
        ],
    ),
    (
        "AI SDK",
        "errors",
        lines_of(
            {"type": "error", "error": "no"},
            {"type": "error", "errorText": "Rate limit"},
            {"type": "abort", "reason": "the user left"},
        ),
        [ErrorEvent("no"), ErrorEvent("Rate limit"), ErrorEvent("the user left")],
    ),
    (
        "AI SDK's data stream",
        "words and thoughts",
        [
            b'f:{"messageId":"m"}',
            b'g:"hm"',
            b'i:{"data":"hm"}',
            b'0:"Hel"',
            b'0:"lo"',
            b'2:[{"a":1}]',
            b'd:{"finishReason":"stop"}',
        ],
        HELLO,
    ),
    (
        "AI SDK's data stream",
        "a call and its result",
        [
            b'b:{"toolCallId":"c1","toolName":"look"}',
            b'c:{"toolCallId":"c1","argsTextDelta":"{"}',
            b'9:{"toolCallId":"c1","toolName":"look","args":{"for":"x y"}}',
            b'a:{"toolCallId":"c1","result":"found"}',
        ],
        [CALL, RESULT],
    ),
    (
        "AI SDK's data stream",
        "errors",
        [b'3:"no"', b'3:{"message":"no","code":5}', b'3:""'],
        [ErrorEvent("no"), ErrorEvent("no", 5), ErrorEvent("the worker reports an error and does not say which")],
    ),
    (
        "Server-Sent Events",
        "words and thoughts",
        [
            b": keep-alive",
            b"id: 1",
            b"retry: 3000",
            b"event: content_block_delta",
            b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}',
            b"",
            b"event: text_delta",
            b'data:{"text":"lo"}',
            b"",
            b'data: {"text":"of no type"}',
            b"event: thinking",
            b'data: {"text":"hm"}',
            b"event: text_delta",
            b"",
            b'data: {"text":"of an event before"}',
            b"data",
            b"data:",
            b"data: [DONE]",
        ],
        HELLO,
    ),
    (
        "Server-Sent Events",
        "lines of any service",
        [
            b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}',
            b'data: "lo"',
            b"data: " + lines_of(chunk({"tool_calls": [piece('{"for": "x y"}', id="c1", name="look")]}))[0],
            b"data: [DONE]",
            b"event: error",
            b'data: {"message":"no"}',
        ],
        [*HELLO, CALL, ErrorEvent("no")],
    ),
    (
        "AI SDK",
        "words by another name, thoughts and words of others",
        lines_of(
            {"type": "text-delta", "id": "1", "text": "Hel"},
            {"type": "text-delta", "id": "1", "text": "hm", "thought": True},
            {"type": "text", "text": "my words", "role": "user"},
            {"type": "text-delta", "id": "1", "delta": "lo"},
            {"type": "text", "text": "Hello"},
        ),
        HELLO,
    ),
    (
        "AI SDK",
        "a call in pieces that never comes whole",
        lines_of(
            {"type": "tool-input-start", "id": "c1", "toolName": "look"},
            {"type": "tool-input-delta", "id": "c1", "delta": '{"for": '},
            {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '"x y"}'},
            {"type": "tool-input-end", "id": "c1"},
            {"type": "tool-output-available", "toolCallId": "c0", "output": "another call's"},
            {"type": "tool-output-available", "toolCallId": "c1", "output": "found"},
        ),
        [ToolResult("c0", None, "another call's"), CALL, RESULT],
    ),
    (
        "AI SDK",
        "a message of parts",
        lines_of(
            {
                "role": "assistant",
                "parts": [
                    {"type": "step-start"},
                    {"type": "reasoning", "text": "hm"},
                    {"type": "text", "text": "Hel"},
                    {
                        "type": "tool-look",
                        "toolCallId": "c1",
                        "state": "output-available",
                        "input": {"for": "x y"},
                        "output": "found",
                    },
                    {"type": "dynamic-tool", "toolName": "f", "toolCallId": "c2", "errorText": "no"},
                    {"type": "tool-wait", "toolCallId": "c3", "state": "input-available", "input": {}},
                    {
                        "type": "tool-invocation",
                        "toolInvocation": {
                            "state": "result",
                            "toolCallId": "c4",
                            "toolName": "look",
                            "args": {},
                            "result": 1,
                        },
                    },
                    {"type": "tool-odd"},
                ],
            }
        ),
        [
            TextDelta("Hel"),
            CALL,
            NAMED,
            ToolCall("c2", "f"),
            ToolResult("c2", "f", "no", True),
            ToolCall("c3", "wait", {}),
            ToolCall("c4", "look", {}),
            ToolResult("c4", "look", 1),
        ],
    ),
    (
        "AG-UI",
        "messages in others' names",
        lines_of(
            {"type": "TEXT_MESSAGE_START", "messageId": "u", "role": "user"},
            {"type": "TEXT_MESSAGE_CONTENT", "messageId": "u", "delta": "my words"},
            {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"},
            {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hel"},
            {"type": "TEXT_MESSAGE_CONTENT", "messageId": "u", "delta": "my words"},
            {"type": "TEXT_MESSAGE_END", "messageId": "u"},
            {"type": "TEXT_MESSAGE_CHUNK", "role": "developer", "delta": "of another"},
            {"type": "TEXT_MESSAGE_CHUNK", "delta": "of another"},
            {"type": "TEXT_MESSAGE_CHUNK", "messageId": "n", "role": "assistant", "delta": "lo"},
            {"type": "TEXT_MESSAGE_END", "messageId": "n"},
        ),
        HELLO,
    ),
    (
        "Anthropic Messages",
        "a whole answer with tools of the service",
        lines_of(
            {
                "type": "message",
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm"},
                    {"type": "text", "text": "Hel"},
                    {"type": "server_tool_use", "id": "c1", "name": "look", "input": {"for": "x y"}},
                    {"type": "web_search_tool_result", "tool_use_id": "c1", "content": "found"},
                    {"type": "mcp_tool_use", "id": "c2", "name": "f", "server_name": "s", "input": {}},
                    {"type": "mcp_tool_result", "tool_use_id": "c2", "is_error": True, "content": []},
                    {
                        "type": "web_fetch_tool_result",
                        "tool_use_id": "c3",
                        "content": {"type": "web_fetch_tool_result_error", "error_code": "x"},
                    },
                    {"type": "text", "text": "lo"},
                ],
                "stop_reason": "end_turn",
            },
            {"type": "message", "role": "user", "content": "my words"},
        ),
        [
            TextDelta("Hel"),
            CALL,
            RESULT,
            ToolCall("c2", "f", {}),
            ToolResult("c2", None, [], True),
            ToolResult("c3", None, {"type": "web_fetch_tool_result_error", "error_code": "x"}, True),
            TextDelta("lo"),
        ],
    ),
    (
        "Anthropic Messages",
        "the whole message behind its pieces",
        lines_of(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
            {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
        ),
        HELLO,
    ),
    (
        "OpenAI Chat Completions",
        "refusals, and errors within a choice",
        lines_of(
            chunk({"content": "", "refusal": "Hel"}),
            {"choices": [{"message": {"role": "assistant", "content": None, "refusal": "lo"}}]},
            {"choices": [{"index": 0, "error": {"message": "no", "code": 5}}]},
            {"choices": [{"index": 0, "delta": {"content": "", "error": {"message": "gone"}}}]},
        ),
        [*HELLO, ErrorEvent("no", 5), ErrorEvent("gone")],
    ),
    (
        "OpenAI Chat Completions",
        "the whole message behind its pieces",
        lines_of(
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]},
        ),
        HELLO,
    ),
    (
        "OpenAI Responses",
        "refusals",
        lines_of(
            {"type": "response.refusal.delta", "delta": "Hel"},
            {"type": "response.refusal.delta", "delta": "lo"},
            {"type": "response.refusal.done", "refusal": "Hello"},
            {
                "type": "response.output_item.done",
                "item": {"type": "message", "content": [{"type": "refusal", "refusal": "Hello"}]},
            },
        ),
        HELLO,
    ),
    (
        "OpenAI Responses",
        "tools of the service",
        lines_of(
            *(
                {"type": "response.output_item.done", "item": {"id": "c1", **item}}
                for item in (
                    {"type": "mcp_call", "name": "look", "arguments": '{"for": "x y"}', "output": "found"},
                    {"type": "mcp_call", "name": "look", "arguments": "{}", "output": None, "error": "no"},
                    {"type": "web_search_call", "status": "completed", "action": {"query": "x"}},
                    {"type": "code_interpreter_call", "code": "1 +", "outputs": [2], "status": "completed"},
                    {"type": "file_search_call", "queries": ["x"], "results": None, "status": "failed"},
                    {"type": "image_generation_call", "status": "in_progress"},
                    {"type": "custom_tool_call", "call_id": "c2", "name": "f", "input": "x"},
                    {"type": "computer_call_output", "call_id": "c2", "output": "found"},
                    {"type": "mcp_list_tools", "tools": []},
                    {"type": "mcp_call", "name": 5},
                )
            ),
        ),
        [
            CALL,
            NAMED,
            ToolCall("c1", "look", {}),
            ToolResult("c1", "look", "no", True),
            ToolCall("c1", "web_search", {"query": "x"}),
            ToolResult("c1", "web_search", None),
            ToolCall("c1", "code_interpreter", "1 +"),
            ToolResult("c1", "code_interpreter", [2]),
            ToolCall("c1", "file_search", ["x"]),
            ToolResult("c1", "file_search", None, True),
            ToolCall("c1", "image_generation"),
            ToolCall("c2", "f", "x"),
            ToolResult("c2", None, "found"),
            ToolCall("c1", "mcp"),
        ],
    ),
    (
        "OpenAI Responses",
        "answers that are not streamed",
        lines_of(
            {
                "object": "response",
                "error": None,
                "output": [
                    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hel"}]},
                    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"for": "x y"}'},
                ],
            },
            {
                "type": "response.incomplete",
                "response": {"output": [{"type": "message", "content": [{"type": "output_text", "text": "lo"}]}]},
            },
            {"object": "response", "error": {"message": "no"}, "output": []},
        ),
        [TextDelta("Hel"), CALL, TextDelta("lo"), ErrorEvent("no")],
    ),
    (
        "OpenAI Responses",
        "the whole answer behind its pieces",
        lines_of(
            {"type": "response.output_text.delta", "delta": "Hel"},
            {"type": "response.output_text.delta", "delta": "lo"},
            {
                "type": "response.completed",
                "response": {"output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}]},
            },
            {
                "object": "response",
                "output": [{"type": "message", "content": [{"type": "output_text", "text": "Next"}]}],
            },
        ),
        [*HELLO, TextDelta("Next")],
    ),
    (
        "Ollama",
        "the whole answer behind its pieces",
        lines_of(
            {"message": {"role": "assistant", "content": "Hel"}, "done": False},
            {"message": {"role": "assistant", "content": "lo"}, "done": False},
            {"message": {"role": "assistant", "content": "Hello"}, "done": True},
            {"role": "assistant", "content": "Hello"},
        ),
        HELLO,
    ),
    (
        "Server-Sent Events",
        "data on several lines",
        [
            b'data: {"type": "text",',
            b'data:  "text": "Hel"}',
            b"",
            b"event: token",
            b'data: {"token":',
            b'data: "lo"}',
            b": a comment",
            b'data: {"type": "error",',
            b'data: "error": "no"}',
        ],
        [*HELLO, ErrorEvent("no")],
    ),
    (
        "Server-Sent Events",
        "plain words",
        [
            b"event: token",
            b"data: Hel",
            b"",
            b"event: token",
            b'data: "lo"',
            b"",
            b"event: token",
            b"data: 42",
            b"",
            b"event: error",
            b"data: it broke",
            b"",
        ],
        [*HELLO, TextDelta("42"), ErrorEvent("it broke")],
    ),
    (
        "Server-Sent Events",
        "lines of the AI SDK's data stream",
        [b'data: 0:"Hel"', b"", b'data: 0:"lo"', b'data: g:"hm"', b'data: 3:"no"', b"data: [DONE]"],
        [*HELLO, ErrorEvent("no")],
    ),
]
"""Service, what the lines are, the lines, and all events that are words, calls, results or errors."""
