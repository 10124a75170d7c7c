"""Draw the figures of a run: ``python -m tests.benchmarks.charts FIGURES.json FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import orjson
from matplotlib.axes import Axes
from matplotlib.figure import Figure

OURS = "#e4572e"
COLOURS = {"ours": OURS, "text_stream": OURS, "send()": OURS}
OTHERS = "#7a8ca3"
LABELS = {
    "ours": "ours: async for",
    "text_stream": "ours: text_stream",
    "send()": "ours: send()",
    "floor": "aiohttp, orjson",
}
STYLE = {
    "svg.hashsalt": "toolhouse_async",  # so that the same figures give the same file
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), "#808080"),
}
"""Colours that can be read on white and on black."""


def bars(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """One bar for each contestant of a measure, the dearest at the top."""
    costs = {row["contestant"]: row["figure"] for row in rows} | {row["against"]: row["other"] for row in rows}
    names = sorted(costs, key=lambda name: costs[name])
    drawn = axes.barh(
        [LABELS.get(name, name) for name in names],
        [costs[name] for name in names],
        color=[COLOURS.get(name, OTHERS) for name in names],
    )
    axes.bar_label(drawn, [f"{costs[name]:,.3g}" for name in names], padding=3)
    axes.set_xscale("log")
    axes.set_xlabel("CPU time for one event, µs")


def shapes(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """One bar for each shape, the dearest at the top, and what the floor takes for the same lines."""
    rows = sorted(rows, key=lambda row: row["figure"])
    names = [row["contestant"] for row in rows]
    drawn = axes.barh(names, [row["figure"] for row in rows], color=OURS, label="ours")
    axes.barh(names, [row["other"] for row in rows], color=OTHERS, label=LABELS["floor"], height=0.35)
    axes.bar_label(drawn, [f"{row['ratio']:.2f} ×" for row in rows], padding=3)
    axes.set_xlabel("CPU time for one event, µs")
    axes.legend(frameon=False, loc="lower right")


def lines(axes: Axes, curve: dict[str, Any]) -> None:
    """One line for each contestant."""
    for name, values in curve["lines"].items():
        axes.plot(curve["xs"], values, marker="o", label=name, color=COLOURS.get(name, OTHERS))
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(curve["x_label"])
    axes.set_ylabel(curve["y_label"])
    axes.legend(frameon=False)


def draw(figures: dict[str, Any], folder: Path) -> list[Path]:
    """Draw every chart that the figures have something for; return the files."""
    made: list[Path] = []
    for name, measure in (("events-1", "one event per chunk"), ("events-20", "20 events per chunk")):
        if rows := [row for row in figures["rows"] if row["measure"] == measure]:
            made.append(_saved(folder / f"{name}.svg", lambda axes, rows=rows: bars(axes, rows)))
    for name, measure in (("shapes-1", "one event per chunk"), ("shapes-20", "20 events per chunk")):
        rows = [row for row in figures["rows"] if row["measure"] == f"shapes, {measure}" and row["against"] == "floor"]
        if rows:
            made.append(_saved(folder / f"{name}.svg", lambda axes, rows=rows: shapes(axes, rows), height=5))
    for curve in figures["curves"]:
        made.append(_saved(folder / f"{curve['name']}.svg", lambda axes, curve=curve: lines(axes, curve)))
    return made


def _saved(file: Path, plot: Any, *, height: float = 3.5) -> Path:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, height), layout="constrained")
        plot(figure.subplots())
        figure.savefig(file, transparent=True, metadata={"Date": None})
    return file


if __name__ == "__main__":
    for each in draw(orjson.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2])):
        print(each)
