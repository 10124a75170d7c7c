"""Cancels awaitables between two passes of the event loop, also while tasks of the library's own are at work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from toolhouse_async.testing import EmulatorServer

from .checks import go_on, judge, was_told_once
from .stepping import Outcome, TickingLoop
from .world import HELLO, SCENARIOS, WORDS, World, answer_to, case_of

STOPPED = 5
"""Passes in which a cancelled task ends at the latest, where it has nothing to wait for."""


async def cancelled_in(pass_: int, *tasks: asyncio.Task[Any]) -> int:
    """Cancel ``tasks`` before the ``pass_``-th pass of the loop from now; how many passes they took in all."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, TickingLoop)
    passes = 0

    def on_tick() -> bool:
        nonlocal passes
        passes += 1
        if passes == pass_:
            for task in tasks:
                task.cancel()
            return True
        return False

    loop.on_tick = on_tick
    try:
        await asyncio.wait(tasks)
    finally:
        loop.on_tick = None
    return passes


def outcome_of(task: asyncio.Task[Any]) -> Outcome:
    if task.cancelled():
        return Outcome(was_cancelled=True, propagated=True)
    return Outcome(error=task.exception(), value=None if task.exception() else task.result())


async def play(world: World, server: EmulatorServer, name: str, pass_: int) -> int:
    scenario = SCENARIOS[name]
    async with asyncio.timeout(3600), case_of(world, server, f"{name}-{pass_}", **scenario.settings) as case:
        await scenario.prepare(case)
        task = asyncio.ensure_future(scenario.act(case))
        passes = await cancelled_in(pass_, task)
        outcome = outcome_of(task)
        judge(scenario, outcome)
        if task.cancelled():
            assert passes <= pass_ + STOPPED
        if scenario.goes_on:
            await go_on(scenario, case, outcome, settles=bool(pass_ % 2))
        await asyncio.gather(*case.others)
        was_told_once(case)
    return passes


async def every_pass(play: Callable[[World, EmulatorServer, int], Awaitable[int]], stride: int) -> None:
    """Play once undisturbed, then once for each pass that this took, or for each second, each third, … of them."""
    world = World()
    async with world.emulator.serve() as server:
        passes = await play(world, server, 0)
        assert passes > 10
        for pass_ in range(1, 1 + passes, stride):
            await play(world, server, pass_)
        await asyncio.sleep(10)
        assert server.connections == 0


async def one_alone(name: str, stride: int = 1) -> None:
    """Cancel the awaitable of a scenario, and go on with its session."""
    await every_pass(lambda world, server, pass_: play(world, server, name, pass_), stride)


async def two_together(who: str, stride: int = 1) -> None:
    """Cancel who waits for a job, or one of two that wait for it."""

    async def played(world: World, server: EmulatorServer, pass_: int) -> int:
        async with asyncio.timeout(3600), case_of(world, server, f"{who}-{pass_}") as case:
            await case.greet()
            await case.session.send(WORDS, background="detach")
            tasks = [asyncio.ensure_future(case.session.wait_for_job().result()) for _ in range(2)]
            cancelled = {"first": tasks[:1], "second": tasks[1:], "both": tasks}[who]
            passes = await cancelled_in(pass_, *cancelled)
            for task in tasks:
                if task in cancelled:
                    await asyncio.wait([task])
                if not task.cancelled():
                    assert (await task).text == "done."
            assert case.heard in ([HELLO, WORDS, ""], [HELLO, WORDS])
            assert who == "both" or "" in case.heard
            assert (await case.session.send("after")).text == answer_to("after")
        return passes

    await every_pass(played, stride)
