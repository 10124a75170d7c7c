"""CPU time per event and per short turn."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from ..contestants import OURS, Contestant, floor, others
from ..contestants import ours as our_client
from ..plans import Plan
from ..report import Row
from ..rounds import Figures, cpu_per_event, ratio
from .measure import Setting


def burst_1(setting: Setting) -> list[Row]:
    """One event per HTTP chunk, the server far ahead of the client."""
    bars = {"floor": 1.5, "langgraph-sdk": 1 / 5, "openai": 1 / 35}
    return _events("one event per chunk", Plan("burst", 20_000, 1), bars, setting)


def burst_20(setting: Setting) -> list[Row]:
    """Twenty events per HTTP chunk, the server far ahead of the client."""
    bars = {"floor": 2.7, "langgraph-sdk": 1 / 3.5, "openai": 1 / 60}
    return _events("20 events per chunk", Plan("burst", 20_000, 20), bars, setting)


def _events(measure: str, plan: Plan, bars: Mapping[str, float], setting: Setting) -> list[Row]:
    contestants = {"floor": floor, **OURS, **others()}
    figures = setting.run(cpu_per_event(setting.url, contestants, plan, setting.rounds))
    rows = [_row(measure, "ours", against, bar, figures) for against, bar in bars.items() if against in figures]
    rows += [_row(measure, name, "ours", 1.1, figures) for name in OURS if name != "ours"]
    return rows + [_row(measure, name, "floor", None, figures) for name in others()]


def live(setting: Setting) -> list[Row]:
    """One event every 0.3 ms, as live tokens come: each is read, decoded and consumed by itself."""
    plan = Plan("paced", 2000 if setting.full else 500, 1, 300)
    return _ours("one event every 0.3 ms", plan, 1.3, setting)


def short_turn(setting: Setting) -> list[Row]:
    """A turn of three events on a connection that is kept, one after the other."""
    figures = _measured(Plan("burst", 3), setting, turns=300)
    for of_one in figures.values():
        of_one[:] = [figure * 3 for figure in of_one]
    return [_row("one short turn", "ours", "floor", 1.25, figures)]


def _ours(measure: str, plan: Plan, bar: float, setting: Setting) -> list[Row]:
    return [_row(measure, "ours", "floor", bar, _measured(plan, setting))]


def _measured(plan: Plan, setting: Setting, turns: int = 1) -> Figures:
    contestants: dict[str, Contestant] = {"floor": floor, "ours": our_client}
    return setting.run(cpu_per_event(setting.url, contestants, plan, setting.rounds, turns=turns))


def _row(measure: str, name: str, against: str, bar: float | None, figures: Figures) -> Row:
    return Row(
        measure, name, median(figures[name]), "µs", against, median(figures[against]),
        ratio(figures, name, against), bar,
    )  # fmt: skip
