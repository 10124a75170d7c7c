"""A worker for the bots, and processes that run one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.stores import Troubled
from toolhouse_async import AsyncToolhouse, ErrorEvent, SessionManager
from toolhouse_async.stores import Reading, SQLiteSessionStore
from toolhouse_async.testing import EmulatorServer, WorkersEmulator

from .platform import Platform

AGENT = "worker"
JOB = 100.0
"""Seconds of a job."""
COMPUTED = "Computed: {}. "
"""What the worker says of its result."""
BLANK = " \n"
"""An answer in which nobody sees anything."""
WORDS = [f"word{number} " for number in range(60)]
CODE = "```python\n" + "\n".join(f"print({number})" for number in range(500)) + "\n```"

FORMATTED = [
    *(
        "# The **pla",
        "n**\n\nSome **bold wo",
        "rds**, _ital",
        "ics_, `a < b` and [a li",
        "nk](https://x.example/?a=1&b",
        "=2).\n",
    ),
    *(
        "\n- one <!channel> <@1> @every",
        "one\n- two\n\n```py",
        "thon\nif a < b:",
        "\n    pass\n",
        "``",
        "`\nDone & <b>so</b>",
    ),
]
"""Markdown, in pieces that leave it half open; it would mention everybody."""


class World:
    """An emulator with a worker that does as it is told.

    Attributes:
        told: The messages that were accepted, by run, in order.
    """

    def __init__(self) -> None:
        self.emulator = WorkersEmulator()
        self.emulator.worker(AGENT)(self._worker)
        self.told: dict[str, list[str | None]] = {}

    @property
    def accepted(self) -> list[str | None]:
        """All accepted messages, those that resume left out."""
        return [message for told in self.told.values() for message in told if message]

    async def _worker(self, ctx: Any) -> AsyncIterator[Any]:  # noqa: C901 - one case a word
        self.told.setdefault(ctx.run_id, []).append(ctx.message)
        if ctx.job_result is not None:
            yield ctx.text(COMPUTED.format(ctx.job_result))
        match ctx.message:
            case "slow":
                for word in WORDS:
                    yield ctx.text(word)
                    await asyncio.sleep(0.2)
            case "links":
                for number in range(5):
                    yield ctx.text(f"https://attacker.example/?told={number} ")
                    await asyncio.sleep(2)
            case "job":
                yield ctx.text("Let me see. ")
                yield ctx.tool_call("code_interpreter", {"code": "6 * 7"})
                yield ctx.background(self._compute)
            case "quick job":
                yield ctx.text("Let me see. ")
                yield ctx.tool_call("code_interpreter", {"code": "6 * 7"})
                yield ctx.background(lambda: 42)
            case "long":
                yield ctx.text("Here it is. " + "A sentence of some words. " * 300)
            case "code":
                yield ctx.text("Some code:\n\n" + "Words before it. " * 60 + "\n\n" + CODE + "\n\nThat is all.")
            case "formatted":
                for piece in FORMATTED:
                    yield ctx.text(piece)
                    await asyncio.sleep(2)
            case "fail":
                yield ErrorEvent("secret of the worker", "E42")
            case "nothing":
                yield ctx.tool_result(ctx.tool_call("noop"), "x")
            case "blank":
                yield ctx.text(BLANK)
            case "never":  # the message is kept, and nothing follows it
                raise RuntimeError("the worker has failed")
            case "" | None:
                pass
            case message:
                yield ctx.text(f"You said: {message}")

    async def _compute(self) -> int:
        await asyncio.sleep(JOB)
        return 42


class Store(Troubled):
    """A store that may be cut off, with the clock of the event loop."""

    async def read(self, key: str) -> Reading:
        value, _ = await super().read(key)
        return Reading(value, asyncio.get_running_loop().time())


class Process:
    """A bot in a process of its own.

    Attributes:
        client: Its client.
        manager: Its manager.
        store: Its way to the store.
        running: The task that is the bot.
    """

    def __init__(
        self, platform: Platform, server: EmulatorServer, path: Path, *, lease: float = 30, **options: Any
    ) -> None:
        self._platform = platform
        self.store = Store(SQLiteSessionStore(path))
        self.client = AsyncToolhouse("key-of-the-bot", base_url=server.url, **options)
        self.manager = SessionManager(self.client, AGENT, store=self.store, lease=lease)
        self.running = asyncio.create_task(platform.serve(self.manager))

    async def kill(self) -> None:
        """Stop it where it is: nothing more that it says or writes gets through."""
        self.store.down = self._platform.is_cut = True
        await self.stop()
        self._platform.is_cut = False

    async def stop(self) -> None:
        """Stop it as its supervisor does."""
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait({self.running})
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
        await self.manager.aclose()
        await self.client.aclose()
        await self.store.aclose()


@asynccontextmanager
async def bots(platform: Platform, folder: Path, **options: Any) -> AsyncIterator[Any]:
    """A world, and a function that starts a process; all that run are stopped at the end."""
    world = World()
    started: list[Process] = []
    async with world.emulator.serve() as server:

        async def start(*, is_store_down: bool = False) -> Process:
            started.append(Process(platform, server, folder / "bot.db", **options))
            started[-1].store.down = is_store_down
            await platform.hears()
            started[-1].store.down = False
            return started[-1]

        try:
            yield world, start
        finally:
            for process in started:
                if not process.running.done():
                    await process.stop()
                process.running.result()
