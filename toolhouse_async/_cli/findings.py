"""The figures of an analysis as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .figures import figure

if TYPE_CHECKING:
    from .analysis.report import ColumnReport, Intervals, Profile

__all__ = ["findings", "outliers", "overview"]

_FALLBACKS = {"cp1252": "Windows-1252", "latin-1": "Latin-1"}
"""Encodings that a file is taken to have where its bytes say of none."""


def overview(profile: Profile) -> str:
    """Say what a file holds: its size, what is missing, and the shape of the histogram's column."""
    columns = profile["columns"]
    sentences = ["1 row is in." if profile["rows"] == 1 else f"{profile['rows']:,} rows are in."]
    gaps = [c for c in columns if c["missing"]]
    if gaps:
        empty, most = sum(c["missing"] for c in gaps), max(gaps, key=lambda c: c["missing"])
        cells = "1 cell is" if empty == 1 else f"{empty:,} cells are"
        where = most["name"] if len(gaps) == 1 else f"{len(gaps)} columns, most of them in {most['name']}"
        sentences.append(f"{cells} empty, in {where}.")
    else:
        sentences.append("No cell is empty.")
    sentences += _oddities(profile)
    histogram = profile["histogram"]
    if histogram is None:
        sentences.append("No column holds numbers, so there is no histogram to draw.")
    else:
        sentences.append(_shape(next(c for c in columns if c["name"] == histogram["column"])))
    return " ".join(sentences)


def outliers(profile: Profile) -> list[dict[str, Any]]:
    """Give the values that stand out in each column of numbers; none where nothing does."""
    return [
        {"column": column["name"], "values": column.get("outliers", []), "count": count}
        for column in profile["columns"]
        if (count := column.get("outlier_count", 0))
    ]


def _oddities(profile: Profile) -> list[str]:
    """What is not as it should be in a CSV file, and where."""
    sentences: list[str] = []
    if ragged := profile["short_rows"] + profile["long_rows"]:
        line = profile["ragged_line"]
        rows = f"1 row has, on line {line}," if ragged == 1 else f"{ragged:,} rows have, the first on line {line},"
        sentences.append(f"{rows} more or fewer cells than the header.")
    file = profile["file"]
    if repeated := file["repeated_names"]:
        sentences.append(f"More than one column is called {repeated[0]}, so I number them.")
    if file["encoding"] in _FALLBACKS:
        sentences.append(f"It is not UTF-8: I read it as {_FALLBACKS[file['encoding']]}.")
    return sentences


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
