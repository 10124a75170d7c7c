"""Memory, each contestant in a process of its own."""

from __future__ import annotations

from itertools import product
from statistics import median

from ..machine import in_child
from ..report import Row
from ..rounds import Figures, ratio
from .measure import Setting

TURNS = 1000
EVENTS = 1_000_000
HOW = {"resident": "rss", "allocated by Python": "allocated"}
OPENED = {"": 50, ", opened at once": TURNS}
MB = 1e6


def idle_turns(setting: Setting) -> list[Row]:
    """What an open turn takes that waits for its next event."""
    rows: list[Row] = []
    for (words, how), (opened, together) in product(HOW.items(), OPENED.items()):
        figures: Figures = {"floor": [], "ours": []}
        for _ in range(setting.rounds if setting.full else 1):
            for name, taken in figures.items():
                taken.append(in_child("memory", name, setting.url, TURNS, 0, how, together) / 1000)
        measure = f"memory of each of {TURNS:,} idle open turns, {words}{opened}"
        rows.append(
            Row(
                measure, "ours", median(figures["ours"]), "kB", "floor",
                median(figures["floor"]), ratio(figures, "ours", "floor"), 1.4,
            )
        )  # fmt: skip
    return rows


def long_turn(setting: Setting) -> list[Row]:
    """How much more a turn takes in its second half than in its first, beside the words that it keeps."""
    rows: list[Row] = []
    for words, how in HOW.items():
        growth = in_child("memory", "ours", setting.url, 1, EVENTS, how, 1)
        rows.append(Row(f"growth over {EVENTS:,} events beside the text, {words}", "ours", growth / MB, "MB", bar=1.0))
    return rows
