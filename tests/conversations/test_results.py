"""What a turn comes to: its result, and the errors that carry a part of one."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    RUN,
    Scripted,
    assert_accepted,
    assistant,
    called,
    connect,
    history,
    kinds,
    methods,
    returned,
    said,
    streamed,
    user,
)
from tests.support.raw_server import response
from tests.wire.services import EXAMPLES
from toolhouse_async import (
    ErrorEvent,
    Event,
    EventDecoder,
    MalformedEventError,
    MalformedLine,
    Session,
    TextDelta,
    ToolCall,
    ToolExchange,
    ToolResult,
    TurnCompleted,
    TurnResult,
    UnknownEvent,
    WorkerError,
)
from toolhouse_async.testing import EmulatorServer, WorkersEmulator

OVER = history(user("hi"), assistant("wait"))
ERROR = {"type": "error", "message": "out of credits", "code": "E42"}


async def run_answers(post: list[Any], *puts: list[Any], **options: Any) -> TurnResult:
    """The result of a turn whose answers are these lines; each but the last starts a job."""
    answers = [post, *puts]
    replies = [streamed(*lines, job=JOB if n < len(puts) else None) for n, lines in enumerate(answers)]
    async with (
        Scripted(post=replies[:1], put=replies[1:], get=[OVER] * len(puts)) as server,
        connect(server) as toolhouse,
    ):
        result = await toolhouse.run(AGENT, "hi", settle=False, **options)
    assert_accepted(server, "POST hi", *["PUT "] * len(puts))
    return result


async def test_a_plain_turn() -> None:
    result = await run_answers([said("Hello "), said("you")])
    assert (result.agent_id, result.run_id, result.text) == (AGENT, RUN, "Hello you")
    assert (result.tool_calls, result.jobs, result.status, result.token) == ((), (), "completed", None)
    assert (result.recovered, result.unknown, result.malformed) == (False, 0, 0)


async def test_text_is_all_rounds_together() -> None:
    assert (await run_answers([said("one ")], [said("two ")], [said("three")])).text == "one two three"


async def test_tool_calls_are_paired_with_their_results_over_all_rounds() -> None:
    result = await run_answers(
        [called("a", "search", {"q": 1}), called("b", "compute"), called("c", "mail"), returned("b", [2])],
        [returned("a", "late"), returned("x", "unasked")],
    )
    assert result.tool_calls[:3] == (
        ToolExchange(ToolCall("a", "search", {"q": 1}), ToolResult("a", None, "late", False)),
        ToolExchange(ToolCall("b", "compute", None), ToolResult("b", None, [2], False)),
        ToolExchange(ToolCall("c", "mail", None), None),
    )


async def test_jobs_are_recorded_with_time_and_polls(
    emulator: WorkersEmulator, server: EmulatorServer, session: Session
) -> None:
    @emulator.worker(AGENT)
    async def worker(ctx):
        if ctx.message:
            yield ctx.background(asyncio.sleep, 20)
        yield ctx.text("words")

    result = await session.send("hi")
    (job,) = result.jobs
    assert 20 <= job.elapsed < 30
    assert job.polls == methods(server).count("GET")


async def test_unknown_events_and_malformed_lines_are_counted_and_yielded() -> None:
    lines = [
        b'{"type":"text","text":"a"}',
        b"not json",
        b'{"type":"trace"}',
        b"17",
        b"{",
        b'{"type":"text","text":"b"}',
    ]
    answer = response(200, {"X-Toolhouse-Run-ID": RUN}, b"\n".join(lines))
    async with Scripted(post=[answer]) as server, connect(server) as toolhouse:
        turn = toolhouse.stream(AGENT, "hi")
        events = [event async for event in turn]
        result = await turn.result()
    assert (result.text, result.unknown, result.malformed) == ("ab", 2, 2)
    assert [event.type for event in events if isinstance(event, UnknownEvent)] == ["trace", None]
    assert [(e.number, e.line) for e in events if isinstance(e, MalformedLine)] == [(2, b"not json"), (5, b"{")]
    assert [event.line for event in events[1:-1]] == lines


async def test_a_strict_decoder_raises_behind_the_events_before() -> None:
    answer = response(200, {"X-Toolhouse-Run-ID": RUN}, b'"a"\nnot json\n"b"\n')
    async with Scripted(post=[answer]) as server, connect(server, decoder=EventDecoder(strict=True)) as toolhouse:
        words = []
        with pytest.raises(MalformedEventError):
            async for event in toolhouse.stream(AGENT, "hi"):
                words.append(getattr(event, "text", None))
    assert words == [None, "a"]


# json() and parse()


@pytest.mark.parametrize(
    "text",
    ['{"a": [1]}', 'Here:\n```json\n{"a": [1]}\n```\nThat is all.', 'So {"x": 0}, or rather {"a": [1]}, it is.'],
    ids=["whole", "fence", "prose"],
)
async def test_json_reads_the_text(text: str) -> None:
    assert (await run_answers([said(text)])).json() == {"a": [1]}


async def test_json_reads_the_last_round_that_has_text() -> None:
    assert (await run_answers([said("[1]")], [said("[2]")], [called()])).json() == [2]


async def test_json_takes_the_last_fence_that_parses() -> None:
    text = "```json\n[1]\n```\n```json\n[2]\n```\n```python\nprint()\n```"
    assert (await run_answers([said(text)])).json() == [2]


async def test_json_says_what_it_tried() -> None:
    result = await run_answers([said("No figures today.")])
    with pytest.raises(ValueError, match=r"fence"):
        result.json()


async def test_parse_structures_attrs_classes() -> None:
    from attrs import frozen

    @frozen
    class Figures:
        mean: float
        names: list[str]

    result = await run_answers([said('{"mean": 1.5, "names": ["a"]}')])
    assert result.parse(Figures) == Figures(1.5, ["a"])


# Errors in band


async def test_an_error_event_is_yielded_and_raised_at_the_end_in_place_of_the_result() -> None:
    async with Scripted(post=[streamed(said("a"), ERROR, said("b"))]) as server, connect(server) as toolhouse:
        events = []
        with pytest.raises(WorkerError, match="out of credits") as caught:
            async for event in toolhouse.stream(AGENT, "hi"):
                events.append(event)
    assert kinds(events) == ["TurnStarted", "TextDelta", "ErrorEvent", "TextDelta"]
    assert events[2] == ErrorEvent("out of credits", "E42")
    assert caught.value.partial.text == "ab"
    assert caught.value.run_id == RUN
    assert_accepted(server, "POST hi")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"error": "the model failed"}, "the model failed"),
        ({"type": "error", "errorText": "Rate limit"}, "Rate limit"),
        ({"type": "error"}, "does not say which"),
        ({"type": "RUN_ERROR", "message": "boom"}, "boom"),
        ({"type": "response.failed", "response": {"error": {"message": "boom"}}}, "boom"),
        ({"error": {"message": ["of", "no", "text"]}}, "of"),
    ],
)
async def test_an_error_of_any_shape_fails_the_turn(line: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkerError, match=message) as caught:
        await run_answers([said("half"), line])
    assert (caught.value.partial.text, caught.value.partial.unknown) == ("half", 0)


@pytest.mark.parametrize(
    ("lines", "events"), [each[2:] for each in EXAMPLES], ids=[" ".join(each[:2]) for each in EXAMPLES]
)
async def test_a_turn_in_the_shapes_of_a_service(lines: list[bytes], events: list[Event]) -> None:
    answer = response(200, {"X-Toolhouse-Run-ID": RUN}, b"\n".join(lines))
    async with Scripted(post=[answer]) as server, connect(server) as toolhouse:
        turn = toolhouse.stream(AGENT, "hi", settle=False)
        failed = [event.message for event in events if isinstance(event, ErrorEvent)]
        if failed:
            with pytest.raises(WorkerError, match=failed[0]) as caught:
                await turn.result()
            result = caught.value.partial
        else:
            result = await turn.result()
    assert result.text == "".join(event.text for event in events if isinstance(event, TextDelta))
    calls = {event.id: event for event in events if isinstance(event, ToolCall)}
    results = {event.id: event for event in events if isinstance(event, ToolResult)}
    assert {exchange.call.id: exchange.call for exchange in result.tool_calls}.items() >= calls.items()
    assert {exchange.call.id: exchange.result for exchange in result.tool_calls if exchange.result} == results


async def test_run_and_result_raise_the_workers_error_too() -> None:
    with pytest.raises(WorkerError) as caught:
        await run_answers([called(), ERROR])
    assert [exchange.call.name for exchange in caught.value.partial.tool_calls] == ["search"]


async def test_an_error_event_in_a_resumed_round_holds_all_rounds() -> None:
    with pytest.raises(WorkerError) as caught:
        await run_answers([said("one ")], [said("two"), ERROR])
    assert caught.value.partial.text == "one two"
    assert len(caught.value.partial.jobs) == 1


async def test_a_worker_that_fails_raises_its_error(emulator: WorkersEmulator, session: Session) -> None:
    @emulator.worker(AGENT)
    async def worker(ctx):
        yield ctx.text("half")
        raise RuntimeError("no memory")

    with pytest.raises(WorkerError, match="no memory") as caught:
        await session.send("hi")
    assert caught.value.partial.text == "half"


async def test_the_conversation_goes_on_after_a_workers_error() -> None:
    async with (
        Scripted(post=[streamed(ERROR)], put=[streamed(said("done"))]) as server,
        connect(server) as toolhouse,
        toolhouse.session(AGENT) as session,
    ):
        with pytest.raises(WorkerError):
            await session.send("hi")
        assert (await session.send("again")).text == "done"
    assert_accepted(server, "POST hi", "PUT again")


# Reading a result


async def test_result_drains_the_rest() -> None:
    async with (
        Scripted(post=[streamed(said("a"), said("b"))]) as server,
        connect(server) as toolhouse,
        toolhouse.stream(AGENT, "hi") as turn,
    ):
        await anext(turn)
        assert (await turn.result()).text == "ab"
        assert (await turn.result()).text == "ab"


async def test_text_stream_gives_the_words_of_all_rounds_alone() -> None:
    async with (
        Scripted(post=[streamed(said("a"), called(), job=JOB)], get=[OVER], put=[streamed(said("b"))]) as server,
        connect(server) as toolhouse,
        toolhouse.stream(AGENT, "hi") as turn,
    ):
        assert [text async for text in turn.text_stream] == ["a", "b"]
        assert (await turn.result()).text == "ab"


async def test_the_turn_knows_its_ids_and_the_latest_headers() -> None:
    async with (
        Scripted(
            post=[streamed(said("a"), job=JOB, headers={"X-Round": "1"})],
            get=[OVER],
            put=[streamed(said("b"), run="run-2", headers={"X-Round": "2"})],
        ) as server,
        connect(server) as toolhouse,
        toolhouse.stream(AGENT, "hi") as turn,
    ):
        seen = []
        async for event in turn:
            seen.append((type(event).__name__, turn.run_id, turn.job_id, turn.headers["x-round"]))
    assert seen[0][::3] == ("TurnStarted", "1")
    assert ("JobStarted", RUN, JOB, "1") in seen
    assert seen[-1] == ("TurnCompleted", "run-2", None, "2")


async def test_events_and_results_pickle() -> None:
    async with (
        Scripted(post=[streamed(said("a"), called(), returned(), {"x": 1}, said("b"))]) as server,
        connect(server) as toolhouse,
    ):
        events = [event async for event in toolhouse.stream(AGENT, "hi", settle=False)]
    assert pickle.loads(pickle.dumps(events)) == events
    assert isinstance(events[-1], TurnCompleted)
