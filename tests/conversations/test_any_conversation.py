"""Any worker, whatever the documents leave open: what holds for every turn."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

from attrs import frozen
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.conversations.support import AGENT, assert_accepted, connect, text_of
from tests.support.virtual_time import VirtualTimeLoop
from toolhouse_async import (
    Event,
    JobFinished,
    JobProgress,
    JobStarted,
    ToolCall,
    ToolResult,
    TurnCompleted,
    TurnResumed,
    TurnStarted,
)
from toolhouse_async.testing import WorkersEmulator

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
"""Without shrinking, which would take minutes of whole conversations."""

Part: TypeAlias = str | tuple[str, Any]
"""Words, or the name and the result of a tool."""


@frozen
class Round:
    """An answer of the worker: the seconds of the job it starts, if it does, and what it says."""

    job: float | None
    parts: list[Part]

    @property
    def text(self) -> str:
        return "".join(part for part in self.parts if isinstance(part, str))


PARTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9) | st.tuples(
    st.sampled_from(["search", "mail"]), st.none() | st.integers(0, 9) | st.text("ab")
)
SAID = st.lists(PARTS, max_size=4)
ROUNDS = st.builds(
    lambda rounds, last: [*rounds, Round(None, [*last, "."])],
    st.lists(st.builds(Round, st.floats(0, 40), SAID), max_size=3),
    SAID,
)
SWITCHES = st.fixed_dictionaries(
    {
        "history_partial": st.booleans(),
        "history_empty_messages": st.booleans(),
        "history_tools": st.booleans(),
        "job_poll_body": st.sampled_from(["history", "empty", "object"]),
        "job_header_lag": st.integers(0, 2),
        "conflict_lag": st.integers(0, 2),
        "conflict_job_header": st.booleans(),
        "rotate_run_id": st.booleans(),
    }
)
OPTIONS = st.fixed_dictionaries(
    {"format": st.sampled_from(["ndjson", "text"]), "settle": st.sampled_from(["auto", False])}
)


async def converse(rounds: list[Round], switches: dict[str, Any], options: dict[str, Any]) -> list[Event]:
    """The events of a turn in which the worker answers with these rounds."""
    emulator = WorkersEmulator(**switches)
    left = iter(rounds)

    @emulator.worker(AGENT)
    async def worker(ctx):
        answer = next(left)
        if answer.job is not None:
            yield ctx.background(asyncio.sleep, answer.job)
        for part in answer.parts:
            if isinstance(part, str):
                yield ctx.text(part)
            else:
                call = ctx.tool_call(part[0])
                yield call
                yield ctx.tool_result(call, part[1])

    async with emulator.serve() as server, connect(server) as toolhouse:
        events = [event async for event in toolhouse.stream(AGENT, "hi", **options)]
        assert_accepted(server, "POST hi", *["PUT "] * (len(rounds) - 1))
        assert [request.status for request in server.requests if request.method == "POST"] == [200]
    return events


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(rounds=ROUNDS, switches=SWITCHES, options=OPTIONS)
def test_what_holds_for_every_turn(rounds: list[Round], switches: dict[str, Any], options: dict[str, Any]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        events = runner.run(converse(rounds, switches, options))
    jobs = len(rounds) - 1
    kinds = [type(event) for event in events]

    assert kinds[0] is TurnStarted
    assert kinds.count(TurnStarted) == kinds.count(TurnCompleted) == 1
    completed = events[-1]
    assert isinstance(completed, TurnCompleted)

    text = "".join(each.text for each in rounds)
    assert text_of(events) == completed.result.text == text
    assert not completed.result.recovered

    started = [event.job_id for event in events if isinstance(event, JobStarted)]
    finished = [event.job_id for event in events if isinstance(event, JobFinished)]
    assert started == finished  # a job whose header was missing once may start again
    assert list(dict.fromkeys(started)) == [job.job_id for job in completed.result.jobs]
    assert len(completed.result.jobs) == jobs
    assert [event.round for event in events if isinstance(event, TurnResumed)] == list(range(1, jobs + 1))
    running = False
    for kind in kinds:
        assert kind is not JobProgress or running
        running = (running or kind is JobStarted) and kind is not JobFinished

    tools = [part for each in rounds for part in each.parts if not isinstance(part, str)]
    if options["format"] == "text":
        tools = []
    assert [event.name for event in events if isinstance(event, ToolCall)] == [name for name, _ in tools]
    assert [event.content for event in events if isinstance(event, ToolResult)] == [content for _, content in tools]
    assert [exchange.result and exchange.result.content for exchange in completed.result.tool_calls] == [
        content for _, content in tools
    ]
