from __future__ import annotations

import asyncio
import gc
import inspect
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.support.answers import JOB, RUN, client_of, history, said, text
from tests.support.raw_server import LAST_CHUNK, RawServer, Request, chunk, ndjson, response, rst, silence
from toolhouse_async import (
    AsyncToolhouse,
    ClosedError,
    ConfigurationError,
    IdleTimeoutError,
    Limits,
    LineTooLongError,
    NotFoundError,
    ProtocolError,
    Session,
    SessionBusyError,
    SessionManager,
    StreamInterruptedError,
    TextDelta,
    Timeouts,
    TurnCompleted,
    TurnOptions,
    TurnStarted,
    TurnTimeoutError,
    errors,
)
from toolhouse_async.stores import MemorySessionStore


@asynccontextmanager
async def talk(script: Any, **options: Any) -> AsyncIterator[tuple[RawServer, AsyncToolhouse]]:
    async with RawServer(script) as server, client_of(server, **options) as toolhouse:
        yield server, toolhouse


def never_ends(*words: str) -> Any:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(said(*words, ends=False))
        await silence(reader)

    return script


REFUSED = response(404, chunked=False)


# Opening and closing


async def test_entering_sends_and_waits_for_the_first_event() -> None:
    async with talk(never_ends("x")) as (server, toolhouse):
        turn = toolhouse.stream("a", "x")
        assert (turn.agent_id, turn.run_id, turn.job_id) == ("a", None, None)
        assert server.requests == []
        async with turn as entered:
            assert entered is turn
            assert turn.run_id == "r1"
            assert await anext(turn) == TurnStarted("a", "r1")
        await asyncio.sleep(1)
        assert server.open_connections == 0


async def test_entering_a_turn_that_fails_raises() -> None:
    async with talk([REFUSED]) as (_, toolhouse):
        with pytest.raises(NotFoundError):
            async with toolhouse.stream("a", "x"):
                pytest.fail("entered")


async def test_entering_a_turn_that_is_going_or_over() -> None:
    async with talk([said("x"), said("y")]) as (server, toolhouse):
        turn = toolhouse.stream("a", "x")
        first = await anext(turn)
        async with turn:
            assert [type(event) for event in [first, *[e async for e in turn]]] == [
                TurnStarted,
                TextDelta,
                TurnCompleted,
            ]
        async with turn:
            assert [event async for event in turn] == []
        assert len(server.requests) == 1


async def test_an_error_is_raised_once_to_the_reader_and_each_time_by_result() -> None:
    async with talk([REFUSED]) as (server, toolhouse):
        turn = toolhouse.stream("a", "x")
        with pytest.raises(NotFoundError):
            await anext(turn)
        with pytest.raises(StopAsyncIteration):
            await anext(turn)
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await turn.result()
        async with turn:
            pass
        assert len(server.requests) == 1


async def test_result_may_be_asked_again_and_at_any_time() -> None:
    async with talk([said("x", "y")]) as (server, toolhouse):
        turn = toolhouse.stream("a", "x")
        await anext(turn)
        result = await turn.result()
        assert result.text == "xy"
        assert await turn.result() is result
        with pytest.raises(StopAsyncIteration):
            await anext(turn)
        assert len(server.requests) == 1


async def test_events_come_before_the_error_that_ended_the_turn() -> None:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(said("x", ends=False) + chunk(b'{"type": "text", "text": "y"}'))
        await writer.drain()
        await asyncio.sleep(1)
        rst(writer)

    async with talk(script) as (_, toolhouse):
        events = []
        with pytest.raises(StreamInterruptedError) as caught:
            async for event in toolhouse.stream("a", "x", recover=False):
                events.append(event)
        assert [event.text for event in events if isinstance(event, TextDelta)] == ["x", "y"]
        assert caught.value.partial is not None
        assert caught.value.partial.text == "xy"
        assert caught.value.run_id == "r1"
        assert caught.value.safe_to_retry is False


async def test_closing_drops_what_was_not_taken() -> None:
    async with talk([said("x", "y", "z")]) as (_, toolhouse):
        turn = toolhouse.stream("a", "x")
        await anext(turn)
        await asyncio.sleep(1)
        await turn.aclose()
        await turn.aclose()
        with pytest.raises(ClosedError):
            await anext(turn)
        with pytest.raises(StopAsyncIteration):
            await anext(turn)
        with pytest.raises(ClosedError):
            await turn.result()


async def test_closing_before_the_first_step_sends_nothing() -> None:
    async with talk([]) as (server, toolhouse):
        turn = toolhouse.stream("a", "x")
        await turn.aclose()
        with pytest.raises(ClosedError):
            await turn.result()
        assert server.connections == 0


async def test_closing_after_the_end_changes_nothing() -> None:
    async with talk([said("x")]) as (_, toolhouse):
        turn = toolhouse.stream("a", "x")
        async with turn:
            result = await turn.result()
        assert await turn.result() is result


async def test_an_error_of_the_users_own_passes_through() -> None:
    async with talk(never_ends("x")) as (server, toolhouse):
        with pytest.raises(LookupError):
            async with toolhouse.stream("a", "x") as turn:
                async for _ in turn:
                    raise LookupError
        await asyncio.sleep(1)
        assert server.open_connections == 0


async def test_a_timeout_of_the_users_own_key_function_passes_through() -> None:
    async def slow_vault() -> str:
        raise TimeoutError("the vault")

    async with talk([], api_key=slow_vault) as (_, toolhouse):
        turn = toolhouse.stream("a", "x")
        with pytest.raises(TimeoutError, match="the vault"):
            await anext(turn)
        with pytest.raises(ClosedError):
            await turn.result()


async def test_closing_is_told_whatever_a_key_function_makes_of_its_cancellation() -> None:
    async def slow_vault() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return "no\nkey"

    async with talk([], api_key=slow_vault) as (_, toolhouse):
        turn = toolhouse.stream("a", "x")
        reading = asyncio.ensure_future(anext(turn))
        await asyncio.sleep(1)
        await turn.aclose()
        with pytest.raises(ClosedError):
            await reading


async def test_closing_is_told_to_a_reader_who_was_cancelled_before_and_went_on() -> None:
    async with talk(never_ends("x")) as (_, toolhouse):
        turn = toolhouse.stream("a", "x")

        async def read() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            with pytest.raises(ClosedError):
                await turn.result()

        reading = asyncio.ensure_future(read())
        await asyncio.sleep(1)
        reading.cancel()
        await asyncio.sleep(1)
        await turn.aclose()
        await reading


async def test_a_deadline_of_the_users_own_is_theirs() -> None:
    async with talk(never_ends("x")) as (server, toolhouse):
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(5):
                await toolhouse.run("a", "x")
        assert not isinstance(caught.value, errors.ToolhouseError)
        await asyncio.sleep(1)
        assert server.open_connections == 0


# Abandoned


async def test_an_abandoned_turn_is_named_and_closed() -> None:
    async with talk(never_ends("x")) as (server, toolhouse):
        turn = toolhouse.stream("a", "x")
        await anext(turn)
        abandoned = [turn]
        del turn
        with pytest.warns(ResourceWarning, match="<Turn of agent a, run r1: reading the answer> was abandoned"):
            abandoned.clear()
        await asyncio.sleep(1)
        assert server.open_connections == 0


async def test_an_abandoned_answer_is_found_later() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        if request.method == "GET":
            writer.write(history(("user", "x"), ("assistant", "xy")))
        else:
            await never_ends("x")(reader, writer, request)

    async with talk(script) as (_, toolhouse):
        session = toolhouse.session("a")
        held = [session.stream("x")]
        await anext(held[0])
        with pytest.warns(ResourceWarning, match="was abandoned"):
            held.clear()
        result = await session.reconcile()
        assert result is not None
        assert result.text == "xy"


async def test_a_turn_abandoned_in_another_thread_is_closed_on_its_own_loop() -> None:
    asyncio.get_running_loop().set_debug(True)  # refuses what another thread must not do
    async with talk(never_ends("x")) as (server, toolhouse):
        held = [toolhouse.stream("a", "x")]
        await anext(held[0])
        with pytest.warns(ResourceWarning, match="was abandoned"):
            await asyncio.to_thread(held.clear)
        await asyncio.sleep(1)
        assert server.open_connections == 0


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_step_that_is_collected_closes_its_turn(in_thread: bool) -> None:
    asyncio.get_running_loop().set_debug(True)
    async with talk(never_ends("x")) as (server, toolhouse):
        held = [toolhouse.stream("a", "x")]
        await anext(held[0])
        await anext(held[0])
        step = held[0].__anext__()
        step.send(None)  # until it waits; nobody goes on with it

        def collect() -> None:
            step.close()
            held.clear()  # which does not count as abandoned any more

        await (asyncio.to_thread(collect) if in_thread else asyncio.sleep(0, collect()))
        await asyncio.sleep(1)
        assert server.open_connections == 0


async def test_a_text_stream_alone_keeps_its_turn() -> None:
    async with talk([said("x", "y")]) as (_, toolhouse):
        words = toolhouse.stream("a", "x").text_stream
        gc.collect()
        assert [piece async for piece in words] == ["x", "y"]


def test_a_turn_abandoned_with_its_loop() -> None:
    async def leave(held: list[Any]) -> None:
        async with RawServer(never_ends("x")) as server:
            toolhouse = client_of(server)
            turn = toolhouse.stream("a", "x")
            await anext(turn)
            held.append(turn)
            await toolhouse._transport.aclose()

    held: list[Any] = []
    asyncio.run(leave(held))
    with pytest.warns(ResourceWarning, match="Unclosed connection"):  # aiohttp's, once ours has let go of the turn
        _clear(held)


def _clear(held: list[Any]) -> None:
    with pytest.warns(ResourceWarning, match="was abandoned"):
        held.clear()
    gc.collect()


# What it shows


async def test_repr_tells_its_state() -> None:
    async with talk([said("x")]) as (_, toolhouse):
        turn = toolhouse.stream("a", "secret words")
        assert repr(turn) == "<Turn of agent a, run None: sending a message>"
        await anext(turn)
        assert repr(turn) == "<Turn of agent a, run r1: reading the answer>"
        await turn.result()
        assert repr(turn) == "<Turn of agent a, run r1: over>"


async def test_headers_are_those_of_the_latest_answer() -> None:
    answers = [said("x", job="j1", headers={"X-N": "1"}), history(), said("y", headers={"X-N": "2"})]
    async with talk(answers) as (_, toolhouse):
        turn = toolhouse.stream("a", "x")
        assert dict(turn.headers) == {}
        await anext(turn)
        assert isinstance(turn.headers, Mapping)
        assert (turn.headers["x-n"], turn.headers["X-N"], turn.headers.get("x-m")) == ("1", "1", None)
        assert turn.headers[RUN] == "r1"
        assert turn.headers[JOB] == "j1"
        await turn.result()
        assert turn.headers["X-N"] == "2"


async def test_text_stream_gives_the_words_that_are_left() -> None:
    async with talk([said("x", "y", "z")]) as (_, toolhouse):
        turn = toolhouse.stream("a", "x")
        async for event in turn:
            if event == TextDelta("x"):
                break
        assert [words async for words in turn.text_stream] == ["y", "z"]
        assert (await turn.result()).text == "xyz"


async def test_text_stream_raises_as_the_turn_does() -> None:
    async with talk([REFUSED]) as (_, toolhouse):
        with pytest.raises(NotFoundError):
            async for _ in toolhouse.stream("a", "x").text_stream:
                pytest.fail("no words")


async def test_a_second_reader_is_refused_and_the_first_goes_on() -> None:
    begin = asyncio.Event()

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(said(ends=False))
        await begin.wait()
        writer.write(chunk(ndjson(text("x"))) + LAST_CHUNK)

    async with talk(script) as (_, toolhouse):
        turn = toolhouse.stream("a", "x")
        await anext(turn)
        first = asyncio.ensure_future(anext(turn))
        await asyncio.sleep(1)
        for second in (turn.result, turn.__anext__, turn.text_stream.__anext__):
            with pytest.raises(SessionBusyError):
                await second()
        begin.set()
        assert await first == TextDelta("x")
        assert (await turn.result()).text == "x"


# Bounds


@pytest.mark.parametrize("read", ["events", "result", "text_stream"])
async def test_memory_does_not_grow_with_the_number_of_events(read: str) -> None:
    lines = chunk(ndjson({"type": "heartbeat", "padding": "x" * 400}) * 100)

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(said("x", ends=False))
        for _ in range(300):
            writer.write(lines)
            await writer.drain()
        writer.write(LAST_CHUNK)

    async with talk(script) as (_, toolhouse):
        turn = toolhouse.stream("a", "x")
        await anext(turn)
        tracemalloc.start()
        try:
            if read == "result":
                await turn.result()
            else:
                async for _ in turn if read == "events" else turn.text_stream:
                    pass
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (await turn.result()).unknown == 30_000
    assert peak < 3_000_000  # of the 13 MB that came


async def test_a_line_above_the_limit_comes_after_the_events_before_it() -> None:
    body = ndjson(text("x")) + b'"' + b"y" * 200
    async with talk([response(headers={RUN: "r1"}, body=body)], limits=Limits(max_line=100)) as (_, toolhouse):
        turn = toolhouse.stream("a", "x")
        events = []
        with pytest.raises(LineTooLongError, match="line 2") as caught:
            async for event in turn:
                events.append(event)
        assert TextDelta("x") in events
        assert caught.value.run_id == "r1"
        assert caught.value.safe_to_retry is False


async def test_silence_within_an_answer() -> None:
    async with talk(never_ends("x"), timeouts=Timeouts(idle=30)) as (_, toolhouse):
        began = asyncio.get_running_loop().time()
        with pytest.raises(IdleTimeoutError, match=r"30 s \(Timeouts.idle\)") as caught:
            await toolhouse.run("a", "x", recover=False)
        assert asyncio.get_running_loop().time() - began == pytest.approx(30, abs=0.5)
        assert caught.value.partial is not None
        assert caught.value.partial.text == "x"


async def test_a_consumer_who_is_slow_is_not_idle() -> None:
    async with talk([said(*"abc")], timeouts=Timeouts(idle=30)) as (_, toolhouse):
        words = []
        async for piece in toolhouse.stream("a", "x").text_stream:
            words.append(piece)
            await asyncio.sleep(1000)
        assert words == ["a", "b", "c"]


async def test_without_an_idle_timeout_silence_may_last() -> None:
    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(said("x", ends=False))
        await asyncio.sleep(100_000)
        writer.write(chunk(ndjson(text("y"))) + LAST_CHUNK)

    async with talk(script, timeouts=Timeouts(idle=None)) as (_, toolhouse):
        assert (await toolhouse.run("a", "x")).text == "xy"


async def test_the_turns_own_timeout_has_what_was_received() -> None:
    async with talk(never_ends("x")) as (server, toolhouse):
        turn = toolhouse.stream("a", "x", timeout=20)
        await anext(turn)
        await asyncio.sleep(100)  # the reader is busy elsewhere meanwhile
        taken = []
        with pytest.raises(TurnTimeoutError, match="20 s") as caught:
            async for event in turn:
                taken.append(event)
        assert caught.value.partial is not None
        assert caught.value.partial.text == "x"
        assert caught.value.token is None
        assert TextDelta("x") in taken  # received means delivered
        await asyncio.sleep(1)
        assert server.open_connections == 0


async def test_a_turn_that_is_over_does_not_come_to_its_timeout() -> None:
    async with talk([said("x")]) as (_, toolhouse):
        turn = toolhouse.stream("a", "x", timeout=20)
        result = await turn.result()
        await asyncio.sleep(100)
        assert await turn.result() is result


async def test_a_timeout_of_nothing() -> None:
    async with talk([]) as (server, toolhouse):
        with pytest.raises(TurnTimeoutError):
            await toolhouse.run("a", "x", timeout=0)
        assert server.requests == []


@pytest.mark.parametrize(
    "options",
    [{"format": "xml"}, {"background": None}, {"settle": 1}, {"recover": "yes"}, {"timeout": True}, {"unknown": 1}],
)
async def test_options_that_are_wrong_are_refused_before_any_io(options: Any) -> None:
    async with talk([]) as (server, toolhouse):
        for make in (toolhouse.stream, toolhouse.session("a").stream):
            with pytest.raises(ConfigurationError):
                make("a", **options)
        assert server.connections == 0


@pytest.mark.parametrize(
    "method", [AsyncToolhouse.map, AsyncToolhouse.batch, Session.ask], ids=lambda each: each.__name__
)
async def test_options_of_a_method_itself_are_among_those_that_are_known(method: Any) -> None:
    own = [each.name for each in inspect.signature(method).parameters.values() if each.kind is each.KEYWORD_ONLY]
    async with talk([]) as (server, toolhouse):
        arguments = {"store": MemorySessionStore(), "name": "b"} if method is AsyncToolhouse.batch else {}
        of, what = (toolhouse.session("a"), dict) if method is Session.ask else (toolhouse, ["a"])
        for name in own:
            with pytest.raises(ConfigurationError) as caught:
                await method(of, "a", what, **arguments, **{f"{name}x": 5})
            assert f"unknown options: {name}x (did you mean {name!r}? there are " in str(caught.value)
            assert {*own, *TurnOptions.__annotations__} == set(str(caught.value).rpartition("are ")[2][:-1].split(", "))
        assert server.connections == 0


async def test_an_unknown_option_is_told_with_those_that_are_known() -> None:
    async with talk([]) as (server, toolhouse):
        wrong: Any = {"temperature": 0.2, "stream": True}
        with pytest.raises(ConfigurationError) as caught:
            toolhouse.stream("a", "x", **wrong)
        known = (
            "background, extra_body, format, headers, on_conflict, recover, resume_message, settle, timeout, timeouts"
        )
        assert str(caught.value) == f"unknown options: stream, temperature (there are {known})"
        wrong = {"timeout_": 5, "stream": True, "extrabody": {}}
        with pytest.raises(ConfigurationError) as caught:
            toolhouse.stream("a", "x", **wrong)
        assert str(caught.value) == (
            f"unknown options: extrabody, stream, timeout_ (did you mean 'extra_body', 'timeout'? there are {known})"
        )
        wrong = {"vars": {"city": "Graz"}, "bundle": "b"}
        with pytest.raises(ConfigurationError, match=r"bundle, vars .*are a session's: toolhouse\.session\("):
            toolhouse.stream("a", "x", **wrong)
        wrong = {"toolhouse_id": "ada"}
        for make in (toolhouse.stream, SessionManager(toolhouse, "a").stream):
            with pytest.raises(ConfigurationError) as caught:
                make("a", "x", **wrong)
            assert str(caught.value) == (
                "unknown options: toolhouse_id (these are a session's: toolhouse.session(agent_id, toolhouse_id=…)"
                ", or of all keys: SessionManager(toolhouse, agent_id, toolhouse_id=…); of one turn: "
                "extra_body={'toolhouse_id': …})"
            )
        assert server.connections == 0


async def test_a_malformed_run_id_ends_the_turn_and_is_shown_bounded() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(said("x", run="x" * 5000, ends=False))
        await silence(reader)

    async with talk(script) as (server, toolhouse):
        with pytest.raises(ProtocolError) as caught:
            await toolhouse.run("a", "x")
        assert len(str(caught.value)) < 500
        await asyncio.sleep(1)
        assert server.open_connections == 0


async def test_an_interruption_that_comes_too_late_changes_nothing() -> None:
    async with talk([said("x")]) as (_, toolhouse):
        turn = toolhouse.stream("a", "x")
        assert (await turn.result()).text == "x"
        turn._driver.interrupt(ClosedError("too late"))
        assert (await turn.result()).text == "x"
