"""What the tests of frameworks of agents share: a worker, and its tool as each framework is given it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.web.support import AGENT, World, world_and_client
from toolhouse_async.tools import as_tool

NAME = "ask_analyst"
DESCRIPTION = "Analyses tables. Ask it about numbers."
MESSAGE = "What to say to the worker: one message with all that it needs to know."
BOOKING = "Book a table"


@asynccontextmanager
async def tool_of_a_worker(**options: Any) -> AsyncIterator[tuple[World, Any]]:
    """The emulator, and the function."""
    async with world_and_client() as (world, client):
        yield world, as_tool(client, AGENT, name=NAME, description=DESCRIPTION, **options)


def lose_the_answer(world: World) -> None:
    """Let the service take a message whose answer then fails."""
    world.emulator.faults.add(method="POST", status=502, accept=True)


def check_told(world: World, told: str) -> None:
    """The model was told of it, and the message was sent once."""
    assert "Do not send it again" in told
    assert world.accepted == [BOOKING]
