"""What a manager does about time, errors and those who stop without a word; in virtual time."""

from __future__ import annotations

import asyncio
import gc
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.stores import Troubled
from toolhouse_async import (
    AsyncToolhouse,
    ClosedError,
    ConfigurationError,
    JobStarted,
    JobWaitTimeoutError,
    LeaseLostError,
    NotFoundError,
    OutcomeUnknownError,
    PollingPolicy,
    ServerError,
    SessionBusyError,
    SessionManager,
    StoreError,
    TextDelta,
    TurnCompleted,
    TurnTimeoutError,
    UncertainSessionError,
)
from toolhouse_async._keyed.house import House
from toolhouse_async.stores import MemorySessionStore, SQLiteSessionStore
from toolhouse_async.web import failure, sse

from .support import AGENT, World, client_of, processes


async def listed(process: Any) -> Any:
    """The only key that there is."""
    (info,) = [info async for info in process.manager.sessions()]
    return info


async def stopped_while_sending(world: World, server: Any, process: Any, *, accepted: bool = True) -> None:
    """Stop a process while its message ``lost`` is on its way."""
    fault = world.emulator.faults.add(cut="silence", accept=accepted)
    sending = asyncio.ensure_future(process.manager.send("k", "lost"))
    while not fault.hits:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    await process.stop()
    await asyncio.gather(sending, return_exceptions=True)


# Time


async def test_a_conversation_starts_afresh_after_silence() -> None:
    async with processes(ttl=60) as (world, _, one):
        for pause, text in ((0, "1:x"), (59, "2:x"), (59, "3:x"), (61, "1:x"), (1, "2:x")):
            await asyncio.sleep(pause)
            assert (await one.manager.send("k", "x")).text == text
        assert sorted(map(len, world.told.values())) == [2, 3]


async def test_a_long_turn_is_no_silence() -> None:
    async with processes(ttl=60) as (world, _, one):
        slow = asyncio.ensure_future(one.manager.send("k", "slow"))
        await asyncio.sleep(600)
        world.go_on.set()
        await slow
        assert (await one.manager.send("k", "x")).text == "2:x"


async def test_without_ttl_nothing_is_forgotten() -> None:
    async with processes() as (_, _, one):
        await one.manager.send("k", "x")
        await asyncio.sleep(1e6)
        assert (await one.manager.send("k", "x")).text == "2:x"


async def test_a_lease_is_renewed_for_as_long_as_it_takes() -> None:
    async with processes(2, lease=30) as (world, _, one, two):
        slow = asyncio.ensure_future(one.manager.send("k", "slow"))
        await world.is_slow.wait()
        other = asyncio.ensure_future(two.manager.send("k", "x"))
        before = one.store.swaps
        await asyncio.sleep(600)
        assert not other.done()
        assert one.store.swaps - before <= 2 * 600 / 10 + 5  # each third of it, and once more for the other's place
        world.go_on.set()
        assert ((await slow).text, (await other).text) == ("1:slow", "2:x")


async def test_a_key_is_stuck_no_longer_than_its_lease() -> None:
    async with processes(2, lease=30) as (_, _, one, two):
        await one.manager.send("k", "x")
        checkout = one.manager.checkout("k")
        await checkout.__aenter__()
        await asyncio.sleep(25)
        await one.stop()
        started = asyncio.get_running_loop().time()
        assert (await two.manager.send("k", "x")).text == "2:x"
        assert asyncio.get_running_loop().time() - started <= 31
        one.store.down = False
        with pytest.raises(ClosedError):
            await one.manager.send("k", "x")
        await checkout.__aexit__(None, None, None)  # nothing was to be saved


@pytest.mark.parametrize("ahead", [-1e6, 1e6])
async def test_a_clock_that_is_set(ahead: float) -> None:
    """Set back it must not lock a key for ever; set forward, whoever lost the key so is told."""
    async with processes(2, lease=30) as (world, _, one, two):
        slow = asyncio.ensure_future(one.manager.send("k", "slow"))
        await world.is_slow.wait()
        one.store.ahead, two.store.ahead = 0, ahead
        if ahead < 0:
            await one.stop()
        started = asyncio.get_running_loop().time()
        async with two.manager.checkout("k"):
            pass
        assert asyncio.get_running_loop().time() - started <= 32
        world.go_on.set()
        with pytest.raises((LeaseLostError, ClosedError)):
            await slow


# Who waits for whom


async def test_processes_that_want_the_same_key_take_turns() -> None:
    async with processes(2) as (world, _, one, two):
        slow = asyncio.ensure_future(one.manager.send("k", "slow"))
        await world.is_slow.wait()
        calls = [asyncio.ensure_future(two.manager.send("k", f"b{number}")) for number in range(3)]
        await asyncio.sleep(5)
        calls += [asyncio.ensure_future(one.manager.send("k", f"a{number}")) for number in range(3)]
        world.go_on.set()
        await asyncio.gather(slow, *calls)
        assert world.accepted == ["slow", "b0", "a0", "b1", "a1", "b2", "a2"]


async def test_keys_do_not_wait_for_each_other() -> None:
    async with processes() as (world, _, one):
        slow = asyncio.ensure_future(one.manager.send("a", "slow"))
        await world.is_slow.wait()
        assert [(await one.manager.send(f"b{n}", "x")).text for n in range(5)] == ["1:x"] * 5
        assert not slow.done()
        world.go_on.set()
        await slow


async def test_a_task_does_not_wait_for_itself() -> None:
    async with processes() as (_, _, one):
        async with one.manager.checkout("k") as session:
            for call in (one.manager.send("k", "x"), one.manager.forget("k"), one.manager.stream("k", "x").result()):
                with pytest.raises(SessionBusyError):
                    await call
            await session.send("x")
        async with one.manager.stream("k", "x") as turn:
            with pytest.raises(SessionBusyError):
                await one.manager.send("k", "x")
            await turn.result()
        assert (await one.manager.send("k", "x")).text == "3:x"


async def test_another_task_may_end_what_one_has_begun() -> None:
    async with processes() as (_, _, one):
        turn = one.manager.stream("k", "x")
        await anext(turn)
        other = asyncio.ensure_future(one.manager.send("k", "y"))
        await asyncio.ensure_future(turn.result())
        assert (await other).text == "2:y"


async def test_a_key_that_is_being_forgotten_is_waited_for() -> None:
    async with processes() as (_, _, one):
        await one.manager.send("k", "x")
        one.store.held = asyncio.Event()
        forgetting = asyncio.ensure_future(one.manager.forget("k"))
        await asyncio.sleep(1)
        sending = asyncio.ensure_future(one.manager.send("k", "x"))
        await asyncio.sleep(1)
        one.store.held.set()
        await forgetting
        assert (await sending).text == "1:x"


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_whoever_gives_up_leaves_the_queue(place: int) -> None:
    async with processes(4) as (world, _, one, *others):
        slow = asyncio.ensure_future(one.manager.send("k", "slow"))
        await world.is_slow.wait()
        waiting = []
        for process, words in zip(others, "012", strict=True):
            waiting.append(asyncio.ensure_future(process.manager.send("k", words)))
            await asyncio.sleep(2)
        waiting[place].cancel()
        await asyncio.sleep(1)
        world.go_on.set()
        started = asyncio.get_running_loop().time()
        await asyncio.gather(slow, *waiting, return_exceptions=True)
        assert asyncio.get_running_loop().time() - started < 3
        assert world.accepted == ["slow", *(words for words in "012" if words != str(place))]


async def test_the_time_of_a_turn_includes_the_wait_for_its_key() -> None:
    async with processes() as (world, _, one):
        async with one.manager.checkout("k"):
            turn = asyncio.ensure_future(one.manager.send("k", "x", timeout=5))
            await asyncio.sleep(6)
            with pytest.raises(TurnTimeoutError):
                await turn
        assert world.accepted == []
        assert (await one.manager.send("k", "x")).text == "1:x"


async def test_many_tasks_on_many_keys() -> None:
    chance = random.Random(5)
    async with processes(3) as (world, _, *made):
        world.emulator.while_answering = "conflict"
        calls = [
            made[chance.randrange(3)].manager.send(f"k{chance.randrange(20)}", f"m{number}", on_conflict="raise")
            for number in range(300)
        ]
        await asyncio.gather(*calls)
        assert len(world.told) == 20
        assert sorted(world.accepted) == sorted(f"m{number}" for number in range(300))


# Stopped without a word


async def test_what_was_being_sent_is_of_unknown_outcome_until_it_is_settled() -> None:
    async with processes(2) as (world, server, one, two):
        await one.manager.send("k", "x")
        await stopped_while_sending(world, server, one)
        requests = len(server.requests)
        with pytest.raises(UncertainSessionError, match="reconcile") as caught:
            await two.manager.send("k", "y")
        assert caught.value.safe_to_retry is True
        assert len(server.requests) == requests
        async with two.manager.checkout("k") as session:
            result = await session.reconcile()
            assert result.text == "2:lost"
        assert (await two.manager.send("k", "y")).text == "3:y"
        assert world.accepted == ["x", "lost", "y"]


async def test_once_it_was_reported_the_history_decides() -> None:
    """As in a session of its own: an earlier message that did arrive is reported again, until it is settled."""
    async with processes(2) as (world, server, one, two):
        await one.manager.send("k", "x")
        await stopped_while_sending(world, server, one)
        for match in ("its process ended", "did arrive", "did arrive"):
            with pytest.raises(UncertainSessionError, match=match) as caught:
                await two.manager.send("k", "y")
            assert caught.value.safe_to_retry is True
        assert world.accepted == ["x", "lost"]


async def test_what_an_earlier_use_has_brought_does_not_come_again() -> None:
    async with processes() as (_, _, one):
        turn = one.manager.stream("k", "x")
        assert (await turn.result()).text == "1:x"
        async with one.manager.checkout("k") as session:
            assert await session.reconcile() is None
            result = await session.send("y")
            assert await session.reconcile() == result


@pytest.mark.parametrize("reconciles", [True, False])
async def test_what_did_not_arrive_may_be_said_again(reconciles: bool) -> None:
    async with processes(2) as (world, server, one, two):
        await one.manager.send("k", "x")
        await stopped_while_sending(world, server, one, accepted=False)
        with pytest.raises(OutcomeUnknownError):
            await two.manager.send("k", "y")
        if reconciles:
            async with two.manager.checkout("k") as session:
                assert await session.reconcile() is None
        assert (await two.manager.send("k", "y")).text == "2:y"
        assert world.accepted == ["x", "y"]


async def test_words_that_were_said_before_can_be_told_apart() -> None:
    """Of a conversation that managers alone have held it is known how often each thing was said."""
    async with processes(3) as (world, server, one, two, three):
        for process in (one, two, one):
            await process.manager.send("k", "lost")
        await stopped_while_sending(world, server, one)
        async with two.manager.checkout("k") as session:
            assert (await session.reconcile()).text == "4:lost"
        await stopped_while_sending(world, server, two, accepted=False)
        async with three.manager.checkout("k") as session:
            assert await session.reconcile() is None
        assert world.accepted == ["lost"] * 4


async def test_looking_at_a_key_settles_nothing() -> None:
    async with processes(2) as (world, server, one, two):
        await one.manager.send("k", "x")
        await stopped_while_sending(world, server, one)
        async with two.manager.checkout("k") as session:
            assert session.run_id is not None
        assert (await listed(two)).unknown
        with pytest.raises(OutcomeUnknownError):
            await two.manager.send("k", "y")


@pytest.mark.parametrize("how", ["forget", "restart"])
async def test_a_first_message_of_unknown_outcome(how: str) -> None:
    async with processes(2, on_missing="restart" if how == "restart" else "raise") as (world, server, one, two):
        await stopped_while_sending(world, server, one)
        with pytest.raises(OutcomeUnknownError, match="forget"):
            await two.manager.send("k", "y")
        if how == "forget":
            for _ in range(2):
                with pytest.raises(OutcomeUnknownError, match="forget"):
                    await two.manager.send("k", "y")
            async with two.manager.checkout("k") as session:
                with pytest.raises(OutcomeUnknownError):
                    await session.reconcile()
            await two.manager.forget("k")
        assert (await two.manager.send("k", "y")).text == "1:y"
        assert world.accepted == ["lost", "y"]


@pytest.mark.parametrize("on_missing", ["raise", "restart"])
async def test_a_first_message_of_unknown_outcome_is_never_said_to_be_absent(on_missing: str) -> None:
    async with processes(2, on_missing=on_missing) as (world, server, one, two):
        await stopped_while_sending(world, server, one)
        for _ in range(2):
            with pytest.raises(OutcomeUnknownError):  # from here on somebody was told
                async with two.manager.checkout("k") as session:
                    await session.reconcile()
            with pytest.raises(OutcomeUnknownError):
                await two.manager.send("k", "y")
            async with two.manager.checkout("k") as session:
                with pytest.raises(OutcomeUnknownError):
                    await session.reconcile()
            if on_missing == "restart":
                break
        else:
            await two.manager.forget("k")
        assert (await two.manager.send("k", "y")).text == "1:y"
        assert world.accepted == ["lost", "y"]


@pytest.mark.parametrize("on_missing", ["raise", "restart"])
@pytest.mark.parametrize("first", [True, False])
async def test_closing_while_a_message_is_on_its_way_leaves_its_fate_unknown(on_missing: str, first: bool) -> None:
    async with processes(2, on_missing=on_missing) as (world, _, one, two):
        if not first:
            await one.manager.send("k", "x")
        fault = world.emulator.faults.add(method="POST" if first else "PUT", cut="silence", accept=True)
        sending = asyncio.ensure_future(one.manager.send("k", "lost"))
        while not fault.hits:
            await asyncio.sleep(0.01)
        await one.manager.aclose()
        with pytest.raises(ClosedError) as closed:
            await sending
        assert closed.value.safe_to_retry is None
        assert (await listed(two)).unknown
        with pytest.raises(UncertainSessionError):
            await two.manager.send("k", "y")
        if not first:
            async with two.manager.checkout("k") as session:
                assert (await session.reconcile()).text == "2:lost"
            assert (await two.manager.send("k", "y")).text == "3:y"
            assert world.accepted == ["x", "lost", "y"]
            return
        async with two.manager.checkout("k") as session:
            with pytest.raises(OutcomeUnknownError):
                await session.reconcile()
        if on_missing == "raise":
            await two.manager.forget("k")
        assert (await two.manager.send("k", "y")).text == "1:y"
        assert world.accepted == ["lost", "y"]


async def test_a_store_that_is_closed_before_it_is_used(tmp_path: Path) -> None:
    async with SQLiteSessionStore(tmp_path / "store.db") as store:
        pass
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    async with (
        AsyncToolhouse("key", base_url="http://127.0.0.1:9") as toolhouse,
        SessionManager(toolhouse, AGENT, store=store) as manager,
    ):
        with pytest.raises(ClosedError):
            await manager.send("k", "x")
    gc.collect()
    assert reported == []


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_store_that_is_closed_in_mid_turn(
    is_cancelled: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    store = SQLiteSessionStore(tmp_path / "store.db")
    async with (
        world.emulator.serve() as server,
        AsyncToolhouse("", base_url=server.url) as toolhouse,
        SessionManager(toolhouse, AGENT, store=store, lease=1) as manager,
    ):
        sending = asyncio.ensure_future(manager.send("k", "slow"))
        await world.is_slow.wait()
        await store.aclose()
        await asyncio.sleep(1)  # it is renewed meanwhile
        if is_cancelled:
            sending.cancel()
        world.go_on.set()
        with pytest.raises(asyncio.CancelledError if is_cancelled else ClosedError):
            await sending
    gc.collect()
    assert reported == []
    assert "a session could not be saved: the store is closed" in caplog.text


async def _given_up(world: Any, process: Any, words: str, *, by: str, accept: bool = True) -> None:
    """Let a turn be closed, or its task be cancelled, while its message is being sent, and accepted if told so."""
    fault = world.emulator.faults.add(method="PUT" if world.accepted else "POST", cut="silence", accept=accept)
    turn = process.manager.stream("k", words)
    sending = asyncio.ensure_future(turn.result())
    while not fault.hits:
        await asyncio.sleep(0.01)
    if by == "cancelling":
        sending.cancel()
    elif by == "closing":
        await turn.aclose()
    else:
        await process.client.aclose()
    await asyncio.gather(sending, return_exceptions=True)
    await turn.aclose()


HOW = ["cancelling", "closing", "its client"]


@pytest.mark.parametrize("how", HOW)
async def test_a_message_that_was_given_up_is_asked_about_by_other_processes(how: str) -> None:
    async with processes(2) as (world, server, one, two):
        await one.manager.send("k", "x")
        await _given_up(world, one, "lost", by=how)
        await one.manager.aclose()
        assert (await listed(two)).unknown
        requests = len(server.requests)
        with pytest.raises(UncertainSessionError, match="its turn was closed") as caught:
            await two.manager.send("k", "y")
        assert caught.value.safe_to_retry is True
        assert len(server.requests) == requests
        async with two.manager.checkout("k") as session:
            assert (await session.reconcile()).text == "2:lost"
        assert not (await listed(two)).unknown
        assert world.accepted == ["x", "lost"]


@pytest.mark.parametrize("how", HOW)
async def test_a_first_message_that_was_given_up_is_asked_about_by_other_processes(how: str) -> None:
    async with processes(2) as (world, _, one, two):
        await _given_up(world, one, "lost", by=how)
        await one.manager.aclose()
        for _ in range(2):
            with pytest.raises(UncertainSessionError, match="start this conversation"):
                await two.manager.send("k", "y")
        await two.manager.forget("k")
        assert (await two.manager.send("k", "y")).text == "1:y"
        assert world.accepted == ["lost", "y"]


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("how", HOW[:2])
async def test_who_gave_a_message_up_is_not_asked(how: str, is_first: bool) -> None:
    async with processes(2) as (world, _, one, two):
        if not is_first:
            await one.manager.send("k", "x")
        await _given_up(world, one, "lost", by=how)
        assert (await listed(one)).unknown
        async with one.manager.checkout("k"):
            pass  # nothing is sent
        gc.collect()  # what is known of the run is forgotten, but not this
        assert (await one.manager.send("k", "y")).text == ("1:y" if is_first else "3:y")
        assert (await two.manager.send("k", "z")).text == ("2:z" if is_first else "4:z")
        assert world.accepted[-3:] == ["lost", "y", "z"]


@pytest.mark.parametrize("is_forgotten", [True, False])
@pytest.mark.parametrize(("is_first", "refusals"), [(True, 0), (True, 1), (True, 2), (True, 3), (False, 0), (False, 1)])
async def test_who_gave_a_message_up_is_not_asked_since_others_were_refused(
    is_first: bool, refusals: int, is_forgotten: bool
) -> None:
    async with processes(2) as (world, _, one, two):
        if not is_first:
            await one.manager.send("k", "x")
        await _given_up(world, one, "lost", by="closing")
        for _ in range(refusals):
            with pytest.raises(UncertainSessionError):
                await two.manager.send("k", "z")
        async with two.manager.checkout("k"):
            pass
        if is_forgotten:
            gc.collect()
        async with one.manager.checkout("k"):
            pass
        assert (await one.manager.send("k", "y")).text == ("1:y" if is_first else "3:y")
        assert (await two.manager.send("k", "z")).text == ("2:z" if is_first else "4:z")
        assert world.accepted[-3:] == ["lost", "y", "z"]


async def test_who_gave_a_message_up_is_told_what_others_have_found_out() -> None:
    async with processes(2) as (world, _, one, two):
        await one.manager.send("k", "x")
        await _given_up(world, one, "lost", by="closing")
        for why in ("its turn was closed", "did arrive"):
            with pytest.raises(UncertainSessionError, match=why):
                await two.manager.send("k", "z")
        async with one.manager.checkout("k") as session:
            with pytest.raises(UncertainSessionError, match="did arrive"):
                await session.send("y")
            found = await session.reconcile()
        assert found is not None
        assert found.text == "2:lost"
        assert (await two.manager.send("k", "z")).text == "3:z"
        assert world.accepted == ["x", "lost", "z"]


@pytest.mark.parametrize("is_same", [True, False])
async def test_a_message_of_unknown_fate_is_found_after_looks_in_vain(is_same: bool) -> None:
    async with processes(2) as (world, _, one, two):
        await one.manager.send("k", "x")
        world.emulator.faults.add(method="PUT", cut="rst", accept=True)
        world.emulator.faults.add(method="GET", times=None, status=503)
        with pytest.raises(OutcomeUnknownError):
            await one.manager.send("k", "lost")
        for _ in range(2):
            with pytest.raises(OutcomeUnknownError):
                async with one.manager.checkout("k") as session:
                    await session.reconcile()
        world.emulator.faults.clear()
        async with (one if is_same else two).manager.checkout("k") as session:
            found = await session.reconcile()
        assert found is not None
        assert found.text == "2:lost"


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_message_that_was_given_up_is_reckoned_with_by_later_processes(arrives: bool) -> None:
    """Else a history that shows it would be none that they understand, for ever."""
    async with processes(3) as (world, _, one, two, three):
        await one.manager.send("k", "x")
        await _given_up(world, one, "lost", by="closing", accept=arrives)
        await one.manager.send("k", "y")
        await one.stop()
        world.emulator.faults.add(method="PUT", cut="rst", cut_after=1)
        healed = await two.manager.send("k", "z")
        assert (healed.recovered, healed.text.partition(":")[2]) == (True, "z")
        await _given_up(world, two, "lost", by="closing")
        await two.stop()
        async with three.manager.checkout("k") as session:
            found = await session.reconcile()
        assert found is not None
        assert found.text.partition(":")[2] == "lost"
        assert (await three.manager.send("k", "on")).text.partition(":")[2] == "on"
        assert world.accepted == ["x", *["lost"] * arrives, "y", "z", "lost", "on"]


async def test_others_are_asked_still_once_who_gave_a_message_up_has_looked() -> None:
    async with processes(2) as (world, _, one, two):
        await _given_up(world, one, "lost", by="closing")
        for process in (two, one, two):
            async with process.manager.checkout("k"):
                pass
            with pytest.raises(UncertainSessionError):
                await two.manager.send("k", "z")
        assert (await listed(two)).unknown
        assert world.accepted == ["lost"]


async def test_a_refused_use_is_none_for_the_time_that_a_key_is_idle() -> None:
    async with processes(2, ttl=100) as (world, _, one, two):
        await _given_up(world, one, "lost", by="closing")
        await asyncio.sleep(60)
        with pytest.raises(UncertainSessionError):
            await two.manager.send("k", "y")
        assert (await listed(two)).idle > 59
        await asyncio.sleep(60)
        assert (await two.manager.send("k", "y")).text == "1:y"


@pytest.mark.parametrize("seconds", [0, 0.2, 0.4, 0.6, 0.8, 1])
async def test_a_key_that_was_let_go_is_not_taken_again_by_a_renewal_that_was_under_way(seconds: float) -> None:
    async with processes(2, lease=30) as (_, _, one, two):
        async with one.manager.checkout("k") as session:
            await session.send("x")
            await asyncio.sleep(9.5)
            one.store.down = True
            await asyncio.sleep(0.5 + seconds)  # from the tenth second on the renewal is tried again and again
            asyncio.get_running_loop().call_later(2, setattr, one.store, "down", False)
        for _ in range(20):
            assert (await listed(two)).holder is None
            await asyncio.sleep(1)


async def test_who_gave_a_message_up_is_asked_about_that_of_others() -> None:
    async with processes(2) as (world, _, one, two):
        await _given_up(world, one, "lost", by="closing")
        async with two.manager.checkout("k") as session:
            await session.reconcile(assume="absent")
        fault = world.emulator.faults.add(method="POST", cut="silence", accept=True)
        sending = asyncio.ensure_future(two.manager.send("k", "lost"))
        while not fault.hits:
            await asyncio.sleep(0.01)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        with pytest.raises(UncertainSessionError):
            await one.manager.send("k", "y")
        assert world.accepted == ["lost", "lost"]


async def test_of_very_many_messages_that_were_given_up_the_oldest_are_asked_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("toolhouse_async._keyed.checkout.MOST_GIVEN_UP", 1)
    async with processes() as (world, _, one):
        for key in ("j", "k"):
            fault = world.emulator.faults.add(method="POST", cut="silence", accept=True)
            turn = one.manager.stream(key, "lost")
            sending = asyncio.ensure_future(turn.result())
            while not fault.hits:
                await asyncio.sleep(0.01)
            await turn.aclose()
            await asyncio.gather(sending, return_exceptions=True)
        assert (await one.manager.send("k", "y")).text == "1:y"
        with pytest.raises(UncertainSessionError):
            await one.manager.send("j", "y")


async def test_stopped_while_the_answer_streams() -> None:
    """The message has arrived for certain: the conversation goes on, and the answer can still be had."""
    async with processes(2) as (world, _, one, two):
        slow = asyncio.ensure_future(one.manager.send("k", "slow"))
        await world.is_slow.wait()
        await asyncio.sleep(1)
        await one.stop()
        await asyncio.gather(slow, return_exceptions=True)
        info = await two.manager.info("k")
        assert info.run_id in world.told  # at once: the dead process has the key still
        assert info.holder is not None
        world.go_on.set()
        await asyncio.sleep(60)  # until its lease has ended
        info = await listed(two)
        assert (info.unseen, info.unknown, info.pending) == (True, False, False)
        async with two.manager.checkout("k") as session:
            assert (await session.reconcile()).text == "1:slow"
        assert not (await listed(two)).unseen
        assert (await two.manager.send("k", "x")).text == "2:x"
        assert not (await listed(two)).unseen


# Jobs


async def with_a_job(process: Any) -> None:
    """Stop a process that waits for a job."""
    waiting = asyncio.ensure_future(process.manager.send("k", "job"))
    while not (await listed(process)).pending if [i async for i in process.manager.sessions()] else True:
        await asyncio.sleep(0.01)
    await process.stop()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_job_is_taken_over_after_a_restart() -> None:
    async with processes(2) as (world, _, one, two):
        await with_a_job(one)
        world.go_on.set()
        (resumed,) = await two.manager.resume_pending()
        assert (resumed.key, resumed.error, resumed.result.text) == ("k", None, "[computed]2:")
        assert world.accepted == ["job", ""]
        assert await two.manager.resume_pending() == []
        assert (await two.manager.send("k", "x")).text == "3:x"


async def test_a_job_whose_process_lives_is_left_to_it() -> None:
    async with processes(2) as (world, _, one, two):
        waiting = asyncio.ensure_future(one.manager.send("k", "job"))
        await asyncio.sleep(1)
        started = asyncio.get_running_loop().time()
        assert await two.manager.resume_pending() == []
        assert await one.manager.resume_pending() == []
        assert asyncio.get_running_loop().time() - started <= 30
        world.go_on.set()
        assert (await waiting).text == "1:job[computed]2:"


@pytest.mark.parametrize("accepted", [True, False])
async def test_stopped_while_it_resumes(accepted: bool) -> None:
    async with processes(2) as (world, _, one, two):
        fault = world.emulator.faults.add(method="PUT", cut="silence", accept=accepted)
        waiting = asyncio.ensure_future(one.manager.send("k", "job"))
        world.go_on.set()
        while not fault.hits:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        await one.stop()
        await asyncio.gather(waiting, return_exceptions=True)
        (resumed,) = await two.manager.resume_pending()
        assert (resumed.error, resumed.result.text) == (None, "[computed]2:")
        assert world.accepted == ["job", ""]


async def test_stopped_while_the_answer_to_the_resume_streams() -> None:
    async with processes(2) as (world, _, one, two):
        world.go_on.set()
        fault = world.emulator.faults.add(method="PUT", cut="silence", cut_after=1)
        waiting = asyncio.ensure_future(one.manager.send("k", "job"))
        while not fault.hits:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        await one.stop()
        await asyncio.gather(waiting, return_exceptions=True)
        (resumed,) = await two.manager.resume_pending()
        assert (resumed.error, resumed.result.text) == (None, "[computed]2:")
        assert world.accepted == ["job", ""]


STOPPED_WHILE_IT_RESUMES = ({"accept": True}, {"cut_after": 1})


async def stopped_while_it_resumes(world: World, process: Any, fault: dict[str, Any]) -> None:
    """Stop a process whose resume was accepted, before its answer came or while it streams."""
    world.go_on.set()
    hit = world.emulator.faults.add(method="PUT", cut="silence", **fault)
    waiting = asyncio.ensure_future(process.manager.send("k", "job"))
    while not hit.hits:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    await process.stop()
    await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize("fault", STOPPED_WHILE_IT_RESUMES, ids=str)
async def test_a_resume_is_remembered_by_those_who_only_look_in(fault: dict[str, Any]) -> None:
    async with processes(4) as (world, _, one, two, three, four):
        await stopped_while_it_resumes(world, one, fault)
        for process in (two, three):
            async with process.manager.checkout("k"):
                pass
        (resumed,) = await four.manager.resume_pending()
        assert (resumed.error, resumed.result.text) == (None, "[computed]2:")
        assert world.accepted == ["job", ""]


@pytest.mark.parametrize("fault", STOPPED_WHILE_IT_RESUMES, ids=str)
async def test_who_waits_for_a_job_behind_which_another_process_has_resumed_does_not(fault: dict[str, Any]) -> None:
    async with processes(2) as (world, _, one, two):
        await stopped_while_it_resumes(world, one, fault)
        async with two.manager.checkout("k") as session:
            assert (await session.wait_for_job()).text == "[computed]2:"
        assert world.accepted == ["job", ""]


async def test_a_delivery_that_fails_is_logged_without_words(caplog: pytest.LogCaptureFixture) -> None:
    async with processes(2) as (world, _, one, two):
        await one.manager.send("k", "job", background="detach")
        world.go_on.set()

        async def deliver(key: str, result: Any) -> None:
            raise ValueError(f"cannot post {result.text}")

        for failing, kind in ((deliver, "ValueError"), (lambda: None, "TypeError")):
            caplog.clear()
            await two.manager.resume_pending(failing)
            (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
            assert line.startswith(f"the answer to the job of key 'k' is not delivered: {kind} (")
            assert "computed" not in line


async def test_what_cannot_deliver_is_refused_though_nothing_is_open() -> None:
    async with processes(1) as (_, _, one):
        deliver: Any = "not a function"
        with pytest.raises(ConfigurationError, match="deliver must be a function of a key and its answer, not 'not a"):
            await one.manager.resume_pending(deliver)


async def test_an_answer_is_delivered_until_it_has_arrived() -> None:
    async with processes(2) as (world, _, one, two):
        await with_a_job(one)
        world.go_on.set()
        delivered: list[Any] = []

        async def deliver(key: str, result: Any) -> None:
            delivered.append((key, result.text))
            await asyncio.sleep(100)  # the lease is renewed meanwhile
            if len(delivered) == 1:
                raise LookupError("the chat is down")

        (resumed,) = await two.manager.resume_pending(deliver)
        assert isinstance(resumed.error, LookupError)
        assert (await listed(two)).pending
        (resumed,) = await two.manager.resume_pending(deliver)
        assert resumed.error is None
        assert delivered == [("k", "[computed]2:")] * 2
        assert not (await listed(two)).pending
        async with two.manager.checkout("k") as session:
            assert await session.reconcile() is None  # nobody waits for any of it
        assert world.accepted == ["job", ""]


@pytest.mark.parametrize("settles", [True, False])
async def test_the_next_message_closes_a_job_whose_answer_was_not_delivered(settles: bool) -> None:
    async def fail(key: str, result: Any) -> None:
        raise LookupError("the chat is down")

    async with processes(2) as (world, _, one, two):
        await with_a_job(one)
        world.go_on.set()
        await two.manager.resume_pending(fail)
        async with two.manager.checkout("k") as session:
            if settles:
                late = await session.reconcile()
                assert late is not None
                assert late.text == "1:job[computed]2:"  # with what came before the job
            await session.send("next")
        assert await two.manager.resume_pending() == []
        assert world.accepted == ["job", "", "next"]


@pytest.mark.parametrize("ended_by", [LookupError, asyncio.CancelledError])
async def test_a_job_whose_key_is_just_being_let_go_is_taken(ended_by: type[BaseException]) -> None:
    """As a failed delivery leaves it: over a store that takes its time, that is going on when the call returns."""

    async def fail(key: str, result: Any) -> None:
        one.store.held = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, one.store.held.set)
        raise ended_by("the chat is down")

    async def deliver(key: str, result: Any) -> None:
        delivered.append(result.text)

    delivered: list[str] = []
    async with processes() as (world, _, one):
        await one.manager.send("k", "job", background="detach")
        world.go_on.set()
        with suppress(asyncio.CancelledError):
            await one.manager.resume_pending(fail)
        (resumed,) = await one.manager.resume_pending(deliver)
        assert resumed.error is None
        assert delivered == ["[computed]2:"]
        assert world.accepted == ["job", ""]


async def test_a_message_of_unknown_outcome_is_not_covered_by_a_resume() -> None:
    async with processes(2) as (world, server, one, two):
        await one.manager.send("k", "job", background="detach")
        world.go_on.set()
        await stopped_while_sending(world, server, one)
        (resumed,) = await two.manager.resume_pending()
        assert isinstance(resumed.error, OutcomeUnknownError)
        async with two.manager.checkout("k") as session:
            assert (await session.reconcile()).text == "[computed]2:lost"
        assert world.accepted == ["job", "lost"]


async def test_a_message_in_place_of_the_resume() -> None:
    async with processes() as (world, _, one):
        await one.manager.send("k", "job", background="detach")
        world.go_on.set()
        assert (await one.manager.send("k", "x")).text == "[computed]2:x"
        assert await one.manager.resume_pending() == []
        assert world.accepted == ["job", "x"]


async def test_a_checked_out_session_knows_its_job() -> None:
    async with processes(2) as (world, _, one, two):
        await one.manager.send("k", "job", background="detach")
        world.go_on.set()
        async with two.manager.checkout("k") as session:
            assert (await session.wait_for_job()).text == "[computed]2:"
        assert await one.manager.resume_pending() == []


async def test_one_failure_does_not_end_the_others() -> None:
    async with processes() as (world, _, one):
        for key in "abc":
            await one.manager.send(key, "job", background="detach")
        world.go_on.set()
        world.emulator.faults.add(method="PUT", status=403)
        resumed = await one.manager.resume_pending()
        assert sorted(each.key for each in resumed) == ["a", "b", "c"]
        assert len([each for each in resumed if each.error]) == 1
        (again,) = await one.manager.resume_pending()
        assert again.result.text == "[computed]2:"


async def test_a_server_that_runs_on_picks_up_a_job_whose_wait_has_ended() -> None:
    """As the page on keyed sessions says."""
    async with processes() as (world, _, one):
        await one.manager.send("k", "job", background="detach")
        asyncio.get_running_loop().call_later(3000, world.go_on.set)
        (resumed,) = await one.manager.resume_pending(polling=PollingPolicy())
        assert isinstance(resumed.error, JobWaitTimeoutError)
        (resumed,) = await one.manager.resume_pending(polling=PollingPolicy(deadline=4 * 3600))
        assert (resumed.error, resumed.result.text) == (None, "[computed]2:")
        assert await one.manager.resume_pending() == []


# Runs that the service does not know


async def gone(world: World) -> None:
    world.emulator._runs.clear()


async def test_a_run_that_is_gone_is_an_error() -> None:
    async with processes() as (world, _, one):
        await one.manager.send("k", "x")
        await gone(world)
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await one.manager.send("k", "x")
        await one.manager.forget("k")
        assert (await one.manager.send("k", "x")).text == "1:x"


async def test_a_run_that_is_gone_begins_anew() -> None:
    async with processes(on_missing="restart") as (world, _, one):
        await one.manager.send("k", "x")
        await gone(world)
        assert (await one.manager.send("k", "y")).text == "1:y"
        assert (await one.manager.send("k", "y")).text == "2:y"
        await gone(world)
        async with one.manager.checkout("k") as session:
            assert (await session.send("z")).text == "1:z"
            assert (await session.send("z")).text == "2:z"
        assert (await listed(one)).run_id in world.told


async def test_an_uncertain_run_that_is_gone_begins_anew() -> None:
    async with processes(2, on_missing="restart") as (world, server, one, two):
        await one.manager.send("k", "x")
        await stopped_while_sending(world, server, one)
        with pytest.raises(OutcomeUnknownError):
            await two.manager.send("k", "y")
        await gone(world)
        assert (await two.manager.send("k", "y")).text == "1:y"


async def test_a_worker_that_is_gone_costs_no_run() -> None:
    async with processes(on_missing="restart") as (world, _, one):
        await one.manager.send("k", "x")
        worker = world.emulator.workers.pop(AGENT)
        with pytest.raises(NotFoundError):
            await one.manager.send("k", "x")
        world.emulator.workers[AGENT] = worker
        assert (await one.manager.send("k", "x")).text == "2:x"


# A store that fails


async def test_a_store_that_is_down_before_anything_was_sent() -> None:
    async with processes() as (world, _, one):
        one.store.down = True
        with pytest.raises(StoreError) as caught:
            await one.manager.send("k", "x")
        assert caught.value.safe_to_retry is True
        assert world.accepted == []
        one.store.down = False
        assert (await one.manager.send("k", "x")).text == "1:x"


async def test_who_only_looks_while_the_store_is_down_is_not_told_that_a_message_was_not_sent() -> None:
    async with processes() as (world, _, one):
        await one.manager.send("k", "x")
        one.store.down = True
        with pytest.raises(StoreError) as caught:
            async with one.manager.checkout("k") as session:
                await session.recover()
        told = failure(caught.value)["message"]
        assert told == "Nothing was sent, since this conversation cannot be reached at the moment. Please try again."
        assert world.accepted == ["x"]


async def test_a_store_that_fails_for_a_moment_is_asked_again() -> None:
    async with processes() as (_, _, one):
        for failures in range(1, 6):
            one.store.failures = failures
            assert (await one.manager.send("k", "x")).text == f"{failures}:x"


async def test_a_store_that_is_down_while_an_answer_streams_costs_no_words() -> None:
    async with processes(2) as (world, _, one, two):
        seen = []
        async with one.manager.stream("k", "slow") as turn:
            async for event in turn:
                seen.append(event)
                one.store.down = True
                asyncio.get_running_loop().call_later(5, setattr, one.store, "down", False)
                world.go_on.set()
        assert "".join(event.text for event in seen if isinstance(event, TextDelta)) == "1:slow"
        assert isinstance(seen[-1], TurnCompleted)
        assert (await two.manager.send("k", "x")).text == "2:x"


async def test_a_store_that_stays_down_is_reported_behind_the_answer() -> None:
    async with processes(2) as (world, _, one, two):
        seen = []
        turn = one.manager.stream("k", "slow")
        with pytest.raises(StoreError) as caught:
            async for event in turn:
                seen.append(event)
                one.store.down = True
                world.go_on.set()
        assert isinstance(seen[-1], TurnCompleted)
        assert caught.value.partial.text == "1:slow"
        assert caught.value.safe_to_retry is False
        one.store.down = False
        assert (await two.manager.send("k", "x")).text == "2:x"  # the run id had been saved


async def test_the_result_of_a_send_that_could_not_be_saved_is_in_the_error() -> None:
    async with processes() as (world, _, one):
        sending = asyncio.ensure_future(one.manager.send("k", "slow"))
        await world.is_slow.wait()
        one.store.down = True
        world.go_on.set()
        with pytest.raises(StoreError) as caught:
            await sending
        assert caught.value.partial.text == "1:slow"


@pytest.mark.parametrize("how", ["send", "recover", "reconcile"])
async def test_a_checkout_that_could_not_be_saved_has_its_last_answer_in_the_error(how: str) -> None:
    async with processes() as (world, _, one):
        await one.manager.send("k", "x")
        if how == "reconcile":
            world.emulator.faults.add(method="PUT", status=500, accept=True)
        with pytest.raises(StoreError) as caught:
            async with one.manager.checkout("k") as session:
                if how == "reconcile":
                    with pytest.raises(ServerError):
                        await session.send("y")
                    await session.reconcile()
                elif how == "recover":
                    await session.recover()
                else:
                    await session.send("y")
                one.store.down = True
        assert caught.value.partial.text == ("1:x" if how == "recover" else "2:y")
        assert caught.value.safe_to_retry is False
        assert caught.value.run_id == session.run_id is not None


async def test_a_checkout_without_a_message_that_could_not_be_saved_is_about_none() -> None:
    async with processes() as (_, _, one):
        with pytest.raises(StoreError) as caught:
            async with one.manager.checkout("k"):
                one.store.down = True
        assert (caught.value.partial, caught.value.safe_to_retry, caught.value.run_id) == (None, None, None)


async def test_what_the_block_of_a_checkout_raises_is_kept() -> None:
    async with processes() as (_, _, one):
        with pytest.raises(LookupError):
            async with one.manager.checkout("k") as session:
                await session.send("x")
                one.store.down = True
                raise LookupError


async def test_the_end_of_a_checkout_in_which_nothing_was_answered_is_about_no_message() -> None:
    async with processes() as (_, _, one):
        await one.manager.send("k", "before")
        with pytest.raises(StoreError) as caught:
            async with one.manager.checkout("k") as session:
                await stopped_in_mid_answer(session)
                one.store.down = True
        assert (caught.value.partial, caught.value.safe_to_retry) == (None, None)


async def stopped_in_mid_answer(session: Any) -> None:
    """Leave a turn of a checkout before its answer is there."""
    async with session.stream("slow") as turn:
        async for _ in turn:
            break


async def test_a_change_whose_answer_is_lost_is_none_of_another() -> None:
    async with processes() as (world, _, one):
        await one.manager.send("k", "x")
        slow = asyncio.ensure_future(one.manager.send("k", "slow"))
        await world.is_slow.wait()
        one.store.is_mute = True
        await asyncio.sleep(60)
        one.store.is_mute = False
        world.go_on.set()
        assert (await slow).text == "2:slow"
        assert (await one.manager.send("k", "x")).text == "3:x"


async def test_a_change_that_was_made_and_denied() -> None:
    async with processes() as (_, _, one):
        one.store.denies = True
        for turn in (1, 2):
            assert (await one.manager.send("k", "x")).text == f"{turn}:x"


@pytest.mark.parametrize("is_over", [True, False])
@pytest.mark.parametrize("is_same", [True, False])
async def test_no_answer_is_lost_to_a_message_behind_a_job_that_was_left(is_same: bool, is_over: bool) -> None:
    """As the guide says."""
    async with processes(2) as (world, _, one, two):
        left = await one.manager.send("k", "job", background="detach")
        assert left.status == "background"
        if is_over:
            world.go_on.set()
            await asyncio.sleep(1)
        else:
            asyncio.get_running_loop().call_later(5, world.go_on.set)
        async with (one if is_same else two).manager.checkout("k") as session:
            assert await session.reconcile() is None  # whoever left it has had the answer so far
            assert (await listed(two)).pending
            assert (await session.wait_for_job()).text == "[computed]2:"
            assert (await session.send("x")).text == "3:x"
        assert await two.manager.resume_pending() == []
        assert world.accepted == ["job", "", "x"]


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_closing_ends_the_wait_for_a_job_that_is_taken_over(is_cancelled: bool) -> None:
    async with processes(2) as (world, _, one, two):
        await one.manager.send("k", "job", background="detach")
        taking = asyncio.ensure_future(one.manager.resume_pending())
        await asyncio.sleep(1)
        if is_cancelled:
            taking.cancel()
        await one.manager.aclose()
        info = await listed(two)
        assert (info.holder, info.pending) == (None, True)
        if is_cancelled:
            with pytest.raises(asyncio.CancelledError):
                await taking
        else:
            (taken,) = await taking
            assert (taken.key, str(taken.error)) == ("k", "the session manager is closed")
        world.go_on.set()
        (resumed,) = await two.manager.resume_pending()
        assert resumed.result.text == "[computed]2:"


@pytest.mark.parametrize("seconds", [25, 60])
async def test_a_resume_waits_for_its_store_as_long_as_a_lease(seconds: float) -> None:
    async with processes(2) as (world, _, one, two):
        turn = one.manager.stream("k", "job")
        sending = asyncio.ensure_future(turn.result())
        while turn.job_id is None:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        one.store.down = True
        world.go_on.set()
        await asyncio.wait([sending], timeout=seconds)
        one.store.down = False
        if seconds < 30:
            assert (await sending).text == "1:job[computed]2:"
            assert world.accepted == ["job", ""]
            return
        with pytest.raises(StoreError) as caught:
            await sending
        assert caught.value.safe_to_retry is False
        assert caught.value.token.job_id == turn.job_id
        assert world.accepted == ["job"]
        (resumed,) = await two.manager.resume_pending()
        assert resumed.result.text == "[computed]2:"


async def test_a_job_that_was_delivered_and_could_not_be_closed() -> None:
    async with processes() as (world, _, one):
        await one.manager.send("k", "job", background="detach")
        world.go_on.set()

        async def deliver(key: str, result: Any) -> None:
            one.store.down = True

        (resumed,) = await one.manager.resume_pending(deliver)
        assert isinstance(resumed.error, StoreError)
        assert resumed.error.partial is not None
        assert resumed.error.partial.text == "[computed]2:"
        assert resumed.error.safe_to_retry is False
        one.store.down = False
        (resumed,) = await one.manager.resume_pending()
        assert resumed.result.text == "[computed]2:"
        assert world.accepted == ["job", ""]


async def test_forgetting_while_the_store_is_down() -> None:
    async with processes() as (_, _, one):
        await one.manager.send("k", "x")
        one.store.failures = 14  # as often as it is asked within ten seconds
        with pytest.raises(StoreError, match="the store is down") as failed:
            await one.manager.forget("k")
        assert failed.value.safe_to_retry is True
        await asyncio.sleep(60)
        await one.manager.forget("k")
        assert (await one.manager.send("k", "x")).text == "1:x"


async def test_forgetting_what_others_wait_for() -> None:
    async with processes(2) as (_, _, one, two):
        await one.manager.send("k", "x")
        checkout, _ = one.manager._checkout("k")
        task = asyncio.current_task()
        await checkout.enter(lambda: task)
        sending = asyncio.ensure_future(two.manager.send("k", "x"))
        await asyncio.sleep(1)  # it has a place in the queue by now, which has changed the entry
        await checkout.forget()
        assert (await sending).text == "1:x"


async def test_giving_up_a_place_while_the_entry_changes() -> None:
    async with processes(2) as (_, _, one, two):
        async with one.manager.checkout("k") as session:
            waiting = asyncio.ensure_future(two.manager.send("k", "x"))
            await asyncio.sleep(1)  # it has a place in the queue by now
            two.store.held = asyncio.Event()
            waiting.cancel()
            swaps = two.store.swaps
            while two.store.swaps == swaps:  # until it is about to write that it has left
                await asyncio.sleep(0)
            assert (await session.send("x")).text == "1:x"  # which writes the entry too
            two.store.held.set()
            await asyncio.sleep(1)
            assert two.store.swaps == swaps + 2  # refused once, for it was not to undo what had been written
            assert (await listed(one)).waiting == 0
        assert (await two.manager.send("k", "x")).text == "2:x"


@pytest.mark.parametrize("how", ["taken", "forgotten"])
async def test_forgetting_what_was_taken_away(how: str) -> None:
    async with processes(2) as (_, _, one, two):
        await one.manager.send("k", "x")
        checkout, _ = one.manager._checkout("k")
        task = asyncio.current_task()
        await checkout.enter(lambda: task)
        await two.manager.unlock("k")
        if how == "taken":
            async with two.manager.checkout("k"):
                with pytest.raises(LeaseLostError):
                    await checkout.forget()
        else:
            await two.manager.forget("k")
            await checkout.forget()


async def test_two_who_wait_for_one_job_of_a_key() -> None:
    async with processes() as (world, _, one):
        await one.manager.send("k", "job", background="detach")
        async with one.manager.checkout("k") as session:
            waiting = [asyncio.ensure_future(session.wait_for_job().result()) for _ in range(2)]
            await asyncio.sleep(1)
            world.go_on.set()
            assert [result.text for result in await asyncio.gather(*waiting)] == ["[computed]2:"] * 2
        assert not (await listed(one)).pending
        assert world.accepted == ["job", ""]


async def test_what_nobody_can_read_is_reported_and_can_be_forgotten() -> None:
    async with processes() as (_, _, one):
        await one.store.store.swap(f"{AGENT}/k", None, b"{}")
        with pytest.raises(StoreError, match="forget"):
            await one.manager.send("k", "x")
        assert [info async for info in one.manager.sessions()] == []
        with pytest.raises(StoreError, match="forget"):
            await one.manager.info("k")
        await one.manager.forget("k")
        assert (await one.manager.send("k", "x")).text == "1:x"
        one.store.down = True
        with pytest.raises(StoreError):
            await one.manager.forget("k")


# A lost lease


async def test_a_turn_whose_lease_is_lost_ends() -> None:
    async with processes(2, lease=30) as (world, _, one, two):
        started = asyncio.get_running_loop().time()
        slow = asyncio.ensure_future(one.manager.send("k", "slow"))
        await world.is_slow.wait()
        await asyncio.sleep(1)
        await two.manager.unlock("k")
        assert (await two.manager.send("other", "x")).text == "1:x"
        with pytest.raises(LeaseLostError, match="the turn was ended"):
            await slow
        assert asyncio.get_running_loop().time() - started <= 15


@pytest.mark.parametrize(
    ("what", "brought"), [("nothing", None), ("words", ("x", 0, 0)), ("call", ("", 1, 0)), ("job", ("", 0, 1))]
)
async def test_a_lost_lease_tells_what_the_turn_had_brought(what: str, brought: Any) -> None:
    async def worker(ctx: Any) -> Any:
        if what == "words":
            yield ctx.text("x")
        elif what == "call":
            yield ctx.tool_call("hunt")
        elif what == "job" and ctx.message:
            yield ctx.background(asyncio.sleep, 1)
            return
        await world.go_on.wait()

    async with processes(lease=30) as (world, _, one):
        world.emulator.worker(AGENT)(worker)
        sending = asyncio.ensure_future(one.manager.send("k", "slow"))
        await asyncio.sleep(5)
        await one.manager.unlock("k")
        with pytest.raises(LeaseLostError) as caught:
            await sending
        partial = caught.value.partial
        found = None if partial is None else (partial.text, len(partial.tool_calls), len(partial.jobs))
        assert found == brought


@pytest.mark.parametrize("how", ["used", "held", "forgotten and used", "unlocked"])
async def test_a_lost_lease_says_what_is_known_of_it(how: str) -> None:
    async with processes(2, lease=9) as (world, _, one, two):
        waiting = asyncio.ensure_future(one.manager.send("k", "job"))
        await asyncio.sleep(1)
        one.store.down = True  # as a frozen process writes nothing
        await asyncio.sleep(20)
        world.go_on.set()
        if how == "used":
            await two.manager.resume_pending()
        elif how == "unlocked":
            await two.manager.unlock("k")
        elif how == "forgotten and used":
            await two.manager.forget("k")
            await two.manager.send("k", "x")
        async with two.manager.checkout("k" if how == "held" else "other"):
            one.store.down = False
            with pytest.raises(LeaseLostError, match="since this process did not renew it") as caught:
                await waiting
        assert ("unlocked" in str(caught.value)) == (how == "unlocked")
        assert ("has it now; " in str(caught.value)) == (how == "held")
        assert ("used it since; " in str(caught.value)) == (how in ("used", "forgotten and used"))


async def test_a_stream_to_a_reader_that_fails_lets_its_key_go_once() -> None:
    async with processes() as (world, _, one):
        fault = world.emulator.faults.add(method="POST", status=401)
        failing = sse(one.manager.stream("k", "x"))
        written = asyncio.ensure_future(anext(failing))
        while not fault.hits:
            await asyncio.sleep(0)
        others = [asyncio.ensure_future(one.manager.send("k", message)) for message in ("slow", "y")]
        assert b"TurnFailed" in await written
        await asyncio.sleep(5)
        assert world.accepted == ["slow"]
        world.go_on.set()
        assert [(await other).text for other in others] == ["1:slow", "2:y"]


async def test_a_lost_lease_sends_nothing_more() -> None:
    async with processes(2) as (world, _, one, two):
        with pytest.raises(LeaseLostError):
            async with one.manager.checkout("k") as session:
                await session.send("x")
                await two.manager.unlock("k")
                await two.manager.send("k", "y")
                with pytest.raises(LeaseLostError) as caught:
                    await session.send("z")
                assert caught.value.safe_to_retry is True
        assert world.accepted == ["x", "y"]
        assert (await one.manager.send("k", "x")).text == "3:x"


async def test_a_resume_is_not_sent_without_the_lease() -> None:
    async with processes(2, lease=1000) as (world, _, one, two):
        waiting = asyncio.ensure_future(one.manager.send("k", "job"))
        await asyncio.sleep(1)
        await two.manager.unlock("k")
        world.go_on.set()
        with pytest.raises(LeaseLostError) as caught:
            await waiting
        assert caught.value.token is not None  # the job's, which belongs to whoever has the key
        assert world.accepted == ["job"]
        (resumed,) = await two.manager.resume_pending()
        assert resumed.result.text == "[computed]2:"
        assert world.accepted == ["job", ""]


# The end


async def test_closing_ends_turns_and_lets_keys_go() -> None:
    async with processes(2) as (world, _, one, two):
        slow = asyncio.ensure_future(one.manager.send("k", "slow"))
        turn = one.manager.stream("other", "slow")
        await anext(turn)
        await world.is_slow.wait()
        async with one.manager.checkout("third") as session:
            await one.manager.aclose()
            await one.manager.aclose()
            with pytest.raises(ClosedError):
                await session.send("x")
        for each in (slow, turn.result()):
            with pytest.raises(ClosedError):
                await each
        started = asyncio.get_running_loop().time()
        assert {info.holder async for info in two.manager.sessions()} == {None}
        world.go_on.set()
        assert (await two.manager.send("k", "x")).text == "2:x"
        assert asyncio.get_running_loop().time() - started < 1
        for call in (one.manager.send("k", "x"), one.manager.forget("k")):
            with pytest.raises(ClosedError) as refused:
                await call
            assert refused.value.safe_to_retry is True
        with pytest.raises(ClosedError) as refused:
            one.manager.checkout("k")
        assert refused.value.safe_to_retry is True


async def test_closing_ends_those_who_wait() -> None:
    async with processes(2) as (world, _, one, two):
        async with two.manager.checkout("k"):

            async def enter() -> None:
                async with one.manager.checkout("k"):
                    raise AssertionError("the manager is closed")

            waiting = [asyncio.ensure_future(each) for each in (one.manager.send("k", "x"), enter())]
            waiting.append(asyncio.ensure_future(one.manager.send("k", "y")))
            waiting += [asyncio.ensure_future(each) for each in (one.manager.forget("k"), enter())]
            await asyncio.sleep(1)
            await one.manager.aclose()
            for each in waiting:  # nobody waits until the other process lets the key go
                with pytest.raises(ClosedError):
                    await asyncio.wait_for(each, 1)
                assert not each.cancelled()
        assert world.accepted == []
        assert (await two.manager.send("k", "x")).text == "1:x"


async def test_a_key_that_is_had_in_the_moment_of_closing_is_let_go() -> None:
    class Closing(MemorySessionStore):
        closing: asyncio.Task[None] | None = None

        async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
            done = await super().swap(key, old, new)
            if self.closing is None:
                self.closing = asyncio.create_task(manager.aclose())
                await asyncio.sleep(0)  # it has told all who wait, and none has heard
            return done

    store = Closing()
    async with processes() as (world, _, one), SessionManager(one.client, AGENT, store=store) as manager:
        with pytest.raises(ClosedError):
            await manager.checkout("k").__aenter__()
        async with SessionManager(one.client, AGENT, store=store) as other:
            assert (await other.send("k", "y")).text == "1:y"
        assert world.accepted == ["y"]


async def test_a_time_limit_of_a_stores_own_is_not_the_end_of_the_manager() -> None:
    class Late(MemorySessionStore):
        is_late = True

        async def read(self, key: str) -> Any:
            if self.is_late:
                self.is_late = False
                raise TimeoutError("the store's own")
            return await super().read(key)

    async with processes() as (_, _, one), SessionManager(one.client, AGENT, store=Late()) as manager:
        with pytest.raises(TimeoutError, match="the store's own"):
            await manager.send("k", "x")
        assert (await manager.send("k", "x")).text == "1:x"


async def test_closing_the_client_lets_keys_go() -> None:
    async with processes(2) as (world, _, one, two):
        slow = asyncio.ensure_future(one.manager.send("k", "slow"))
        await world.is_slow.wait()
        await one.client.aclose()
        with pytest.raises(ClosedError):
            await slow
        world.go_on.set()
        assert (await two.manager.send("k", "x")).text == "2:x"


async def test_a_turn_closed_from_outside_lets_its_key_go() -> None:
    async with processes() as (world, _, one):
        turn = one.manager.stream("k", "slow")
        await anext(turn)
        await turn.aclose()
        await turn.aclose()
        world.go_on.set()
        assert (await one.manager.send("k", "x")).text == "2:x"
        never = one.manager.stream("k", "x")
        await never.aclose()
        with pytest.raises(ClosedError):
            await never.result()


async def test_a_turn_that_nobody_ends_is_named_and_lets_its_key_go() -> None:
    async with processes() as (world, _, one):
        turn = one.manager.stream("k", "slow")
        await anext(turn)
        with pytest.warns(ResourceWarning, match="Turn of agent worker"):
            del turn
        world.go_on.set()
        assert (await one.manager.send("k", "x")).text == "2:x"


# Arguments


async def test_what_goes_with_every_message() -> None:
    async with processes(toolhouse_id="u1", vars={"a": 1}) as (_, server, one):
        await one.manager.send("k", "x", extra_body={"b": 2})
        async with one.manager.checkout("k") as session:
            await session.send("y")
        assert [request.json() for request in server.requests] == [
            {"message": "x", "toolhouse_id": "u1", "vars": {"a": 1}, "b": 2},
            {"message": "y", "toolhouse_id": "u1", "vars": {"a": 1}},
        ]


@pytest.mark.parametrize(
    "bad",
    [
        {"lease": 0},
        {"lease": "30"},
        {"lease": True},
        {"ttl": -1},
        {"ttl": float("inf")},
        {"on_missing": "ignore"},
        {"store": "sessions.db"},
        {"run_id": "r1"},
        {"vars": 7},
    ],
)
async def test_arguments_that_are_wrong(bad: Any) -> None:
    async with AsyncToolhouse("key") as toolhouse:
        with pytest.raises(ConfigurationError):
            SessionManager(toolhouse, AGENT, **bad)
        with pytest.raises(ConfigurationError):
            SessionManager(toolhouse, "no/agent")
        manager = SessionManager(toolhouse, AGENT)
        for call in (manager.checkout, manager.stream):
            with pytest.raises(ConfigurationError, match="key"):
                call(7)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="delivers must be True or False, not None"):
            manager.checkout("k", delivers=None)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="key"):
            await manager.info(7)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="message"):
            manager.stream("k", 7)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="unknown"):
            await manager.send("k", "x", formt="text")  # type: ignore[call-arg]
        with pytest.raises(ConfigurationError, match="seconds"):
            await manager.forget_idle(-1)
        assert repr(manager).startswith("<SessionManager of agent worker")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("leases", "did you mean 'lease'? there are bundle, lease, on_missing, store, toolhouse_id, ttl, vars"),
        ("z", "there are bundle, lease, on_missing, store, toolhouse_id, ttl, vars"),
        ("timeout", "these are a turn's: sessions.send(key, message, timeout=…)"),
    ],
)
async def test_an_option_that_is_unknown_is_told_with_what_may_be_meant(wrong: str, hint: str) -> None:
    async with AsyncToolhouse("key") as toolhouse:
        with pytest.raises(ConfigurationError) as caught:
            SessionManager(toolhouse, AGENT, **{wrong: 30})  # type: ignore[arg-type]
        assert str(caught.value) == f"unknown session options: {wrong} ({hint})"


async def test_workers_share_a_store() -> None:
    world = World()
    world.emulator.worker("other")(world._worker)
    store = MemorySessionStore()
    async with world.emulator.serve() as server, client_of(server) as client:
        managers = [SessionManager(client, agent, store=store) for agent in (AGENT, "other")]
        for manager in managers:
            assert (await manager.send("k", "x")).text == "1:x"
            assert [info.key async for info in manager.sessions()] == ["k"]
        await managers[0].forget("k")
        assert (await managers[1].send("k", "x")).text == "2:x"


async def test_a_conversation_without_a_run_id() -> None:
    async with processes() as (world, _, one):
        world.emulator.faults.add(headers={"X-Toolhouse-Run-ID": None})
        assert (await one.manager.send("k", "x")).text == "1:x"
        with pytest.raises(Exception, match="X-Toolhouse-Run-ID"):
            await one.manager.send("k", "x")
        await one.manager.forget("k")
        assert (await one.manager.send("k", "x")).text == "1:x"


async def test_the_events_are_those_of_any_turn() -> None:
    async with processes() as (world, _, one):
        world.go_on.set()
        names = [type(event).__name__ async for event in one.manager.stream("k", "job")]
        assert names[0] == "TurnStarted"
        assert JobStarted.__name__ in names
        assert names[-1] == "TurnCompleted"
        async with one.manager.stream("k", "x") as turn:
            assert "".join([words async for words in turn.text_stream]) == "3:x"
            assert turn.run_id in world.told


def test_troubled_stores_fail_as_they_are_told() -> None:
    async def ask() -> None:
        store = Troubled(MemorySessionStore())
        store.failures = 1
        with pytest.raises(StoreError):
            await store.read("k")
        assert await store.swap("k", None, b"x")
        store.is_mute = True
        with pytest.raises(StoreError):
            await store.swap("k", b"x", b"y")
        assert (await store.read("k")).value == b"y"

    asyncio.run(ask())


def test_nothing_is_begun_where_the_event_loop_is_gone() -> None:
    async def never() -> None:
        """What warns if it is dropped unstarted and not closed."""

    coroutine = never()
    with pytest.raises(RuntimeError):
        House("worker", MemorySessionStore(), None, False, 30.0).spawn(coroutine)
    with pytest.raises(RuntimeError, match="cannot reuse"):
        coroutine.send(None)


class Overtaken(MemorySessionStore):
    """A store in which, so often as is said, another process writes just before ours does."""

    times = 0

    async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        if self.times > 0:
            self.times -= 1
            return False
        return await super().swap(key, old, new)


async def test_a_key_is_unlocked_however_often_others_write_in_between() -> None:
    store = Overtaken()
    async with processes(2, store=store) as (_, _, one, two):
        with pytest.raises(LeaseLostError):
            async with one.manager.checkout("k") as session:
                store.times = 2
                assert await two.manager.unlock("k")
                assert store.times == 0
                assert (await two.manager.send("k", "y")).text == "1:y"
                await session.send("z")


@pytest.mark.parametrize("client", ["a", None, b"a"])
async def test_what_is_no_client_is_told(client: Any) -> None:
    arguments: Any = client, AsyncToolhouse("", base_url="http://127.0.0.1:9")
    kind = type(client).__name__
    with pytest.raises(ConfigurationError, match=f"takes an AsyncToolhouse, then the worker's id, not {kind}"):
        SessionManager(*arguments)
