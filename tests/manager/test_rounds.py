"""What another process brings of a turn that was killed: all its rounds, however far it had come; in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from toolhouse_async import TurnResult

from .rounds import KILLED, ROUNDS, kill
from .support import processes


@pytest.mark.parametrize("when", KILLED)
@pytest.mark.parametrize("how", ["wait", "resume_pending"])
async def test_what_follows_the_job(when: str, how: str) -> None:
    """Who waits for a job gets what follows it; what came before it can still be had of a session."""
    async with processes(2) as (world, _, one, two):
        message = await kill(world, one, when)
        world.go_on.set()
        if how == "wait":
            async with two.manager.checkout("k") as session:
                result = await session.wait_for_job()
                assert (await session.recover()).text == "".join(ROUNDS[message])
        else:
            (resumed,) = await two.manager.resume_pending()
            result = resumed.result
            assert await two.manager.resume_pending() == []
        assert isinstance(result, TurnResult)
        assert result.text == "".join(ROUNDS[message][2 if "second" in when else 1 :])
        async with two.manager.checkout("k") as session:
            assert (await session.recover()).text == "".join(ROUNDS[message])
        assert world.accepted == [message, *[""] * (len(ROUNDS[message]) - 1)]


async def test_an_answer_that_was_not_delivered_comes_again_in_another_process() -> None:
    """The run is not resumed once more."""
    async with processes(3) as (world, _, one, two, three):
        await kill(world, one, "in the job")
        world.go_on.set()
        delivered = []

        async def fail(key: str, result: Any) -> None:
            delivered.append((key, result.text))
            raise LookupError("the chat is down")

        await two.manager.resume_pending(fail)
        await three.manager.resume_pending(fail)
        assert delivered == [("k", "[computed]2:")] * 2
        assert world.accepted == ["job", ""]


async def test_an_answer_that_a_plain_function_has_delivered_does_not_come_again() -> None:
    async with processes(2) as (world, _, one, two):
        await kill(world, one, "in the job")
        world.go_on.set()
        delivered: list[str] = []
        deliver: Any = lambda key, result: delivered.append(result.text)  # noqa: E731
        (resumed,) = await two.manager.resume_pending(deliver)
        assert resumed.error is None
        assert await two.manager.resume_pending(deliver) == []
        assert delivered == ["[computed]2:"]


@pytest.mark.parametrize("records_empty", [True, False])
async def test_a_resume_that_was_left_to_be_sent(records_empty: bool) -> None:
    """The process lets the key go before it can send the resume."""
    async with processes(2) as (world, _, one, two):
        world.emulator.history_empty_messages = records_empty
        world.go_on.set()
        world.emulator.faults.add(method="PUT", status=429, retry_after=50, times=100)
        sending = asyncio.ensure_future(one.manager.send("k", "job"))
        await asyncio.sleep(10)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        world.emulator.faults.clear()
        async with two.manager.checkout("k") as session:
            assert (await session.reconcile()).text == "1:job[computed]2:"
        assert world.accepted == ["job", ""]
