"""What the logger says at DEBUG: enough to find out about a job that is stuck, and nothing that anybody has said."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from tests.support.answers import KEY
from tests.web.gateway.support import MODEL, ask, chat, response
from toolhouse_async import (
    AsyncToolhouse,
    AuthenticationError,
    JobStarted,
    OutcomeUnknownError,
    PollingPolicy,
    ProtocolError,
    ServerError,
    SessionManager,
    TLSError,
    WorkerError,
)
from toolhouse_async._log import in_own_words
from toolhouse_async._observers import METHODS
from toolhouse_async._wire.answers import status_error
from toolhouse_async.observe import LINES, Logging, TurnEnded
from toolhouse_async.stores import MemorySessionStore
from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.web import TurnHub, ag_ui, ndjson, openai_gateway, sse

SECRETS = (KEY, "Swordfish", "canary", "hunter2")
"""Of which nothing may be logged: the key, what was said, and what a server says of an error."""


@pytest.fixture(autouse=True)
def at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="toolhouse_async")


def check(caplog: pytest.LogCaptureFixture, *patterns: str) -> None:
    """Check that these lines come in this order, and that nothing secret is in any."""
    lines = [record.getMessage() for record in caplog.records if record.name == "toolhouse_async"]
    left = iter(lines)
    for pattern in patterns:
        assert any(re.fullmatch(pattern, line) for line in left), (pattern, lines)
    assert not [line for line in lines if any(secret in line for secret in SECRETS)]


async def test_a_job_that_is_stuck(caplog: pytest.LogCaptureFixture) -> None:
    emulator = WorkersEmulator(api_key=KEY)

    @emulator.worker("worker")
    async def worker(ctx: Any) -> Any:
        if ctx.job_result is None:
            yield ctx.background(asyncio.sleep, 30, "done")
            yield ctx.text("canary")
        yield ctx.text("hunter2")

    async with emulator.serve() as server:
        policy = PollingPolicy(min_interval=2, max_interval=4, jitter=0)
        async with AsyncToolhouse(KEY, base_url=server.url, polling=policy) as toolhouse:
            async with toolhouse.session("worker") as session, session.stream("Swordfish") as turn:
                job = next(event.job_id for event in [e async for e in turn] if isinstance(event, JobStarted))
            run = session.run_id
    url = re.escape(server.url)
    check(
        caplog,
        r"turn \d+: a message to worker",
        rf"turn \d+: POST {url}/ndjson/worker, attempt 1",
        rf"turn \d+: POST {url}/ndjson/worker was answered with 200 after \d\.\d{{3}} s",
        rf"turn \d+: job {job} runs",
        rf"turn \d+: GET {url}/worker/{run}, attempt 1",
        rf"turn \d+: GET {url}/worker/{run} was answered with 200 after .* s",
        rf"turn \d+: job {job} runs for \d+\.\d s; poll 1, the next in 2\.0 s",
        rf"turn \d+: job {job} runs for .* s; poll 2, .*",
        rf"turn \d+: job {job} is over after \d+\.\d s and \d+ polls",
        rf"turn \d+: PUT {url}/ndjson/worker/{run}, attempt 1",
        rf"turn \d+: PUT {url}/ndjson/worker/{run} was answered with 200 after .* s",
        rf"turn \d+: completed after .* s, run {run}",
    )


async def test_what_fails(caplog: pytest.LogCaptureFixture) -> None:
    emulator = WorkersEmulator(api_key=KEY)
    async with emulator.serve() as server, AsyncToolhouse(KEY, base_url=server.url) as toolhouse:
        emulator.faults.add(status=401, body=f"hunter2 {KEY}")
        with pytest.raises(AuthenticationError):
            await toolhouse.run("worker", "Swordfish")
        emulator.faults.add(times=None, status=503, body=f"hunter2 {KEY}")
        with pytest.raises(ServerError):
            await toolhouse.history("worker", "run")
    check(
        caplog,
        r"turn \d+: POST .*/ndjson/worker was answered with 401 after \d\.\d{3} s",
        r"turn \d+: failed by AuthenticationError after \d\.\d{3} s, run None",
        r"turn None: GET .*/worker/run was answered with 503 after .*",
        r"GET /worker/run: attempt 1 failed \(ServerError\); again in .*",
        r"turn None: GET .*/worker/run, attempt 2",
        r"turn None: GET .*/worker/run was answered with 503 after .*",
    )


async def test_what_takes_long(caplog: pytest.LogCaptureFixture) -> None:
    store = MemorySessionStore()
    emulator = WorkersEmulator()

    @emulator.worker("echo")
    async def echo(ctx: Any) -> AsyncIterator[Any]:
        yield ctx.text("heard")

    async with emulator.serve() as server, AsyncToolhouse("", base_url=server.url) as toolhouse:
        run_id = (await toolhouse.run("echo", "x")).run_id
        managers = [SessionManager(toolhouse, "echo", store=store) for _ in range(2)]
        async with managers[0] as one, managers[1] as two:
            async with one.checkout("k"):
                waiting = asyncio.ensure_future(two.send("k", "y"))
                await asyncio.sleep(1)
            await waiting
        async with AsyncToolhouse("", base_url=server.url) as other:
            await other.session("echo", run_id=run_id).recover("x")
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if re.fullmatch(r"echo/k is held by \S+:\d+: waiting .* \(\d+ s\)", line)]) == 1
    assert lines.count(f"run {run_id}: looking in its history, for 120 s at most") == 1


async def test_a_history_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    emulator = WorkersEmulator(api_key=KEY)

    @emulator.worker("worker")
    async def worker(ctx: Any) -> Any:
        yield ctx.text("canary")

    async with emulator.serve() as server, AsyncToolhouse(KEY, base_url=server.url) as toolhouse:
        emulator.faults.add(method="GET", status=503, body="hunter2")
        result = await toolhouse.run("worker", "Swordfish", settle=True)
    check(caplog, rf"run {result.run_id} could not be read: ServerError", r"turn .*: GET .* was answered with 200 .*")


async def told(caplog: pytest.LogCaptureFixture, **options: Any) -> list[dict[str, Any]]:
    """What programs are told of a turn that calls a tool, and of one of unknown fate."""
    emulator = WorkersEmulator(api_key=KEY)

    @emulator.worker("worker")
    async def worker(ctx: Any) -> Any:
        yield (call := ctx.tool_call("hunt", {"for": "canary"}))
        yield ctx.tool_result(call, "hunter2")
        yield ctx.text("canary")

    async with emulator.serve() as server, AsyncToolhouse(KEY, base_url=server.url, **options) as toolhouse:
        await toolhouse.run("worker", "Swordfish")
        emulator.faults.add(method="POST", accept=True, cut="rst")
        with pytest.raises(OutcomeUnknownError):
            await toolhouse.run("worker", "Swordfish")
    return [record.toolhouse for record in caplog.records if hasattr(record, "toolhouse")]


async def test_programs_read_the_fields_of_its_records(caplog: pytest.LogCaptureFixture) -> None:
    fields = await told(caplog)
    events = [each["event"] for each in fields if not each["event"].startswith("request_")]
    first = ["turn_begun", "tool_called", "tool_returned", "turn_ended"]
    assert events == [*first, "turn_begun", "outcome_unknown", "turn_ended"]
    assert {"event": "request_answered", "status": 200, "method": "POST"}.items() <= fields[2].items()
    assert not [each for each in fields if any(secret in str(each) for secret in SECRETS)]


async def test_words_are_in_fields_where_they_are_asked_for_and_in_no_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="tests.words")
    logger = logging.getLogger("tests.words")
    fields = await told(caplog, observers=[Logging(logger, content=True)])
    check(caplog)
    assert {record.name for record in caplog.records if hasattr(record, "toolhouse")} == {"tests.words"}
    assert [each["text"] for each in fields if each["event"] == "turn_ended"] == ["canary", ""]


@pytest.mark.parametrize(("level", "is_told"), [(logging.WARNING, False), (logging.INFO, True)])
def test_a_client_logs_if_it_would_be_heard_when_it_is_made(
    caplog: pytest.LogCaptureFixture, level: int, is_told: bool
) -> None:
    caplog.set_level(level, logger="toolhouse_async")
    assert (AsyncToolhouse(KEY)._core.observers is not None) is is_told


def test_every_record_has_a_line_of_its_own_fields() -> None:
    kinds = {name: kind for kind, name in METHODS.items()} | {"turn_failed": TurnEnded}
    assert set(LINES) == set(kinds)
    for name, (_, line) in LINES.items():
        assert set(re.findall(r"%\((\w+)\)", line)) <= {field.name for field in attrs.fields(kinds[name])}


async def read(stream: Any) -> None:
    """Read a stream to its end."""
    async for _ in stream:
        pass


async def by_hub(toolhouse: AsyncToolhouse) -> None:
    async with TurnHub() as hub:
        await read(sse(hub.start("key", toolhouse.stream("worker", "Swordfish")).follow()))


async def by_gateway(toolhouse: AsyncToolhouse) -> None:
    app = openai_gateway(toolhouse, models={MODEL: "worker"})
    for stream in (False, True):
        await ask(app, "/v1/chat/completions", chat("Swordfish", stream=stream))
        await ask(app, "/v1/responses", response("Swordfish", stream=stream))


async def by_batch(toolhouse: AsyncToolhouse) -> None:
    await read(toolhouse.batch("worker", ["Swordfish"], store=MemorySessionStore(), name="batch"))


async def by_resume(toolhouse: AsyncToolhouse) -> None:
    async with SessionManager(toolhouse, "worker") as manager:
        await manager.send("key", "job", background="detach")
        (resumed,) = await manager.resume_pending()
        assert resumed.error is not None


@pytest.mark.parametrize("status", [400, 404, 422, 503, None])
@pytest.mark.parametrize(
    "use",
    [
        lambda toolhouse: read(sse(toolhouse.stream("worker", "Swordfish"))),
        lambda toolhouse: read(ndjson(toolhouse.stream("worker", "Swordfish"))),
        lambda toolhouse: read(ag_ui(toolhouse.stream("worker", "Swordfish"), thread_id="t", run_id="r")),
        by_hub,
        by_gateway,
        by_batch,
        by_resume,
    ],
    ids=["sse", "ndjson", "ag_ui", "hub", "gateway", "batch", "resume"],
)
async def test_what_a_server_says_of_a_failure_is_in_no_line(
    use: Any, status: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    emulator = WorkersEmulator(api_key=KEY)

    @emulator.worker("worker")
    async def worker(ctx: Any) -> Any:
        if ctx.message == "job":
            yield ctx.background(asyncio.sleep, 3, "done")
            return
        yield ctx.text("canary ")
        raise RuntimeError("hunter2: I was about to say canary")

    if status is not None:
        method = "PUT" if use is by_resume else "POST"
        emulator.faults.add(method=method, status=status, body='{"detail": "hunter2 Swordfish"}', times=None)
    policy = PollingPolicy(failure_budget=1, failure_window=1)
    async with emulator.serve() as server, AsyncToolhouse(KEY, base_url=server.url, polling=policy) as toolhouse:
        await use(toolhouse)
    check(caplog)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 409, 422, 429, 500])
@pytest.mark.parametrize(("run_id", "has_key", "retry_after"), [(None, True, None), ("run", False, 1.5)])
def test_a_refusal_is_told_without_its_body(
    status: int, run_id: str | None, has_key: bool, retry_after: float | None
) -> None:
    def error(body: str) -> Any:
        return status_error(
            status,
            what="POST /ndjson/worker",
            body=body,
            headers={},
            run_id=run_id,
            retry_after=retry_after,
            reads_only=False,
            has_key=has_key,
        )

    own = in_own_words(error(""))
    assert own == f"{type(error('')).__name__}: {error('')}"
    for body in ("hunter2", "hunter2 was answered with 400", "; check\nhunter2: (hunter2)"):
        assert in_own_words(error(body)) == own
        wrapped = in_own_words(OutcomeUnknownError(f"the history cannot be read: {error(body)}; this was not sent"))
        assert wrapped.endswith(own.partition(": ")[2])
        assert "hunter2" not in wrapped


def test_an_error_is_told_in_the_words_of_this_library() -> None:
    assert in_own_words(WorkerError("the worker reported an error: hunter2", run_id="r")) == "WorkerError, run r"
    header = "the answer's X-Toolhouse-Run-ID header is not one valid id: "
    assert in_own_words(ProtocolError(f"{header}{['hunter2', 'x']!r}")) == f"ProtocolError: {header}[…"
    assert in_own_words(ProtocolError(f"not a number: {'hunter2'!r}")) == "ProtocolError: not a number: …"
    advice = "TLS failed: certificate has expired; check base_url, proxy and ssl_context"
    assert in_own_words(TLSError(advice)) == f"TLSError: {advice}"
    assert in_own_words(ValueError("hunter2")) == "ValueError"
    with pytest.raises(ValueError, match="hunter2") as caught:
        int("hunter2")
    assert re.fullmatch(rf"ValueError \({re.escape(__file__)}:\d+\)", in_own_words(caught.value))
