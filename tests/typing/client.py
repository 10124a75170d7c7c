"""Checked by the type checkers, never run: what users write of clients, sessions and turns."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Literal, assert_type

from toolhouse_async import (
    AsyncToolhouse,
    BackgroundJobWaiter,
    Batch,
    BatchItem,
    BatchProgress,
    Event,
    EventDecoder,
    JobStatus,
    JobToken,
    Limits,
    MapItem,
    Message,
    PollingPolicy,
    Session,
    SessionManager,
    TextDelta,
    Timeouts,
    Turn,
    TurnOptions,
    TurnResult,
)
from toolhouse_async.observe import Observer, TurnBegun, TurnEnded
from toolhouse_async.otel import Tracing
from toolhouse_async.stores import MemorySessionStore
from toolhouse_async.tools import ConversationTool, Tool, as_tool


async def ask() -> str:
    return "key"


def keys() -> None:
    AsyncToolhouse()
    AsyncToolhouse("key")
    AsyncToolhouse(lambda: "key")
    AsyncToolhouse(ask)
    AsyncToolhouse(5)  # type: ignore[arg-type]
    AsyncToolhouse("key", "https://example.com")  # type: ignore[call-arg]


async def turns(session: Session) -> None:
    async with session.stream("message") as turn:
        assert_type(turn, Turn)
        async for event in turn:
            assert_type(event, Event)
        async for text in turn.text_stream:
            assert_type(text, str)
        assert_type(await turn.result(), TurnResult)
    assert_type(await session.send(), TurnResult)
    assert_type(await session.history(), list[Message])
    assert_type(await session.job_status(), JobStatus)
    assert_type(session.run_id, str | None)


async def answers(session: Session) -> None:
    assert_type(await session.ask("message", Limits), Limits)
    assert_type(await session.ask("message", list[Limits], attempts=3, timeout=5), list[Limits])
    await session.ask("message", Limits, attempts="3")  # type: ignore[arg-type]
    await session.ask("message", Limits, time_out=5)  # type: ignore[call-arg]


async def tools(toolhouse: AsyncToolhouse, manager: SessionManager, choice: bool) -> None:
    plain = as_tool(toolhouse, "agent", name="ask", description="Answers.")
    assert_type(plain, Tool)
    assert_type(await plain("message"), str)
    going_on = as_tool(manager, "agent", name="ask", description="Answers.", timeout=5, conversation=True)
    assert_type(going_on, ConversationTool)
    assert_type(await going_on("message", "run"), str)
    assert_type(await going_on("message", conversation=None), str)
    as_tool(toolhouse, "agent", name="ask", description="Answers.", conversation=choice)
    as_tool("client", "agent", name="ask", description="Answers.")  # type: ignore[call-overload]


def turn_options(session: Session) -> None:
    session.stream("message", format="text", background="detach", on_conflict="raise", timeout=5, settle="auto")
    session.stream("message", extra_body={"x": [1]}, recover=False, resume_message="continue", settle=True)
    options: TurnOptions = {"format": "ndjson", "timeout": None}
    session.stream("message", **options)
    session.stream(format="xml")  # type: ignore[arg-type]
    session.stream(background="wait")  # type: ignore[arg-type]
    session.stream(on_conflict=True)  # type: ignore[arg-type]
    session.stream(timeout="5")  # type: ignore[arg-type]
    session.stream(settle="always")  # type: ignore[arg-type]
    session.stream(time_out=5)  # type: ignore[call-arg]
    session.stream(b"message")  # type: ignore[arg-type]
    wrong: TurnOptions = {"format": "json"}  # type: ignore[typeddict-item]
    session.stream("message", **wrong)


async def clients(toolhouse: AsyncToolhouse, session: Session, token: JobToken) -> None:
    assert_type(toolhouse.session("agent", vars={"x": 1}), Session)
    assert_type(toolhouse.stream("agent", "message", format="text"), Turn)
    assert_type(await toolhouse.run("agent", "message", timeout=5), TurnResult)
    toolhouse.stream("agent", "message", format="xml")  # type: ignore[arg-type]
    assert_type(await toolhouse.history("agent", "run"), list[Message])
    assert_type(await toolhouse.job_status("agent", "run"), JobStatus)
    async for item in toolhouse.map("agent", ["a", "b"], concurrency=2, ordered=True, background="detach"):
        assert_type(item, MapItem)
        assert_type(item.result, TurnResult | None)
    store = MemorySessionStore()
    async with toolhouse.batch("agent", [{"a": 1}], store=store, name="b", template="{a}", timeout=5) as batch:
        assert_type(batch, Batch)
        async for row in batch:
            assert_type(row, BatchItem)
            assert_type(row.status, Literal["done", "failed", "unknown"])
            assert_type(row.result, TurnResult | None)
        assert_type(batch.progress, BatchProgress)
        assert_type(await batch.read_progress(), BatchProgress)
        assert_type(await batch.retry_failed(), int)
    toolhouse.batch("agent", ["a"], store=store)  # type: ignore[call-arg]
    toolhouse.batch("agent", ["a"], store=store, name="b", key=len)  # type: ignore[arg-type]
    toolhouse.batch("agent", ["a"], store=store, name="b", format="xml")  # type: ignore[arg-type]
    waiter = toolhouse.wait_for_job(token, polling=PollingPolicy(deadline=None), timeout=5)
    assert_type(waiter, BackgroundJobWaiter)
    assert_type(await waiter, TurnResult)
    assert_type(await waiter.wait(), JobStatus)
    assert_type(waiter.token, JobToken | None)
    async for event in BackgroundJobWaiter(session):
        assert_type(event, Event)
    assert_type(JobToken.from_json(token.to_json()), JobToken)


def settings() -> None:
    AsyncToolhouse(timeouts=Timeouts(idle=None), limits=Limits(max_body=1))
    Timeouts(idle="5")  # type: ignore[arg-type]
    Limits(max_line=None)  # type: ignore[arg-type]
    Limits().max_line = 5  # type: ignore[misc]


class Report(Observer):
    def turn_ended(self, record: TurnEnded, /) -> None:
        assert_type(record.outcome, Literal["completed", "background", "absent", "failed"])
        assert_type(record.error, str | None)


class Transcript(Report):
    content = True


class Wrong(Observer):
    def turn_ended(self, record: TurnBegun, /) -> None:  # type: ignore[override]
        pass


def observers() -> None:
    AsyncToolhouse(observers=[Report(), Transcript(), Tracing(content=True)])
    AsyncToolhouse(observers=[object()])  # type: ignore[list-item]
    Tracing("provider")  # type: ignore[arg-type]


async def own_requests(toolhouse: AsyncToolhouse) -> None:
    await toolhouse.run("agent", "x", headers={"X-Request-Id": "1"}, timeouts=Timeouts(idle=5))
    await toolhouse.run("agent", "x", headers={"X-Request-Id": 1})  # type: ignore[dict-item]
    await toolhouse.run("agent", "x", timeouts=5)  # type: ignore[arg-type]


def decoders() -> None:
    decoder = EventDecoder(strict=True)
    decoder.register("one", lambda obj, line: TextDelta(str(obj["x"]), line=line))
    decoder.register("many", lambda obj, line: [TextDelta(str(x), line=line) for x in obj["x"]])
    decoder.register("unknown", lambda obj, line: None)
    decoder.register("wrong", lambda obj, line: 5)  # type: ignore[arg-type,return-value]
