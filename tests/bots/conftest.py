"""The platforms, and a clock that waits for SQLite."""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

BOTS = Path(__file__).parents[2] / "docs" / "examples" / "bots"
sys.path.insert(0, str(BOTS))  # where the bots find what they share
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning)
    from .discord import Discord
from .platform import Platform  # noqa: E402
from .slack import Slack  # noqa: E402
from .telegram import PythonTelegram, Telegram  # noqa: E402

sys.path.remove(str(BOTS))


@pytest.fixture(autouse=True)
def sqlite_takes_real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the virtual clock run in real time while SQLite's thread is at work."""
    for name in ("_connect", "_execute", "close"):
        monkeypatch.setattr(aiosqlite.Connection, name, _timed(getattr(aiosqlite.Connection, name)))


def _timed(method: Any) -> Any:
    async def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
        loop: Any = asyncio.get_running_loop()
        with loop.real_time():
            return await method(self, *args, **kwargs)

    return timed


@pytest.fixture(params=[Telegram, PythonTelegram, Discord, Slack], ids=lambda kind: kind.label or kind.name)
async def platform(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, loop: asyncio.AbstractEventLoop
) -> AsyncIterator[Platform]:
    """Each platform, served for the length of a test, and found to have been called no more often than it allows."""
    platform: Platform = request.param(monkeypatch)
    async with platform.running():
        yield platform
    platform.check_pace()
