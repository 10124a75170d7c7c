"""Blocks that deliver: an answer is seen once the block has ended, and not before; in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from toolhouse_async import BadRequestError, StoreError, TextDelta

from .support import processes


async def say_and_die(process: Any, *messages: str) -> str:
    """Say something in a block whose process is killed behind the last answer, which is returned."""
    text = ""
    with pytest.raises(StoreError):
        async with process.manager.checkout("k", delivers=True) as session:
            for message in messages:
                text = (await session.send(message)).text
            process.store.down = True
    await asyncio.sleep(31)  # the lease
    return text


async def flags(process: Any) -> set[str]:
    info = await process.manager.info("k")
    return {name for name in ("pending", "unknown", "unseen") if getattr(info, name)}


@pytest.mark.parametrize("earlier", [[], ["before"], ["before", "x"]])
async def test_an_answer_whose_process_is_killed_before_the_block_ends_is_unseen(earlier: list[str]) -> None:
    async with processes(2) as (world, _, one, two):
        text = await say_and_die(one, *earlier, "x")
        assert await flags(two) == {"unseen"}
        async with two.manager.checkout("k") as session:
            found = await session.reconcile()
            assert found is not None
            assert found.text == text
            await session.send("next")
        assert world.accepted == [*earlier, "x", "next"]
        assert await flags(two) == set()


async def test_it_may_be_passed_over() -> None:
    async with processes(2) as (_, _, one, two):
        await say_and_die(one, "x")
        assert (await two.manager.send("k", "next")).text == "2:next"
        assert await flags(two) == set()


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_one_whose_block_fails_is_unseen(elsewhere: bool) -> None:
    async with processes(2) as (world, _, one, two):
        with pytest.raises(ConnectionError):
            async with one.manager.checkout("k", delivers=True) as session:
                await session.send("x")
                raise ConnectionError("the platform does not take it")
        process = two if elsewhere else one
        for _ in range(2):
            assert await flags(process) == {"unseen"}
            with pytest.raises(ConnectionError):
                async with process.manager.checkout("k", delivers=True) as session:
                    found = await session.reconcile()
                    assert found is not None
                    assert found.text == "1:x"
                    raise ConnectionError("nor now")
        async with process.manager.checkout("k", delivers=True) as session:
            assert await session.reconcile() == found
        assert await flags(process) == set()
        assert (await process.manager.send("k", "next")).text == "2:next"
        assert world.accepted == ["x", "next"]


async def test_one_whose_block_is_cancelled_is_unseen() -> None:
    async with processes(2) as (world, _, one, two):

        async def deliver() -> None:
            async with one.manager.checkout("k", delivers=True) as session:
                await session.send("x")
                await asyncio.sleep(100)

        delivering = asyncio.ensure_future(deliver())
        await asyncio.sleep(50)  # the lease is renewed meanwhile
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)
        await asyncio.sleep(1)
        assert await flags(two) == {"unseen"}
        assert world.accepted == ["x"]


async def test_one_whose_block_ends_is_seen() -> None:
    async with processes(2) as (world, _, one, two):
        world.go_on.set()
        async with one.manager.checkout("k", delivers=True) as session:
            await session.send("x")
            await session.send("job")
        assert await flags(two) == set()
        assert await two.manager.resume_pending() == []
        async with two.manager.checkout("k") as session:
            assert (await session.send("next")).text.endswith(":next")


async def test_the_answer_to_a_job_is_brought_by_the_next_process() -> None:
    async with processes(2) as (world, _, one, two):
        world.go_on.set()
        assert await say_and_die(one, "job") == "1:job[computed]2:"
        assert await flags(two) == {"pending"}
        (resumed,) = await two.manager.resume_pending()
        assert resumed.result.text == "[computed]2:"
        assert await flags(two) == set()
        assert world.accepted == ["job", ""]


async def test_the_next_message_tells_that_an_answer_was_delivered() -> None:
    async with processes(2) as (world, _, one, two):
        world.go_on.set()
        assert await say_and_die(one, "job", "x") == "3:x"
        assert await flags(two) == {"unseen"}
        async with two.manager.checkout("k") as session:
            found = await session.reconcile()
            assert found is not None
            assert found.text == "3:x"


async def test_a_turn_that_is_left_open_stays_so() -> None:
    async with processes(2) as (world, _, one, two):
        async with one.manager.checkout("k", delivers=True) as session:
            await session.send("x")
            async with session.stream("slow") as turn:
                async for event in turn:
                    if isinstance(event, TextDelta):
                        break
        assert await flags(two) == {"unseen"}
        world.go_on.set()
        async with two.manager.checkout("k", delivers=True) as session:
            await session.reconcile()
            await session.send("job", background="detach")
        assert await flags(two) == {"pending"}


async def test_a_failure_is_no_answer_to_deliver() -> None:
    async with processes(2) as (world, _, one, two):
        world.emulator.faults.add(method="POST", status=400)
        with pytest.raises(BadRequestError):
            async with one.manager.checkout("k", delivers=True) as session:
                await session.send("x")
        assert await two.manager.info("k") is None
