"""Checked by the type checkers, never run: events and results have precise types."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any, assert_never, assert_type

from toolhouse_async import (
    ErrorEvent,
    Event,
    JobFinished,
    JobProgress,
    JobStarted,
    MalformedLine,
    StreamRecovered,
    TextDelta,
    ToolCall,
    ToolExchange,
    ToolResult,
    TurnCompleted,
    TurnResult,
    TurnResumed,
    TurnStarted,
    UnknownEvent,
)


def every_kind_of_event_is_matched(event: Event) -> str | None:  # noqa: C901 - there are that many kinds
    match event:
        case TurnStarted(agent_id, run_id):
            assert_type(run_id, str | None)
            return agent_id
        case TextDelta(text=text):
            return assert_type(text, str)
        case ToolCall(id_, name, arguments):
            assert_type(id_, str | None)
            assert_type(arguments, Any)
            return assert_type(name, str)
        case ToolResult(name=name, is_error=is_error):
            assert_type(is_error, bool)
            return assert_type(name, str | None)
        case ErrorEvent(message, code):
            assert_type(code, str | int | None)
            return assert_type(message, str)
        case UnknownEvent(type=kind):
            return assert_type(kind, str | None)
        case MalformedLine(line, number, reason):
            assert_type(line, bytes)
            assert_type(number, int)
            return assert_type(reason, str)
        case JobStarted(job_id) | JobFinished(job_id):
            return assert_type(job_id, str)
        case JobProgress(elapsed=elapsed, next_poll=next_poll):
            assert_type(next_poll, float)
            return f"{assert_type(elapsed, float)}"
        case TurnResumed(run_id, round_):
            assert_type(round_, int)
            return assert_type(run_id, str)
        case StreamRecovered(text, missing):
            return assert_type(text, str) + assert_type(missing, str)
        case TurnCompleted(result):
            return assert_type(result, TurnResult).text
        case _:
            assert_never(event)


def a_forgotten_kind_is_noticed(event: TextDelta | ToolCall) -> str:
    match event:
        case TextDelta(text):
            return text
        case _:
            assert_never(event)  # type: ignore[arg-type]


def every_event_has_its_line(event: Event) -> None:
    assert_type(event.line, bytes)
    assert_type(event.raw, Any)


def lines_are_for_keywords_only() -> None:
    TextDelta("text", line=b"line")
    TextDelta("text", b"line")  # type: ignore[call-arg]
    ToolCall("id")  # type: ignore[call-arg]


def results_are_read_by_type(result: TurnResult) -> None:
    assert_type(result.parse(int), int)
    assert_type(result.parse(list[str]), list[str])
    assert_type(result.json(), Any)
    assert_type(result.tool_calls, tuple[ToolExchange, ...])
    result.text = "other"  # type: ignore[misc]
    if result.status == "running":  # type: ignore[comparison-overlap]
        return
