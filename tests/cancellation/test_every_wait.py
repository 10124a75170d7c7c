"""Whatever a public awaitable waits for, cancelling it there leaks nothing, and the session can go on."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import pytest

from tests.support.virtual_time import CoarseTimeLoop
from toolhouse_async.testing import EmulatorServer

from .checks import go_on, judge, was_told_once
from .stepping import How, Outcome, cancelled_at
from .world import SCENARIOS, World, answer_to, case_of

HOURS = 3600.0


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": CoarseTimeLoop}


async def play(world: World, server: EmulatorServer, name: str, how: How, step: int) -> Outcome:
    """Play a scenario, cancel it at one of its waits (0: at none), and go on with the session."""
    scenario = SCENARIOS[name]
    async with (
        asyncio.timeout(HOURS),
        case_of(world, server, f"{name}-{how}-{step}", **scenario.settings) as case,
    ):
        await scenario.prepare(case)

        async def act() -> Any:
            return await scenario.act(case)

        outcome = await cancelled_at(step, how, act())
        judge(scenario, outcome)
        if scenario.goes_on:
            await go_on(scenario, case, outcome, settles=bool(step % 2))
        for other in await asyncio.gather(*case.others):
            assert other.text == answer_to("other")
        await asyncio.sleep(10)  # whatever is still on its way to the service
        was_told_once(case)
    return outcome


@pytest.mark.parametrize("how", get_args(How))
@pytest.mark.parametrize("name", SCENARIOS)
async def test_every_wait(name: str, how: How) -> None:
    world = World()
    async with world.emulator.serve() as server:
        tasks = asyncio.all_tasks()
        whole = await play(world, server, name, how, 0)
        assert not whole.was_cancelled
        outcomes = await asyncio.gather(*(play(world, server, name, how, step) for step in range(1, whole.waits + 1)))
        assert any(outcome.propagated for outcome in outcomes)
        for _ in range(100):
            if not server.connections:
                break
            await asyncio.sleep(0)
        assert server.connections == 0
        await asyncio.sleep(10)
        assert asyncio.all_tasks() == tasks
