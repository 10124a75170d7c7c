from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import pytest

from tests.support.answers import KEY
from tests.support.stores import Troubled
from toolhouse_async import ConfigurationError, ErrorEvent, EventDecoder, SessionManager, TextDelta, TurnStarted
from toolhouse_async._cli.jsonlines import event_line
from toolhouse_async.events import Event, UnknownEvent
from toolhouse_async.stores import MemorySessionStore
from toolhouse_async.web import EVENT_STREAM_HEADERS, TurnHub, ag_ui, ndjson, sse

from .support import AGENT, no_connections, read_sse, whole, words, world_and_client

FORMS = [sse, ndjson, partial(ag_ui, thread_id="thread", run_id="turn")]


async def test_a_turn_as_server_sent_events() -> None:
    async with world_and_client() as (world, client):
        sent = read_sse(await whole(sse(client.stream(AGENT, "tools here"))))
        assert [each.name for each in sent] == ["TurnStarted", "ToolCall", "ToolResult", "TextDelta", "TurnCompleted"]
        assert [each.id for each in sent] == ["1", "2", "3", "4", "5"]
        assert [each.data["event"] for each in sent] == [each.name for each in sent]
        assert sent[1].data["arguments"] == {"at": "here"}
        assert sent[2].data["content"] == {"seen": "here"}
        assert sent[-1].data["result"]["status"] == "completed"
        assert world.accepted == ["tools here"]


async def test_a_turn_as_ndjson() -> None:
    async with world_and_client() as (_, client):
        stream = await whole(ndjson(client.stream(AGENT, "words 3")))
        lines = [json.loads(line) for line in stream.splitlines()]
        assert [line["event"] for line in lines] == ["TurnStarted", *["TextDelta"] * 3, "TurnCompleted"]
        assert stream.count(b"\n") == len(lines)
        assert stream.endswith(b"\n")


async def test_words_are_sent_as_they_come() -> None:
    async with world_and_client() as (world, client):
        stream = sse(client.stream(AGENT, "wait"))
        pieces = [await anext(stream) for _ in range(2)]
        assert words(read_sse(b"".join(pieces))) == "first "
        world.go_on.set()
        assert words(read_sse(await whole(stream))) == "second"


@pytest.mark.parametrize(("form", "beat"), [(sse, b":\n\n"), (ndjson, b"\n")])
async def test_a_heartbeat_comes_while_nothing_does(form: Any, beat: bytes) -> None:
    async with world_and_client() as (world, client):
        stream = form(client.stream(AGENT, "wait"), heartbeat=15)
        for _ in range(2):
            await anext(stream)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert [await anext(stream) for _ in range(4)] == [beat] * 4
        assert loop.time() - began == pytest.approx(60, abs=0.1)
        world.go_on.set()
        rest = await whole(stream)
        assert b"second" in rest
        assert world.accepted == ["wait"]


async def test_a_job_is_waited_for() -> None:
    async with world_and_client() as (world, client):
        asyncio.get_running_loop().call_later(30, world.go_on.set)
        sent = read_sse(await whole(sse(client.stream(AGENT, "job"))))
        names = [each.name for each in sent]
        assert names.index("JobStarted") < names.index("JobProgress") < names.index("JobFinished")
        assert names.index("JobFinished") < names.index("TurnResumed") < names.index("TurnCompleted")
        assert words(sent) == "Computing. The job says 42."


@pytest.mark.parametrize("form", [sse, ndjson])
async def test_a_failure_is_told_in_safe_words(form: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with world_and_client() as (_, client):
        with caplog.at_level(logging.WARNING, "toolhouse_async"):
            stream = await whole(form(client.stream(AGENT, "fail")))
        assert b"half " in stream
        last = stream.strip().splitlines()[-1].removeprefix(b"data: ")
        told = json.loads(last)
        assert told == {
            "event": "TurnFailed",
            "error": "WorkerError",
            "message": "The worker could not finish this. You can ask again, perhaps in other words.",
            "safe_to_retry": False,
            "retry_after": None,
        }
        assert b"hunter2" not in stream
        assert KEY.encode() not in stream
        ours = "".join(record.getMessage() for record in caplog.records if record.name == "toolhouse_async")
        assert "WorkerError" in ours
        assert KEY not in ours


async def test_a_failure_has_no_id() -> None:
    """So that a browser that returns asks for what came after the last event, and is told again."""
    async with world_and_client() as (_, client):
        sent = read_sse(await whole(sse(client.stream("nobody", "x"))))
        assert [(each.name, each.id) for each in sent] == [("TurnFailed", None)]
        assert sent[0].data["error"] == "NotFoundError"


async def broken(events: list[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event
    raise ZeroDivisionError("hunter2")


async def test_an_error_of_others_is_told_and_raised() -> None:
    stream = sse(broken([TextDelta("x")]))
    assert b"TextDelta" in await anext(stream)
    told = await anext(stream)
    assert b"InternalError" in told
    assert b"hunter2" not in told
    with pytest.raises(ZeroDivisionError):
        await anext(stream)


async def test_any_iterable_of_events_will_do() -> None:
    async with world_and_client() as (_, client):
        turn = client.stream(AGENT, "tools")
        shown = (event async for event in turn if isinstance(event, TurnStarted | TextDelta))
        assert [each.name for each in read_sse(await whole(sse(shown)))] == ["TurnStarted", "TextDelta"]


async def cancelled(stream: Any) -> None:
    """Read it in a task that is cancelled while nothing comes."""

    async def read() -> None:
        async for _ in stream:
            pass

    reader = asyncio.ensure_future(read())
    await asyncio.sleep(20)
    reader.cancel()
    await asyncio.wait({reader})
    assert reader.cancelled()


async def closed(stream: Any) -> None:
    for _ in range(2):
        await anext(stream)
    await stream.aclose()
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def closed_between(stream: Any) -> None:
    for _ in range(3):
        await anext(stream)  # the third is a heartbeat: a step is under way
    await stream.aclose()


async def dropped(stream: Any) -> None:
    for _ in range(2):
        await anext(stream)
    del stream
    gc.collect()


async def dropped_between(stream: Any) -> None:
    for _ in range(3):
        await anext(stream)
    del stream
    gc.collect()


@pytest.mark.parametrize(
    ("leave", "heartbeat"),
    [(each, 5) for each in (cancelled, closed, closed_between, dropped, dropped_between)]
    + [(each, None) for each in (cancelled, closed, dropped)],
)
async def test_a_reader_who_leaves_closes_the_turn_at_once(leave: Any, heartbeat: float | None) -> None:
    async with world_and_client() as (world, client):
        streams = [sse(client.stream(AGENT, "wait"), heartbeat=heartbeat)]
        await leave(streams.pop())
        before = asyncio.get_running_loop().time()
        await no_connections(world)
        assert asyncio.get_running_loop().time() - before < 1
        assert world.accepted == ["wait"]


async def test_dropped_unread_it_sends_nothing() -> None:
    async with world_and_client() as (world, client):
        sse(client.stream(AGENT, "x"))
        gc.collect()
        assert world.accepted == []


async def test_dropped_when_the_loop_is_gone() -> None:
    kept: list[Any] = []

    async def leave() -> None:
        async with world_and_client() as (_, client):
            stream = sse(client.stream(AGENT, "wait"), heartbeat=1)
            for _ in range(2):
                await anext(stream)
            kept.append(stream)

    await asyncio.to_thread(asyncio.run, leave())
    kept.clear()
    gc.collect()


@pytest.mark.parametrize("heartbeat", [0, -1, float("nan"), "15", [15], True])
@pytest.mark.parametrize("form", FORMS)
async def test_a_heartbeat_is_a_number_of_seconds(form: Any, heartbeat: Any) -> None:
    async with world_and_client() as (_, client):
        with pytest.raises(ConfigurationError, match="heartbeat"):
            form(client.stream(AGENT, "x"), heartbeat=heartbeat)


@pytest.mark.parametrize("form", [sse, ndjson])
async def test_what_is_no_turn_is_refused(form: Any) -> None:
    async with world_and_client() as (_, client), TurnHub() as hub:
        running = hub.start("ada", client.stream(AGENT, "x"))
        with pytest.raises(ConfigurationError, match=r"HubTurn is no stream of events.* its follow\(\)"):
            form(running)
        result = client.run(AGENT, "x")
        with pytest.raises(ConfigurationError, match=r"coroutine is no stream of events.* toolhouse\.stream\("):
            form(result)
        result.close()


async def test_a_cancelled_reader_of_any_iterable_closes_it() -> None:
    is_closed = asyncio.Event()

    async def endless() -> AsyncIterator[Event]:
        try:
            await asyncio.Event().wait()
            yield TextDelta("never")
        finally:
            is_closed.set()

    await cancelled(sse(endless()))
    assert is_closed.is_set()


class Plain:
    """An iterator that has nothing to close."""

    def __aiter__(self) -> Plain:
        return self

    async def __anext__(self) -> Event:
        return TextDelta("x")


async def test_what_cannot_be_closed_is_left() -> None:
    stream = sse(Plain())
    await anext(stream)
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_closed_by_another_task() -> None:
    async with world_and_client() as (_, client):
        for heartbeat in (5, None):
            stream = sse(client.stream(AGENT, "wait"), heartbeat=heartbeat)
            for _ in range(2):
                await anext(stream)
            reading = asyncio.ensure_future(whole(stream))
            await asyncio.sleep(1)
            await stream.aclose()
            sent = read_sse(await reading)
            assert [each.data["error"] for each in sent] in (["ClosedError"], [])


async def lingering() -> AsyncIterator[Event]:
    """Takes its time to end."""
    try:
        await asyncio.Event().wait()
        yield TextDelta("never")
    finally:
        await asyncio.sleep(1)


async def test_cancelled_twice() -> None:
    reading = asyncio.ensure_future(whole(sse(lingering())))
    await asyncio.sleep(1)
    reading.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait({reading})
    assert reading.cancelled()
    await asyncio.sleep(2)


async def test_cancelled_at_every_pass_as_anyio_does_it() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(whole, sse(lingering()))
        await asyncio.sleep(1)
        tasks.cancel_scope.cancel()
    await asyncio.sleep(2)


@pytest.mark.parametrize("heartbeat", [5, None])
async def test_dropped_in_another_thread(heartbeat: float | None) -> None:
    """As garbage is collected in whatever thread makes some."""
    async with world_and_client() as (world, client), SessionManager(client, AGENT) as manager:
        streams = [sse(manager.stream("k", "wait"), heartbeat=heartbeat)]
        for _ in range(3 if heartbeat else 2):
            await anext(streams[0])
        thread = threading.Thread(target=streams.clear)
        thread.start()
        thread.join()
        await asyncio.sleep(0)  # which it asks the loop to do
        world.go_on.set()
        async with asyncio.timeout(100):
            assert (await manager.send("k", "Hello")).text == "Hello"


async def test_a_turn_dropped_in_another_thread() -> None:
    async with world_and_client() as (world, client), SessionManager(client, AGENT) as manager:
        turns = [manager.stream("k", "wait")]
        await anext(turns[0])
        with pytest.warns(ResourceWarning, match="abandoned"):
            await asyncio.to_thread(turns.clear)
        world.go_on.set()
        async with asyncio.timeout(100):
            assert (await manager.send("k", "Hello")).text == "Hello"


async def test_what_could_not_be_saved_is_told_in_place_of_the_completion() -> None:
    async with world_and_client() as (world, client):
        store = Troubled(MemorySessionStore())
        async with SessionManager(client, AGENT, store=store) as manager:
            for form in (sse, ndjson):
                world.go_on.clear()
                stream = form(manager.stream("k", "wait"))
                for _ in range(2):
                    await anext(stream)
                store.down = True
                world.go_on.set()
                rest = await whole(stream)
                store.down = False
                assert b"StoreError" in rest
                assert b"TurnCompleted" not in rest
                await asyncio.sleep(60)


async def test_several_turns_in_one_stream() -> None:
    async with world_and_client() as (_, client):

        async def both() -> AsyncIterator[Event]:
            for message in ("one", "two"):
                async for event in client.stream(AGENT, message):
                    yield event

        sent = read_sse(await whole(sse(both())))
        assert [each.name for each in sent] == ["TurnStarted", "TextDelta", "TurnCompleted"] * 2
        assert [each.id for each in sent] == ["1", "2", "3", "4", "5", "6"]


async def test_what_cannot_be_written_closes_the_turn() -> None:
    decoder = EventDecoder()
    for name in ("text", "text_delta"):
        decoder.register(name, lambda *_: ErrorEvent("x", object()))  # type: ignore[arg-type]
    async with world_and_client(decoder=decoder) as (world, client):
        stream = sse(client.stream(AGENT, "wait"))
        pieces = [await anext(stream) for _ in range(2)]
        assert b"InternalError" in pieces[1]
        before = asyncio.get_running_loop().time()
        await no_connections(world)
        assert asyncio.get_running_loop().time() - before < 1


@pytest.mark.parametrize("form", [sse, ndjson])
@pytest.mark.parametrize(
    ("event", "error"),
    [
        (ErrorEvent("x", object()), TypeError),  # type: ignore[arg-type]
        (UnknownEvent("x", 10**4300), ValueError),
    ],
    ids=["object", "integer of too many digits"],
)
async def test_what_cannot_be_written_is_told(form: Any, event: Event, error: type[Exception]) -> None:
    async def source() -> AsyncIterator[Event]:
        yield event

    stream = form(source())
    assert b"InternalError" in await anext(stream)
    with pytest.raises(error):
        await anext(stream)


async def test_integers_and_depth_as_python_has_them_are_written() -> None:
    data: Any = 10**4299
    for _ in range(500):
        data = [data]
    (sent,) = read_sse(await whole(sse(_of([UnknownEvent("x", data)]))))
    assert repr(sent.data["data"]) == repr(data)


async def test_cancelled_in_the_moment_of_an_event() -> None:
    """The step under way has ended by then: its event is lost with its reader, and nothing is left behind."""
    go_on = asyncio.Event()

    async def soon() -> AsyncIterator[Event]:
        await go_on.wait()
        yield TextDelta("x")

    async def read() -> None:
        await anext(sse(soon()))

    reader = asyncio.ensure_future(read())
    await asyncio.sleep(1)
    go_on.set()
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.wait({reader})
    assert reader.cancelled()


def test_the_headers_say_not_to_hold_it_back() -> None:
    assert EVENT_STREAM_HEADERS["Content-Type"].startswith("text/event-stream")
    assert EVENT_STREAM_HEADERS["X-Accel-Buffering"] == "no"
    with pytest.raises(TypeError):
        EVENT_STREAM_HEADERS["x"] = "y"  # type: ignore[index]


async def test_a_turn_that_was_read_in_part() -> None:
    async with world_and_client() as (_, client), client.stream(AGENT, "words 3") as turn:
        assert isinstance(await anext(turn), TurnStarted)
        assert words(read_sse(await whole(sse(turn)))) == "word0 word1 word2 "


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("message", "last"), [("words 3", b"TurnCompleted RUN_FINISHED"), ("fail", b"TurnFailed RUN_ERROR")]
)
async def test_of_a_turn_that_was_read_the_end_is_told(form: Any, message: str, last: bytes) -> None:
    async with world_and_client() as (world, client):
        turn = client.stream(AGENT, message)
        await whole(ndjson(turn))
        stream = await whole(form(turn))
        assert b"word0" not in stream
        assert [name in stream for name in last.split()].count(True) == 1
        assert world.accepted == [message]


@pytest.mark.parametrize("heartbeat", [5, None])
@pytest.mark.parametrize("form", FORMS)
async def test_a_second_reader_is_refused_and_the_first_reads_on(form: Any, heartbeat: float | None) -> None:
    async with world_and_client() as (world, client), SessionManager(client, AGENT) as manager:
        for turn in (client.stream(AGENT, "wait"), manager.stream("k", "wait")):
            reading = asyncio.ensure_future(turn.result())
            await asyncio.sleep(1)
            stream = form(turn, heartbeat=heartbeat)
            assert b"SessionBusyError" in await whole(stream)
            await stream.aclose()
            assert not reading.done()
            world.go_on.set()
            assert (await reading).text == "first second"
            world.go_on.clear()


@pytest.mark.parametrize("form", FORMS)
async def test_one_that_is_dropped_unread_leaves_the_turn_to_who_reads_it(form: Any) -> None:
    async with world_and_client() as (world, client):
        turn = client.stream(AGENT, "wait")
        reading = asyncio.ensure_future(turn.result())
        await asyncio.sleep(1)
        form(turn)
        gc.collect()
        streams = [form(turn)]
        await asyncio.to_thread(streams.clear)
        await asyncio.sleep(1)
        world.go_on.set()
        assert (await reading).text == "first second"


async def test_closing_the_client_ends_a_stream() -> None:
    async with world_and_client() as (_, client):
        stream = sse(client.stream(AGENT, "wait"))
        for _ in range(2):
            await anext(stream)
        await client.aclose()
        (sent,) = read_sse(await whole(stream))
        assert (sent.name, sent.data["error"]) == ("TurnFailed", "ClosedError")


async def _of(events: list[Any]) -> AsyncIterator[Any]:
    for event in events:
        yield event


@pytest.mark.parametrize(
    "block", [{"type": "x", "n": 2**70}, {"type": "tool_use", "id": "1", "name": "x", "input": 2**70}]
)
async def test_what_is_sent_is_in_proportion_to_what_was_said(block: Any) -> None:
    """A line of a thousand blocks, each of them beyond the JSON library."""
    line = json.dumps({"role": "assistant", "content": [block] * 1000}).encode()
    events = EventDecoder().decode([line])
    assert len(events) == 1000
    for stream in (sse(_of(events)), ndjson(_of(events)), ag_ui(_of(events), thread_id="t", run_id="r")):
        assert sum([len(piece) async for piece in stream]) < 12 * len(line)
    assert sum(len(event_line(event)) for event in events) < 4 * len(line)
