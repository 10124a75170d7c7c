"""Processes that run turns in a hub on a Redis server, killed at any moment: readers elsewhere get the truth."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.redis_server import RedisServer
from toolhouse_async import (
    AsyncToolhouse,
    OutcomeUnknownError,
    RecoveryPolicy,
    StreamInterruptedError,
    TextDelta,
    ToolhouseError,
    TurnCompleted,
)
from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.web import RedisTurnHub

from .hub_process import LEASE

REAL_TIME = True

AGENT = "worker"
WORDS = 100
ROOT = Path(__file__).parents[2]
TURNS = 20


class Scene:
    """A service, a hub, and processes that run turns in another hub on the same server."""

    def __init__(self, workers: str, redis: str, hub: RedisTurnHub, prefix: str) -> None:
        self._workers = workers
        self._redis = redis
        self._prefix = prefix
        self.hub = hub

    @asynccontextmanager
    async def process(self, name: str, message: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A process that has started a turn."""
        settings = {
            "workers": self._workers,
            "redis": self._redis,
            "prefix": self._prefix,
            "agent": AGENT,
            "name": name,
            "message": message,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.crash.hub_process", json.dumps(settings), cwd=ROOT, stdout=-1
        )
        try:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"started\n"
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@asynccontextmanager
async def scene(redis_server: RedisServer) -> AsyncIterator[tuple[Scene, AsyncToolhouse]]:
    emulator = WorkersEmulator()

    @emulator.worker(AGENT)
    async def speak(ctx: Any) -> Any:
        for number in range(WORDS):
            yield ctx.text(f"{number} ")
            await asyncio.sleep(0.01)

    prefix = uuid4().hex
    recovery = RecoveryPolicy(quiet=0.5, deadline=30, absence=1)
    async with (
        emulator.serve() as server,
        AsyncToolhouse("", base_url=server.url, recovery=recovery) as client,
        RedisTurnHub(redis_server.url, prefix=prefix, lease=LEASE) as hub,
    ):
        yield Scene(server.url, redis_server.url, hub, prefix), client


WHOLE = "".join(f"{number} " for number in range(WORDS))


async def read(turn: Any, after: str | None = None) -> tuple[str, Any]:
    """The words of a turn, and how it ended."""
    said, end = "", None
    try:
        async for event in turn.follow(after):
            if isinstance(event, TextDelta):
                said += event.text
            end = event
    except ToolhouseError as error:
        end = error
    return said, end


async def test_a_reader_in_another_process(redis_server: RedisServer) -> None:
    async with scene(redis_server) as (scene_, _), scene_.process("k", "hello"):
        turn: Any = await scene_.hub.get("k")
        said, end = await read(turn)
        assert said == WHOLE
        assert isinstance(end, TurnCompleted)
        assert (await turn.result()).text == WHOLE
        assert turn.note == "hello"


@pytest.mark.timeout(170)
async def test_processes_killed_at_any_moment(redis_server: RedisServer) -> None:
    chance = random.Random(7)
    async with scene(redis_server) as (scene_, client):
        limit = asyncio.Semaphore(4)

        async def one(number: int) -> str:
            name = f"k{number}"
            async with limit, scene_.process(name, f"message {number}") as process:
                turn: Any = await scene_.hub.get(name)
                reading = asyncio.ensure_future(read(turn))
                await asyncio.sleep(chance.uniform(0, 1.2))
                process.kill()
                said, end = await reading
            assert WHOLE.startswith(said)
            if isinstance(end, TurnCompleted):
                assert said == WHOLE
                return "whole"
            again: Any = await scene_.hub.get(name)
            assert type(again.error) is type(end)
            if isinstance(end, OutcomeUnknownError):
                return "unknown"
            assert isinstance(end, StreamInterruptedError)
            assert said
            result = await client.recover(again.agent_id, again.run_id, again.note)
            assert result.text == WHOLE
            return "recovered"

        ends = await asyncio.gather(*map(one, range(TURNS)))
        assert "recovered" in ends
