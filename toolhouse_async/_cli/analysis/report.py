"""The shape of what the analysis prints, as JSON objects."""

from __future__ import annotations

from typing import NotRequired, TypedDict

__all__ = ["ColumnReport", "Count", "FileReport", "Histogram", "Interval", "Intervals", "Profile"]


class FileReport(TypedDict):
    """How the file is written."""

    path: str
    bytes: int
    encoding: str
    separator: str
    decimal: str
    header: bool
    repeated_names: list[str]
    """Names that the header gives to more than one column; the later ones are numbered."""


class Count(TypedDict):
    """How often a value stands in a column."""

    value: str
    count: int


class ColumnReport(TypedDict):
    """One column. ``count + missing + invalid`` is the number of rows."""

    name: str
    type: str
    """``integer``, ``number``, ``boolean``, ``date``, ``text``, or ``empty`` where every cell is missing."""
    count: int
    missing: int
    invalid: int
    """Cells of a numeric column that are no numbers; at most one in twenty, else the column is text."""
    distinct: int
    distinct_is_exact: bool
    """False where the count stopped at its limit: there are more distinct values than ``distinct``."""
    top: list[Count]
    mean: NotRequired[float]
    stdev: NotRequired[float | None]
    """Sample standard deviation; ``None`` for a single value."""
    min: NotRequired[float]
    q1: NotRequired[float]
    median: NotRequired[float]
    q3: NotRequired[float]
    max: NotRequired[float]
    outliers: NotRequired[list[float]]
    """Values beyond the quartiles by more than 1.5 times their distance, the farthest first; at most twenty."""
    outlier_count: NotRequired[int]
    first: NotRequired[str]
    """The earliest date."""
    last: NotRequired[str]
    """The latest date."""


class Histogram(TypedDict):
    """Counts of a column's numbers: ``edges[i] <= x < edges[i + 1]``, with its right edge in the last bin."""

    column: str
    edges: list[float]
    counts: list[int]


class Profile(TypedDict):
    """What the file holds."""

    file: FileReport
    rows: int
    short_rows: int
    """Rows with fewer cells than the header; the rest of such a row counts as missing."""
    long_rows: int
    """Rows with more cells than the header; what is beyond it is left out."""
    ragged_line: int | None
    """The line of the first such row."""
    columns: list[ColumnReport]
    histogram: Histogram | None
    seconds: float


class Interval(TypedDict):
    """Where a numeric column's true mean and median lie, at the stated confidence."""

    column: str
    mean: tuple[float, float]
    median: tuple[float, float]


class Intervals(TypedDict):
    """Bootstrap confidence intervals."""

    intervals: list[Interval]
    confidence: float
    resamples: int
    resample_size: dict[str, int]
    """Values drawn for each resample, by column: all of them, or fewer where there are very many."""
    seconds: float
