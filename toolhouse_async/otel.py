"""Traces and metrics by OpenTelemetry; needs the extra ``[otel]``.

Names are those of OpenTelemetry's conventions for generative AI and for HTTP. What these have no name for begins with
``toolhouse.``.
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import define, field

from . import observe
from ._version import __version__
from .errors import ConfigurationError

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider
except ImportError:
    raise ConfigurationError("Tracing needs opentelemetry-api: pip install 'toolhouse-async[otel]'") from None

__all__ = ["Tracing"]

_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""The buckets that the conventions ask for; jobs take longer, so more follow."""
_BUCKETS: Final = (*_SECONDS, 163.84, 327.68, 655.36, 1310.72)


@define(eq=False)
class _Turn:
    """A turn under way: its span, and the calls of tools that have no result yet."""

    span: Span
    within: Context
    about: dict[str, Any]
    calls: list[tuple[str | None, str, Span]] = field(factory=list)


class Tracing(observe.Observer):
    """An observer that makes spans and metrics; one may be given to any number of clients.

    A span for each turn, a child of whatever span is active where the turn is begun; below it one for each request and
    each tool; and events for jobs, recoveries and unknown outcomes. Headers of a trace are not sent to the service.

    Args:
        tracer_provider: Where spans go; ``None`` for the one that the program has set.
        meter_provider: Where metrics go; ``None`` for the one that the program has set.
        content: Whether spans hold what was said: messages, answers, and what tools got and gave. They may be stored
            for long, where many read them.

    Raises:
        ConfigurationError: On import: ``opentelemetry-api`` is not installed.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        content: bool = False,
    ) -> None:
        self.content = content
        self._tracer = trace.get_tracer("toolhouse_async", __version__, tracer_provider)
        meter = metrics.get_meter("toolhouse_async", __version__, meter_provider)
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="How long turns take, jobs and the reader's own time included.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._polls = meter.create_counter(
            "toolhouse.job.polls", unit="{poll}", description="Polls that found how a background job stands."
        )
        self._retries = meter.create_counter(
            "toolhouse.request.retries", unit="{retry}", description="Requests that were sent again."
        )
        self._unknown = meter.create_counter(
            "toolhouse.outcomes.unknown",
            unit="{turn}",
            description="Turns after which nobody knows whether what they have sent was accepted.",
        )
        self._turns: dict[int, _Turn] = {}
        self._requests: dict[int, Span] = {}

    # Turns

    def turn_begun(self, record: observe.TurnBegun, /) -> None:
        """Begin the turn's span."""
        about = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": "toolhouse",
            "gen_ai.agent.id": record.agent_id,
        }
        more: dict[str, Any] = {"toolhouse.turn.kind": record.kind}
        if record.run_id is not None:
            more["gen_ai.conversation.id"] = record.run_id
        if record.message is not None:
            more["gen_ai.input.messages"] = _messages("user", record.message)
        span = self._tracer.start_span(
            f"invoke_agent {record.agent_id}", kind=SpanKind.CLIENT, attributes={**about, **more}
        )
        self._turns[record.turn] = _Turn(span, trace.set_span_in_context(span), about)

    def turn_ended(self, record: observe.TurnEnded, /) -> None:
        """End the turn's span, and those of tools that have no result."""
        turn = self._turns.pop(record.turn)
        for _, _, call in turn.calls:
            call.end()
        span, about = turn.span, {**turn.about, "toolhouse.turn.outcome": record.outcome}
        if record.run_id is not None:
            span.set_attribute("gen_ai.conversation.id", record.run_id)
        if record.text is not None:
            span.set_attribute("gen_ai.output.messages", _messages("assistant", record.text, record.outcome))
        span.set_attribute("toolhouse.turn.outcome", record.outcome)
        if record.error is not None:
            about["error.type"] = record.error
            _fail(span, record.error)
        self._duration.record(record.seconds, about, context=turn.within)
        span.end()

    def outcome_unknown(self, record: observe.OutcomeUnknown, /) -> None:
        """Note that nobody knows what became of what the turn has sent."""
        turn = self._turns[record.turn]
        turn.span.add_event("toolhouse.outcome.unknown", {"error.type": record.error})
        self._unknown.add(1, turn.about, context=turn.within)

    def answer_recovered(self, record: observe.AnswerRecovered, /) -> None:
        """Note that an answer was completed from the history."""
        turn = self._turns[record.turn]
        turn.span.add_event("toolhouse.answer.recovered", {"toolhouse.answer.missing": record.missing})

    # Requests

    def request_begun(self, record: observe.RequestBegun, /) -> None:
        """Begin the request's span."""
        turn = self._turns.get(record.turn) if record.turn is not None else None
        server = _server(record.url)
        about: dict[str, Any] = {"http.request.method": record.method, "url.full": record.url, **server}
        if record.attempt > 1:
            about["http.request.resend_count"] = record.attempt - 1
            self._retries.add(1, {"http.request.method": record.method, **server})
        if turn is not None and "server.address" not in turn.about:
            turn.about.update(server)
            turn.span.set_attributes(server)
        self._requests[record.request] = self._tracer.start_span(
            record.method, None if turn is None else turn.within, SpanKind.CLIENT, about
        )

    def request_answered(self, record: observe.RequestAnswered, /) -> None:
        """End the request's span: the head of an answer has come."""
        span = self._requests.pop(record.request)
        span.set_attribute("http.response.status_code", record.status)
        if record.status >= 400:
            _fail(span, str(record.status))
        span.end()

    def request_failed(self, record: observe.RequestFailed, /) -> None:
        """End the request's span: no answer has come."""
        span = self._requests.pop(record.request)
        _fail(span, record.error)
        span.end()

    # Tools

    def tool_called(self, record: observe.ToolCalled, /) -> None:
        """Begin the span of a tool's execution, which is the worker's."""
        turn = self._turns[record.turn]
        about: dict[str, Any] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": record.name}
        if record.call_id is not None:
            about["gen_ai.tool.call.id"] = record.call_id
        if record.arguments is not None:
            about["gen_ai.tool.call.arguments"] = record.arguments
        span = self._tracer.start_span(f"execute_tool {record.name}", turn.within, attributes=about)
        turn.calls.append((record.call_id, record.name, span))

    def tool_returned(self, record: observe.ToolReturned, /) -> None:
        """End the span of the tool's execution: the latest call of that id, or else the first of that name."""
        turn = self._turns[record.turn]
        for call in reversed(turn.calls) if record.call_id is not None else turn.calls:
            call_id, name, span = call
            if call_id == record.call_id and (call_id is not None or record.name in (None, name)):
                turn.calls.remove(call)
                if record.content is not None:
                    span.set_attribute("gen_ai.tool.call.result", record.content)
                if record.is_error:
                    _fail(span, "tool_error")
                span.end()
                return

    # Jobs

    def job_begun(self, record: observe.JobBegun, /) -> None:
        """Note the job."""
        self._turns[record.turn].span.add_event("toolhouse.job.begun", {"toolhouse.job.id": record.job_id})

    def job_polled(self, record: observe.JobPolled, /) -> None:
        """Count the poll."""
        turn = self._turns[record.turn]
        self._polls.add(1, turn.about, context=turn.within)

    def job_ended(self, record: observe.JobEnded, /) -> None:
        """Note the job's end, and count the poll that has found it."""
        turn = self._turns[record.turn]
        about: dict[str, Any] = {"toolhouse.job.id": record.job_id, "toolhouse.job.polls": record.polls}
        turn.span.add_event("toolhouse.job.ended", {**about, "toolhouse.job.seconds": record.elapsed})
        self._polls.add(1, turn.about, context=turn.within)


def _server(url: str) -> dict[str, str | int]:
    parts = urlsplit(url)
    return {
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }


def _messages(role: str, text: str, outcome: str | None = None) -> str:
    """One message, as the conventions write it."""
    message: dict[str, Any] = {"role": role, "parts": [{"type": "text", "content": text}]}
    if outcome is not None:
        message["finish_reason"] = "error" if outcome == "failed" else "stop"
    return json.dumps([message], ensure_ascii=False)


def _fail(span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)  # `error.type` says why
