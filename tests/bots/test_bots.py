"""What every bot does, on its platform."""

from __future__ import annotations

import asyncio
import gc
import itertools
from pathlib import Path
from typing import Any

import pytest
from answers import NOTHING
from commands import FRESH
from conversations import (
    ARRIVED,
    BROKEN,
    CLOSING,
    COMPUTING,
    FORGOTTEN,
    GONE,
    LATE,
    NOT_BEGUN,
    QUEUED,
    SEEKING,
    TAKEN_OVER,
    UNKNOWABLE,
    UNKNOWN,
    WHOLE,
    WORDS,
)
from discord_bot import DiscordChat
from splitting import utf16

from toolhouse_async import (
    JobWaitTimeoutError,
    OutcomeUnknownError,
    PollingPolicy,
    SessionManager,
    StreamInterruptedError,
    WorkerError,
)
from toolhouse_async.stores import SQLiteSessionStore

from . import support
from .discord import Discord
from .platform import Platform
from .support import AGENT, CODE, JOB, Store, bots

ANY = pytest.mark.parametrize("platform", [Discord], indirect=True, ids=["discord"])
"""For what no platform has a part in."""


async def test_a_conversation(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello & <b>")
        await platform.sees(platform.ada, "You said: hello & <b>")
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: hello & <b>", "You said: again")
        assert list(world.told.values()) == [["hello & <b>", "again"]]


async def test_two_users_at_once(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "slow")
        await platform.say(platform.bob, "hello")
        await platform.sees(platform.bob, "You said: hello")
        assert "word59" not in "".join(platform.screen(platform.ada))
        await platform.until(lambda: platform.screen(platform.ada) == ["".join(support.WORDS).strip()])
        assert sorted(world.told.values()) == [["hello"], ["slow"]]


async def test_words_are_shown_as_they_come(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.say(platform.ada, "slow")
        whole = "".join(support.WORDS).strip()
        await platform.until(lambda: platform.screen(platform.ada) == [whole])
        shown = [call.text for call in platform.calls if call.method in ("post", "edit")]
        assert len(shown) > 5  # of twelve seconds
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(shown))
        assert len(platform.times(platform.ada, "post")) == 1


async def test_typing_is_shown_while_the_worker_works(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        began = asyncio.get_running_loop().time()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", "Computed: 42.")
        typing = platform.times(platform.ada, "typing")
        lasts = {"telegram": 5, "discord": 10, "slack": 120}[platform.name]
        assert typing[0] - began < 2
        assert typing[-1] - began > JOB - lasts
        assert all(later - earlier < lasts for earlier, later in itertools.pairwise(typing))
        await asyncio.sleep(300)
        assert platform.times(platform.ada, "typing") == typing
        assert len(platform.times(platform.ada, "typing is over")) == (platform.name == "slack")


async def test_a_job(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await platform.sees(platform.ada, "Let me see.", "Computed: 42.")
        assert list(world.told.values()) == [["job", ""]]


@ANY
async def test_a_job_that_is_over_before_anybody_looks(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.say(platform.ada, "quick job")
        await platform.sees(platform.ada, "Let me see.", "Computed: 42.")


async def test_a_second_message_while_a_job_runs(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await platform.say(platform.ada, "second")
        await platform.say(platform.ada, "third")
        await platform.sees(platform.ada, "Let me see.", COMPUTING, QUEUED, QUEUED)
        await platform.say(platform.bob, "hello")  # who does not wait for that
        await platform.sees(platform.bob, "You said: hello")
        await platform.sees(platform.ada, "Let me see.", "Computed: 42.", "You said: second", "You said: third")
        assert ["job", "", "second", "third"] in world.told.values()


async def test_answers_stand_in_the_order_of_their_messages(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        words = ["one", "two", "three", "four"]
        for word in words:
            await platform.say(platform.ada, word)
        await platform.until(lambda: "You said: four" in platform.screen(platform.ada))
        await asyncio.sleep(60)
        assert platform.screen(platform.ada) == [f"You said: {word}" for word in words]
        assert world.accepted == words


async def test_a_long_answer_stands_as_a_whole_before_the_next(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        for word in ("long", "second", "third"):
            await platform.say(platform.ada, word)
        await platform.until(lambda: "You said: third" in platform.screen(platform.ada))
        *long, second, third = platform.screen(platform.ada)
        assert " ".join(long) == ("Here it is. " + "A sentence of some words. " * 300).strip()
        assert [second, third] == ["You said: second", "You said: third"]


async def test_a_long_answer_is_split(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.say(platform.ada, "long")
        await platform.until(lambda: sum(map(len, platform.screen(platform.ada))) > 7700)
        screen = platform.screen(platform.ada)
        assert len(screen) == -(-7812 // platform.limit)
        assert " ".join(screen) == ("Here it is. " + "A sentence of some words. " * 300).strip()
        assert all(sum(map(utf16, text)) <= platform.limit for text in screen)


async def test_code_stays_in_its_fences(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.say(platform.ada, "code")
        await platform.until(lambda: "That is all." in "".join(platform.screen(platform.ada)))
        screen = platform.screen(platform.ada)
        assert len(screen) > 1
        assert all(text.count("```") % 2 == 0 for text in screen)
        lines = [line for text in screen for line in text.splitlines() if line.startswith("print")]
        assert lines == CODE.splitlines()[1:-1]


async def test_an_answer_without_words(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.say(platform.ada, "nothing")
        await platform.sees(platform.ada, NOTHING)


@pytest.mark.parametrize("blank", ["", "\n", " \n", "\u200b", "\u2800\ufeff"])
async def test_an_answer_without_visible_words(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blank: str
) -> None:
    monkeypatch.setattr(support, "BLANK", blank)
    monkeypatch.setattr(support, "COMPUTED", blank)
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        await platform.say(platform.ada, "blank")
        await platform.sees(platform.ada, "Let me see.", COMPUTING, QUEUED)
        await platform.sees(platform.ada, "Let me see.", NOTHING, NOTHING)


async def test_a_message_whose_fate_is_unknown_has_no_visible_answer(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await asyncio.sleep(5)
        world.emulator.faults.add(method="PUT", cut="rst", accept=True)
        await platform.say(platform.ada, "blank")
        await platform.sees(platform.ada, "You said: hello", NOTHING)


# Failures


async def test_an_error_of_the_worker(platform: Platform, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.say(platform.ada, "fail")
        await platform.sees(platform.ada, WORDS[WorkerError])
        assert "WorkerError" in caplog.text  # for those who run it
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, WORDS[WorkerError], "You said: hello")


REFUSALS = {
    "key": ({"status": 401, "body": "secret"}, BROKEN),
    "busy": (
        {"status": 429, "retry_after": 90, "times": None},
        "Too many people are asking just now. Please say it again in 90",
    ),
    "busy for a year": (
        {"status": 429, "retry_after": 31536000, "times": None},
        "Too many people are asking just now. Please say it again later.",
    ),
    "refused": ({"status": 413, "body": "secret"}, UNKNOWN[True]),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_an_error_is_told_in_words_that_help(platform: Platform, tmp_path: Path, name: str) -> None:
    fault, words = REFUSALS[name]
    async with bots(platform, tmp_path) as (world, start):
        await start()
        world.emulator.faults.add(method="POST", **fault)
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, words)
        (text,) = platform.screen(platform.ada)
        assert not any(inside in text for inside in ("secret", "http", "Error", "40"))


@ANY
async def test_a_bug_is_told_and_logged(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with bots(platform, tmp_path) as (_, start):
        process = await start()
        monkeypatch.setattr(process.manager, "checkout", lambda key, **options: 1 / 0)
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, BROKEN)
        assert "ZeroDivisionError" in caplog.text


@ANY
@pytest.mark.parametrize("method", ["post", "typing"])
async def test_an_error_that_a_chat_does_not_name_is_logged_with_the_key(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    async def fail(*args: Any) -> None:
        raise KeyError("odd")

    async with bots(platform, tmp_path) as (_, start):
        await start()
        with monkeypatch.context() as patch:
            patch.setattr(DiscordChat, method, fail)
            await platform.say(platform.ada, "hello")
            await platform.until(lambda: "odd" in caplog.text)
            await asyncio.sleep(60)
        gc.collect()
        assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
            f"{platform.key}: an error of the bot's own"
        ]
        await platform.say(platform.ada, "again")
        await platform.until(lambda: "You said: again" in platform.screen(platform.ada))


@pytest.mark.parametrize("accept", [True, False], ids=["arrived", "not arrived"])
async def test_a_message_whose_fate_is_unknown_is_looked_for(platform: Platform, tmp_path: Path, accept: bool) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await asyncio.sleep(5)
        world.emulator.faults.add(method="PUT", cut="rst", accept=accept)
        await platform.say(platform.ada, "book")
        await platform.sees(platform.ada, "You said: hello", "You said: book")
        assert world.accepted == ["hello", "book"]


@pytest.mark.parametrize("fault", [{"cut": "rst"}, {"status": 503}], ids=["reset", "status"])
async def test_people_are_told_while_it_is_found_out_what_became_of_a_message(
    platform: Platform, tmp_path: Path, fault: dict[str, Any]
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        world.emulator.faults.add(method="PUT", **fault)
        world.emulator.faults.add(method="GET", times=None, status=503)
        await platform.say(platform.ada, "book")
        await platform.sees(platform.ada, "You said: hello", SEEKING)
        await platform.sees(platform.ada, "You said: hello", WORDS[OutcomeUnknownError])
        world.emulator.faults.clear()
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: hello", WORDS[OutcomeUnknownError], "You said: again")
        assert world.accepted == ["hello", "again"]


async def test_a_message_without_an_answer_keeps_the_next_one_waiting_for_a_moment(
    platform: Platform, tmp_path: Path
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await platform.say(platform.ada, "never")
        seen = ["You said: hello", WORDS[StreamInterruptedError]]
        await platform.sees(platform.ada, *seen)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, *seen, ARRIVED, "You said: again")
        assert loop.time() - began < 30  # of a clock that stands still meanwhile
        await platform.say(platform.ada, "more")
        await platform.sees(platform.ada, *seen, ARRIVED, "You said: again", "You said: more")
        assert loop.time() - began < 60
        assert world.accepted == ["hello", "never", "again", "more"]


@pytest.mark.parametrize("fault", [{"cut": "rst"}, {"status": 503}], ids=["reset", "status"])
async def test_a_first_message_whose_fate_nobody_can_know(
    platform: Platform, tmp_path: Path, fault: dict[str, Any]
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        world.emulator.faults.add(method="POST", **fault)
        await platform.say(platform.ada, "book")
        await platform.sees(platform.ada, UNKNOWABLE)
        await asyncio.sleep(200)
        assert platform.screen(platform.ada) == [UNKNOWABLE]
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, UNKNOWABLE, "You said: hello")
        assert world.accepted == ["hello"]


async def test_an_answer_that_was_cut(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        world.emulator.faults.add(method="POST", cut="rst", cut_after=150)
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: platform.screen(platform.ada) == ["".join(support.WORDS).strip()])
        assert world.accepted == ["slow"]


async def test_an_answer_that_was_cut_after_a_job(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        world.emulator.faults.add(method="PUT", cut="rst", cut_after=10)
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", "Computed: 42.")
        assert list(world.told.values()) == [["job", ""]]


@ANY
async def test_an_answer_that_the_history_has_otherwise(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        other = " ".join(["Something else."] * 20)  # a history with less than was received is not believed
        await start()
        world.emulator.faults.add(method="POST", cut="rst", cut_after=150)
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: platform.screen(platform.ada) != [])
        (run,) = world.emulator._runs.values()
        await platform.until(lambda: run.answer is None)
        run._entries[-1][1]["content"] = other  # as a filter of the service's might have put it
        await platform.sees(platform.ada, "word0", WHOLE, other)


@ANY
async def test_a_job_that_somebody_else_began(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await process.manager.send(platform.key, "job", background="detach")
        await platform.say(platform.ada, "second")
        await platform.sees(platform.ada, QUEUED)
        await platform.sees(platform.ada, "Computed: 42. You said: second")
        assert list(world.told.values()) == [["job", "second"]]


@ANY
async def test_who_waits_for_a_job_of_somebody_elses_when_the_bot_stops_is_told(
    platform: Platform, tmp_path: Path
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await process.manager.send(platform.key, "job", background="detach")
        await platform.say(platform.ada, "second")
        await platform.sees(platform.ada, QUEUED)
        await process.stop()
        await platform.sees(platform.ada, CLOSING["waiting"])
        assert world.accepted == ["job"]


@ANY
async def test_who_waits_for_another_process_when_the_bot_stops_is_told(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        store = Store(SQLiteSessionStore(tmp_path / "bot.db"))
        async with SessionManager(process.client, AGENT, store=store).checkout(platform.key):
            await platform.say(platform.ada, "hello")
            await asyncio.sleep(3)
            await process.stop()
            await platform.sees(platform.ada, CLOSING["waiting"])
        await store.aclose()
        assert world.accepted == []


@ANY
async def test_a_job_that_runs_for_longer_than_it_is_waited_for(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path, polling=PollingPolicy(deadline=JOB / 2)) as (world, start):
        await start()
        await platform.say(platform.ada, "job")
        late = WORDS[JobWaitTimeoutError]
        await platform.sees(platform.ada, "Let me see.", late)
        await platform.sees(platform.ada, "Let me see.", late, "Computed: 42.")
        assert world.accepted == ["job"]


@ANY
async def test_a_store_that_fails(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        process.store.down = True
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, UNKNOWN[True])
        process.store.down = False
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, UNKNOWN[True], "You said: again")
        assert world.accepted == ["again"]


@ANY
@pytest.mark.parametrize(("words", "answer"), [("hello", "You said: hello"), ("/new", FRESH)])
async def test_a_store_that_does_not_answer(platform: Platform, tmp_path: Path, words: str, answer: str) -> None:
    async with bots(platform, tmp_path) as (_, start):
        process = await start()
        process.store.held = asyncio.Event()
        await platform.say(platform.ada, words)
        await platform.sees(platform.ada, NOT_BEGUN)
        process.store.held.set()
        await platform.sees(platform.ada, answer)


async def test_messages_that_were_waiting_are_answered_in_their_order(platform: Platform, tmp_path: Path) -> None:
    """As after a time in which the bot did not run: the second one's notice changes before the first is answered."""
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await asyncio.gather(*(platform.say(platform.ada, words) for words in ("hello", "job", "again")))
        await platform.sees(platform.ada, "You said: hello", "Let me see.", "Computed: 42.", "You said: again")
        assert world.accepted == ["hello", "job", "again"]


@ANY
async def test_a_store_that_fails_behind_an_answer(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: "word9" in "".join(platform.screen(platform.ada)))
        process.store.down = True
        whole = "".join(support.WORDS).strip()
        await platform.sees(platform.ada, whole)
        await asyncio.sleep(60)
        process.store.down = False
        await platform.say(platform.ada, "hello")  # it was not written down that the answer was shown
        await platform.sees(platform.ada, whole, LATE, whole, "You said: hello")
        assert world.accepted == ["slow", "hello"]


@ANY
async def test_a_job_that_another_process_takes_over(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        process.store.down = True  # as a frozen process writes nothing
        await asyncio.sleep(40)
        store = Store(SQLiteSessionStore(tmp_path / "bot.db"))
        async with SessionManager(process.client, AGENT, store=store) as other:
            resuming = asyncio.ensure_future(other.resume_pending())
            await asyncio.sleep(10)
            process.store.down = False
            await platform.sees(platform.ada, "Let me see.", TAKEN_OVER)
            (resumed,) = await resuming
        await store.aclose()
        assert resumed.result is not None
        assert resumed.result.text == "Computed: 42. "
        assert list(world.told.values()) == [["job", ""]]
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "Let me see.", TAKEN_OVER, "You said: hello")


@ANY
async def test_an_answer_that_another_process_may_bring(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        process = await start()
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: "word9" in "".join(platform.screen(platform.ada)))
        await process.manager.unlock(platform.key)
        await platform.until(lambda: TAKEN_OVER in platform.screen(platform.ada))
        await asyncio.sleep(60)
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "word0", TAKEN_OVER, LATE, "word0", "You said: hello")


@ANY
async def test_a_run_that_the_service_no_longer_knows(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        world.emulator._runs.clear()
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: hello", FORGOTTEN, "You said: again")
        assert world.accepted == ["hello", "again"]


@ANY
async def test_messages_in_a_row_go_to_one_new_conversation(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        world.emulator._runs.clear()
        for message in ("one", "two", "three"):
            await platform.say(platform.ada, message)
        answers = ["You said: one", "You said: two", "You said: three"]
        await platform.sees(platform.ada, "You said: hello", FORGOTTEN, *answers)
        assert list(world.told.values()) == [["hello"], ["one", "two", "three"]]


@ANY
async def test_a_store_that_fails_where_a_conversation_begins_anew(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        refused = world.emulator.faults.add(status=404)
        await platform.say(platform.ada, "again")
        while not refused.hits:
            await asyncio.sleep(0)
        process.store.down = True
        await platform.until(lambda: UNKNOWN[True] in "".join(platform.screen(platform.ada)))
        process.store.down = False
        assert world.accepted == ["hello"]


@ANY
@pytest.mark.parametrize("message", ["slow", "job"])
async def test_a_run_that_the_service_loses_while_it_answers(platform: Platform, tmp_path: Path, message: str) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        if message == "slow":
            world.emulator.faults.add(method="PUT", cut="rst", cut_after=1)
        # The first look finds the job.
        world.emulator.faults.add(method="GET", skip=int(message == "job"), times=None, status=404)
        await platform.say(platform.ada, message)
        shown = ["You said: hello", *(["Let me see."] if message == "job" else []), GONE]
        await platform.sees(platform.ada, *shown)
        world.emulator._runs.clear()
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, *shown, "You said: again")
        assert world.accepted == ["hello", message, "again"]


@ANY
async def test_a_worker_that_the_service_does_not_know(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        world.emulator.faults.add(method="POST", status=404)
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, BROKEN)


async def test_a_platform_that_refuses_calls_too_many(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        platform.refusals += [platform.too_many(), platform.too_many()]
        began = asyncio.get_running_loop().time()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        assert asyncio.get_running_loop().time() - began >= 14


async def test_a_message_that_is_gone_is_posted_anew(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: platform.screen(platform.ada) != [])
        platform.refusals += [platform.gone(), platform.gone()]
        await platform.until(lambda: len(platform.screen(platform.ada)) == 2)
        await platform.until(lambda: platform.screen(platform.ada)[1] == "".join(support.WORDS).strip())


async def test_an_edit_whose_answer_was_lost_is_not_shown_twice(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: len(platform.times(platform.ada, "edit")) == 2)
        await platform.until(lambda: "word50" in "".join(platform.screen(platform.ada)))
        platform.losses = 2
        whole = "".join(support.WORDS).strip()
        await platform.until(lambda: platform.screen(platform.ada) == [whole] and not platform.losses)
        await asyncio.sleep(30)
        await platform.say(platform.ada, "hello")  # what is shown is done: the next answer is not kept waiting
        async with asyncio.timeout(30):
            await platform.sees(platform.ada, whole, "You said: hello")
        assert len(platform.times(platform.ada, "post")) == 2


async def test_edits_that_do_not_get_through_are_made_again(platform: Platform, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: platform.screen(platform.ada) != [])
        platform.losses = 4
        await platform.until(lambda: platform.screen(platform.ada) == ["".join(support.WORDS).strip()])
        assert len(platform.times(platform.ada, "post")) == 1


async def test_a_message_whose_answer_was_lost_is_posted_once_where_the_platform_can_tell(
    platform: Platform, tmp_path: Path
) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        platform.losses = 1
        await platform.say(platform.ada, "slow")
        whole = "".join(support.WORDS).strip()
        await platform.until(lambda: whole in platform.screen(platform.ada))
        assert len(platform.screen(platform.ada)) == (1 if platform.name == "discord" else 2)


async def test_nobody_is_written_to_who_has_left(
    platform: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        platform.gone_users.add(platform.ada)
        await platform.say(platform.ada, "slow")
        await platform.until(lambda: "not taken, 1 times" in caplog.text)
        await asyncio.sleep(300)
        assert "2 times" not in caplog.text
        platform.gone_users.clear()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        assert world.accepted == ["slow", "hello"]


async def test_a_message_that_is_never_taken_is_named_and_the_next_one_is_answered(
    platform: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        platform.refusals += [platform.gone() for _ in range(3)]
        await platform.say(platform.ada, "hello")
        await platform.until(lambda: "a part of the answer is refused for good" in caplog.text)
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "I cannot show this part of my answer here.", "You said: again")


async def test_an_answer_of_which_nothing_is_taken_is_given_up(
    platform: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        platform.refusals += [platform.gone() for _ in range(6)]
        await platform.say(platform.ada, "hello")
        await platform.until(lambda: "the rest of the answer is given up" in caplog.text)
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: again")


async def test_a_platform_that_takes_nothing_costs_no_turn(
    platform: Platform, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        platform.is_cut = True
        await platform.say(platform.ada, "hello")
        await platform.until(lambda: "5 times" in caplog.text)
        platform.is_cut = False
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: hello", "You said: again")
        assert world.accepted == ["hello", "again"]


@ANY
async def test_a_platform_that_takes_nothing_for_an_hour_is_given_up(
    platform: Platform, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        platform.is_cut = True
        await platform.say(platform.ada, "hello")
        await asyncio.sleep(4000)
        tries = len(caplog.messages)
        await asyncio.sleep(600)
        assert len(caplog.messages) == tries
