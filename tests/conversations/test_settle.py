"""The look at the history after a clean end, and what makes a turn take it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    Scripted,
    assert_accepted,
    assistant,
    called,
    connect,
    history,
    kinds,
    methods,
    refused,
    returned,
    said,
    streamed,
    user,
)
from tests.exactly_once.support import over_time
from toolhouse_async import StreamInterruptedError, StreamRecovered, TurnResult

CLOSING = {"until_close": True}
"""Framing that proves nothing about where the answer ends."""

ANSWERED = history(user("hi"), assistant("Hello you"))
CALL_ALONE = [said("Hello you"), called()]
CALL_ANSWERED = [called(), returned(), said("Hello you")]


async def run(server: Scripted, **options: Any) -> TurnResult:
    async with connect(server) as toolhouse:
        return await toolhouse.run(AGENT, "hi", **options)


async def test_true_looks_until_the_history_has_rested() -> None:
    async with Scripted(post=[streamed(said("Hello you"))], get=[ANSWERED] * 20) as server:
        result = await run(server, settle=True)
    assert 10 <= server.times("GET")[-1] < 11
    assert (result.text, result.recovered) == ("Hello you", False)


@pytest.mark.parametrize("lines", [[], [said("Hello")], CALL_ALONE], ids=["no text", "text", "call"])
@pytest.mark.parametrize("framing", [{}, CLOSING], ids=["chunked", "until close"])
async def test_false_never_looks(lines: list[Any], framing: dict[str, Any]) -> None:
    async with Scripted(post=[streamed(*lines, **framing)]) as server:
        await run(server, settle=False)
    assert methods(server) == "POST"


@pytest.mark.parametrize("framing", [{}, {"chunked": False}], ids=["chunked", "content-length"])
async def test_auto_trusts_proven_framing(framing: dict[str, Any]) -> None:
    async with Scripted(post=[streamed(said("Hello you"), **framing)]) as server:
        assert (await run(server)).text == "Hello you"
    assert methods(server) == "POST"


async def test_auto_looks_where_framing_proved_nothing() -> None:
    async with Scripted(post=[streamed(said("Hello you"), **CLOSING)], get=[ANSWERED] * 20) as server:
        result = await run(server)
    assert methods(server).startswith("POST GET GET")
    assert (result.text, result.recovered) == ("Hello you", False)


@pytest.mark.parametrize("family", ["ndjson", "text"])
async def test_auto_looks_where_no_text_came(family: str) -> None:
    async with Scripted(post=[streamed()], get=[history(user("hi"))]) as server:
        assert (await run(server, format=family)).text == ""
    assert methods(server) == "POST GET"


async def test_auto_looks_where_the_last_event_is_an_unanswered_call() -> None:
    """A history without tools says nothing of a call that came last: a job may begin behind it."""
    async with Scripted(post=[streamed(*CALL_ALONE)], get=[ANSWERED] * 20) as server:
        assert (await run(server)).text == "Hello you"
    assert 10 <= server.times("GET")[-1] < 20


async def test_a_job_that_begins_late_behind_an_unanswered_call_is_waited_for() -> None:
    running = history(user("hi"), assistant("Hello you"), job=JOB)
    done = history(user("hi"), assistant("Hello you"), user(""), assistant(", done"))
    async with Scripted(
        post=[streamed(*CALL_ALONE)],
        get=[ANSWERED, ANSWERED, running, ANSWERED, *[done] * 40],
        put=[streamed(said(", done"))],
    ) as server:
        assert (await run(server)).text == "Hello you, done"
    assert_accepted(server, "POST hi", "PUT ")


async def test_auto_looks_after_a_resume_too() -> None:
    async with Scripted(
        post=[streamed(job=JOB)],
        put=[streamed(*CALL_ALONE)],
        get=[ANSWERED, *[history(user("hi"), assistant("Hello you"), user(""), assistant("Hello you"))] * 20],
    ) as server:
        await run(server)
    assert methods(server).startswith("POST GET PUT GET GET")
    assert_accepted(server, "POST hi", "PUT ")


@pytest.mark.parametrize(("settle", "looks", "over"), [("auto", 2, 1), (True, 20, 1), (True, 2, 12)])
async def test_a_job_that_it_finds_is_waited_for_and_resumed(settle: Any, looks: int, over: int) -> None:
    running = history(user("hi"), assistant("Hello you"), job=JOB)
    done = history(user("hi"), assistant("Hello you"), user(""), assistant(", done"))
    async with Scripted(
        post=[streamed(*CALL_ALONE)],
        get=[*[running] * looks, *[ANSWERED] * over, *[done] * 40],
        put=[streamed(said(", done"))],
    ) as server:
        result = await run(server, settle=settle)
    assert result.text == "Hello you, done"
    assert [job.job_id for job in result.jobs] == [JOB]
    assert_accepted(server, "POST hi", "PUT ")


async def test_a_job_that_it_finds_comes_as_events_behind_the_answers() -> None:
    running = history(user("hi"), job=JOB)
    async with (
        Scripted(
            post=[streamed(*CALL_ALONE)], get=[running, running, ANSWERED], put=[streamed(said("done"))]
        ) as server,
        connect(server) as toolhouse,
    ):
        events = [event async for event in toolhouse.stream(AGENT, "hi")]
    assert kinds(events) == [
        *["TurnStarted", "TextDelta", "ToolCall", "JobStarted", "JobProgress", "JobFinished"],
        *["TurnResumed", "TextDelta", "TurnCompleted"],
    ]


async def test_a_history_that_never_rests_proves_nothing() -> None:
    notes = {"role": "tool", "content": "on and on"}
    grows = [(float(n), history(user("hi"), assistant("Hello you"), *[notes] * n)) for n in range(300)]
    async with Scripted(post=[streamed(said("Hello you"))], get=over_time(*grows)) as server:
        with pytest.raises(StreamInterruptedError) as caught:
            await run(server, settle=True)
    assert caught.value.partial.text == "Hello you"
    assert 120 <= server.times("GET")[-1] <= 135


async def test_a_cut_that_a_proxy_made_a_clean_end_is_healed() -> None:
    async with Scripted(post=[streamed(said("Hello"))], get=[ANSWERED] * 20) as server, connect(server) as toolhouse:
        events = [event async for event in toolhouse.stream(AGENT, "hi", settle=True)]
    assert StreamRecovered("Hello you", " you") in events
    result = events[-1].result
    assert (result.text, result.recovered) == ("Hello you", True)
    assert_accepted(server, "POST hi")


async def test_a_cut_without_proof_is_healed_by_default() -> None:
    async with Scripted(post=[streamed(said("Hello"), **CLOSING)], get=[ANSWERED] * 20) as server:
        result = await run(server)
    assert (result.text, result.recovered) == ("Hello you", True)
    assert_accepted(server, "POST hi")


async def test_a_cut_without_proof_is_an_interruption_where_nothing_is_to_be_recovered() -> None:
    async with Scripted(post=[streamed(said("Hello"), **CLOSING)], get=[ANSWERED] * 20) as server:
        with pytest.raises(StreamInterruptedError) as caught:
            await run(server, recover=False)
    assert caught.value.partial.text == "Hello"
    assert_accepted(server, "POST hi")


async def test_an_answer_that_the_history_does_not_have_yet_stands_as_it_came() -> None:
    """The contract is silent here: what was received completely must not be lost for a slow history."""
    async with Scripted(post=[streamed(said("Hello you"))], get=[history(user("hi"))] * 200) as server:
        assert (await run(server, settle=True)).text == "Hello you"
    assert_accepted(server, "POST hi")


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_a_history_that_cannot_be_read_leaves_a_proven_answer_as_it_came(status: int) -> None:
    """The contract is silent here, and the answer is complete as far as anybody can know."""
    async with Scripted(post=[streamed(*CALL_ALONE)], get=[refused(status)] * 200) as server:
        assert (await run(server)).text == "Hello you"
    assert_accepted(server, "POST hi")


async def test_it_costs_no_time_where_all_is_well() -> None:
    loop = asyncio.get_running_loop()
    async with Scripted(post=[streamed(*CALL_ANSWERED)], get=[ANSWERED]) as server:
        started = loop.time()
        await run(server)
        assert loop.time() - started < 0.5
