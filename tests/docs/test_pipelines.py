"""What the page on pipelines promises of panels and races: failures, deadlines, cancellation, what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from toolhouse_async import Limits, WorkerError
from toolhouse_async.testing import WorkersEmulator

from .scenes import LONG, QUESTION, block_with, cancel, causes, failing, now, scene
from .setups import TEAM, says

# Ask several workers at once


async def test_a_failed_turn_cancels_the_others_and_comes_out_in_a_group() -> None:
    finished = asyncio.Event()

    async def slow(ctx: Any) -> AsyncIterator[Any]:
        yield ctx.text("Well, ")
        await asyncio.sleep(50)
        finished.set()

    async with scene({**TEAM, "economist": failing, "historian": slow}) as it:
        ask_the_panel = await it.function("ask_the_panel")
        began = now()
        with pytest.raises(ExceptionGroup) as caught:
            await ask_the_panel(it.toolhouse, QUESTION)
        assert [type(error) for error in caught.value.exceptions] == [WorkerError]
        assert now() - began < 1.1
        assert sorted(it.asked) == ["economist", "historian"]  # and no editor
        assert await it.connections() == 1  # the failed turn's, which may be used again
        assert not finished.is_set()
        await finished.wait()  # the worker was not told


async def test_the_deadline_of_the_panel_cancels_all() -> None:
    async with scene({**TEAM, "historian": says("late", after=LONG)}) as it:
        ask_the_panel = await it.function("ask_the_panel")
        began = now()
        with pytest.raises(TimeoutError):
            await ask_the_panel(it.toolhouse, QUESTION)
        assert 60 <= now() - began < 60.1
        assert sorted(it.asked) == ["economist", "historian"]
        assert await it.connections() <= 1


async def test_the_deadline_holds_for_the_last_step_too() -> None:
    async with scene({**TEAM, "editor": says("late", after=LONG)}) as it:
        ask_the_panel = await it.function("ask_the_panel")
        began = now()
        with pytest.raises(TimeoutError):
            await ask_the_panel(it.toolhouse, QUESTION)
        assert 60 <= now() - began < 60.1
        assert it.asked[-1] == "editor"


async def test_who_is_cancelled_cancels_the_panel() -> None:
    async with scene({worker: says("late", after=LONG) for worker in TEAM}) as it:
        panel = asyncio.create_task((await it.function("ask_the_panel"))(it.toolhouse, QUESTION))
        await asyncio.sleep(1)
        assert await it.connections() == 2
        await cancel(panel)
        assert await it.connections() == 0


async def test_a_message_that_was_still_to_be_sent_never_is() -> None:
    async with scene({**TEAM, "economist": says("late", after=LONG)}, limits=Limits(max_connections=1)) as it:
        with pytest.raises(TimeoutError):
            await (await it.function("ask_the_panel"))(it.toolhouse, QUESTION)
        await asyncio.sleep(60)
        assert it.asked == ["economist"]


async def test_a_background_job_goes_on_for_certain() -> None:
    over = asyncio.Event()

    async def job() -> None:
        await asyncio.sleep(90)
        over.set()

    async def busy(ctx: Any) -> AsyncIterator[Any]:
        yield ctx.background(job)

    async with scene({**TEAM, "economist": busy}, WorkersEmulator(on_disconnect="stop")) as it:
        with pytest.raises(TimeoutError):
            await (await it.function("ask_the_panel"))(it.toolhouse, QUESTION)
        await over.wait()


# Keep the answers that came in time


@pytest.mark.parametrize("most", [1, 10])
async def test_each_answer_is_there_or_what_had_come_of_it(most: int) -> None:
    """Also where the first one has the only connection, and the second is never sent."""
    async with scene({"slow": says("Well, then", between=LONG)}, limits=Limits(max_connections=most)) as it:
        ask = await it.function("ask")
        began = now()
        answers = await asyncio.gather(ask("slow", QUESTION), ask("slow", QUESTION))
        assert answers == ["Well, …", "…" if most == 1 else "Well, …"]
        assert now() - began < 10.1
        assert len(it.asked) == min(most, 2)


# Use anyio


async def test_a_failed_turn_cancels_the_others_of_an_anyio_group() -> None:
    async with scene({**TEAM, "philosopher": failing}) as it:
        began = now()
        with pytest.raises(ExceptionGroup) as caught:
            await it.run(block_with("move_on_after"))
        assert [type(error) for error in caught.value.exceptions] == [WorkerError]
        assert now() - began < 1.1
        assert it.names["answers"] == {}


# Race two workers


async def test_the_losers_message_was_accepted_and_its_worker_goes_on() -> None:
    finished = asyncio.Event()

    async def loser(ctx: Any) -> AsyncIterator[Any]:
        yield ctx.text("Well, ")
        await asyncio.sleep(50)
        finished.set()

    async with scene({**TEAM, "loser": loser}) as it:
        race = await it.function("race")
        began = now()
        assert (await race(QUESTION, "loser", "economist")).agent_id == "economist"
        assert now() - began < 3.1
        assert sorted(it.asked) == ["economist", "loser"]
        assert await it.connections() == 1  # the winner's
        await finished.wait()


async def test_who_was_never_asked_was_sent_nothing() -> None:
    async with scene(TEAM) as it:
        race = await it.function("race")
        assert (await race(QUESTION, "historian", "economist", head_start=5.5)).agent_id == "historian"
        await asyncio.sleep(10)
        assert it.asked == ["historian"]
        assert (await race(QUESTION, "historian", "economist", head_start=1)).agent_id == "economist"


async def test_a_worker_that_fails_does_not_win() -> None:
    async with scene({**TEAM, "failing": failing}) as it:
        race = await it.function("race")
        assert (await race(QUESTION, "failing", "nobody", "economist")).agent_id == "economist"
        with pytest.raises(ExceptionGroup, match="no worker has answered") as caught:
            await race(QUESTION, "failing", "failing")
        assert causes(caught.value) == [WorkerError] * 2


async def test_cancelling_a_race_closes_all() -> None:
    async with scene(TEAM) as it:
        running = asyncio.create_task((await it.function("race"))(QUESTION, "economist", "historian"))
        await asyncio.sleep(1)
        assert await it.connections() == 2
        await cancel(running)
        assert await it.connections() == 0
