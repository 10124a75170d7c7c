"""The course of a turn as a diagram, drawn from the library's own table.

Every state is a column and every transition a row: an arrow from the state that it leaves to the one
that it leads to. The order of rows is that of the table, so nothing is placed by hand and nothing can overlap,
whatever the table comes to hold. The names of the states stand in two rows, so that each has room for its words at a
size that can be read.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from toolhouse_async._turn.table import Signal, State

COLUMN: Final = 72
ROW: Final = 36
MARGIN: Final = 6
GAP: Final = 8
"""Between the boxes of two states, and from words to the edge of their box."""
FONT: Final = 13
LINE: Final = 16
LETTER: Final = 0.65 * FONT
"""The mean width of a letter; words of the fonts in use stay below it (DejaVu Sans and Verdana are the widest)."""
SMALLEST: Final = 12
"""Pixels of a letter on a narrow page; it is scrolled sideways there."""
BOX: Final = 2 * COLUMN - GAP
SIDE: Final = MARGIN + BOX / 2
"""From the edge of the picture to the first column."""

STYLE: Final = """
.turn-table-scroll { overflow-x: auto; }
.turn-table { width: 100%; height: auto; font: 13px var(--font-stack, sans-serif); }
.turn-table rect { fill: var(--color-background-secondary, #f8f9fb); stroke: var(--color-brand-primary, #0a4bff); }
.turn-table line.state { stroke: var(--color-background-border, #ddd); }
.turn-table path { stroke: var(--color-brand-primary, #0a4bff); fill: none; stroke-width: 1.6; }
.turn-table circle, .turn-table polygon { fill: var(--color-brand-primary, #0a4bff); }
.turn-table text { fill: var(--color-foreground-primary, #000); text-anchor: middle; }
.turn-table g.row text { paint-order: stroke; stroke: var(--color-background-primary, #fff); stroke-width: 5px; }
"""


def draw(table: Mapping[tuple[State, Signal], State]) -> str:
    """Return the table as an SVG element, its colours those of the page."""
    x = {state: SIDE + COLUMN * number for number, state in enumerate(State)}
    names = {state: textwrap.wrap(state.value, int((BOX - GAP) / LETTER)) for state in x}
    box = LINE * max(map(len, names.values())) + GAP
    head = MARGIN + 2 * (box + GAP)
    width, height = 2 * SIDE + COLUMN * (len(x) - 1), head + ROW * len(table) + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="turn-table" viewBox="0 0 {width} {height}" '
        f'style="min-width: {width * SMALLEST / FONT:.0f}px" role="img" '
        'aria-label="The states of a turn and the transitions between them; the table below has the same">',
        f"<style>{STYLE}</style>",
    ]
    for number, state in enumerate(x):
        top = MARGIN + (box + GAP) * (number % 2)
        parts.append(_state(names[state], x[state], top, box, height - MARGIN))
    for number, ((state, signal), target) in enumerate(ordered(table)):
        parts.append(_transition(state, signal, target, x, head + ROW * (number + 1), width))
    return "".join([*parts, "</svg>"])


def ordered(table: Mapping[tuple[State, Signal], State]) -> list[tuple[tuple[State, Signal], State]]:
    """Return the transitions, those that leave a state together."""
    order = list(State)
    return sorted(table.items(), key=lambda row: order.index(row[0][0]))


def _state(lines: list[str], x: float, top: float, box: float, bottom: float) -> str:
    first = top + (box - LINE * len(lines)) / 2 + FONT - 1
    spans = "".join(f'<tspan x="{x}" y="{first + LINE * i}">{escape(line)}</tspan>' for i, line in enumerate(lines))
    return (
        f'<line class="state" x1="{x}" x2="{x}" y1="{top + box}" y2="{bottom}"/><g class="state">'
        f'<rect x="{x - BOX / 2}" y="{top}" width="{BOX}" height="{box}" rx="6"/><text>{spans}</text></g>'
    )


def _transition(state: State, signal: Signal, target: State, x: Mapping[State, float], y: float, width: float) -> str:
    begin, end = x[state], x[target]
    back = -1 if end > begin else 1
    shaft = f"M{begin},{y} H{end + 8 * back}"
    if state is target:  # a loop to its own column
        back, shaft = 1, f"M{begin},{y - 12} h24 v12 H{end + 8}"
    tip = f"{end},{y} {end + 9 * back},{y - 4.5} {end + 9 * back},{y + 4.5}"
    # the words stay within the picture, however short the arrow at its edge
    half = LETTER * len(signal.value) / 2 + MARGIN
    middle = min(max((begin + end) / 2, half), width - half)
    return (
        f'<g class="row" data-state={quoteattr(state.name)} data-signal={quoteattr(signal.name)} '
        f"data-target={quoteattr(target.name)}>"
        f'<path d="{shaft}"/><circle cx="{begin}" cy="{y}" r="4"/><polygon points="{tip}"/>'
        f'<text x="{middle}" y="{y - 8}">{escape(signal.value)}</text></g>'
    )
