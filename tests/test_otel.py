"""Spans and metrics of turns, as a collector would get them."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.conversations.support import (
    AGENT,
    JOB,
    KEY,
    RUN,
    Scripted,
    assistant,
    broken_off,
    called,
    connect,
    falls_silent,
    history,
    refused,
    returned,
    said,
    streamed,
    user,
)
from tests.support.raw_server import rst
from toolhouse_async import (
    ConfigurationError,
    OutcomeUnknownError,
    PollingPolicy,
    RateLimitError,
    TurnTimeoutError,
)
from toolhouse_async.otel import Tracing, _server

EVERY_SECOND = PollingPolicy(min_interval=1, max_interval=1, jitter=0)
OVER = history(user("hi"), assistant("wait"))
DURATION = "gen_ai.client.operation.duration"


class Collected:
    """What was exported."""

    def __init__(self, *, content: bool = False) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.spans_go = TracerProvider()
        self.spans_go.add_span_processor(SimpleSpanProcessor(self._exporter))
        meters = MeterProvider(metric_readers=[self._reader])
        self.tracing = Tracing(self.spans_go, meters, content=content)

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that have ended, by their beginnings."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, beginning: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name.startswith(beginning)]

    @property
    def turn(self) -> ReadableSpan:
        (span,) = self.named("invoke_agent")
        return span

    @property
    def metrics(self) -> dict[str, list[Any]]:
        """The points of each metric."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@asynccontextmanager
async def observed(collected: Collected, *, post: Any = (), put: Any = (), get: Any = ()) -> AsyncIterator[Any]:
    options: dict[str, Any] = {"polling": EVERY_SECOND, "observers": [collected.tracing]}
    async with Scripted(post=post, put=put, get=get) as server, connect(server, **options) as toolhouse:
        yield toolhouse, server


async def test_a_turn_with_a_tool_and_a_job() -> None:
    seen = Collected()
    post = [refused(429, Retry_After="1"), streamed(said("wait"), called(), returned(), job=JOB)]
    async with observed(seen, post=post, get=[history(job=JOB), OVER], put=[streamed(said("done"))]) as (
        client,
        server,
    ):
        with seen.spans_go.get_tracer("mine").start_as_current_span("mine") as mine:
            await client.run(AGENT, "secret words")
    turn = seen.turn
    assert turn.name == f"invoke_agent {AGENT}"
    assert turn.kind is SpanKind.CLIENT
    assert turn.parent is not None
    assert turn.parent.span_id == mine.get_span_context().span_id
    port = int(server.url.rpartition(":")[2])
    assert turn.attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "toolhouse",
        "gen_ai.agent.id": AGENT,
        "gen_ai.conversation.id": RUN,
        "server.address": "127.0.0.1",
        "server.port": port,
        "toolhouse.turn.kind": "message",
        "toolhouse.turn.outcome": "completed",
    }
    assert turn.status.status_code is StatusCode.UNSET
    assert turn.events[0].attributes == {"toolhouse.job.id": JOB}
    assert [event.name for event in turn.events] == ["toolhouse.job.begun", "toolhouse.job.ended"]
    assert (turn.events[1].attributes or {})["toolhouse.job.polls"] == 2

    children = [span for span in seen.spans if span.parent and span.parent.span_id == turn.context.span_id]
    assert [span.name for span in children] == ["POST", "POST", "execute_tool search", "GET", "GET", "PUT"]
    assert all(span.context.trace_id == turn.context.trace_id for span in children)
    first, second = children[:2]
    assert first.kind is SpanKind.CLIENT
    assert first.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 429,
        "url.full": f"{server.url}/ndjson/{AGENT}",
        "server.address": "127.0.0.1",
        "server.port": port,
        "error.type": "429",
    }
    assert first.status.status_code is StatusCode.ERROR
    assert (second.attributes or {})["http.request.resend_count"] == 1
    assert second.status.status_code is StatusCode.UNSET
    tool = children[2]
    assert tool.kind is SpanKind.INTERNAL
    assert tool.attributes == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.call.id": "c1",
    }
    assert not [span for span in seen.spans if "secret" in span.to_json() or KEY in span.to_json()]
    assert {request.headers.get("traceparent") for request in server.requests} == {None}

    metrics = seen.metrics
    (duration,) = metrics[DURATION]
    assert 1.9 < duration.sum < 5
    assert duration.explicit_bounds[-1] > 1000
    assert duration.attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "toolhouse",
        "gen_ai.agent.id": AGENT,
        "server.address": "127.0.0.1",
        "server.port": port,
        "toolhouse.turn.outcome": "completed",
    }
    assert [point.value for point in metrics["toolhouse.job.polls"]] == [2]
    assert [point.value for point in metrics["toolhouse.request.retries"]] == [1]
    assert "toolhouse.outcomes.unknown" not in metrics


async def test_what_was_said_where_that_is_wanted() -> None:
    seen = Collected(content=True)
    answer = streamed(said("It"), called(arguments={"q": "x"}), returned(content="found"), said(" is."))
    async with observed(seen, post=[answer] * 2) as (client, _):
        await client.run(AGENT, "What é?", settle=False)
        await client.run(AGENT, settle=False)
    first, second = seen.named("invoke_agent")
    assert json.loads(str((first.attributes or {})["gen_ai.input.messages"])) == [
        {"role": "user", "parts": [{"type": "text", "content": "What é?"}]}
    ]
    assert json.loads(str((first.attributes or {})["gen_ai.output.messages"])) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "It is."}], "finish_reason": "stop"}
    ]
    assert "gen_ai.input.messages" not in (second.attributes or {})
    tool = seen.named("execute_tool")[0].attributes or {}
    assert (tool["gen_ai.tool.call.arguments"], tool["gen_ai.tool.call.result"]) == ('{"q":"x"}', "found")


async def test_a_turn_that_fails() -> None:
    seen = Collected(content=True)
    async with observed(seen, post=[refused(429, Retry_After="100")]) as (client, _):
        with pytest.raises(RateLimitError):
            await client.run(AGENT, "hi")
    attributes = seen.turn.attributes or {}
    assert (attributes["error.type"], attributes["toolhouse.turn.outcome"]) == ("RateLimitError", "failed")
    assert seen.turn.status.status_code is StatusCode.ERROR
    assert "gen_ai.conversation.id" not in attributes
    (message,) = json.loads(str(attributes["gen_ai.output.messages"]))
    assert message["finish_reason"] == "error"
    assert seen.metrics[DURATION][0].attributes["error.type"] == "RateLimitError"


async def test_what_the_users_own_side_has_ended_can_be_told_apart() -> None:
    """As the page on observers says."""
    seen = Collected()
    answer = streamed(said("x"), ends=False)
    async with observed(seen, post=[answer]) as (client, _), client.stream(AGENT, "hi") as turn:
        await anext(turn)
    assert (seen.turn.attributes or {})["error.type"] == "ClosedError"
    assert seen.metrics[DURATION][0].attributes["error.type"] == "ClosedError"


async def test_a_message_of_unknown_fate_and_a_request_that_is_given_up() -> None:
    seen = Collected()
    async with observed(seen, post=[broken_off(b"", rst), falls_silent()]) as (client, _):
        with pytest.raises(OutcomeUnknownError):
            await client.run(AGENT, "hi")
        with pytest.raises(TurnTimeoutError):
            await client.run(AGENT, "hi", timeout=1)
    assert [[event.name for event in span.events] for span in seen.named("invoke")] == [
        ["toolhouse.outcome.unknown"]
    ] * 2
    assert [(span.attributes or {})["error.type"] for span in seen.named("POST")] == [
        "OutcomeUnknownError",
        "CancelledError",
    ]
    assert [point.value for point in seen.metrics["toolhouse.outcomes.unknown"]] == [2]


async def test_a_recovered_answer_and_requests_outside_of_turns() -> None:
    seen = Collected()
    post = [broken_off(streamed(said("do"), ends=False), rst)]
    async with observed(seen, post=post, get=[history(user("hi"), assistant("done"))] * 99) as (client, _):
        await client.run(AGENT, "hi")
        with seen.spans_go.get_tracer("mine").start_as_current_span("mine") as mine:
            await client.history(AGENT, RUN)
    assert [(event.name, event.attributes) for event in seen.turn.events] == [
        ("toolhouse.answer.recovered", {"toolhouse.answer.missing": 2})
    ]
    last = seen.named("GET")[-1]
    assert last.parent is not None
    assert last.parent.span_id == mine.get_span_context().span_id


async def test_calls_and_results_find_each_other() -> None:
    seen = Collected()
    lines = [
        called("a", "one"),
        called("a", "again"),
        {"type": "tool_call", "name": "nameless"},
        {"type": "tool_call", "name": "other"},
        {"type": "tool_result", "name": "other", "content": "x", "is_error": True},
        {"type": "tool_result", "content": "y"},
        returned("a"),
        returned("nobody's"),
        called("z", "open"),
        said("."),
    ]
    async with observed(seen, post=[streamed(*lines)]) as (client, _):
        await client.run(AGENT, "hi", settle=False)
    ended = {span.name.removeprefix("execute_tool "): span for span in seen.named("execute_tool")}
    assert sorted(ended) == ["again", "nameless", "one", "open", "other"]
    failed = [name for name, span in ended.items() if span.status.status_code is StatusCode.ERROR]
    assert failed == ["other"]
    assert (ended["other"].attributes or {})["error.type"] == "tool_error"
    last = max(ended[name].end_time or 0 for name in ("again", "nameless", "other"))
    assert min(ended[name].end_time or 0 for name in ("one", "open")) >= last  # with their turn


async def test_a_known_conversation_has_its_name_from_the_start() -> None:
    seen = Collected()
    async with observed(seen, put=[streamed(said("x"), run=None)]) as (client, _):
        await client.session(AGENT, run_id=RUN).send("hi")
    assert (seen.turn.attributes or {})["gen_ai.conversation.id"] == RUN


@pytest.mark.parametrize(("url", "port"), [("https://x/a", 443), ("http://x/a", 80), ("http://x:8080/a", 8080)])
def test_the_address_of_a_server(url: str, port: int) -> None:
    assert _server(url) == {"server.address": "x", "server.port": port}


async def test_without_a_provider_nothing_happens() -> None:
    post = [streamed(said("x"), called(), returned(), said("y"))]
    async with Scripted(post=post) as server, connect(server, observers=[Tracing()]) as toolhouse:
        assert (await toolhouse.run(AGENT, "hi", settle=False)).text == "xy"


def test_without_the_extra_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "toolhouse_async.otel")
    with pytest.raises(ConfigurationError, match=r"pip install 'toolhouse-async\[otel\]'"):
        importlib.import_module("toolhouse_async.otel")
