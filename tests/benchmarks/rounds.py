"""Contestants measured in turn, round by round, so that what disturbs one disturbs its neighbours too."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from statistics import median

from .contestants import Consume, Contestant
from .plans import Plan

Figures = dict[str, list[float]]
"""For each contestant, one figure a round."""


async def cpu_per_event(
    url: str, contestants: Mapping[str, Contestant], plan: Plan, rounds: int, *, turns: int = 1
) -> Figures:
    """Microseconds of this process's CPU time for one event, ``turns`` turns being made in each round."""
    return await cpu_of_each(url, {name: (each, plan) for name, each in contestants.items()}, rounds, turns=turns)


async def cpu_of_each(url: str, runs: Mapping[str, tuple[Contestant, Plan]], rounds: int, *, turns: int = 1) -> Figures:
    """The same for contestants each of which has a plan of its own."""

    async def measure(consume: Consume, plan: Plan) -> float:
        began = time.process_time()
        for _ in range(turns):
            count = await consume(plan)
            assert count == plan.count, f"{count} of {plan.count} events"
        return (time.process_time() - began) / turns / plan.count * 1e6

    figures: Figures = {name: [] for name in runs}
    async with AsyncExitStack() as stack:
        consumes: dict[Contestant, Consume] = {}
        for contestant, plan in runs.values():
            if contestant not in consumes:
                consumes[contestant] = await stack.enter_async_context(contestant(url))
            assert await consumes[contestant](Plan("burst", 10, shape=plan.shape)) == 10, plan
            await measure(consumes[contestant], plan)
        gc.collect()
        gc.freeze()  # the modules of one contestant are no burden for the collections of another
        order = list(runs)
        for _ in range(rounds):
            for name in order:
                contestant, plan = runs[name]
                gc.collect()
                figures[name].append(await measure(consumes[contestant], plan))
            order.append(order.pop(0))  # nobody always follows the same neighbour
        gc.unfreeze()
    return figures


def ratio(figures: Figures, name: str, against: str) -> float:
    """The median of the ratios within each round."""
    return median(mine / theirs for mine, theirs in zip(figures[name], figures[against], strict=True))
