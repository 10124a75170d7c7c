"""What is particular to each platform, and how each bot is put together."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import discord_bot
import pytest
import python_telegram_bot
import slack_bot
import telegram_bot
from commands import IDLE, UNREADABLE
from conversations import run

from tests.support.answers import unused_port
from toolhouse_async import AsyncToolhouse, SessionManager
from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo

from .discord import ME, Discord, person
from .slack import Slack
from .support import bots
from .telegram import PythonTelegram, Telegram

SETTINGS = ("AGENT_ID", "TELEGRAM_TOKEN", "DISCORD_TOKEN", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET")
PLATFORMS: list[Any] = [Telegram, PythonTelegram, Discord, Slack]


def on(name: str) -> Any:
    kinds = [kind for kind in PLATFORMS if kind.name == name]
    return pytest.mark.parametrize("platform", kinds, indirect=True, ids=lambda kind: kind.label or kind.name)


async def test_no_platform_fetches_what_a_worker_links(platform: Any, tmp_path: Path) -> None:
    """An address can carry away what the worker was told; the platforms here look at each post and each edit."""
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.say(platform.ada, "links")
        await platform.sees(platform.ada, " ".join(f"https://attacker.example/?told={number}" for number in range(5)))
        assert len(platform.times(platform.ada, "post")) == 1
        assert platform.times(platform.ada, "edit")


@on("telegram")
async def test_telegram_groups_are_left_alone(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say("9", "hello", type="group", title="Group")
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        assert len(world.accepted) == 1
        assert platform.screen("9") == []


@on("telegram")
async def test_telegram_messages_that_are_edited_are_not_heard_again(
    platform: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        for content in ({"text": "hello!"}, {"text": "/new"}, {"caption": "look"}):
            await platform.send(platform.ada, {"edit_date": 2, **content}, kind="edited_message")
        await platform.say(platform.ada, "again")
        await platform.sees(platform.ada, "You said: hello", "You said: again")
        assert world.accepted == ["hello", "again"]
        assert "ERROR" not in [record.levelname for record in caplog.records]


@on("telegram")
async def test_telegram_sends_a_message_again_that_it_does_not_know_to_be_heard(
    platform: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As the page says."""
    async with bots(platform, tmp_path) as (world, start):
        process = await start()
        platform.takes_polls = False  # but for that which waits already
        await platform.say(platform.ada, "hello")
        await platform.sees(platform.ada, "You said: hello")
        await asyncio.sleep(100)
        await platform.say(platform.ada, "again")
        platform.takes_polls = True
        await platform.sees(platform.ada, "You said: hello", "You said: again")
        assert world.accepted == ["hello", "again"]
        platform.takes_polls = False
        await platform.say(platform.ada, "more")
        await platform.until(lambda: "more" in world.accepted)
        await asyncio.sleep(10)
        await process.stop()
        platform.takes_polls = True
        await start()
        await platform.until(lambda: platform.screen(platform.ada)[3:] == ["You said: more"])
        assert world.accepted == ["hello", "again", "more", "more"]


@on("telegram")
async def test_telegram_is_asked_at_the_start_whether_it_takes_the_token(platform: Any) -> None:
    platform.takes_token = False
    failures = (*telegram_bot.TelegramChat.failures, *python_telegram_bot.TelegramChat.failures)
    async with AsyncToolhouse("key") as toolhouse, SessionManager(toolhouse, "worker") as manager:
        with pytest.raises(failures) as refused:
            await platform.serve(manager)
    await ends_in_one_line(refused.value, *failures)


@on("discord")
async def test_discord_channels_answer_to_mentions(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say("9", "not for the bot", guild_id="5")
        await platform.say("9", "from a bot", author=person("43", bot=True))
        await platform.say("9", "<@42> hello", guild_id="5", mentions=[ME])
        await platform.sees("9", "You said: hello")
        await platform.say("9", "and this?", guild_id="5")
        await platform.say("9", "<@42> and that?", guild_id="5", mentions=[ME])
        await platform.sees("9", "You said: hello", "You said: and that?")
        assert world.accepted == ["hello", "and that?"]


@on("slack")
async def test_slack_channels_answer_to_mentions(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        await platform.say("C9:9.001", "not for the bot", channel_type="channel")
        await platform.say("C9:9.001", "from a bot", bot_id="B9")
        await platform.say("C9:9.001", "changed", subtype="message_changed")
        await platform.send(platform.event("C9:9.001", "<@U42> is 1 < 2?", type="app_mention"))
        await platform.sees("C9:9.001", "You said: is 1 < 2?")
        await platform.say("C9:9.001", "and this?", channel_type="channel")
        await platform.send(platform.event("C9:9.001", "<@U42> and that?", type="app_mention"))
        await platform.sees("C9:9.001", "You said: is 1 < 2?", "You said: and that?")
        await platform.send(platform.event("C9:9.001", "<@U42> stop", type="app_mention"))
        await platform.sees("C9:9.001", "You said: is 1 < 2?", "You said: and that?", IDLE)
        assert world.accepted == ["is 1 < 2?", "and that?"]


@on("slack")
async def test_slack_hears_all_that_people_say(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        for number, kind in enumerate(("thread_broadcast", "me_message"), 1):
            await platform.say(f"D7:{number}.001", f"hello {number}", subtype=kind)
            await platform.sees(f"D7:{number}.001", f"You said: hello {number}")
        assert world.accepted == ["hello 1", "hello 2"]


@on("discord")
async def test_discord_says_of_a_forwarded_message_that_it_needs_words(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        forwarded = {
            "message": {
                "content": "sum this up",
                "type": 0,
                "timestamp": "2026-01-01T00:00:00+00:00",
                "edited_timestamp": None,
                "mentions": [],
                "mention_roles": [],
                "attachments": [],
                "embeds": [],
                "flags": 0,
            }
        }
        reference = {"type": 1, "message_id": "7", "channel_id": "9"}
        await platform.say("9", "", message_snapshots=[forwarded], message_reference=reference)
        await platform.sees("9", UNREADABLE)
        assert world.accepted == []


@on("slack")
async def test_slack_threads_are_conversations(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        for thread in ("D7:1.001", "D7:2.001"):
            await platform.say(thread, "hello")
            await platform.sees(thread, "You said: hello")
        await platform.say("D7:1.001", "again")
        await platform.sees("D7:1.001", "You said: hello", "You said: again")
        assert sorted(world.told.values()) == [["hello"], ["hello", "again"]]


@on("slack")
async def test_slack_events_that_come_again_are_heard_once(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        event = platform.event(platform.ada, "hello")
        assert [await platform.send(event) for _ in range(3)] == [200] * 3
        await platform.sees(platform.ada, "You said: hello")
        await asyncio.sleep(5)
        assert world.accepted == ["hello"]


@on("slack")
async def test_slack_events_that_are_not_slacks_are_refused(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (world, start):
        await start()
        event = platform.event(platform.ada, "hello")
        assert await platform.send(event, "another secret") == 401
        assert await platform.send(event, at=time.time() - 3600) == 401
        await asyncio.sleep(5)
        assert world.accepted == []


@pytest.mark.parametrize("is_away", [False, True])
@on("slack")
async def test_slack_is_asked_at_the_start_whether_it_takes_the_token(is_away: bool, platform: Any) -> None:
    platform.takes_token = False
    if is_away:
        platform.url = f"http://127.0.0.1:{unused_port()}"
    async with AsyncToolhouse("key") as toolhouse, SessionManager(toolhouse, "worker") as manager:
        with pytest.raises(slack_bot.SlackChat.failures) as refused:
            await platform.serve(manager)
    assert re.search("invalid_auth|Cannot connect", str(refused.value))
    await ends_in_one_line(refused.value, *slack_bot.SlackChat.failures)


async def ends_in_one_line(error: Exception, *failures: type[Exception]) -> None:
    """Look how a bot ends that fails."""

    async def main() -> None:
        raise error

    with pytest.raises(SystemExit, match=r"^The bot has stopped: [^\n]+$"):
        await asyncio.to_thread(run, main, *failures)


@on("discord")
async def test_a_gateway_of_discord_that_is_away_as_the_bot_starts_is_one_line(platform: Any) -> None:
    platform.takes_sockets = False
    async with AsyncToolhouse("key") as toolhouse, SessionManager(toolhouse, "worker") as manager:
        with pytest.raises(discord_bot.DiscordChat.failures) as refused:
            await platform.serve(manager)
    await ends_in_one_line(refused.value, *discord_bot.DiscordChat.failures)


@on("slack")
async def test_slack_bots_say_where_they_listen(
    platform: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.until(lambda: platform.events.replace("127.0.0.1", "localhost") in caplog.text)


@pytest.mark.parametrize(
    ("module", "missing"),
    [
        *product([telegram_bot, python_telegram_bot, discord_bot, slack_bot], ["AGENT_ID"]),
        (telegram_bot, "TELEGRAM_TOKEN"),
        (python_telegram_bot, "TELEGRAM_TOKEN"),
        (discord_bot, "DISCORD_TOKEN"),
        (slack_bot, "SLACK_BOT_TOKEN"),
        (slack_bot, "SLACK_SIGNING_SECRET"),
    ],
)
async def test_a_bot_says_what_is_to_be_set(module: Any, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.setenv(name, "x")
    monkeypatch.delenv(missing)
    with pytest.raises(SystemExit, match=f"^{missing} is not set; set it to "):
        await module.main()


@pytest.mark.parametrize(
    ("module", "settings", "reason"),
    [
        (telegram_bot, {"TOOLHOUSE_API_KEY": None}, "no API key: set the environment variable TOOLHOUSE_API_KEY"),
        (python_telegram_bot, {"TOOLHOUSE_API_KEY": None}, "set the environment variable TOOLHOUSE_API_KEY"),
        (python_telegram_bot, {"AGENT_ID": "a/b"}, "agent"),
        (telegram_bot, {"TELEGRAM_TOKEN": "x"}, "Token is invalid"),
        (discord_bot, {"TOOLHOUSE_API_KEY": "two words"}, "the API key holds spaces"),
        (slack_bot, {"AGENT_ID": "a/b"}, "agent"),
    ],
)
def test_what_keeps_a_bot_from_starting_is_one_line(
    module: Any, settings: dict[str, str | None], reason: str, tmp_path: Path
) -> None:
    given = {**os.environ, **dict.fromkeys(SETTINGS, "42:token"), "AGENT_ID": "a", "TOOLHOUSE_API_KEY": "k", **settings}
    environment = {name: value for name, value in given.items() if value is not None}
    command = [sys.executable, module.__file__]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("The bot has stopped: ")
    assert reason in line


def test_a_platform_that_is_away_as_a_bot_starts_is_one_line() -> None:
    async def main() -> None:
        raise ConnectionRefusedError

    with pytest.raises(SystemExit, match=r"^The bot has stopped: ConnectionRefusedError$"):
        run(main, OSError)
    with pytest.raises(ConnectionRefusedError):
        run(main)


@pytest.mark.parametrize(
    "module", [telegram_bot, python_telegram_bot, discord_bot, slack_bot], ids=lambda module: module.__name__
)
async def test_a_bot_is_put_together_from_the_environment(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    emulator = WorkersEmulator(api_key="key-of-the-bot")
    emulator.worker("my-worker")(echo)
    said = []

    async def serve(*args: Any, **kwargs: Any) -> None:
        (manager,) = [each for each in args if isinstance(each, SessionManager)]
        said.append((await manager.send("k", "hello")).text)

    async with emulator.serve() as server:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(module, "serve", serve)
        monkeypatch.setenv("TOOLHOUSE_BASE_URL", server.url)
        monkeypatch.setenv("TOOLHOUSE_API_KEY", "key-of-the-bot")
        monkeypatch.setenv("AGENT_ID", "my-worker")
        for name in SETTINGS[1:]:
            assert name in (module.__doc__ or "") or name.split("_")[0].lower() not in module.__name__
            monkeypatch.setenv(name, "42:token")
        await module.main()
    assert said == ["hello"]
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
    assert [path.suffix for path in tmp_path.iterdir()] == [".db"]
