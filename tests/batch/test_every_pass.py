"""A batch, cancelled between any two passes of the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.cancellation.passes import cancelled_in
from tests.cancellation.stepping import TickingLoop
from toolhouse_async.stores import MemorySessionStore

from .support import AGENT, World, all_of, client_of, texts

ROWS = ["one", "job two", "tool three"]


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": TickingLoop}


async def cancelled(step: int) -> int:
    """Cancel a batch at one of the loop's passes, and go on with it; how many there were."""
    world, store = World(), MemorySessionStore()
    async with asyncio.timeout(3600), world.emulator.serve() as server, client_of(server) as client:
        batch = client.batch(AGENT, ROWS, store=store, name="b", concurrency=2)
        task = asyncio.ensure_future(all_of(batch))
        count = await cancelled_in(step, task)
        if not task.cancelled() and task.exception() is not None:
            raise task.exception()  # type: ignore[misc]
        assert not batch._engine.tasks
        assert not batch._engine.shared.house.tasks
        assert not batch._engine.shared.house.live
        assert not batch._engine.shared.house.gates._gates
        began = asyncio.get_running_loop().time()
        items = await all_of(client.batch(AGENT, ROWS, store=store, name="b"))
        assert asyncio.get_running_loop().time() - began < 25  # nobody has to wait for a lease
    assert server.connections == 0
    assert world.twice == []
    assert world.resumes <= 1
    for item, text in zip(items, texts(items), strict=True):
        if item.status != "unknown":
            assert world.told[item.row] == 1
            assert text == f"you said {item.row}" + "[computed]" * (item.row == "job two")
    return count


async def test_every_pass() -> None:
    passes = await cancelled(0)
    assert passes > 50
    for step in range(1, passes + 1):
        await cancelled(step)
