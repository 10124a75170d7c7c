"""What people type on a terminal: the chat as it is recorded, and the page for whoever is on call."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.screen import Terminal
from toolhouse_async import AsyncToolhouse, SessionManager
from toolhouse_async.stores import SQLiteSessionStore
from toolhouse_async.testing import RunningEmulator, WorkerContext, WorkerEvent
from toolhouse_async.testing._events import BackgroundCall

from .blocks import Block, marked
from .setups import AGENT_ID, analyst
from .test_examples import REAL_JOB_SECONDS, check_output, environment

(CHAT,) = marked("chat")
(RECORDED,) = marked("recorded")
OVER = Path("over")
"""The job is over once this file is there."""
BOT = f"""
import asyncio
from toolhouse_async import AsyncToolhouse, SessionManager
from toolhouse_async.stores import SQLiteSessionStore

async def main():
    async with AsyncToolhouse() as toolhouse, SQLiteSessionStore("sessions.db") as store:
        async with SessionManager(toolhouse, {AGENT_ID!r}, store=store) as sessions:
            await sessions.send("telegram:41", "Only the outliers, as JSON")
            async with sessions.stream("telegram:42", "Analyze this CSV") as turn:
                async for event in turn:
                    print(type(event).__name__, flush=True)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def service_environment(emulator: RunningEmulator) -> dict[str, str]:
    home = str(Path.cwd())
    return environment(
        TOOLHOUSE_BASE_URL=emulator.url, TOOLHOUSE_API_KEY="key-of-the-example", HOME=home, XDG_STATE_HOME=""
    )


def typed(recorded: str) -> list[str]:
    """What somebody typed in a recorded chat: the keys of each message."""
    messages: list[str] = []
    is_typed = False
    for line in recorded.splitlines():
        if line.startswith("> "):
            messages.append(line[2:])
        elif is_typed and line.startswith("  "):
            messages[-1] += f"\x1b\r{line[2:]}"  # Alt-Enter
        is_typed = line.startswith("> ") or (is_typed and line.startswith("  "))
    return messages


def is_asked(text: str, times: int) -> bool:
    """Whether the prompt stands at the end of the screen, and is the one that many times."""
    return text.endswith("\n>") and text.count("\n>") == times


def test_the_chat_that_is_recorded(toolhouse_emulator: RunningEmulator) -> None:
    toolhouse_emulator.worker(AGENT_ID)(analyst(REAL_JOB_SECONDS))
    env = service_environment(toolhouse_emulator) | {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
    shown = Block(RECORDED.place, "text", "", output=RECORDED.code)
    with Terminal(["bash", "-c", f"exec {CHAT.code.strip()}"], env, 100) as terminal:
        messages = typed(RECORDED.code)
        for number, message in enumerate(messages, 1):
            terminal.until(lambda text, number=number: is_asked(text, number))  # type: ignore[misc]
            terminal.type(f"{message}\r")
        terminal.until(lambda text: is_asked(text, len(messages) + 1))
        check_output(shown, terminal.screen.text)
        terminal.type("\x04")
        assert terminal.ended() == 0
    assert Path("conversation.md").read_text().startswith("## user\n\nAnalyze this CSV\n")


async def until_over(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
    """A worker with one background job, which is over when the test says so."""

    async def job() -> str:
        while not await asyncio.to_thread(OVER.exists):
            await asyncio.sleep(0.05)
        return "described"

    async for event in analyst(0)(ctx):
        yield ctx.background(job) if isinstance(event, BackgroundCall) else event


@pytest.fixture
def killed_bot(toolhouse_emulator: RunningEmulator) -> dict[str, str]:
    """A bot that was killed while a job of its worker ran; the environment in which somebody looks after it."""
    toolhouse_emulator.worker(AGENT_ID)(until_over)
    env = service_environment(toolhouse_emulator)
    bot = subprocess.Popen([sys.executable, "-c", BOT], env=env, stdout=subprocess.PIPE, encoding="utf-8")
    with bot:
        assert bot.stdout is not None
        for line in bot.stdout:
            if line == "JobProgress\n":  # the store has the job by now
                break
        bot.kill()
    return env


def run(blocks: list[Block], env: dict[str, str], before: Callable[[Block], str] = lambda _: "") -> None:
    """Run blocks in one shell, and compare what each prints with what the page says."""
    mark = "-- the next block --"
    script = f"\necho '{mark}'\n".join(f"{before(block)}\n{block.code}" for block in blocks)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for block, printed in zip(blocks, done.stdout.split(f"{mark}\n"), strict=True):
        check_output(block, printed)


def sent(emulator: RunningEmulator) -> list[Any]:
    return [(each.method, each.json()["message"]) for each in emulator.accepted][1:]


def blocks_of(case: str) -> list[Block]:
    return [block for block in marked("operator") if block.argument == case]


def test_whoever_is_on_call_gets_it_going_again(
    killed_bot: dict[str, str], toolhouse_emulator: RunningEmulator
) -> None:
    run(blocks_of("restart"), killed_bot, lambda block: "touch over" if "--no-resume" in block.code else "")
    delivered: list[str] = []

    async def restart() -> None:
        async def deliver(key: str, answer: Any) -> None:
            delivered.append(f"{key} {answer.text}")

        async with (
            AsyncToolhouse("key", base_url=toolhouse_emulator.url) as toolhouse,
            SQLiteSessionStore("sessions.db") as store,
            SessionManager(toolhouse, AGENT_ID, store=store) as sessions,
        ):
            await sessions.resume_pending(deliver)

    asyncio.run(restart())
    assert delivered == ["telegram:42 Done: 344 rows, 3 outliers."]
    assert sent(toolhouse_emulator) == [("POST", "Analyze this CSV"), ("PUT", "")]


def test_without_a_bot_they_do_it_themselves(killed_bot: dict[str, str], toolhouse_emulator: RunningEmulator) -> None:
    before = len(toolhouse_emulator.requests)

    def end_the_job() -> None:
        """Once somebody waits for it, which is the second time that they look."""
        while len(toolhouse_emulator.requests) < before + 2 and not OVER.exists():
            time.sleep(0.02)
        OVER.touch()

    ending = threading.Thread(target=end_the_job)
    ending.start()
    try:
        run(blocks_of("alone"), killed_bot)
    finally:
        OVER.touch()
        ending.join()
    assert sent(toolhouse_emulator) == [("POST", "Analyze this CSV"), ("PUT", "")]


def test_no_block_is_left_out() -> None:
    assert {block.argument for block in marked("operator")} == {"restart", "alone"}
