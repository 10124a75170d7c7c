"""One column of a CSV file, gathered block by block in bounded memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from heapq import nlargest
from itertools import repeat
from math import fsum, sqrt
from operator import itemgetter
from statistics import quantiles
from typing import TYPE_CHECKING

from .cells import Kind, classify
from .report import ColumnReport

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Column"]

_KEPT = 256  # characters by which long cells are told apart
_TOP = 5
_OUTLIERS = 20
_FENCE = 1.5  # of the distance of the quartiles, by Tukey's rule
_NUMERIC_SHARE = 0.95
_ID_NAMES = ("_id", " id", "index")


class Column:
    """Counts and numbers of a column.

    Args:
        name: Its name.
        decimal: The file's decimal mark.
        distinct_limit: Distinct values to count before the table is full.
        thousands: Whether one point alone groups thousands too.
    """

    def __init__(self, name: str, decimal: str = ".", distinct_limit: int = 10_000, *, thousands: bool = False) -> None:
        self.name = name
        self.values = array("d")
        self._decimal = decimal
        self._thousands = thousands
        self._limit = distinct_limit
        self._kinds: Counter[Kind] = Counter()
        self._counts: dict[str, int] = {}
        self._full = False

    def add(self, cells: Iterable[str]) -> None:
        """Take in cells, in any order."""
        counts = self._counts
        for raw, times in Counter(cells).items():
            cell = raw.strip()
            kind, value = classify(cell, self._decimal, thousands=self._thousands)
            self._kinds[kind] += times
            if kind is Kind.MISSING:
                continue
            if value is not None:
                self.values.extend(repeat(value, times))
            key = cell if len(cell) <= _KEPT else cell[:_KEPT] + "…"
            if key in counts:
                counts[key] += times
            elif len(counts) < self._limit:
                counts[key] = times
            else:
                self._full = True

    @property
    def type(self) -> str:
        """What the column is: that which all its cells are, or numbers if 19 in 20 are, or text."""
        kinds = self._kinds
        present = kinds.total() - kinds[Kind.MISSING]
        if not present:
            return "empty"
        for kind in (Kind.INTEGER, Kind.BOOLEAN, Kind.DATE):
            if kinds[kind] == present:
                return str(kind.value)
        if kinds[Kind.CODE] or len(self.values) < present * _NUMERIC_SHARE:
            return "text"
        return "number" if kinds[Kind.NUMBER] else "integer"

    @property
    def numeric(self) -> bool:
        """Whether the column holds numbers to calculate with."""
        return self.type in ("integer", "number")

    @property
    def id_like(self) -> bool:
        """Whether its numbers only name the rows: consecutive whole numbers, or nothing but years."""
        if self.type != "integer":
            return False
        low, high, n = min(self.values), max(self.values), len(self.values)
        years = low >= 1800 and high <= 2100
        numbered = n > 2 and high - low + 1 == n and (self._full or len(self._counts) == n)
        return years or numbered or self.name.lower() == "id" or self.name.lower().endswith(_ID_NAMES)

    def report(self) -> ColumnReport:
        """Sum the column up."""
        kind, missing = self.type, self._kinds[Kind.MISSING]
        present = self._kinds.total() - missing
        count = len(self.values) if self.numeric else present
        report = ColumnReport(
            name=self.name,
            type=kind,
            count=count,
            missing=missing,
            invalid=present - count,
            distinct=len(self._counts),
            distinct_is_exact=not self._full,
            top=[{"value": v, "count": n} for v, n in nlargest(_TOP, self._counts.items(), itemgetter(1))],
        )
        if self.numeric:
            self._add_numbers(report)
        elif kind == "date" and not self._full:
            report["first"], report["last"] = min(self._counts), max(self._counts)
        return report

    def _add_numbers(self, report: ColumnReport) -> None:
        ordered = sorted(self.values)
        n = len(ordered)
        mean = min(max(fsum(ordered) / n, ordered[0]), ordered[-1])  # rounding must not lead outside
        report["mean"] = mean
        report["stdev"] = _deviation(ordered, mean) if n > 1 else None
        quarters = quantiles(ordered, n=4, method="inclusive") if n > 1 else ordered * 3
        report["min"], report["max"] = ordered[0], ordered[-1]
        report["q1"], report["median"], report["q3"] = quarters
        found = _outliers(ordered, quarters[0], quarters[2])
        report["outliers"], report["outlier_count"] = found[:_OUTLIERS], len(found)


def _outliers(ordered: list[float], q1: float, q3: float) -> list[float]:
    """The values that are far from the middle half of all, the farthest first."""
    fence = _FENCE * (q3 - q1)
    low, high = q1 - fence, q3 + fence
    beyond = [*ordered[: bisect_left(ordered, low)], *ordered[bisect_right(ordered, high) :]]
    return sorted(beyond, key=lambda value: max(low - value, value - high), reverse=True)


def _deviation(values: list[float], mean: float) -> float:
    """The sample standard deviation, scaled so that squares of tiny deviations do not vanish."""
    scale = max(values[-1] - mean, mean - values[0])
    if values[0] == values[-1] or scale <= 0:
        return 0.0
    return scale * sqrt(fsum(((v - mean) / scale) ** 2 for v in values) / (len(values) - 1))
