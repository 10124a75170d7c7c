"""Very many turns at once."""

from __future__ import annotations

import asyncio
import gc
import time
from statistics import median

from ..contestants import Contestant, floor, ours
from ..plans import Plan
from ..report import Row
from ..rounds import Figures, ratio
from .measure import Setting

TURNS = 1000
EVENTS = 200
PLANS = {
    "bursting": Plan("burst", EVENTS, 1),
    "10 events every 50 ms": Plan("drip", EVENTS, 10, 50_000),
}


async def _finishes(url: str, contestant: Contestant, plan: Plan, turns: int) -> list[float]:
    """When each of ``turns`` turns has been read to its end, in seconds after all were begun."""
    finishes: list[float] = []
    async with contestant(url) as consume:
        began = time.perf_counter()

        async def turn() -> None:
            count = await consume(plan)
            assert count == plan.count, f"{count} of {plan.count} events"
            finishes.append(time.perf_counter() - began)

        await asyncio.gather(*(turn() for _ in range(turns)))
    return finishes


def at_once(setting: Setting) -> list[Row]:
    """A thousand turns begun together, each on a connection of its own."""
    rows: list[Row] = []
    for how, plan in PLANS.items():
        cpu: Figures = {"floor": [], "ours": []}
        finished: dict[str, Figures] = {name: {"median": [], "slowest": []} for name in ("ours", "floor")}
        for number in range(-1, setting.rounds):
            for name, contestant in (("floor", floor), ("ours", ours)):
                gc.collect()
                began = time.process_time()
                finishes = asyncio.run(_finishes(setting.url, contestant, plan, TURNS))
                if number >= 0:
                    cpu[name].append((time.process_time() - began) / TURNS / EVENTS * 1e6)
                    finished[name]["median"].append(median(finishes))
                    finished[name]["slowest"].append(max(finishes))
        measure = f"{TURNS:,} turns at once, {how}"
        rows.append(
            Row(
                f"{measure}: CPU per event", "ours", median(cpu["ours"]), "µs", "floor", median(cpu["floor"]),
                ratio(cpu, "ours", "floor"), 1.5,
            )
        )  # fmt: skip
        for name, figures in finished.items():
            rows.append(
                Row(
                    f"{measure}: finish, {name}", "slowest", median(figures["slowest"]), "s",
                    "median", median(figures["median"]), ratio(figures, "slowest", "median"),
                    1.25 if name == "ours" else None,
                )
            )  # fmt: skip
    return rows
