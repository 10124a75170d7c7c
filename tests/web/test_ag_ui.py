from __future__ import annotations

import asyncio
import builtins
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.answers import KEY
from toolhouse_async import ConfigurationError, StoreError, TurnResult, WorkerError
from toolhouse_async import events as ev
from toolhouse_async.web import ag_ui

from .rules import read_ag_ui
from .support import AGENT, whole, world_and_client


async def told(*events: ev.Event, error: Exception | None = None, thread_id: str | None = "thread") -> list[Any]:
    """What AG-UI is told of events."""

    async def source() -> AsyncIterator[ev.Event]:
        for event in events:
            yield event
        if error is not None:
            raise error

    return read_ag_ui(await whole(ag_ui(source(), thread_id=thread_id, run_id="turn")))


def names(events: list[Any]) -> list[str]:
    return [event.type.value for event in events]


def of(events: list[Any], name: str) -> list[Any]:
    return [event for event in events if event.type.value == name]


START = ev.TurnStarted("agent", "run")
END = ev.TurnCompleted(TurnResult("agent", "run"))


async def test_a_turn_with_a_tool() -> None:
    async with world_and_client() as (_, client):
        events = read_ag_ui(await whole(ag_ui(client.stream(AGENT, "tools here"), thread_id=None, run_id="turn")))
        assert names(events) == [
            "RUN_STARTED",
            "TOOL_CALL_START",
            "TOOL_CALL_ARGS",
            "TOOL_CALL_END",
            "TOOL_CALL_RESULT",
            "TEXT_MESSAGE_START",
            "TEXT_MESSAGE_CONTENT",
            "TEXT_MESSAGE_END",
            "RUN_FINISHED",
        ]
        history = await client.history(AGENT, events[0].thread_id)
        assert history[-1].text == "I looked."
        assert {event.run_id for event in events if hasattr(event, "run_id")} == {"turn"}
        assert json.loads(events[2].delta) == {"at": "here"}
        assert json.loads(events[4].content) == {"seen": "here"}
        assert events[1].tool_call_id == events[4].tool_call_id
        assert events[-1].outcome.type == "success"
        assert events[-1].result == {"status": "completed"}


async def test_a_job_is_an_activity() -> None:
    async with world_and_client() as (world, client):
        asyncio.get_running_loop().call_later(10, world.go_on.set)
        events = read_ag_ui(await whole(ag_ui(client.stream(AGENT, "job"), thread_id=None, run_id="turn")))
        activities = of(events, "ACTIVITY_SNAPSHOT")
        assert len(activities) > 3
        assert {(each.message_id, each.activity_type, each.replace) for each in activities} == {
            (activities[0].message_id, "BACKGROUND_JOB", True)
        }
        assert [each.content["status"] for each in activities] == ["running"] * (len(activities) - 1) + ["over"]
        elapsed = [each.content["elapsed"] for each in activities]
        assert elapsed == sorted(elapsed)
        texts = [event.delta for event in of(events, "TEXT_MESSAGE_CONTENT")]
        assert texts == ["Computing. ", "The job says 42."]


async def test_the_run_is_started_before_anything_is_sent() -> None:
    async with world_and_client() as (world, client):
        stream = ag_ui(client.stream(AGENT, "wait"), thread_id="thread", run_id="turn", heartbeat=15)
        assert b'"RUN_STARTED"' in await anext(stream)
        assert world.accepted == []
        assert b'"first "' in await anext(stream)
        assert await anext(stream) == b":\n\n"
        world.go_on.set()
        assert b'"second"' in await whole(stream)


async def test_a_failure_is_told_in_safe_words() -> None:
    async with world_and_client() as (_, client):
        stream = await whole(ag_ui(client.stream(AGENT, "fail"), thread_id="thread", run_id="turn"))
        events = read_ag_ui(stream)
        assert names(events)[-3:] == ["CUSTOM", "TEXT_MESSAGE_END", "RUN_ERROR"]
        assert (events[-1].code, events[-1].message[:10]) == ("WorkerError", "The worker")
        assert b"hunter2" not in stream
        assert KEY.encode() not in stream


async def test_what_has_no_start_is_started() -> None:
    events = await told(ev.JobFinished("job", 1.5, 2), ev.TurnResumed("run", 1), ev.TextDelta("x"), END, thread_id=None)
    assert names(events)[:2] == ["RUN_STARTED", "ACTIVITY_SNAPSHOT"]


@pytest.mark.parametrize("thread_id", ["thread", None])
async def test_a_failure_before_the_start(thread_id: str | None) -> None:
    events = await told(error=WorkerError("hunter2"), thread_id=thread_id)
    assert names(events) == ["RUN_STARTED", "RUN_ERROR"]


async def test_a_turn_that_is_stopped_is_cancelled() -> None:
    async with world_and_client() as (_, client):
        turn = client.stream(AGENT, "wait")
        stream = ag_ui(turn, thread_id="thread", run_id="turn")
        pieces = [await anext(stream), await anext(stream)]
        await turn.aclose()
        events = read_ag_ui(b"".join(pieces) + await whole(stream))
        assert names(events)[-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
        assert events[-1].outcome.type == "cancelled"


async def test_an_error_of_others_is_told_and_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await told(START, error=ZeroDivisionError("hunter2"))


async def test_what_ag_ui_has_no_event_for() -> None:
    events = await told(
        START, ev.UnknownEvent("thought", {"a": [1]}), ev.MalformedLine(b"hunter2", 3, "x"), ev.ErrorEvent("x", 7), END
    )
    assert of(events, "RAW")[0].event == {"a": [1]}
    assert [(event.name, event.value) for event in of(events, "CUSTOM")] == [
        ("malformed_line", {"number": 3}),
        ("worker_error", {"message": "The worker reported an error.", "code": 7}),
    ]


async def test_data_beyond_the_json_library_is_told_as_received() -> None:
    deep = b"[" * 900 + b"]" * 900
    wide = b'{"n":123456789012345678901234567890}'
    for line in (deep, wide):
        data = json.loads(line)
        events = await told(
            START,
            ev.UnknownEvent(None, data, line=line),
            ev.ToolCall("1", "look", data, line=line),
            ev.ToolResult("1", "look", data, line=line),
            END,
        )
        assert of(events, "RAW")[0].event == line.decode()
        assert of(events, "TOOL_CALL_ARGS")[0].delta == line.decode()
        assert of(events, "TOOL_CALL_RESULT")[0].content == line.decode()


async def test_results_without_an_id_find_their_call() -> None:
    events = await told(
        START,
        ev.ToolCall(None, "look", None),
        ev.ToolCall(None, "listen", "not JSON"),
        ev.ToolResult(None, "look", "seen"),
        ev.ToolResult(None, None, "heard"),
        ev.ToolResult(None, "look", "of nothing"),
        END,
    )
    look, listen = [event.tool_call_id for event in of(events, "TOOL_CALL_START")]
    assert [event.delta for event in of(events, "TOOL_CALL_ARGS")] == ["not JSON"]
    results = [event.tool_call_id for event in of(events, "TOOL_CALL_RESULT")]
    assert results[:2] == [look, listen]
    assert results[2] not in (look, listen)


async def test_a_healed_answer_goes_on() -> None:
    events = await told(
        START, ev.TextDelta("Hel"), ev.StreamRecovered("Hello", "lo"), ev.TextDelta("lo"), ev.TextDelta(""), END
    )
    assert [event.delta for event in of(events, "TEXT_MESSAGE_CONTENT")] == ["Hel", "lo"]
    assert len(of(events, "TEXT_MESSAGE_START")) == 1


async def test_an_answer_that_stands_otherwise_in_the_history_replaces_its_messages() -> None:
    events = await told(
        START,
        ev.TextDelta("before"),
        ev.TurnResumed("run", 1),
        ev.TextDelta("Hel"),
        ev.ToolCall("1", "look"),
        ev.TextDelta("lq"),
        ev.StreamRecovered("Hello", ""),
        END,
    )
    before, hel, lq, hello = [event.message_id for event in of(events, "TEXT_MESSAGE_START")]
    (replaced,) = of(events, "CUSTOM")
    assert (replaced.name, replaced.value) == ("text_replaced", {"messageIds": [hel, lq]})
    assert before not in replaced.value["messageIds"]
    assert [event.delta for event in of(events, "TEXT_MESSAGE_CONTENT") if event.message_id == hello] == ["Hello"]


async def test_what_could_not_be_saved_is_the_end() -> None:
    events = await told(START, ev.TextDelta("x"), END, error=StoreError("hunter2"))
    assert names(events)[-2:] == ["TEXT_MESSAGE_END", "RUN_ERROR"]


some_event = st.one_of(
    st.builds(ev.TextDelta, st.text(max_size=4)),
    st.builds(ev.ToolCall, st.none() | st.sampled_from("12"), st.sampled_from(["look", "listen"]), st.just({"a": 1})),
    st.builds(ev.ToolResult, st.none() | st.sampled_from("123"), st.none() | st.just("look"), st.text(max_size=2)),
    st.builds(ev.ErrorEvent, st.text()),
    st.builds(ev.UnknownEvent, st.none(), st.lists(st.integers(), max_size=2)),
    st.builds(ev.MalformedLine, st.binary(max_size=2), st.integers(1, 9), st.just("x")),
    st.builds(ev.JobStarted, st.sampled_from("12")),
    st.builds(ev.JobProgress, st.sampled_from("12"), st.floats(0, 9), st.integers(0, 9), st.just(1.0)),
    st.builds(ev.JobFinished, st.sampled_from("12"), st.floats(0, 9), st.integers(0, 9)),
    st.builds(ev.TurnResumed, st.just("run"), st.integers(1, 9)),
    st.builds(ev.StreamRecovered, st.text(max_size=4), st.just("")),
)
"""What a worker and a network may make of a turn, in any order."""


@given(st.lists(some_event, max_size=30), st.booleans())
def test_the_rules_hold_whatever_comes(between: list[ev.Event], succeeds: bool) -> None:
    # Not on the fixture's loop: Hypothesis runs the whole of it many times in one test.
    end: dict[str, Any] = {} if succeeds else {"error": WorkerError("x")}
    events = asyncio.run(told(START, *between, *([END] if succeeds else []), **end))
    assert names(events)[-1] == ("RUN_FINISHED" if succeeds else "RUN_ERROR")
    text = "".join(event.delta for event in of(events, "TEXT_MESSAGE_CONTENT"))
    assert "".join(event.text for event in between if isinstance(event, ev.TextDelta)) in text or of(events, "CUSTOM")


async def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(name=name)
        return genuine(name, *args, **options)

    missing = "ag_ui"
    monkeypatch.setattr(builtins, "__import__", without)
    async with world_and_client() as (_, client):
        turn = client.stream(AGENT, "x")
        with pytest.raises(ConfigurationError, match=r"toolhouse-async\[ag-ui\]"):
            ag_ui(turn, thread_id=None, run_id="turn")
        missing = "pydantic"
        for name in [name for name in sys.modules if name.partition(".")[0] == "ag_ui"]:
            monkeypatch.delitem(sys.modules, name)
        with pytest.raises(ModuleNotFoundError):
            ag_ui(turn, thread_id=None, run_id="turn")


@pytest.mark.parametrize("name", ["thread_id", "run_id"])
@pytest.mark.parametrize("wrong", [5, "", b"run", "\ud800"])
async def test_ids_that_are_none_are_refused_at_the_call(name: str, wrong: Any) -> None:
    async with world_and_client() as (_, client):
        with pytest.raises(ConfigurationError, match=name):
            ag_ui(client.stream(AGENT, "x"), **{"thread_id": "thread", "run_id": "turn", name: wrong})
        if name == "run_id":
            with pytest.raises(ConfigurationError, match="run_id must be a string that is not empty, not None"):
                ag_ui(client.stream(AGENT, "x"), thread_id=None, run_id=None)  # type: ignore[arg-type]


def test_the_package_is_loaded_for_ag_ui_alone() -> None:
    code = "import sys, toolhouse_async.web; sys.exit(any(name in sys.modules for name in ('ag_ui', 'pydantic')))"
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
