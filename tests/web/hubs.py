"""Hubs of each kind, for tests of what they have in common."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
import uvloop

from tests.support.redis_server import RedisServer
from toolhouse_async import AsyncToolhouse, PollingPolicy, RecoveryPolicy
from toolhouse_async.web import RedisTurnHub, TurnHub

from .support import World, world_and_client

LOOPS = {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
KINDS = ("memory", "redis", "elsewhere")
"""A hub in memory; one on a server; and one on a server that finds what another one runs, as in two processes."""

QUICK: dict[str, Any] = {
    "polling": PollingPolicy(min_interval=0.02, max_interval=0.05, jitter=0),
    "recovery": RecoveryPolicy(quiet=0.05, deadline=20, absence=0.05),
}


@pytest.fixture(scope="session", autouse=True)
def warm_loops() -> None:
    """Let each kind of loop open what it keeps for the life of the process."""
    for each in LOOPS.values():
        with asyncio.Runner(loop_factory=each) as runner:
            runner.run(asyncio.sleep(0))


@pytest.fixture(scope="module", params=LOOPS.values(), ids=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The kinds of loop, in real time."""
    return "asyncio", {"loop_factory": request.param}


class Hub:
    """A hub, or two that know the same turns, with every method awaited.

    Attributes:
        near: The one that runs turns.
        far: The one that finds them.
    """

    def __init__(self, near: Any, far: Any) -> None:
        self.near = near
        self.far = far

    async def start(self, name: str, turn: Any, **options: Any) -> Any:
        """Run a turn, and find it as the other hub does."""
        running = await settled(self.near.start(name, turn, **options))
        if self.near is self.far:
            return running
        found = await self.far.get(name)
        assert found.id == running.id
        return found

    async def get(self, name: str) -> Any:
        return await settled(self.far.get(name))

    async def forget(self, name: str) -> None:
        await settled(self.far.forget(name))


async def settled(value: Any) -> Any:
    """What a method returns, or what comes of awaiting that."""
    return await value if inspect.isawaitable(value) else value


@asynccontextmanager
async def hubs(
    kind: str, server: RedisServer | None, **options: Any
) -> AsyncIterator[tuple[World, AsyncToolhouse, Hub]]:
    """A world, a client, and a hub of a kind."""
    async with world_and_client(**QUICK) as (world, client):
        if kind == "memory":
            async with TurnHub(**options) as hub:
                yield world, client, Hub(hub, hub)
            return
        assert server is not None
        options["prefix"] = uuid4().hex
        async with RedisTurnHub(server.url, **options) as near:
            if kind == "redis":
                yield world, client, Hub(near, near)
                return
            async with RedisTurnHub(server.url, **options) as far:
                yield world, client, Hub(near, far)


async def until(condition: Any) -> None:
    """Wait until something is so; a test that waits for ever is stopped by its timeout."""
    while not await settled(condition()):
        await asyncio.sleep(0.01)
