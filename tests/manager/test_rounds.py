"""What another process brings of a turn that was killed: all its rounds, however far it had come; in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from toolhouse_async import JobStarted, TurnResult

from .support import World, processes

ROUNDS = {"job": ("1:job", "[computed]2:"), "twice": ("1:twice", "[computed]2:", "[computed]3:")}

KILLED: dict[str, tuple[str, dict[str, Any] | None]] = {
    "in the answer": ("job", {"method": "POST", "cut_after": 1}),
    "in the job": ("job", None),
    "before the resume arrives": ("job", {"method": "PUT", "accept": False}),
    "before the answer to the resume": ("job", {"method": "PUT", "accept": True}),
    "in the answer to the resume": ("job", {"method": "PUT", "cut_after": 1}),
    "in the second job": ("twice", None),
    "before the second resume arrives": ("twice", {"method": "PUT", "skip": 1, "accept": False}),
    "in the answer to the second resume": ("twice", {"method": "PUT", "skip": 1, "cut_after": 1}),
}
"""When a process is killed: the message that it sends, and the fault that it has then."""


async def kill(world: World, process: Any, when: str) -> str:
    """Kill a process in its turn; the message is returned."""
    message, fault = KILLED[when]
    hit = None if fault is None else world.emulator.faults.add(cut="silence", **fault)
    jobs = []
    turn = process.manager.stream("k", message)

    async def read() -> None:
        async for event in turn:
            if isinstance(event, JobStarted):
                jobs.append(event.job_id)
                if hit is not None or (message, len(jobs)) == ("twice", 1):
                    world.go_on.set()

    reading = asyncio.ensure_future(read())
    while not (hit.hits if hit is not None else len(jobs) == len(ROUNDS[message]) - 1):
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    await process.stop()
    await asyncio.gather(reading, return_exceptions=True)
    return message


@pytest.mark.parametrize("is_over", [True, False], ids=["job over", "job running"])
@pytest.mark.parametrize(("records_tools", "records_empty"), [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize("how", ["recover", "recover the message", "reconcile"])
@pytest.mark.parametrize("when", KILLED)
async def test_all_rounds(when: str, how: str, records_tools: bool, records_empty: bool, is_over: bool) -> None:
    async with processes(2) as (world, _, one, two):
        world.emulator.history_tools, world.emulator.history_empty_messages = records_tools, records_empty
        message = await kill(world, one, when)
        loop = asyncio.get_running_loop()
        if is_over:
            world.go_on.set()
            await asyncio.sleep(1)
        async with two.manager.checkout("k") as session:
            began = loop.time()
            loop.call_later(5, world.go_on.set)
            if how == "reconcile":
                result = await session.reconcile()
            else:
                result = await session.recover(message if how == "recover the message" else None)
            took = loop.time() - began
            assert result.text == "".join(ROUNDS[message])
            assert (await session.reconcile()).text == result.text
        assert world.accepted == [message, *[""] * (len(ROUNDS[message]) - 1)]
        assert took < 12  # RecoveryPolicy.deadline is 20
        assert (await two.manager.send("k", "x")).text.endswith(":x")


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
