"""Messages in the same words, histories that lag, and readings that fail, around jobs that begin at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.conversations.support import AGENT, assert_accepted
from toolhouse_async import AsyncToolhouse
from toolhouse_async.testing import EmulatorServer, WorkerContext, WorkersEmulator

Answer = Sequence[Any]
"""What the worker does in one call: says words, calls a tool (``CALL``), has it answered (``RESULT``), or begins a job
of so many seconds."""

CALL, RESULT = object(), object()


async def played(
    turns: Sequence[tuple[str, Sequence[Answer]]],
    emulator: WorkersEmulator,
    fault: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[list[str], EmulatorServer]:
    """Let a worker give these answers in order, and say what came of each message."""
    left = iter([each for _, answers in turns for each in answers])

    @emulator.worker(AGENT)
    async def worker(ctx: WorkerContext) -> Any:
        call: Any = None
        for what in next(left):
            if isinstance(what, str):
                yield ctx.text(what)
            elif what is CALL:
                call = ctx.tool_call("code_interpreter", {})
                yield call
            elif what is RESULT:
                yield ctx.tool_result(call, "started in the background")
            else:
                yield ctx.background(asyncio.sleep, what)

    if fault:
        emulator.faults.add(**fault)
    async with emulator.serve() as server, AsyncToolhouse("", base_url=server.url) as toolhouse:
        session = toolhouse.session(AGENT)
        texts = [(await session.send(message, **options)).text for message, _ in turns]
    assert next(left, None) is None
    return texts, server


@pytest.mark.parametrize("body", ["empty", "object"])
@pytest.mark.parametrize("options", [{}, {"settle": True}, {"format": "text"}])
async def test_a_reading_that_holds_no_history_still_names_the_job(body: Any, options: dict[str, Any]) -> None:
    turns = [("hi", [["one ", CALL, 30], ["two "]])]
    texts, server = await played(turns, WorkersEmulator(job_poll_body=body), **options)
    assert texts == ["one two "]
    assert_accepted(server, "POST hi", "PUT ")


@pytest.mark.parametrize("options", [{}, {"format": "text"}, {"settle": True}])
@pytest.mark.parametrize("switches", [{"history_tools": True}, {"history_tools": True, "answer_framing": "close"}, {}])
async def test_the_same_words_again_whose_answer_is_only_a_job(switches: Any, options: dict[str, Any]) -> None:
    turns = [("yes", [["one "]]), ("yes", [[CALL, 0], ["two "]])]
    texts, server = await played(turns, WorkersEmulator(**switches), **options)
    assert texts == ["one ", "two "]
    assert_accepted(server, "POST yes", "PUT yes", "PUT ")


async def test_the_same_words_again_whose_answer_is_cut_at_its_beginning() -> None:
    turns = [("yes", [["one "]]), ("yes", [["two "]])]
    texts, _ = await played(turns, WorkersEmulator(), {"method": "PUT", "cut": "rst", "cut_after": 0})
    assert texts == ["one ", "two "]


@pytest.mark.parametrize("how", [("close", "fin"), ("chunked", "rst")])
async def test_the_same_words_again_whose_answer_is_cut_before_its_job(how: tuple[Any, str]) -> None:
    turns = [("yes", [["one "]]), ("yes", [[30, "two "], ["three "]])]
    fault = {"method": "PUT", "cut": how[1], "cut_after": 3}
    texts, _ = await played(turns, WorkersEmulator(answer_framing=how[0]), fault)
    assert texts == ["one ", "two three "]


@pytest.mark.parametrize("seconds", [0.5, 30])
async def test_readings_that_fail_for_a_while_hide_no_job(seconds: float) -> None:
    turns = [("hi", [["one ", CALL, RESULT, seconds], ["two "]])]
    fault = {"method": "GET", "times": 4, "status": 503}
    texts, server = await played(turns, WorkersEmulator(history_tools=True), fault)
    assert texts == ["one two "]
    assert_accepted(server, "POST hi", "PUT ")


async def test_a_history_that_lags_is_no_place_for_the_answer_to_a_resume() -> None:
    turns = [("hi", [[0, "one "], ["two "]])]
    fault = {"method": "PUT", "cut": "fin", "cut_after": 3}
    texts, server = await played(turns, WorkersEmulator(history_lag=5), fault)
    assert texts == ["one two "]
    assert_accepted(server, "POST hi", "PUT ")


async def test_a_history_that_lags_makes_no_earlier_answer_this_one() -> None:
    turns = [("a", [["one "]]), ("b", [[0.5], [CALL, 0], ["two "]])]
    texts, server = await played(turns, WorkersEmulator(history_lag=3))
    assert texts == ["one ", "two "]
    assert_accepted(server, "POST a", "PUT b", "PUT ", "PUT ")
