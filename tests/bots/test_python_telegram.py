"""The bot with python-telegram-bot as a program of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest
import python_telegram_bot
from conversations import CLOSING, COMPUTING

from tests.support.answers import unused_port

from . import support
from .support import AGENT, World
from .telegram import TOKEN, PythonTelegram

PROGRAM = """
import runpy, sys
from telegram.ext import Application
builder = Application.builder
Application.builder = staticmethod(lambda: builder().base_url(sys.argv[2] + "/bot"))
runpy.run_path(sys.argv[1], run_name="__main__")
"""
"""The bot, with the stand-in for Telegram."""
HERE = pytest.mark.parametrize("platform", [PythonTelegram], indirect=True, ids=["python-telegram"])


async def start(folder: Path, telegram: str, service: str = "http://127.0.0.1:1") -> Process:
    """Start the bot."""
    given = {"AGENT_ID": AGENT, "TELEGRAM_TOKEN": TOKEN, "TOOLHOUSE_API_KEY": "key", "TOOLHOUSE_BASE_URL": service}
    command = [sys.executable, "-c", PROGRAM, python_telegram_bot.__file__, telegram]
    environment = {**os.environ, **given, "PYTHONPATH": str(Path(python_telegram_bot.__file__).parent)}
    return await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment, stderr=PIPE)


async def end(process: Process) -> str:
    """Stop the bot as its supervisor does; return its log."""
    process.terminate()
    _, log = await process.communicate()
    assert process.returncode == 0
    return log.decode()


@HERE
async def test_a_restart_in_mid_job(platform: Any, tmp_path: Path) -> None:
    world = World()
    async with world.emulator.serve() as server:
        process = await start(tmp_path, platform.url, server.url)
        await platform.hears()
        await platform.say(platform.ada, "job")
        await platform.sees(platform.ada, "Let me see.", COMPUTING)
        log = await end(process)
        seen = ["Let me see.", CLOSING["computing"]]
        await platform.sees(platform.ada, *seen)
        await asyncio.sleep(support.JOB)
        process = await start(tmp_path, platform.url, server.url)
        await platform.sees(platform.ada, *seen, "Computed: 42.")
        log += await end(process)
        assert list(world.told.values()) == [["job", ""]]
        assert TOKEN.partition(":")[2] not in log
        assert "Warning" not in log
        assert "Traceback" not in log


@HERE
@pytest.mark.parametrize("name", ["away", "token"])
async def test_a_telegram_that_lets_no_bot_start_is_told_in_the_last_line(
    platform: Any, tmp_path: Path, name: str
) -> None:
    platform.takes_token = False
    process = await start(tmp_path, platform.url if name == "token" else f"http://127.0.0.1:{unused_port()}")
    _, log = await process.communicate()
    assert process.returncode == 1
    assert TOKEN.partition(":")[2] not in log.decode()
    (line,) = log.decode().splitlines()
    assert line.startswith("The bot has stopped: ")


@HERE
async def test_a_second_signal_to_stop_loses_no_answer(platform: Any, tmp_path: Path) -> None:
    world = World()
    async with world.emulator.serve() as server:
        process = await start(tmp_path, platform.url, server.url)
        await platform.hears()
        platform.is_silent = True
        await platform.say(platform.ada, "hello")
        await platform.until(lambda: platform.unanswered > 0)
        process.send_signal(signal.SIGINT)
        await platform.until(lambda: platform.times("", "last poll") != [])
        process.send_signal(signal.SIGINT)
        ended = asyncio.create_task(process.communicate())
        await platform.until(lambda: platform.unanswered > 1 or ended.done())  # it tries again after five seconds
        assert not ended.done()
        platform.is_silent = False
        await platform.sees(platform.ada, "You said: hello")
        _, log = await ended
        assert process.returncode == 0
        assert b"Traceback" not in log
