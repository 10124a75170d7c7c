"""What becomes of turns when a bot is stopped, killed and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from answers import NOTHING
from conversations import ABSENT, ARRIVED, CLOSING, COMPUTING, LATE, LOST, NOT_BEGUN, QUEUED

from . import support
from .platform import Platform
from .support import bots
from .test_bots import ANY


async def test_a_restart_in_mid_job(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "job")
        await platform.say(platform.bob, "hello")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await platform.sees(platform.bob, "You said: hello")
        await process.stop()
        await platform.sees(platform.ada, "Let me see.", CLOSING["computing"])
        await start()
        await platform.sees(platform.ada, "Let me see.", CLOSING["computing"], "Computed: 42.")
        await platform.say(platform.ada, "thanks")
        await platform.sees(platform.ada, "Let me see.", CLOSING["computing"], "Computed: 42.", "You said: thanks")
        assert ["job", "", "thanks"] in world.told.values()
        assert platform.screen(platform.bob) == ["You said: hello"]


async def test_a_restart_in_mid_job_whose_answer_has_no_visible_words(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support, "COMPUTED", support.BLANK)
    async with bots(platform, tmp_path) as (_, start):
        process = await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await process.stop()
        await start()
        await platform.sees(platform.ada, "Let me see.", CLOSING["computing"], NOTHING)


async def test_a_crash_in_mid_job(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await process.kill()
        await start()
        await platform.say(platform.ada, "second")
        await platform.sees(platform.ada, "Let me see.", COMPUTING, QUEUED)
        await platform.until(lambda: "You said: second" in platform.screen(platform.ada))
        assert platform.screen(platform.ada) == ["Let me see.", COMPUTING, "Computed: 42.", "You said: second"]
        assert list(world.told.values()) == [["job", "", "second"]]


async def test_a_message_that_was_waiting_at_a_crash_was_never_passed_on(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await platform.say(platform.ada, "second")
        await platform.sees(platform.ada, "Let me see.", COMPUTING, QUEUED)
        await process.kill()
        await start()
        await platform.sees(platform.ada, "Let me see.", COMPUTING, QUEUED, "Computed: 42.")
        await asyncio.sleep(200)
        assert platform.screen(platform.ada)[2] == QUEUED  # as the page says
        assert world.accepted == ["job"]


async def test_a_crash_in_mid_answer(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: platform.screen(platform.ada) != [])
        await process.kill()
        await start()
        await asyncio.sleep(60)
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "word0", LATE, "word0", "You said: hello")
        assert platform.screen(platform.ada)[2] == "".join(support.WORDS).strip()
        assert world.accepted == ["slow", "hello"]


@ANY
async def test_an_answer_whose_end_could_not_be_written_down_comes_again(platform: Platform, tmp_path: Path) -> None:
    """As the page says."""
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: platform.screen(platform.ada) != [])
        process.store.down = True
        whole = "".join(support.WORDS).strip()
        await platform.until(lambda: platform.screen(platform.ada)[0] == whole)
        await process.stop()
        seen = platform.screen(platform.ada)
        await start()
        await asyncio.sleep(60)
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, *seen, LATE, whole, "You said: hello")
        assert world.accepted == ["slow", "hello"]


async def test_a_message_right_after_a_crash_in_mid_answer_is_told_that_it_waits(
    platform: Platform, tmp_path: Path
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: platform.screen(platform.ada) != [])
        await process.kill()
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "word0", NOT_BEGUN)
        await platform.sees(platform.ada, "word0", LATE, "word0", "You said: hello")
        assert world.accepted == ["slow", "hello"]


@pytest.mark.parametrize("accept", [True, False], ids=["arrived", "not arrived"])
async def test_a_crash_while_sending(platform: Platform, tmp_path: Path, accept: bool) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await asyncio.sleep(5)
        fault = world.emulator.faults.add(method="PUT", cut="silence", accept=accept)
        await platform.say(platform.ada, "book")
        await platform.until(lambda: fault.hits == 1)
        await process.kill()
        await start()
        if accept:
            await platform.sees(platform.ada, "You said: hello", LATE, "You said: book")
        else:
            await platform.sees(platform.ada, "You said: hello", ABSENT)
        assert world.accepted == ["hello", "book"][: 1 + accept]


@ANY
async def test_what_became_of_a_message_is_not_taken_for_a_word_on_a_newer_one(
    platform: Platform, tmp_path: Path
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await asyncio.sleep(5)
        fault = world.emulator.faults.add(method="PUT", cut="silence")
        await platform.say(platform.ada, "book")
        await platform.until(lambda: fault.hits == 1)
        await process.kill()
        await start()
        looking = world.emulator.faults.add(method="GET", cut="silence")
        await platform.until(lambda: looking.hits == 1)
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: hello", ABSENT, "You said: again")
        assert "an earlier message" in ABSENT
        assert world.accepted == ["hello", "again"]


async def test_what_became_of_a_message_is_told_once_the_lease_of_the_stopped_process_has_ended(
    platform: Platform, tmp_path: Path
) -> None:
    async with bots(platform, tmp_path, lease=60) as (world, start):
        process = await start()
        await crash_while_sending(platform, world, process, platform.ada)  # whose end takes half of its lease
        await start()
        async with asyncio.timeout(45):
            await platform.sees(platform.ada, "You said: hello", LATE, "You said: book")


async def test_a_crash_while_sending_what_arrived_and_has_no_answer(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await asyncio.sleep(5)
        fault = world.emulator.faults.add(method="PUT", cut="silence", accept=True)
        await platform.say(platform.ada, "never")
        await platform.until(lambda: fault.hits == 1)
        await process.kill()
        await start()
        await platform.sees(platform.ada, "You said: hello", ARRIVED)
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: hello", ARRIVED, "You said: again")
        assert world.accepted == ["hello", "never", "again"]


async def test_a_message_right_after_a_crash_while_sending_what_has_no_answer(
    platform: Platform, tmp_path: Path
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await asyncio.sleep(5)
        fault = world.emulator.faults.add(method="PUT", cut="silence", accept=True)
        await platform.say(platform.ada, "never")
        await platform.until(lambda: fault.hits == 1)
        await process.kill()
        await start(is_store_down=True)  # so that it is not found out before
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: hello", ARRIVED, "You said: again")
        assert world.accepted == ["hello", "never", "again"]


async def crash_while_sending(platform: Platform, world: Any, process: Any, *users: str) -> None:
    """Kill a bot that is sending a message of each of these users, which arrives."""
    for user in users:
        await platform.say(user, "hello")
        await platform.sees(user, "You said: hello")
    await asyncio.sleep(5)
    fault = world.emulator.faults.add(method="PUT", cut="silence", accept=True, times=len(users))
    for user in users:
        await platform.say(user, "book")
    await platform.until(lambda: fault.hits == len(users))
    await process.kill()


@pytest.mark.parametrize("gone", ["ada", "bob"])
async def test_a_chat_that_is_gone_keeps_no_other_from_its_answer(
    platform: Any, tmp_path: Path, gone: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await crash_while_sending(platform, world, process, platform.ada, platform.bob)
        left = {"ada": platform.ada, "bob": platform.bob}
        platform.gone_users.add(left.pop(gone))
        await start()
        (other,) = left.values()
        await platform.sees(other, "You said: hello", LATE, "You said: book")
        await platform.until(lambda: "told nobody" in caplog.text)
        caplog.clear()
        await asyncio.sleep(200)
        assert caplog.messages == []
        assert sorted(filter(None, world.accepted)) == ["book", "book", "hello", "hello"]


async def test_a_job_of_a_chat_that_is_gone_keeps_no_other_from_its_answer(
    platform: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bots(platform, tmp_path) as (_, start):
        process = await start()
        for user in (platform.ada, platform.bob):
            await platform.say(user, "job")
            await platform.sees(user, "Let me see.", COMPUTING)
        await process.stop()
        platform.gone_users.add(platform.ada)
        await start()
        await platform.sees(platform.bob, "Let me see.", CLOSING["computing"], "Computed: 42.")
        await platform.until(lambda: "is dropped" in caplog.text)
        caplog.clear()
        await asyncio.sleep(200)
        assert caplog.messages == []


async def test_a_conversation_that_the_service_has_forgotten_keeps_no_other_from_its_answer(
    platform: Platform, tmp_path: Path
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await crash_while_sending(platform, world, process, platform.ada, platform.bob)
        forgotten = next(iter(world.emulator._runs))
        del world.emulator._runs[forgotten]
        await start()
        await platform.sees(platform.ada, "You said: hello", LOST)
        await platform.sees(platform.bob, "You said: hello", LATE, "You said: book")
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: hello", LOST, "You said: again")


async def test_what_was_found_out_waits_for_a_platform_that_is_away(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await crash_while_sending(platform, world, process, platform.ada)
        await start()
        platform.is_cut = True
        await asyncio.sleep(10_000)
        platform.is_cut = False
        await platform.sees(platform.ada, "You said: hello", LATE, "You said: book")


async def end_while_it_is_cut(platform: Platform, process: Any, way: str, when: Callable[[], bool]) -> None:
    """End a process whose answer is whole, and was not taken by a platform that has been away since."""
    await platform.until(when)
    platform.is_cut = True
    await asyncio.sleep(300)
    await getattr(process, way)()
    platform.is_cut = False


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_an_answer_that_the_platform_had_not_taken(platform: Platform, tmp_path: Path, way: str) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "slow")
        await end_while_it_is_cut(platform, process, way, lambda: "word3" in "".join(platform.screen(platform.ada)))
        await start()
        (shown,) = platform.screen(platform.ada)
        await platform.say(platform.ada, "thanks")
        whole = "".join(support.WORDS).strip()
        assert shown != whole
        await platform.sees(platform.ada, shown, LATE, whole, "You said: thanks")
        assert world.accepted == ["slow", "thanks"]


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_a_late_answer_that_the_platform_had_not_taken_either(
    platform: Platform, tmp_path: Path, way: str
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "slow")
        await end_while_it_is_cut(platform, process, way, lambda: "word3" in "".join(platform.screen(platform.ada)))
        (shown,) = platform.screen(platform.ada)
        process = await start()
        await platform.say(platform.ada, "second")
        await end_while_it_is_cut(platform, process, way, lambda: LATE in platform.screen(platform.ada))
        await start()
        await platform.say(platform.ada, "third")
        whole = "".join(support.WORDS).strip()
        await platform.sees(platform.ada, shown, LATE, LATE, whole, "You said: third")
        assert world.accepted == ["slow", "third"]


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_the_answer_to_a_job_that_the_platform_had_not_taken(
    platform: Platform, tmp_path: Path, way: str
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        platform.is_cut = True
        await platform.until(lambda: list(world.told.values()) == [["job", ""]])
        await asyncio.sleep(100)
        await getattr(process, way)()
        platform.is_cut = False
        await start()
        await platform.sees(platform.ada, "Let me see.", COMPUTING, "Computed: 42.")
        assert list(world.told.values()) == [["job", ""]]


async def test_the_answer_of_one_job_does_not_wait_for_another(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bots(platform, tmp_path) as (_, start):
        process = await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        monkeypatch.setattr(support, "JOB", 3000.0)
        await platform.say(platform.bob, "job")
        await platform.sees(platform.bob, "Let me see.", COMPUTING)
        await process.stop()
        await start()
        platform.is_cut = True
        await asyncio.sleep(300)
        platform.is_cut = False
        await platform.sees(platform.ada, "Let me see.", CLOSING["computing"], "Computed: 42.")
        assert platform.screen(platform.bob) == ["Let me see.", CLOSING["computing"]]


async def test_a_crash_while_sending_the_first_message(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        fault = world.emulator.faults.add(method="POST", cut="silence")
        await platform.say(platform.ada, "book")
        await platform.until(lambda: fault.hits == 1)
        await process.kill()
        await start()
        await platform.sees(platform.ada, LOST)
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, LOST, "You said: hello")


async def test_a_message_right_after_a_crash_while_sending_the_first_one(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        fault = world.emulator.faults.add(method="POST", cut="silence")
        await platform.say(platform.ada, "book")
        await platform.until(lambda: fault.hits == 1)
        await process.kill()
        await start(is_store_down=True)  # so that it is not found out before
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, LOST, "You said: hello")
        assert world.accepted == ["hello"]


async def test_an_answer_that_the_platform_did_not_take_after_a_restart_is_brought_again(
    platform: Platform, tmp_path: Path
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await process.stop()
        await start()
        platform.is_cut = True
        await platform.until(
            lambda: [message for (message, *_) in [told[::-1] for told in world.told.values()]] == [""]
        )
        await asyncio.sleep(45)  # all that it tries
        platform.is_cut = False
        await platform.sees(platform.ada, "Let me see.", CLOSING["computing"], "Computed: 42.")
        assert list(world.told.values()) == [["job", ""]]


# Stopping


async def test_an_answer_may_end_before_the_bot_stops(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: platform.screen(platform.ada) != [])
        await platform.say(platform.ada, "second")
        await platform.until(lambda: len(platform.screen(platform.ada)) == 2)
        await process.stop()
        assert platform.screen(platform.ada) == ["".join(support.WORDS).strip(), CLOSING["waiting"]]
        assert world.accepted == ["slow"]


async def test_an_answer_that_takes_too_long_comes_later(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support, "WORDS", [f"word{number} " for number in range(200)])
    async with bots(platform, tmp_path) as (_, start):
        process = await start()
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: platform.screen(platform.ada) != [])
        began = asyncio.get_running_loop().time()
        await process.stop()
        assert 20 <= asyncio.get_running_loop().time() - began < 27
        await platform.sees(platform.ada, "word0", CLOSING["answering"])
        await start()
        await asyncio.sleep(60)
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "word0", CLOSING["answering"], LATE, "word0", "You said: hello")


@pytest.mark.parametrize("first", [True, False])
async def test_a_message_on_its_way_when_the_bot_stops_is_found_out_about(
    platform: Platform, tmp_path: Path, first: bool
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        if not first:
            await platform.say(platform.ada, "hello")
            await platform.sees(platform.ada, "You said: hello")
            await asyncio.sleep(5)
        fault = world.emulator.faults.add(method="POST" if first else "PUT", cut="silence", accept=True)
        await platform.say(platform.ada, "book")
        await platform.until(lambda: fault.hits == 1)
        await process.stop()
        await asyncio.sleep(5)
        await start()  # and nobody writes
        stage, *end = ["beginning", LOST] if first else ["sending", LATE, "You said: book"]
        await platform.sees(platform.ada, *["You said: hello"][first:], CLOSING[stage], *end)
        await platform.say(platform.ada, "hello?")
        await platform.until(lambda: "You said: hello?" in platform.screen(platform.ada))
        assert world.accepted == [*["hello"][first:], "book", "hello?"]


async def test_a_message_on_its_way_when_the_bot_stops(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await asyncio.sleep(5)
        fault = world.emulator.faults.add(method="PUT", cut="silence", accept=True)
        await platform.say(platform.ada, "book")
        await platform.until(lambda: fault.hits == 1)
        await process.stop()
        await platform.sees(platform.ada, "You said: hello", CLOSING["sending"])
        await asyncio.sleep(5)  # the next process does not know when this one last called
        await start()
        await platform.say(platform.ada, "hello?")
        await platform.until(lambda: "You said: hello?" in platform.screen(platform.ada))
        assert world.accepted == ["hello", "book", "hello?"]
        assert "You said: book" in platform.screen(platform.ada)


@pytest.mark.parametrize("seconds", [60, 3000])
async def test_a_platform_that_asks_to_wait_when_the_bot_stops(
    platform: Any, tmp_path: Path, seconds: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        platform.refusals += [platform.too_many(seconds) for _ in range(9)]
        await platform.say(platform.ada, "slow")
        await platform.say(platform.bob, "job")
        await platform.until(lambda: "not taken" in caplog.text or platform.name == "discord")
        await asyncio.sleep(5)
        began = asyncio.get_running_loop().time()
        await process.stop()
        assert asyncio.get_running_loop().time() - began <= 26
        platform.refusals.clear()
        assert sorted(world.accepted) == ["job", "slow"]


async def test_a_platform_that_does_not_answer_when_the_bot_stops(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        process = await start()
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: platform.screen(platform.ada) != [])
        platform.is_silent = True
        await asyncio.sleep(5)
        began = asyncio.get_running_loop().time()
        await process.stop()
        assert asyncio.get_running_loop().time() - began <= 30
        platform.is_silent = False
