"""Whether words cost the same in every shape, with tools' calls and results among them."""

from __future__ import annotations

from statistics import median

from ..contestants import Contestant, floor, ours, registered
from ..plans import Plan
from ..report import Row
from ..rounds import cpu_of_each, ratio
from ..shapes import SHAPES
from .measure import Setting

FEW_TOOLS = 50
"""Of so many events one is a call, and one its result; the others are words."""
MANY_TOOLS = 4
"""The same where half of all are calls and results."""
SAME_PRICE = ("content", "delta", "token", "textDelta", "ai_sdk_5", "ag_ui", "unknown")
"""Shapes whose lines are about as short as those of ``text``, so that they may cost what that costs."""


def one_per_chunk(setting: Setting) -> list[Row]:
    """One event per HTTP chunk."""
    return _shapes("one event per chunk", 1, 1.35, setting)


def twenty_per_chunk(setting: Setting) -> list[Row]:
    """Twenty events per HTTP chunk."""
    return _shapes("20 events per chunk", 20, 2.3, setting)


def _shapes(how: str, per_chunk: int, bar: float, setting: Setting) -> list[Row]:
    count = 20_000 if setting.full else 5_000
    runs: dict[str, tuple[Contestant, Plan]] = {}
    for name, shape, tools in [*((name, name, FEW_TOOLS) for name in SHAPES), ("half tools", "text", MANY_TOOLS)]:
        plan = Plan("burst", count, per_chunk, tools=tools, shape=shape)
        client = registered if shape == "registered" else ours
        runs[name], runs[f"{name}, floor"] = (client, plan), (floor, plan)
    figures = setting.run(cpu_of_each(setting.url, runs, setting.rounds))

    def row(name: str, against: str, bar: float | None, label: str) -> Row:
        costs = median(figures[name]), median(figures[against])
        return Row(f"shapes, {how}", name, costs[0], "µs", label, costs[1], ratio(figures, name, against), bar)

    return [
        *(row(name, f"{name}, floor", bar if name != "registered" else None, "floor") for name in SHAPES),
        row("half tools", "half tools, floor", 2 * bar, "floor"),
        row("half tools", "text", 2, "text"),
        *(row(name, "text", 1.15, "text") for name in SAME_PRICE),
    ]
