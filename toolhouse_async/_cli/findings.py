"""The figures of an analysis as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .figures import figure

if TYPE_CHECKING:
    from .analysis.report import ColumnReport, Intervals, Profile

__all__ = ["findings", "overview"]


def overview(profile: Profile) -> str:
    """Say what a file holds: its size, what is missing, and the shape of the histogram's column."""
    columns = profile["columns"]
    sentences = [f"{profile['rows']:,} rows are in."]
    gaps = [c for c in columns if c["missing"]]
    if gaps:
        empty, most = sum(c["missing"] for c in gaps), max(gaps, key=lambda c: c["missing"])
        cells = "1 cell is" if empty == 1 else f"{empty:,} cells are"
        where = most["name"] if len(gaps) == 1 else f"{len(gaps)} columns, most of them in {most['name']}"
        sentences.append(f"{cells} empty, in {where}.")
    else:
        sentences.append("No cell is empty.")
    if ragged := profile["short_rows"] + profile["long_rows"]:
        sentences.append(f"{ragged:,} rows have more or fewer cells than the header.")
    histogram = profile["histogram"]
    if histogram is None:
        sentences.append("No column holds numbers, so there is no histogram to draw.")
    else:
        sentences.append(_shape(next(c for c in columns if c["name"] == histogram["column"])))
    return " ".join(sentences)


def findings(intervals: Intervals) -> str:
    """Say how sure the means are."""
    found = intervals["intervals"]
    if not found:
        return "Its numbers are ids or years: a mean of those would say nothing."
    sentences = [
        f"{item['column']} lies between {figure(item['mean'][0])} and {figure(item['mean'][1])}" for item in found[:4]
    ]
    share = f"{intervals['confidence']:.0%}"
    said = "; ".join(f"that of {s}" if i else f"The mean of {s}" for i, s in enumerate(sentences))
    return f"{said}: so say {intervals['resamples']:,} resamples, at {share} confidence."


def _shape(column: ColumnReport) -> str:
    """The middle, the spread and the lean of a column of numbers."""
    name, deviation = column["name"], column.get("stdev")
    mean, median = column.get("mean", 0.0), column.get("median", 0.0)
    said = f"Half of {name} lies between {figure(column.get('q1', 0.0))} and {figure(column.get('q3', 0.0))}"
    if not deviation:
        return f"{name} is {figure(mean)} throughout."
    lean = (mean - median) / deviation
    if abs(lean) < 0.1:
        return f"{said}; its mean and median nearly agree."
    return f"{said}; its mean stands {'above' if lean > 0 else 'below'} its median, so the tail is on that side."
