"""The course of a turn as a diagram, drawn from the library's own table.

Every state is a column and every transition a row: an arrow from the state that it leaves to the one
that it leads to. The order of rows is that of the table, so nothing is placed by hand and nothing can overlap,
whatever the table comes to hold.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from toolhouse_async._turn.table import Signal, State

COLUMN: Final = 98
ROW: Final = 36
HEAD: Final = 78
MARGIN: Final = 8
LETTERS: Final = 13
"""Letters of a state's name on one line."""

STYLE: Final = """
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
    x = {state: MARGIN + COLUMN * (number + 0.5) for number, state in enumerate(State)}
    width, height = 2 * MARGIN + COLUMN * len(x), HEAD + ROW * len(table) + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="turn-table" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="The states of a turn and the transitions between them; the table below has the same">',
        f"<style>{STYLE}</style>",
        *(_state(state.value, x[state], height) for state in x),
    ]
    for number, ((state, signal), target) in enumerate(ordered(table)):
        parts.append(_transition(state, signal, target, x, HEAD + ROW * (number + 1)))
    return "".join([*parts, "</svg>"])


def ordered(table: Mapping[tuple[State, Signal], State]) -> list[tuple[tuple[State, Signal], State]]:
    """Return the transitions, those that leave a state together."""
    order = list(State)
    return sorted(table.items(), key=lambda row: order.index(row[0][0]))


def _state(name: str, x: float, height: float) -> str:
    lines = textwrap.wrap(name, LETTERS)
    first = HEAD / 2 + 5 - 8 * (len(lines) - 1)
    spans = "".join(f'<tspan x="{x}" y="{first + 16 * i}">{escape(line)}</tspan>' for i, line in enumerate(lines))
    return (
        f'<line class="state" x1="{x}" x2="{x}" y1="{HEAD}" y2="{height - MARGIN}"/>'
        f'<rect x="{x - COLUMN / 2 + 4}" y="2" width="{COLUMN - 8}" height="{HEAD - 4}" rx="6"/><text>{spans}</text>'
    )


def _transition(state: State, signal: Signal, target: State, x: Mapping[State, float], y: float) -> str:
    begin, end = x[state], x[target]
    back = -1 if end > begin else 1
    shaft = f"M{begin},{y} H{end + 8 * back}"
    if state is target:  # a loop to its own column
        back, shaft = 1, f"M{begin},{y - 12} h24 v12 H{end + 8}"
    tip = f"{end},{y} {end + 9 * back},{y - 4.5} {end + 9 * back},{y + 4.5}"
    # the words stay within the picture, however short the arrow at its edge
    half, width = 3.4 * len(signal.value) + MARGIN, max(x.values()) + COLUMN / 2
    middle = min(max((begin + end) / 2, half), width - half)
    return (
        f'<g class="row" data-state={quoteattr(state.name)} data-signal={quoteattr(signal.name)} '
        f"data-target={quoteattr(target.name)}>"
        f'<path d="{shaft}"/><circle cx="{begin}" cy="{y}" r="4"/><polygon points="{tip}"/>'
        f'<text x="{middle}" y="{y - 8}">{escape(signal.value)}</text></g>'
    )
