"""Contestants measured in turn, round by round, so that what disturbs one disturbs its neighbours too."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from statistics import median

from .contestants import Contestant
from .plans import Plan

Figures = dict[str, list[float]]
"""For each contestant, one figure a round."""


async def cpu_per_event(
    url: str, contestants: Mapping[str, Contestant], plan: Plan, rounds: int, *, turns: int = 1
) -> Figures:
    """Microseconds of this process's CPU time for one event, ``turns`` turns being made in each round."""

    async def measure(consume: Callable[[Plan], Awaitable[int]]) -> float:
        began = time.process_time()
        for _ in range(turns):
            count = await consume(plan)
            assert count == plan.count, f"{count} of {plan.count} events"
        return (time.process_time() - began) / turns / plan.count * 1e6

    figures: Figures = {name: [] for name in contestants}
    async with AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(contestant(url)) for name, contestant in contestants.items()}
        for name, consume in clients.items():
            assert await consume(Plan("burst", 10)) == 10, name
            await measure(consume)
        gc.collect()
        gc.freeze()  # the modules of one contestant are no burden for the collections of another
        order = list(clients)
        for _ in range(rounds):
            for name in order:
                gc.collect()
                figures[name].append(await measure(clients[name]))
            order.append(order.pop(0))  # nobody always follows the same neighbour
        gc.unfreeze()
    return figures


def ratio(figures: Figures, name: str, against: str) -> float:
    """The median of the ratios within each round."""
    return median(mine / theirs for mine, theirs in zip(figures[name], figures[against], strict=True))
