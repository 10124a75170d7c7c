"""The analysis as tables and a histogram for a terminal."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from .terminal import Marks, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from .analysis.report import ColumnReport, Histogram, Intervals, Profile

__all__ = ["figure", "histogram_lines", "intervals_table", "profile_tables"]

_NAME_WIDTH = 24
_VALUE_WIDTH = 20


def figure(number: float | None) -> str:
    """Write a number for reading: at most two decimals where that shows enough of it, else four digits."""
    if number is None:
        return ""
    size = abs(number)
    if size >= 1e9 or 0 < size < 0.1:
        return f"{number:.4g}"
    group = "," if size >= 10_000 else ""  # years are read better without
    decimals = 0 if number == int(number) or size >= 100_000 else 2
    return f"{number:{group}.{decimals}f}"


def profile_tables(profile: Profile, marks: Marks) -> list[RenderableType]:
    """A table of the numeric columns and one of the others; each is left out where it would be empty."""
    numeric = [c for c in profile["columns"] if "mean" in c]
    others = [c for c in profile["columns"] if "mean" not in c]
    tables: list[RenderableType] = []
    if numeric:
        table = _table("Numbers", ["column"], ["count", "missing", "mean", "median", "std dev", "min", "max"])
        for c in numeric:
            statistics = (c.get("mean"), c.get("median"), c.get("stdev"), c.get("min"), c.get("max"))
            _row(table, c["name"], f"{c['count']:,}", _gaps(c), *map(figure, statistics))
        tables.append(table)
    if others:
        table = _table("Other columns", ["column", "type"], ["count", "missing", "distinct"], ["values"])
        for c in others:
            distinct = f"{c['distinct']:,}" + ("" if c["distinct_is_exact"] else "+")
            _row(table, c["name"], c["type"], f"{c['count']:,}", _gaps(c), distinct, _frequent(c, marks))
        tables.append(table)
    return tables


def intervals_table(intervals: Intervals, marks: Marks) -> RenderableType:
    """A table of the confidence intervals."""
    title = f"{intervals['confidence']:.0%} confidence ({intervals['resamples']:,} resamples)"
    table = _table(title, ["column"], ["mean between", "median between"])
    for item in intervals["intervals"]:
        mean, median = (f" {marks.dash} ".join(map(figure, item[key])) for key in ("mean", "median"))
        _row(table, item["column"], mean, median)
    return table


def histogram_lines(histogram: Histogram, marks: Marks, width: int) -> list[Text]:
    """A bar for each bin, beside its edges and its count; the longest fills the width."""
    counts = histogram["counts"]
    labels = [f"{a} {marks.dash} {b}" for a, b in pairwise(_edges(histogram["edges"]))]
    label_width, count_width = max(map(len, labels)), max(len(f"{c:,}") for c in counts)
    room = max(10, min(60, width - label_width - count_width - 6))
    lines = [Text(f"Histogram of {one_line(histogram['column'], _NAME_WIDTH * 2)}", "bold")]
    for label, count in zip(labels, counts, strict=True):
        line = Text(f"  {label:>{label_width}}  ", "dim")
        line.append(_bar(count / max(counts), room, marks.bar), "cyan")
        lines.append(line.append(f" {count:,}", "default not dim"))
    return lines


def _edges(edges: Sequence[float]) -> list[str]:
    """Write edges with as many decimals as tell them apart, and the same number for all."""
    for decimals in range(7):
        written = [f"{edge:,.{decimals}f}" for edge in edges]
        if all(float(w.replace(",", "")) == edge for w, edge in zip(written, edges, strict=True)):
            break
    else:
        written = [f"{edge:.6g}" for edge in edges]
    longest = max(map(len, written))
    return [w.rjust(longest) for w in written] if longest <= 16 else [f"{edge:.6g}" for edge in edges]


def _bar(share: float, room: int, cells: str) -> str:
    """A bar of ``share`` of the room, to an eighth of a cell where there are signs for that."""
    parts = round(share * room * len(cells))
    if share > 0:
        parts = max(1, parts)
    full, rest = divmod(parts, len(cells))
    return cells[-1] * full + (cells[rest - 1] if rest else "")


def _table(title: str, left: list[str], right: list[str], wide: Sequence[str] = ()) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
    )
    for heading in left:
        table.add_column(heading, overflow="fold", style="cyan" if heading == "column" else "")
    for heading in right:
        table.add_column(heading, justify="right", overflow="fold")
    for heading in wide:
        table.add_column(heading, overflow="fold")
    return table


def _row(table: Table, name: str, *cells: str) -> None:
    table.add_row(Text(one_line(name, _NAME_WIDTH)), *map(Text, cells))


def _gaps(column: ColumnReport) -> str:
    return f"{column['missing'] + column['invalid']:,}"


def _frequent(column: ColumnReport, marks: Marks) -> str:
    if "first" in column and "last" in column:
        return f"{one_line(column['first'])} {marks.dash} {one_line(column['last'])}"
    repeated = [t for t in column["top"] if t["count"] > 1][:3]
    return ", ".join(f"{one_line(t['value'], _VALUE_WIDTH)} ({t['count']:,})" for t in repeated)
