"""What the page on bots says of their limits, keys, commands and words is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from commands import COMMANDS
from discord_bot import DiscordChat, markdown
from slack_bot import SlackChat, mrkdwn
from telegram_bot import TelegramChat
from telegram_chat import html_of

from .conftest import BOTS
from .discord import Discord
from .slack import Slack
from .telegram import Telegram

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "bots.md"
TEXT = PAGE.read_text("utf-8")
PLATFORMS: list[Any] = [(TelegramChat, Telegram), (DiscordChat, Discord), (SlackChat, Slack)]


def row(heading: str) -> list[str]:
    """The cells of a row of the table of limits."""
    (found,) = re.findall(rf"^\| {re.escape(heading)} \| (.+) \|$", TEXT, re.MULTILINE)
    return str(found).split(" | ")


def test_the_limits_are_those_of_the_bots() -> None:
    assert row("longest message") == [str(chat.limit) for chat, _ in PLATFORMS]
    assert row("seconds between messages or edits") == [str(chat.pause) for chat, _ in PLATFORMS]
    assert row("typing is shown for") == [f"{chat.typing_lasts:.0f} s" for chat, _ in PLATFORMS]
    assert [chat.limit for chat, _ in PLATFORMS] == [platform.limit for _, platform in PLATFORMS]


@pytest.mark.parametrize("number", range(3))
def test_the_keys_are_those_of_the_bots(number: int) -> None:
    chat, platform = PLATFORMS[number]
    key = row("key")[number].strip("`")
    assert key.startswith(f"{platform.name}:")
    assert chat(None, key).scope in (key, platform.name)


@pytest.mark.parametrize("written", ["**bold**", "*italics*", "~~no~~", "`code`", "[text](https://…)", "- item"])
def test_answers_look_as_the_page_says(written: str) -> None:
    sign = "`` " if "`" in written else "`"
    cells = [
        re.sub(r"^(`+) ?(.+?) ?\1$", r"\2", cell).replace("\\|", "|") for cell in row(f"{sign}{written}{sign[::-1]}")
    ]
    assert cells == [html_of(written), markdown(written), mrkdwn(written)]


def test_the_commands_are_those_of_the_bots() -> None:
    assert set(re.findall(r"^\| `/(\w+)`", TEXT, re.MULTILINE)) == COMMANDS.keys()
    assert all(f"`{name}`" in TEXT for name in COMMANDS)


def test_every_file_is_on_the_page() -> None:
    files = {path.name for path in BOTS.glob("*.py")}
    assert set(re.findall(r"\{literalinclude\} \.\./examples/bots/(\w+\.py)", TEXT)) == files
    assert set(re.findall(r"\]\(\.\./examples/bots/(\w+\.py)\)", TEXT)) == files
