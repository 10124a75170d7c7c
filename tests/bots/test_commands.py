"""What people say to the bot itself: commands, and what it cannot read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from commands import BESIDE, COMMANDS, FRESH, IDLE, NOT_FRESH, NOT_YET_FRESH, STOPPED, UNREADABLE, greeting
from conversations import ABSENT, ARRIVED, CLOSING, COMPUTING, HALTED, LATE, LOST, QUEUED

from . import support
from .discord import ME
from .platform import Platform
from .support import bots
from .test_bots import ANY
from .test_each import on


async def greeted(platform: Any) -> list[str]:
    """How the platform's user has been greeted."""
    return [text for text in [*platform.screen(platform.ada), *getattr(platform, "replies", [])] if "Hello!" in text]


async def test_the_platform_lists_the_commands(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        assert platform.listed == ({} if platform.name == "slack" else COMMANDS)


async def test_a_platform_that_takes_no_list_is_answered_all_the_same(platform: Platform, tmp_path: Path) -> None:
    platform.takes_lists = False
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await platform.say(platform.ada, "/help")
        await platform.sees(platform.ada, "You said: hello", "Hello!")
        assert world.accepted == ["hello"]


async def test_help(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.command(platform.ada, "help")
        await asyncio.sleep(5)
        assert await greeted(platform) == [greeting("" if platform.name == "slack" else "/")]
        assert world.accepted == []


@pytest.mark.parametrize("words", ["/start", "/start campaign", "/HELP", "/help@bot"])
async def test_who_begins_is_greeted(platform: Platform, tmp_path: Path, words: str) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, words)
        await platform.sees(platform.ada, "Hello!")
        assert world.accepted == []


@pytest.mark.parametrize("words", ["/newspaper", "/ new", "say /stop", "stop it", "/stop-it"])
async def test_what_is_no_command_is_for_the_worker(platform: Platform, tmp_path: Path, words: str) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, words)
        await platform.sees(platform.ada, f"You said: {words}")
        assert world.accepted == [words]


async def test_a_word_alone_is_a_command_only_where_the_platform_keeps_the_sign(
    platform: Platform, tmp_path: Path
) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.say(platform.ada, "stop")
        await platform.sees(platform.ada, IDLE if platform.name == "slack" else "You said: stop")


@on("discord")
async def test_a_mention_without_words_is_greeted(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say("9", "<@42>", guild_id="5", mentions=[ME])
        await platform.sees("9", "Hello!")
        assert world.accepted == []


# A new conversation


async def test_a_new_conversation(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await platform.command(platform.ada, "new")
        await platform.sees(platform.ada, "You said: hello", FRESH)
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: hello", FRESH, "You said: again")
        assert list(world.told.values()) == [["hello"], ["again"]]


async def test_a_new_conversation_that_begins_at_once(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await platform.say(platform.ada, "/new and now\nthis")
        await platform.sees(platform.ada, "You said: hello", FRESH, "You said: and now\nthis")
        assert list(world.told.values()) == [["hello"], ["and now\nthis"]]


@pytest.mark.parametrize("before", ["hello", "slow"])
async def test_a_message_right_behind_a_new_conversation_is_its_second(
    platform: Platform, tmp_path: Path, before: str
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, before)
        await platform.until(lambda: world.accepted == [before])
        await platform.say(platform.ada, "/new one")
        await platform.say(platform.ada, "two")
        await platform.until(lambda: platform.screen(platform.ada)[-2:] == ["You said: one", "You said: two"])
        assert list(world.told.values()) == [[before], ["one", "two"]]


async def test_a_new_conversation_in_mid_answer(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: "word9" in "".join(platform.screen(platform.ada)))
        await platform.command(platform.ada, "new")
        await platform.sees(platform.ada, "word0", STOPPED["answering"], FRESH)
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "word0", STOPPED["answering"], FRESH, "You said: hello")
        assert list(world.told.values()) == [["slow"], ["hello"]]


@pytest.mark.parametrize(
    ("second", "answers"),
    [("/new", [FRESH, FRESH]), ("/stop", [FRESH]), ("/new again", [FRESH, FRESH, "You said: again"])],
)
async def test_a_new_conversation_begins_whatever_is_stopped(
    platform: Platform, tmp_path: Path, second: str, answers: list[str]
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        process.store.held = asyncio.Event()
        for words in ("/new", second):
            await platform.say(platform.ada, words)
        await asyncio.sleep(3)
        process.store.held.set()
        await platform.sees(platform.ada, "You said: hello", *answers)
        await platform.say(platform.ada, "and now")
        await platform.sees(platform.ada, "You said: hello", *answers, "You said: and now")
        assert next(iter(world.told.values())) == ["hello"]


@ANY
@pytest.mark.parametrize("second", ["/new", "/stop"])
async def test_what_a_new_conversation_was_to_begin_with_is_stopped(
    platform: Platform, tmp_path: Path, second: str
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        process.store.held = asyncio.Event()
        for words in ("/new book", second):
            await platform.say(platform.ada, words)
        await asyncio.sleep(3)
        process.store.held.set()
        answers = [FRESH, STOPPED["waiting"], *([FRESH] if second == "/new" else [])]
        await platform.sees(platform.ada, "You said: hello", *answers)
        await platform.say(platform.ada, "and now")
        await platform.sees(platform.ada, "You said: hello", *answers, "You said: and now")
        assert list(world.told.values()) == [["hello"], ["and now"]]


@ANY
async def test_a_new_conversation_where_the_store_fails(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await asyncio.sleep(1)  # it is written down that it was shown
        process.store.down = True
        await platform.say(platform.ada, "/new")
        await platform.sees(platform.ada, "You said: hello", NOT_FRESH)
        process.store.down = False
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: hello", NOT_FRESH, "You said: again")
        assert list(world.told.values()) == [["hello", "again"]]


@ANY
async def test_a_new_conversation_while_a_stopped_process_has_left_a_job(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await process.stop()
        await start()
        await asyncio.sleep(20)
        await platform.say(platform.ada, "/new")
        told = ["Let me see.", CLOSING["computing"], STOPPED["computing"]]
        await platform.sees(platform.ada, *told, NOT_YET_FRESH)
        await platform.sees(platform.ada, *told, FRESH)
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, *told, FRESH, "You said: hello")
        assert list(world.told.values()) == [["job", ""], ["hello"]]


# Stopping a turn


async def test_nothing_to_stop(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await platform.say(platform.ada, "/stop")
        await platform.sees(platform.ada, "You said: hello", IDLE)
        await platform.command(platform.ada, "stop")
        await asyncio.sleep(5)
        if platform.name == "discord":
            assert platform.replies == [IDLE]
        else:
            assert platform.screen(platform.ada) == ["You said: hello", IDLE, IDLE]
        assert world.accepted == ["hello"]


@pytest.mark.parametrize(("gone", "busy"), [("continue", "wait"), ("continue", "conflict"), ("stop", "wait")])
async def test_an_answer_is_stopped(platform: Platform, tmp_path: Path, gone: str, busy: str) -> None:
    async with bots(platform, tmp_path) as (world, start):
        world.emulator.on_disconnect, world.emulator.while_answering = gone, busy
        await start()
        await platform.say(platform.ada, "slow")
        await platform.say(platform.bob, "slow")
        await platform.until(lambda: "word9" in "".join(platform.screen(platform.ada)))
        await platform.command(platform.ada, "stop")
        await platform.sees(platform.ada, "word0", STOPPED["answering"])
        assert "word59" not in platform.screen(platform.ada)[0]
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "word0", STOPPED["answering"], "You said: hello")
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "word0", STOPPED["answering"], "You said: hello", "You said: again")
        await platform.until(lambda: platform.screen(platform.bob) == ["".join(support.WORDS).strip()])  # who goes on
        assert sorted(world.told.values()) == [["slow"], ["slow", "hello", "again"]]


async def test_a_stop_reaches_what_waits(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: platform.screen(platform.ada) != [])
        await platform.say(platform.ada, "second")
        await platform.until(lambda: len(platform.screen(platform.ada)) == 2)
        await platform.command(platform.ada, "stop")
        await platform.until(
            lambda: set(platform.screen(platform.ada)[1:]) == {STOPPED["answering"], STOPPED["waiting"]}
        )
        assert world.accepted == ["slow"]


async def test_a_job_is_stopped(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await platform.command(platform.ada, "stop")
        await platform.sees(platform.ada, "Let me see.", STOPPED["computing"])
        await asyncio.sleep(2 * support.JOB)
        assert platform.screen(platform.ada) == ["Let me see.", STOPPED["computing"]]
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "Let me see.", STOPPED["computing"], "You said: hello")
        assert world.accepted == ["job", "hello"]


@ANY
async def test_a_restart_forgets_that_a_job_was_stopped(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        process = await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await platform.say(platform.ada, "/stop")
        await platform.sees(platform.ada, "Let me see.", STOPPED["computing"])
        assert "restart" in STOPPED["computing"]  # whoever reads that is not misled
        await process.stop()
        await start()
        await platform.sees(platform.ada, "Let me see.", STOPPED["computing"], "Computed: 42.")


@ANY
async def test_a_message_right_after_a_job_was_stopped(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await platform.say(platform.ada, "/stop")
        await platform.sees(platform.ada, "Let me see.", STOPPED["computing"])
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "Let me see.", STOPPED["computing"], QUEUED)
        await platform.until(lambda: "You said: hello" in platform.screen(platform.ada)[2])
        assert world.accepted == ["job", "hello"]


@ANY
@pytest.mark.parametrize("accept", [True, False], ids=["arrived", "not arrived"])
async def test_a_message_on_its_way_is_stopped(platform: Platform, tmp_path: Path, accept: bool) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await asyncio.sleep(5)
        fault = world.emulator.faults.add(method="PUT", cut="silence", accept=accept)
        await platform.say(platform.ada, "book")
        await platform.until(lambda: fault.hits == 1)
        await platform.say(platform.ada, "/stop")
        told = [HALTED[LATE].format("book"), "You said: book"] if accept else [HALTED[ABSENT].format("book")]
        await platform.sees(platform.ada, "You said: hello", STOPPED["sending"])
        await platform.sees(platform.ada, "You said: hello", STOPPED["sending"], *told)
        assert world.accepted == ["hello", "book"][: 1 + accept]


@ANY
async def test_whoever_goes_on_behind_a_message_that_was_stopped_on_its_way_is_told_of_it_then(
    platform: Platform, tmp_path: Path
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        fault = world.emulator.faults.add(method="PUT", cut="silence")
        await platform.say(platform.ada, "A table for  two,\nat the window if there is one, at eight")
        await platform.until(lambda: fault.hits == 1)
        await platform.say(platform.ada, "/stop")
        await platform.say(platform.ada, "again")
        told = HALTED[ABSENT].format("A table for two, at the window if there…")
        await platform.sees(platform.ada, "You said: hello", STOPPED["sending"], told, "You said: again")
        assert world.accepted == ["hello", "again"]


@ANY
async def test_a_message_that_was_stopped_on_its_way_has_no_answer(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await asyncio.sleep(5)
        fault = world.emulator.faults.add(method="PUT", cut="silence", accept=True)
        await platform.say(platform.ada, "never")
        await platform.until(lambda: fault.hits == 1)
        await platform.say(platform.ada, "/stop")
        told = HALTED[ARRIVED].format("never")
        await platform.sees(platform.ada, "You said: hello", STOPPED["sending"], told)
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: hello", STOPPED["sending"], told, "You said: again")


@ANY
async def test_nothing_is_promised_of_a_message_whose_conversation_is_forgotten(
    platform: Platform, tmp_path: Path
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        fault = world.emulator.faults.add(method="PUT", cut="silence", accept=True)
        await platform.say(platform.ada, "book")
        await platform.until(lambda: fault.hits == 1)
        await platform.command(platform.ada, "new")
        await platform.sees(platform.ada, "You said: hello", STOPPED["leaving"], FRESH)
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: hello", STOPPED["leaving"], FRESH, "You said: again")


@ANY
async def test_a_first_message_on_its_way_is_stopped(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        fault = world.emulator.faults.add(method="POST", cut="silence")
        await platform.say(platform.ada, "book")
        await platform.until(lambda: fault.hits == 1)
        await platform.say(platform.ada, "/stop")
        seen = [STOPPED["beginning"], HALTED[LOST].format("book")]
        await platform.sees(platform.ada, *seen)
        await asyncio.sleep(200)
        assert platform.screen(platform.ada) == seen
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, *seen, "You said: hello")


async def until_noted(process: Any) -> None:
    """Wait until a bot is about to note that it sends a message; it cannot until its store is let go."""
    while not process.store.swaps:  # by which it has taken the key
        await asyncio.sleep(0)
    process.store.held = asyncio.Event()
    while process.store.swaps == 1:
        await asyncio.sleep(0)


@ANY
async def test_a_first_message_is_stopped_just_before_it_is_sent(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "book")
        await until_noted(process)
        await platform.say(platform.ada, "/stop")
        await asyncio.sleep(3)
        process.store.held.set()
        seen = [STOPPED["beginning"], HALTED[ABSENT].format("book")]
        await platform.sees(platform.ada, *seen)
        await asyncio.sleep(200)
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, *seen, "You said: hello")
        assert world.accepted == ["hello"]


@ANY
async def test_the_bot_stops_just_before_a_first_message_is_sent(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "book")
        await until_noted(process)
        stopping = asyncio.create_task(process.stop())
        await asyncio.sleep(25)  # longer than answers are given
        process.store.held.set()
        await stopping
        await platform.sees(platform.ada, CLOSING["waiting"])
        await start()
        await asyncio.sleep(200)
        assert platform.screen(platform.ada) == [CLOSING["waiting"]]
        assert world.accepted == []


@ANY
async def test_a_job_that_a_stopped_process_has_left_is_stopped(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await process.stop()
        await start()
        await asyncio.sleep(20)
        await platform.command(platform.ada, "stop")
        await asyncio.sleep(2 * support.JOB)
        assert platform.screen(platform.ada) == ["Let me see.", CLOSING["computing"], STOPPED["computing"]]
        assert list(world.told.values()) == [["job", ""]]


@ANY
async def test_a_job_that_a_stopped_process_has_left_is_stopped_with_what_waits_behind_it(
    platform: Platform, tmp_path: Path
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await process.stop()
        await start()
        await platform.say(platform.ada, "second")
        await asyncio.sleep(80)  # what stopped processes have left was looked for again
        await platform.say(platform.ada, "/stop")
        await asyncio.sleep(2 * support.JOB)
        assert platform.screen(platform.ada)[:2] == ["Let me see.", CLOSING["computing"]]
        assert sorted(platform.screen(platform.ada)[2:]) == sorted([STOPPED["waiting"], STOPPED["computing"]])
        assert list(world.told.values()) == [["job", ""]]


@ANY
async def test_a_message_that_is_stopped_before_it_is_taken_up(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await process.manager.send(platform.key, "job", background="detach")
        await platform.say(platform.ada, "second")
        await platform.sees(platform.ada, QUEUED)
        await platform.say(platform.ada, "/stop")
        await platform.sees(platform.ada, STOPPED["waiting"])
        assert world.accepted == ["job"]


# What no bot can read


async def test_a_picture(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.show(platform.ada)
        await platform.sees(platform.ada, UNREADABLE)
        assert world.accepted == []


async def test_a_picture_with_words(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.show(platform.ada, "what is this?")
        await platform.sees(platform.ada, BESIDE, "You said: what is this?")
        assert world.accepted == ["what is this?"]


async def test_a_picture_with_a_command(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.show(platform.ada, "/help")
        await platform.sees(platform.ada, BESIDE, "Hello!")
        assert world.accepted == []


@on("telegram")
@pytest.mark.parametrize("content", ["sticker", "voice", "document", "location"])
async def test_telegram_has_more_than_pictures(platform: Any, tmp_path: Path, content: str) -> None:
    file = {"file_id": "f", "file_unique_id": "u", "duration": 1}
    shape = {"type": "regular", "width": 1, "height": 1, "is_animated": False, "is_video": False}
    place = {"latitude": 1, "longitude": 1}
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.send(platform.ada, {content: file | shape | place})
        await platform.sees(platform.ada, UNREADABLE)


@on("telegram")
async def test_telegram_albums_are_spoken_of_once(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        for album in range(1002):
            await platform.send(
                "9",
                {
                    "pinned_message": {"message_id": 1, "date": 0, "chat": {"id": 9, "type": "private"}},
                    "media_group_id": f"{album}",
                },
            )
        for words in ("", "", ""):
            await platform.show(platform.ada, words, media_group_id="7000")
        await platform.sees(platform.ada, UNREADABLE)
        await platform.show(platform.ada, "", media_group_id="7000")
        await asyncio.sleep(30)
        assert platform.screen(platform.ada) == [UNREADABLE]
        assert world.accepted == []
        assert platform.screen("9") == []  # what tells of the chat itself is passed over


@on("telegram")
@pytest.mark.parametrize("number", range(3))
async def test_telegram_albums_may_have_words_at_any_picture(platform: Any, tmp_path: Path, number: int) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        for picture in range(3):
            await platform.show(platform.ada, "what are these?" if picture == number else "", media_group_id="7")
        await platform.sees(platform.ada, BESIDE, "You said: what are these?")
        await asyncio.sleep(30)
        assert platform.screen(platform.ada) == [BESIDE, "You said: what are these?"]
        assert world.accepted == ["what are these?"]


@on("telegram")
async def test_telegram_albums_are_spoken_of_before_the_bot_stops(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        process = await start()
        await platform.show(platform.ada, "", media_group_id="7")
        await asyncio.sleep(0.1)
        await process.stop()
        await platform.sees(platform.ada, UNREADABLE)


@on("slack")
async def test_slack_channels_have_files_too(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        event = platform.event("C9:9.001", "<@U42> look", type="app_mention", files=[{"id": "F1"}])
        await platform.send(event)
        await platform.sees("C9:9.001", BESIDE, "You said: look")
        assert world.accepted == ["look"]
