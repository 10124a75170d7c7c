from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from toolhouse_async.events import ErrorEvent, TextDelta, UnknownEvent
from toolhouse_async.testing import WorkersEmulator, ndjson_object
from toolhouse_async.testing.workers import echo

from .conftest import Client

HEADERS = "X-Toolhouse-Run-ID"


@pytest.fixture
def gate(emulator: WorkersEmulator) -> asyncio.Event:
    """Holds worker ``a`` between its two words."""
    event = asyncio.Event()

    @emulator.worker("a")
    async def a(ctx):
        yield ctx.text("half")
        await event.wait()
        yield ctx.text(" whole")

    return event


@pytest.mark.parametrize("partial", [False, True])
async def test_history_partial_while_streaming(
    emulator: WorkersEmulator, client: Client, gate: asyncio.Event, partial: bool
) -> None:
    emulator.history_partial = partial
    async with client.stream("POST", "/a", json={"message": "m"}) as stream:
        run_id = stream.headers[HEADERS]
        expected = [("user", "m"), ("assistant", "half")] if partial else [("user", "m")]
        assert await client.said(run_id) == expected
        emulator.history_delay = 1.0
        assert await client.said(run_id) == [("user", "m")]
        emulator.history_delay = 0.0
        gate.set()
        await stream.read()
    assert await client.said(run_id) == [("user", "m"), ("assistant", "half whole")]


@pytest.mark.parametrize("partial", [False, True])
async def test_history_partial_after_a_failure(emulator: WorkersEmulator, client: Client, partial: bool) -> None:
    @emulator.worker("a")
    async def a(ctx):
        yield ctx.text("half")
        raise RuntimeError("broken")

    emulator.history_partial = partial
    answer = await client.ask("POST", "/ndjson/a")
    assert await client.said(answer.run_id) == ([("assistant", "half")] if partial else [])


@pytest.mark.parametrize("policy", ["continue", "stop"])
async def test_on_disconnect(emulator: WorkersEmulator, client: Client, gate: asyncio.Event, policy: str) -> None:
    ended = asyncio.Event()
    cancelled = []

    @emulator.worker("b")
    async def b(ctx):
        try:
            yield ctx.text("half")
            await gate.wait()
            for _ in range(3):
                yield ctx.text("!")
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        finally:
            ended.set()

    emulator.on_disconnect = policy
    emulator.history_partial = True
    async with client.stream("POST", "/b") as stream:
        run_id = stream.headers[HEADERS]
        stream.close()
    while client.server.connections:
        await asyncio.sleep(0)
    if policy == "continue":
        gate.set()
    await ended.wait()
    expected = "half!!!" if policy == "continue" else "half"
    while (said := [entry["content"] for entry in await client.history(run_id, "b")]) != [expected]:
        assert said in ([], ["half"])
    assert cancelled == ([] if policy == "continue" else [True])


async def test_a_worker_that_awaits_nothing_is_stopped_too(emulator: WorkersEmulator, client: Client) -> None:
    ended, ran_on = asyncio.Event(), []

    @emulator.worker("b")
    async def b(ctx):
        try:
            for _ in range(100_000):
                yield ctx.text("on and on " * 100)
            ran_on.append(True)
        finally:
            ended.set()

    emulator.on_disconnect = "stop"
    async with client.stream("POST", "/b") as stream:
        stream.close()
    await ended.wait()
    assert not ran_on


async def test_leaving_before_the_headers(emulator: WorkersEmulator, client: Client) -> None:
    called, gate, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @emulator.worker("a")
    async def a(ctx):
        called.set()
        await gate.wait()
        yield ctx.text("too late")
        ended.set()

    task = asyncio.ensure_future(client.start("x"))
    await called.wait()
    task.cancel()
    await asyncio.wait([task])
    while client.server.connections:
        await asyncio.sleep(0)
    gate.set()
    await ended.wait()


@pytest.mark.parametrize("policy", ["wait", "conflict"])
async def test_while_answering(emulator: WorkersEmulator, client: Client, gate: asyncio.Event, policy: str) -> None:
    emulator.while_answering = policy
    async with client.stream("POST", "/a", json={"message": "m"}) as stream:
        run_id = stream.headers[HEADERS]
        waiting = [asyncio.ensure_future(client.go_on(run_id, str(n))) for n in range(2)]
        while sum(request.method == "PUT" for request in client.server.requests) < 2:
            await asyncio.sleep(0)
        gate.set()
        await stream.read()
        answers = await asyncio.gather(*waiting)
    if policy == "wait":
        assert [answer.status for answer in answers] == [200, 200]
        users = [content for role, content in await client.said(run_id) if role == "user"]
        assert users == ["m", "0", "1"]
    else:
        assert answers[0].status == 409


@pytest.mark.parametrize("recorded", [True, False])
async def test_history_empty_messages(emulator: WorkersEmulator, client: Client, recorded: bool) -> None:
    emulator.worker("a")(echo)
    emulator.history_empty_messages = recorded
    run_id = (await client.start("x")).run_id
    await client.go_on(run_id, "")
    assert (await client.said(run_id))[2:] == ([("user", "")] if recorded else [])


@pytest.mark.parametrize("words", [None, "Hola", ""])
async def test_history_start_without_message(emulator: WorkersEmulator, client: Client, words: str | None) -> None:
    emulator.worker("a")(echo)
    emulator.history_start_without_message = words
    run_id = (await client.start()).run_id
    said = await client.said(run_id)
    assert said[:-1] == ([] if words is None else [("user", words)])
    assert said[-1][0] == "assistant"


@pytest.mark.parametrize("kept", [False, True])
async def test_history_tools(emulator: WorkersEmulator, client: Client, kept: bool) -> None:
    @emulator.worker("a")
    async def a(ctx):
        yield ctx.text("one ")
        call = ctx.tool_call("search", {"q": 1})
        yield call
        yield ctx.tool_result(call, ["r"])
        yield ErrorEvent("odd", 7)
        yield ctx.text("two")

    emulator.history_tools = kept
    answer = await client.ask("POST", "/ndjson/a")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert lines[3] == {"type": "error", "message": "odd", "code": 7}
    call_id = lines[1]["id"]
    history = await client.history(answer.run_id)
    function = {"name": "search", "arguments": '{"q":1}'}
    as_spoken = [
        {
            "role": "assistant",
            "content": "one ",
            "tool_calls": [{"id": call_id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call_id, "name": "search", "content": '["r"]'},
        {"role": "assistant", "content": "two"},
    ]
    assert history == (as_spoken if kept else [{"role": "assistant", "content": "one two"}])


async def test_history_delay(emulator: WorkersEmulator, client: Client) -> None:
    emulator.worker("a")(echo)
    emulator.history_delay = 5.0
    run_id = (await client.start("x")).run_id
    emulator.history_delay = 0.0
    await client.go_on(run_id, "y")
    assert await client.said(run_id) == [("user", "x")]
    await asyncio.sleep(5.1)
    assert await client.said(run_id) == [("user", "x"), ("assistant", "x"), ("user", "y"), ("assistant", "y")]


@pytest.fixture
def job(emulator: WorkersEmulator) -> asyncio.Event:
    """Ends the job that every answer of worker ``j`` but the one to ``end`` starts."""
    event = asyncio.Event()

    @emulator.worker("j")
    async def j(ctx):
        if ctx.message != "end":
            yield ctx.background(event.wait)
        yield ctx.text("words")

    return event


@pytest.mark.parametrize("path", ["/j", "/ndjson/j"])
async def test_job_answer_body(emulator: WorkersEmulator, client: Client, job: asyncio.Event, path: str) -> None:
    emulator.job_answer_body = False
    answer = await client.ask("POST", path, json={"message": "m"})
    assert answer.job_id
    assert answer.body == b""
    assert (await client.history(answer.run_id, "j"))[1]["content"] == "words"
    assert (await client.ask("POST", path, json={"message": "end"})).body != b""


@pytest.mark.parametrize("form", ["history", "empty", "object"])
async def test_job_poll_body(emulator: WorkersEmulator, client: Client, job: asyncio.Event, form: str) -> None:
    emulator.job_poll_body = form
    answer = await client.start("m", "j")
    poll = await client.read(answer.run_id, "j")
    history = [{"role": "user", "content": "m"}, {"role": "assistant", "content": "words"}]
    running = {"status": "running", "job_id": answer.job_id}
    assert poll.job_id == answer.job_id
    assert (
        poll.body
        == {
            "history": json.dumps(history, separators=(",", ":")).encode(),
            "empty": b"",
            "object": json.dumps(running, separators=(",", ":")).encode(),
        }[form]
    )
    job.set()
    while (poll := await client.read(answer.run_id, "j")).job_id is not None:
        pass
    assert len(json.loads(poll.body)) == 3


async def test_job_header_lag(emulator: WorkersEmulator, client: Client, job: asyncio.Event) -> None:
    emulator.job_header_lag = 2
    answer = await client.start("m", "j")
    shown = [(await client.read(answer.run_id, "j")).job_id for _ in range(4)]
    assert shown == [None, None, answer.job_id, answer.job_id]
    assert (await client.go_on(answer.run_id, "x", "j")).status == 409


async def test_conflict_lag(emulator: WorkersEmulator, client: Client, job: asyncio.Event) -> None:
    emulator.conflict_lag = 2
    job.set()
    answer = await client.start("m", "j")
    while (await client.read(answer.run_id, "j")).job_id is not None:
        pass
    refused = [await client.go_on(answer.run_id, "end", "j") for _ in range(3)]
    assert [(each.status, each.job_id) for each in refused] == [(409, None), (409, None), (200, None)]


@pytest.mark.parametrize("named", [True, False])
async def test_conflict_job_header(emulator: WorkersEmulator, client: Client, job: asyncio.Event, named: bool) -> None:
    emulator.conflict_job_header = named
    answer = await client.start("m", "j")
    refused = await client.go_on(answer.run_id, "x", "j")
    assert (refused.status, refused.job_id) == (409, answer.job_id if named else None)


async def test_rotate_run_id(emulator: WorkersEmulator, client: Client) -> None:
    emulator.worker("a")(echo)
    emulator.rotate_run_id = True
    first = await client.start("x")
    second = await client.go_on(first.run_id, "y")
    assert second.run_id != first.run_id
    assert (await client.go_on(first.run_id, "z")).status == 404
    assert await client.said(first.run_id) == await client.said(second.run_id)
    third = await client.go_on(second.run_id, "z")
    assert len({first.run_id, second.run_id, third.run_id}) == 3
    assert len(await client.said(third.run_id)) == 6


async def test_ndjson_shapes(emulator: WorkersEmulator, client: Client) -> None:
    @emulator.worker("a")
    async def a(ctx):
        yield ctx.text("x")
        yield UnknownEvent(None, {"status": "thinking"})

    emulator.ndjson_object = lambda event: [event.text] if isinstance(event, TextDelta) else ndjson_object(event)
    emulator.ndjson_end = {"type": "done"}
    answer = await client.ask("POST", "/ndjson/a")
    assert answer.body == b'["x"]\n{"status":"thinking"}\n{"type":"done"}\n'
    assert (await client.start("m")).text == "x"


@pytest.mark.parametrize("path", ["/a", "/ndjson/a"])
async def test_answer_without_words(emulator: WorkersEmulator, client: Client, path: str) -> None:
    @emulator.worker("a")
    async def a(ctx):
        for event in ():
            yield event

    answer = await client.ask("POST", path, json={"message": "m"})
    assert (answer.status, answer.body) == (200, b"")
    assert await client.said(answer.run_id) == [("user", "m")]


@pytest.mark.parametrize("path", ["/a", "/ndjson/a"])
@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_answer_framing(emulator: WorkersEmulator, client: Client, framing: str, path: str) -> None:
    emulator.worker("a")(echo)
    emulator.answer_framing = framing
    first = await client.ask("POST", path, json={"message": "one two"})
    second = await client.ask("PUT", f"{path}/{first.run_id}", json={"message": "three"})
    for answer in (first, second):
        assert answer.headers.get("Transfer-Encoding") == ("chunked" if framing == "chunked" else None)
        assert answer.headers.get("Connection") == ("close" if framing == "close" else None)
        assert "Content-Length" not in answer.headers
    assert (b"two" in first.body, b"three" in second.body) == (True, True)
    read = await client.read(first.run_id)
    assert int(read.headers["Content-Length"]) == len(read.body)
    assert [words for _, words in await client.said(first.run_id)] == ["one two", "one two", "three", "three"]


async def test_an_unframed_end_looks_the_same_cut_or_whole(
    emulator: WorkersEmulator, client: Client, job: asyncio.Event
) -> None:
    emulator.answer_framing = "close"
    whole = await client.start("m", "j")
    emulator.faults.add(cut="fin", cut_after=2)
    cut = await client.start("m", "j")
    assert (whole.text, cut.text) == ("words", "wo")
    assert whole.job_id
    assert cut.job_id
    assert set(whole.headers) == set(cut.headers)


async def test_an_unframed_answer_of_a_worker_that_fails(emulator: WorkersEmulator, client: Client) -> None:
    @emulator.worker("a")
    async def a(ctx):
        yield ctx.text("half")
        raise RuntimeError("broken")

    with pytest.raises(aiohttp.ClientPayloadError):
        await client.start("m")
    emulator.answer_framing = "close"
    assert (await client.start("m")).text == "half"


async def test_unframed_answers_meet_other_faults(emulator: WorkersEmulator, client: Client) -> None:
    emulator.worker("a")(echo)
    emulator.answer_framing = "close"
    emulator.faults.add(status=503, retry_after=2)
    refused = await client.start("m")
    assert (refused.status, refused.headers["Retry-After"], "Content-Length" in refused.headers) == (503, "2", False)
    emulator.faults.add(status=502, body="lost", accept=True)
    lost = await client.start("m")
    assert (lost.status, lost.text) == (502, "lost")
    assert [request.accepted for request in client.server.requests] == [False, True]
    emulator.faults.add(cut="rst")
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.start("m")
    emulator.faults.add(byte_by_byte=True, headers={"X-Odd": "1"})
    odd = await client.start("one two")
    assert (odd.text, odd.headers["X-Odd"]) == ("one two", "1")
    assert (await client.start("one two")).text == "one two"


async def test_an_unframed_409(emulator: WorkersEmulator, client: Client, job: asyncio.Event) -> None:
    emulator.answer_framing = "close"
    answer = await client.start("m", "j")
    refused = await client.go_on(answer.run_id, "x", "j")
    assert (refused.status, refused.job_id) == (409, answer.job_id)
    assert "error" in json.loads(refused.body)
