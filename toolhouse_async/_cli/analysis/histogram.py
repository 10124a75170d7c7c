"""Bins for a column of numbers."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from math import ceil, floor, log10
from statistics import quantiles
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .report import Histogram

__all__ = ["histogram"]

_FEWEST, _MOST = 5, 20
_NARROWEST = 1e-290  # below, steps vanish


def histogram(column: str, values: Iterable[float], *, whole: bool = False) -> Histogram:
    """Count numbers in bins of equal width, with round edges where the numbers allow.

    The width is that of Freedman and Diaconis, rounded, so that there are about 5 to 20 bins.

    Args:
        column: The column's name.
        values: Its numbers, at least one.
        whole: They are whole numbers: no bin is narrower than 1.
    """
    ordered = sorted(values)
    edges = _edges(ordered, whole=whole)
    places = [0, *(bisect_left(ordered, edge) for edge in edges[1:-1]), len(ordered)]
    return {"column": column, "edges": edges, "counts": [b - a for a, b in pairwise(places)]}


def _edges(ordered: list[float], *, whole: bool) -> list[float]:
    low, high = ordered[0], ordered[-1]
    if low == high:
        margin = 0.5 if abs(low) < 1e6 else abs(low) / 1e3
        return [low - margin, high + margin]
    edges = _round_edges(ordered, whole=whole) if high - low > _NARROWEST else []
    if edges and all(a < b for a, b in pairwise(edges)) and edges[0] <= low and high <= edges[-1]:
        return edges
    # numbers so close together, so far from zero, that no round edges lie between them
    steps = [low + (high - low) * i / _FEWEST for i in range(_FEWEST)]
    return [low, *(edge for previous, edge in pairwise(steps) if previous < edge < high), high]


def _round_edges(ordered: list[float], *, whole: bool) -> list[float]:
    low, high = ordered[0], ordered[-1]
    q1, _, q3 = quantiles(ordered, n=4, method="inclusive")
    width = 2 * (q3 - q1) / len(ordered) ** (1 / 3)
    step = _round(min(max(width, (high - low) / _MOST), (high - low) / _FEWEST))
    if whole and step < 1:
        step = 1.0
    start, end = floor(low / step), ceil(high / step)
    return [round(i * step, 12 - floor(log10(step))) for i in range(start, max(end, start + 1) + 1)]


def _round(step: float) -> float:
    """The nearest of 1, 2, 2.5, 5 and 10 times a power of ten, on a scale of ratios."""
    power = 10.0 ** floor(log10(step))
    return min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda near: max(near / step, step / near))
