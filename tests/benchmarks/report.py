"""Figures, the bars they are held to, and the table that shows both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import asdict, frozen


@frozen
class Row:
    """One figure.

    Attributes:
        measure: What was measured.
        contestant: Whose figure it is.
        figure: The figure.
        unit: Its unit.
        against: Whose figure it is compared with; empty for none.
        other: That figure.
        ratio: The first by the second; the median of pairs measured one after the other, where there are such.
        bar: The highest ratio (without anything to compare with: figure) that is good enough; ``None`` for no bar.
    """

    measure: str
    contestant: str
    figure: float
    unit: str
    against: str = ""
    other: float | None = None
    ratio: float | None = None
    bar: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; ``None`` if there is none."""
        if self.bar is None:
            return None
        return (self.figure if self.ratio is None else self.ratio) <= self.bar

    def as_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return {**asdict(self), "met": self.met}


@frozen
class Curve:
    """How a figure grows.

    Attributes:
        name: What grows.
        x_label: What is drawn from left to right.
        y_label: What is drawn upwards.
        xs: The points of the first.
        lines: For each contestant, the figures at those points.
    """

    name: str
    x_label: str
    y_label: str
    xs: list[int]
    lines: dict[str, list[float]]

    def as_rows(self) -> list[Row]:
        """The points as rows of the table."""
        return [
            Row(f"{self.name}: {self.y_label} at {x:,}", name, figure, "")
            for name, figures in self.lines.items()
            for x, figure in zip(self.xs, figures, strict=True)
        ]


def table(rows: Iterable[Row]) -> str:
    """The rows as a table of text."""
    head = ("measure", "contestant", "figure", "against", "figure", "ratio", "bar", "met?")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_line(cells, widths) for cells in lines)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    numbers = {2, 4, 5, 6}
    aligned = (
        cell.rjust(width) if column in numbers else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(aligned).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.measure,
        row.contestant,
        f"{row.figure:,.4g} {row.unit}",
        row.against,
        "" if row.other is None else f"{row.other:,.4g} {row.unit}",
        "" if row.ratio is None else f"{row.ratio:.3f}",
        "" if row.bar is None else f"≤ {row.bar:.4g}",
        {True: "yes", False: "NO", None: ""}[row.met],
    )
