"""The manager on every store, in real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.support.stores import Place
from toolhouse_async import SessionManager
from toolhouse_async.stores import SessionStore

from .support import AGENT, Process, World, client_of

REAL_TIME = True

KEYS = ["", "telegram:42", "\0", "\ud83d", "\N{SLIGHTLY SMILING FACE}", "k" * 10_240, "a/b", "*"]


@asynccontextmanager
async def managers(place: Place, count: int, **options: Any) -> AsyncIterator[Any]:
    """The world, and managers with a client and a store each; their leases outlast the pauses of a busy machine."""
    world = World()
    async with world.emulator.serve() as server, AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            client = await stack.enter_async_context(client_of(server))
            store: SessionStore = await stack.enter_async_context(place.open())
            manager = SessionManager(client, AGENT, store=store, **{"lease": 5, **options})
            made.append(await stack.enter_async_context(manager))
        yield world, *made


async def test_a_key_goes_on_in_its_conversation(place: Place) -> None:
    async with managers(place, 2) as (world, one, two):
        assert [(await manager.send("k", "x")).text for manager in (one, one, two, one)] == ["1:x", "2:x", "3:x", "4:x"]
        assert (await two.send("other", "x")).text == "1:x"
        assert sorted(map(len, world.told.values())) == [1, 4]


async def test_keys_are_any_strings(place: Place) -> None:
    async with managers(place, 1) as (world, manager):
        for turn in (1, 2):
            for key in KEYS:
                assert (await manager.send(key, repr(key)[:50])).text == f"{turn}:{repr(key)[:50]}"
        assert sorted([info.key async for info in manager.sessions()]) == sorted(KEYS)
        assert len(world.told) == len(KEYS)


async def test_one_after_another_in_order_of_asking(place: Place) -> None:
    async with managers(place, 1) as (world, manager):
        results = await asyncio.gather(*(manager.send("k", str(number)) for number in range(12)))
        assert [result.text for result in results] == [f"{number + 1}:{number}" for number in range(12)]
        assert len(world.told) == 1


async def test_several_managers_never_meet_in_a_conversation(place: Place) -> None:
    async with managers(place, 3) as (world, *made):
        world.emulator.while_answering = "conflict"  # a message while another is being answered would be refused
        calls = [made[number % 3].send(f"k{number % 2}", str(number), on_conflict="raise") for number in range(24)]
        await asyncio.gather(*calls)
        assert len(world.told) == 2
        assert sorted(map(len, world.told.values())) == [12, 12]
        assert sorted(map(int, world.accepted)) == list(range(24))
        for told in world.told.values():
            for number in range(3):
                ours = [int(each) for each in told if int(each) % 3 == number]
                assert ours == sorted(ours)


async def test_who_waits_gets_the_key_before_who_comes_later(place: Place) -> None:
    """Also where the later one's process has the key just now."""
    async with managers(place, 2, lease=30) as (world, one, two):
        slow = asyncio.ensure_future(one.send("k", "slow"))
        await world.is_slow.wait()
        elsewhere = asyncio.ensure_future(two.send("k", "elsewhere"))
        while not [info async for info in one.sessions() if info.waiting]:
            await asyncio.sleep(0.01)
        later = asyncio.ensure_future(one.send("k", "later"))
        await asyncio.sleep(0.05)
        world.go_on.set()
        await asyncio.gather(slow, elsewhere, later)
        assert world.accepted == ["slow", "elsewhere", "later"]


async def test_the_run_id_and_the_job_are_saved_while_they_go_on(place: Place) -> None:
    async with managers(place, 2) as (world, one, two):
        sending = asyncio.ensure_future(one.send("k", "job"))
        while not [info async for info in two.sessions() if info.pending]:
            await asyncio.sleep(0.01)
        (info,) = [info async for info in two.sessions()]
        assert info.run_id in world.told
        assert info.holder is not None
        assert 0 < info.lease < 6  # by the clock of the store, which is not that of the process
        assert await two.resume_pending() == []  # one is at it
        world.go_on.set()
        assert (await sending).text == "1:job[computed]2:"
        (info,) = [info async for info in two.sessions()]
        assert (info.pending, info.holder, info.unknown) == (False, None, False)
        assert world.accepted == ["job", ""]


async def test_of_many_exactly_one_takes_a_job_over(place: Place) -> None:
    async with managers(place, 3) as (world, *made):
        for number in range(5):
            await made[0].send(f"k{number}", "job", background="detach")
        world.go_on.set()
        taken = await asyncio.gather(*(manager.resume_pending() for manager in made))
        done = [(each.key, each.result.text) for resumed in taken for each in resumed]
        assert sorted(done) == [(f"k{number}", "[computed]2:") for number in range(5)]
        assert sorted(map(str, world.accepted)) == [""] * 5 + ["job"] * 5


async def test_what_another_process_brings_of_a_turn_has_all_its_rounds(place: Place) -> None:
    """Also where the first was killed behind its first job."""
    world = World()
    async with world.emulator.serve() as server, place.open() as store, place.open() as other_store:
        one = Process(client_of(server), store, lease=1)
        sending = asyncio.ensure_future(one.manager.send("k", "twice"))
        async with client_of(server) as client, SessionManager(client, AGENT, store=other_store, lease=1) as two:
            while not [info async for info in two.sessions() if info.pending]:
                await asyncio.sleep(0.01)
            world.go_on.set()
            while len(world.accepted) < 2 or (await other_store.read(f"{AGENT}/k")).value.count(b'"JOB"') < 1:
                await asyncio.sleep(0.01)
            await one.stop()
            await asyncio.gather(sending, return_exceptions=True)
            world.go_on.set()
            async with two.checkout("k") as session:
                assert (await session.recover()).rounds == ("1:twice", "[computed]2:", "[computed]3:")
            assert world.accepted == ["twice", "", ""]
        one.store.down = False
        await one.manager.aclose()


async def test_a_long_turn_keeps_its_key(place: Place) -> None:
    """By renewing the lease."""
    async with managers(place, 2, lease=2) as (world, one, two):
        slow = asyncio.ensure_future(one.send("k", "slow"))
        await world.is_slow.wait()
        other = asyncio.ensure_future(two.send("k", "x"))
        await asyncio.sleep(3)
        assert not other.done()
        world.go_on.set()
        assert (await slow).text == "1:slow"
        assert (await other).text == "2:x"


@pytest.mark.parametrize("is_first", [True, False])
async def test_what_a_lost_lease_leaves(place: Place, is_first: bool) -> None:
    """Whoever has lost a key saves nothing over what its new holder has saved."""
    async with managers(place, 2) as (world, one, two):
        if not is_first:
            await one.send("k", "x")
        slow = asyncio.ensure_future(one.send("k", "slow"))
        await world.is_slow.wait()
        while is_first and not [info async for info in two.sessions() if info.run_id]:
            await asyncio.sleep(0.01)
        assert await two.unlock("k")
        world.go_on.set()
        await two.forget("k")
        assert (await two.send("k", "anew")).text == "1:anew"
        (error,) = await asyncio.gather(slow, return_exceptions=True)
        assert isinstance(error, Exception)
        assert (await two.send("k", "y")).text == "2:y"


async def test_one_key_is_looked_up_while_another_has_it(place: Place) -> None:
    async with managers(place, 2, lease=60) as (world, one, two):
        for key in KEYS:
            assert await two.info(key) is None
            await one.send(key, "x")
            info = await two.info(key)
            assert (info.key, info.holder, info.pending) == (key, None, False)
            assert len(world.told[info.run_id]) == 1
        async with one.checkout("*") as session:
            info = await two.info("*")
            assert info.run_id == session.run_id
            assert 55 < info.lease < 61
        await one.forget("*")
        assert await two.info("*") is None


async def test_who_only_looks_at_a_new_key_leaves_nothing(place: Place) -> None:
    async with managers(place, 2) as (world, one, two):

        async def look(manager: SessionManager) -> None:
            async with manager.checkout("k") as session:
                assert session.run_id is None

        async with one.checkout("k"):
            given_up = asyncio.ensure_future(look(two))
            while not (await one.info("k")).waiting:
                await asyncio.sleep(0.01)
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
            looking = [asyncio.ensure_future(look(manager)) for manager in (one, two)]
            while not (await one.info("k")).waiting:
                await asyncio.sleep(0.01)
        await asyncio.gather(*looking)
        assert await one.info("k") is None
        assert (await two.send("k", "x")).text == "1:x"
        async with one.checkout("k") as session:
            assert session.run_id in world.told
        assert (await one.info("k")).run_id in world.told


async def test_stuck_keys_are_listed_and_unlocked(place: Place) -> None:
    async with managers(place, 2, lease=60) as (_, one, two):
        async with one.checkout("stuck"):
            (info,) = [info async for info in two.sessions()]
            assert (info.key, info.run_id, info.idle, info.waiting) == ("stuck", None, 0, 0)
            assert 55 < info.lease < 61
            assert await two.unlock("stuck")
            assert not await two.unlock("stuck")
            assert (await two.send("stuck", "x")).text == "1:x"
        assert (await one.send("stuck", "x")).text == "2:x"


async def test_forgetting(place: Place) -> None:
    async with managers(place, 2) as (world, one, two):
        for key in ("a", "b"):
            await one.send(key, "x")
        await two.forget("a")
        await two.forget("a")
        assert [info.key async for info in one.sessions()] == ["b"]
        assert (await one.send("a", "x")).text == "1:x"
        assert await one.forget_idle(3600) == 0
        await asyncio.sleep(0.02)
        assert await one.forget_idle(0.01) == 2
        assert [info async for info in one.sessions()] == []
        assert len(world.told) == 3
