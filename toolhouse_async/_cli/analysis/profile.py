"""Read a CSV file once and say what each of its columns holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

from attrs import frozen

from .columns import Column
from .dialect import Dialect, detect_dialect, records
from .encoding import CSVError
from .histogram import histogram
from .opening import open_text

if TYPE_CHECKING:
    from pathlib import Path

    from .report import Profile

__all__ = ["Progress", "Table", "profile", "read_table"]

Progress = Callable[[int, float], None]
"""Called after each block with the rows read so far and the share of the file's bytes."""

_BLOCK_ROWS = 8192
_BLOCK_CELLS = 1 << 18
_DISTINCT_IN_ALL = 500_000


@frozen
class Table:
    """A file's columns, read."""

    dialect: Dialect
    bytes: int
    rows: int
    short_rows: int
    long_rows: int
    ragged_line: int | None
    columns: tuple[Column, ...]
    seconds: float


def read_table(path: Path, progress: Progress | None = None) -> Table:
    """Read a file in one pass.

    Memory: 8 bytes for each number, a bounded table of distinct values for each column, and a block of rows.

    Raises:
        CSVError: The file is missing, unreadable, empty, damaged or not a CSV file.
    """
    began = perf_counter()
    dialect = detect_dialect(path)
    width = len(dialect.names)
    distinct = min(10_000, max(100, _DISTINCT_IN_ALL // width))
    columns = tuple(
        Column(name, dialect.decimal, distinct, thousands=index in dialect.thousands)
        for index, name in enumerate(dialect.names)
    )
    size = min(_BLOCK_ROWS, max(16, _BLOCK_CELLS // width))
    rows = short = long = 0
    ragged_line = None
    try:
        with open_text(path, dialect.encoding) as file:
            total = os.fstat(file.fileno()).st_size
            reader = islice(records(file, path, dialect.separator), dialect.skip, None)
            while block := list(islice(reader, size)):
                rows += len(block)
                for line, row in block:
                    if len(row) != width:
                        ragged_line = ragged_line or line
                        short += len(row) < width
                        long += len(row) > width
                        row.extend([""] * (width - len(row)))
                # cells beyond the header's width are left out
                for column, cells in zip(columns, zip(*(row for _, row in block), strict=False), strict=False):
                    column.add(cells)
                if progress is not None:
                    progress(rows, min(1.0, os.lseek(file.fileno(), 0, os.SEEK_CUR) / total))
    except OSError as error:
        raise CSVError(f"cannot read {path}: {error.strerror or error}") from error
    return Table(dialect, total, rows, short, long, ragged_line, columns, perf_counter() - began)


def profile(table: Table, column: str | None = None) -> Profile:
    """Sum a table up.

    Args:
        table: The table.
        column: The column of the histogram; by default the first that looks like a measurement.

    Raises:
        CSVError: There is no such column, or it holds no numbers.
    """
    began = perf_counter()
    chosen = _choose(table, column)
    dialect = table.dialect
    columns = [c.report() for c in table.columns]
    bins = histogram(chosen.name, chosen.values, whole=chosen.type == "integer") if chosen else None
    return {
        "file": {
            "path": str(dialect.path),
            "bytes": table.bytes,
            "encoding": dialect.encoding,
            "separator": dialect.separator,
            "decimal": dialect.decimal,
            "header": dialect.header,
            "repeated_names": list(dialect.repeated),
        },
        "rows": table.rows,
        "short_rows": table.short_rows,
        "long_rows": table.long_rows,
        "ragged_line": table.ragged_line,
        "columns": columns,
        "histogram": bins,
        "seconds": round(table.seconds + perf_counter() - began, 3),
    }


def _choose(table: Table, name: str | None) -> Column | None:
    if name is not None:
        chosen = next((c for c in table.columns if c.name == name), None)
        if chosen is None:
            names = ", ".join(repr(c.name) for c in table.columns[:20])
            raise CSVError(f'{table.dialect.path} has no column "{name}"; it has: {names}')
        if not chosen.numeric:
            raise CSVError(f'column "{name}" holds no numbers: it is {chosen.type}')
        return chosen
    numeric = [c for c in table.columns if c.numeric]
    return next((c for c in numeric if not c.id_like), numeric[0] if numeric else None)
