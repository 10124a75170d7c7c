"""How sure means and medians are: bootstrap confidence intervals."""

from __future__ import annotations

from math import sqrt
from random import Random
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .columns import Column
    from .report import Interval, Intervals

__all__ = ["intervals"]

_CONFIDENCE = 0.95
_RESAMPLES = 5000
_DRAWS = 10_000_000  # in all: a second or three
_SMALLEST = 100


def intervals(columns: Sequence[Column], *, resamples: int = _RESAMPLES, seed: int = 1) -> Intervals:
    """Resample every numeric column and see how its mean and median vary.

    A column of very many values is resampled in smaller samples, whose spread is then scaled by the square
    root of the ratio of sizes (the "m out of n" bootstrap), so that the time is bounded.

    Args:
        columns: The columns; those that hold no numbers, or only ids or years, are left out.
        resamples: Resamples of each column.
        seed: Seed of the random numbers: the same file gives the same intervals.
    """
    began = perf_counter()
    numeric = [column for column in columns if column.numeric and not column.id_like]
    most = max(_SMALLEST, _DRAWS // (resamples * max(1, len(numeric))))
    random = Random(seed)  # noqa: S311 - statistics, not secrets
    return {
        "intervals": [_interval(c, min(most, len(c.values)), resamples, random) for c in numeric],
        "confidence": _CONFIDENCE,
        "resamples": resamples,
        "resample_size": {c.name: min(most, len(c.values)) for c in numeric},
        "seconds": round(perf_counter() - began, 3),
    }


def _interval(column: Column, size: int, resamples: int, random: Random) -> Interval:
    values = column.values
    means: list[float] = []
    medians: list[float] = []
    for _ in range(resamples):
        drawn = random.choices(values, k=size)
        means.append(sum(drawn) / size)
        drawn.sort()
        medians.append((drawn[(size - 1) // 2] + drawn[size // 2]) / 2)
    shrink = sqrt(size / len(values))
    return {
        "column": column.name,
        "mean": _percentiles(means, sum(values) / len(values), shrink),
        "median": _percentiles(medians, median(values), shrink),
    }


def _percentiles(estimates: list[float], centre: float, shrink: float) -> tuple[float, float]:
    estimates.sort()
    cut = int(len(estimates) * (1 - _CONFIDENCE) / 2)
    low, high = estimates[cut], estimates[-1 - cut]
    return centre + (low - centre) * shrink, centre + (high - centre) * shrink
