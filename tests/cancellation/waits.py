"""Cancels an awaitable at each of its waits, which must leak nothing, and goes on with the session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from toolhouse_async.testing import EmulatorServer

from .checks import go_on, judge, was_told_once
from .stepping import How, Outcome, cancelled_at
from .world import SCENARIOS, World, answer_to, case_of

HOURS = 3600.0


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


async def every_wait(name: str, how_at: Callable[[int], How]) -> None:
    """Play a scenario once undisturbed, then once for each wait, cancelled there in the way that ``how_at`` says."""
    world = World()
    async with world.emulator.serve() as server:
        tasks = asyncio.all_tasks()
        whole = await play(world, server, name, how_at(0), 0)
        assert not whole.was_cancelled
        steps = range(1, whole.waits + 1)
        outcomes = await asyncio.gather(*(play(world, server, name, how_at(step), step) for step in steps))
        assert any(outcome.propagated for outcome in outcomes)
        for _ in range(100):
            if not server.connections:
                break
            await asyncio.sleep(0)
        assert server.connections == 0
        await asyncio.sleep(10)
        assert asyncio.all_tasks() == tasks
