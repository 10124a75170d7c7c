"""The figures of a benchmark run in words; without Sphinx, so that the tests can ask."""

from __future__ import annotations

from typing import Any


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """One figure as the cells of its row."""
    other = "" if row["other"] is None else f"{row['against']}: {number(row['other'])} {row['unit']}"
    return (
        row["measure"],
        row["contestant"],
        f"{number(row['figure'])} {row['unit']}",
        other,
        "" if row["ratio"] is None else f"{row['ratio']:.2f}",
        "" if row["bar"] is None else f"≤ {row['bar']:.3g}",
        {True: "yes", False: "no", None: ""}[row["met"]],
    )


def number(value: float) -> str:
    """A figure with as many digits as mean something."""
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.3g}"
