"""How a CSV file is written: its encoding, separator, decimal mark and header, found from its first rows."""

from __future__ import annotations

import csv
import re
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

from attrs import frozen

from .cells import is_missing, number
from .encoding import CSVError, detect_encoding
from .opening import open_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Dialect", "detect_dialect", "records"]

_SAMPLE = 1 << 16
_LONGEST_LINE = 1 << 24
_LONGEST_CELL = 1 << 20
_MOST_COLUMNS = 5000
_NO_SEPARATOR = "\x1f"  # a file of one column: a separator that no text holds
_NUMERIC_SHARE = 0.95
_AMBIGUOUS = {mark: re.compile(rf"[+-]?[1-9]\d{{0,2}}[{mark}]\d{{3}}", re.ASCII) for mark in ".,"}  # as 1.000
_CERTAIN = {  # numbers that have one decimal mark for certain: as 1.5 and 0.125, or as 1,234.5 and 1,234,567
    mark: re.compile(
        rf"[+-]?(?:(?![1-9]\d{{0,2}}[{mark}]\d{{3}}\Z)\d*[{mark}]\d+"
        rf"|[1-9]\d{{0,2}}(?:(?:[{other}]\d{{3}})+[{mark}]\d+|(?:[{other}]\d{{3}}){{2,}}))",
        re.ASCII,
    )
    for mark, other in (".,", ",.")
}


@frozen
class Dialect:
    """How a file is written.

    Attributes:
        path: The file.
        encoding: Its encoding, as Python names it.
        separator: The character between cells; empty for a file of one column.
        decimal: The decimal mark, ``"."`` or ``","``.
        thousands: The places of the columns in which one point alone groups thousands, as in ``1.000``.
        names: The columns' names, made unique; ``column 1`` and so on where the file gives none.
        skip: Records before the data: 1 with a header, 0 without, plus 1 for a line such as ``sep=;``.
        header: Whether the first record names the columns.
        first: The first rows of data, for a preview.
        repeated: Names that the header gives to more than one column.
    """

    path: Path
    encoding: str
    separator: str
    decimal: str
    thousands: frozenset[int]
    names: tuple[str, ...]
    skip: int
    header: bool
    first: tuple[tuple[str, ...], ...]
    repeated: tuple[str, ...]


def detect_dialect(path: Path) -> Dialect:
    """Find out how a file is written, from its first 64 KiB and, for the encoding, all of it.

    Raises:
        CSVError: The file is missing, unreadable, empty, not text, or has no rows.
    """
    encoding = detect_encoding(path)
    lines, complete = _sample(path, encoding)
    announced = re.fullmatch(r"sep=(.)\s*", lines[0], re.IGNORECASE) if lines else None  # Excel's own line
    if announced:
        lines = lines[1:]
    separator = announced[1] if announced else _separator(lines, complete)
    rows = _parse(path, lines, separator, complete)
    if not rows:
        raise CSVError(f"{path} has no rows")
    header = not _looks_like_data(rows[0])
    if header and len(rows) == 1:
        raise CSVError(f"{path} has a header and no rows")
    if len(rows[0]) > _MOST_COLUMNS:
        raise CSVError(f"{path} has {len(rows[0]):,} columns; {_MOST_COLUMNS:,} are the most that are read")
    data = rows[1:] if header else rows
    columns = [[cell.strip() for cell in column] for column in zip_longest(*data, fillvalue="")]
    decimal = _decimal(columns, separator)
    return Dialect(
        path=path,
        encoding=encoding,
        separator=separator,
        decimal=decimal,
        thousands=frozenset(i for i, cells in enumerate(columns) if decimal == "," and _groups_by_points(cells)),
        names=_names(rows[0] if header else [""] * len(rows[0])),
        skip=int(header) + int(announced is not None),
        header=header,
        first=tuple(tuple(row) for row in data[:3]),
        repeated=tuple(n for n, times in Counter(map(str.strip, rows[0])).items() if n and times > 1) if header else (),
    )


def records(file: TextIO, path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Read a file's records with the numbers of the lines that they begin on, blank lines left out.

    Raises:
        CSVError: A line or a cell is too long to be one, a quote is never closed or closed in the middle of a later
            cell, or the bytes do not fit the encoding.
    """
    yield from _read(path, iter(lambda: file.readline(_LONGEST_LINE + 1), ""), separator)


def _read(path: Path, lines: Iterable[str], separator: str, *, checked: bool = True) -> Iterator[tuple[int, list[str]]]:
    """Read records; unless ``checked``, whatever their quotes are like, as at the end of a sample."""
    csv.field_size_limit(_LONGEST_CELL)
    taken: list[str] = []  # the lines of the record under way
    source = _Lines(path, lines, taken)
    reader = csv.reader(source, delimiter=separator or _NO_SEPARATOR, skipinitialspace=True)
    first = 1
    try:
        for record in reader:
            if checked and (len(taken) > 1 or source.ended):
                _check_quotes(path, taken, first, separator)
            if record:
                yield first, record
            first = reader.line_num + 1
            taken.clear()
    except csv.Error as error:
        raise CSVError(f"{path}, line {first}: {error}; perhaps a quote is never closed") from error
    except UnicodeError as error:
        raise CSVError(f"{path}, after line {reader.line_num}: damaged text ({error})") from error


def _check_quotes(path: Path, lines: list[str], first: int, separator: str) -> None:
    """Refuse a record of several lines whose quotes do not add up: it has swallowed the rows behind an open quote."""
    try:
        for _ in csv.reader(lines, delimiter=separator or _NO_SEPARATOR, skipinitialspace=True, strict=True):
            pass
    except csv.Error as error:
        last = first + len(lines) - 1
        where = f"line {first}" if last == first else f"lines {first} to {last}"
        raise CSVError(
            f"{path}, {where}: a quote is opened on line {first} and never closed as it should be ({error})"
        ) from error


class _Lines:
    """Lines that are noted as they are taken, until there are no more."""

    def __init__(self, path: Path, lines: Iterable[str], taken: list[str]) -> None:
        self._lines = _bounded(path, lines)
        self._taken = taken
        self.ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        try:
            line = next(self._lines)
        except StopIteration:
            self.ended = True
            raise
        self._taken.append(line)
        return line


def _bounded(path: Path, lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if len(line) > _LONGEST_LINE:
            raise CSVError(f"{path} has a line of {_LONGEST_LINE >> 20} million characters: not a CSV file")
        yield line


def _sample(path: Path, encoding: str) -> tuple[list[str], bool]:
    """The first lines, and whether they are the whole file."""
    lines: list[str] = []
    size = 0
    try:
        with open_text(path, encoding) as file:
            while line := file.readline(_LONGEST_LINE + 1):
                lines.append(line)
                size += len(line)
                if size > _SAMPLE and len(lines) > 2:
                    return lines, False
    except UnicodeError as error:
        raise CSVError(f"{path} is not {encoding} text: {error}") from error
    except OSError as error:
        raise CSVError(f"cannot read {path}: {error.strerror or error}") from error
    return lines, True


def _parse(path: Path, lines: list[str], separator: str, complete: bool) -> list[list[str]]:
    rows = [record for _, record in _read(path, lines, separator, checked=complete)]
    return rows if complete or len(rows) < 3 else rows[:-1]  # the last one may be cut within quotes


def _separator(lines: list[str], complete: bool) -> str:
    best: tuple[float, int, str] = (0.0, 0, "")
    for separator in ",;\t|":
        try:
            rows = [record for _, record in _read(Path(), lines, separator, checked=False)]
        except CSVError:  # under this separator the quotes do not add up
            continue
        if not complete and len(rows) > 2:
            del rows[-1]
        if not rows or len(rows[0]) < 2:
            continue
        width, rows_of_width = Counter(map(len, rows)).most_common(1)[0]
        best = max(best, (round(rows_of_width / len(rows), 2) if width > 1 else 0.0, width, separator))
    return best[2]


def _looks_like_data(row: list[str]) -> bool:
    """Whether a first record is data rather than names: numbers throughout, and not just years."""
    values = [number(cell.strip(), "," if "," in cell else ".") for cell in row]
    years = all(v and 1000 <= v < 3000 and v % 1 == 0 for v in values)
    return not years and all(v is not None for v in values)


def _decimal(columns: list[list[str]], separator: str) -> str:
    """The mark by which most columns are numbers; else which most of them show, for certain or perhaps."""

    def weight(mark: str) -> tuple[int, int, int]:
        # with semicolons a comma is a decimal mark; elsewhere "1,234" is more likely a thousand
        perhaps = mark == "." or separator == ";"
        return (
            sum(_are_numbers(cells, mark) for cells in columns),
            sum(any(map(_CERTAIN[mark].fullmatch, cells)) for cells in columns),
            sum(perhaps and any(map(_AMBIGUOUS[mark].fullmatch, cells)) for cells in columns),
        )

    return max(".,", key=weight)


def _are_numbers(cells: list[str], decimal: str) -> bool:
    present = [cell for cell in cells if not is_missing(cell)]
    numbers = sum(number(cell, decimal) is not None for cell in present)
    return bool(present) and numbers >= _NUMERIC_SHARE * len(present)


def _groups_by_points(cells: list[str]) -> bool:
    """Whether the points of a column, beside a decimal comma, group thousands: all of them might."""
    return any(map(_AMBIGUOUS["."].fullmatch, cells)) and not any(map(_CERTAIN["."].fullmatch, cells))


def _names(cells: list[str]) -> tuple[str, ...]:
    names: list[str] = []
    taken = {cell.strip() for cell in cells}
    seen: set[str] = set()
    for index, cell in enumerate(cells, 1):
        name = base = cell.strip() or f"column {index}"
        copy = 2
        while name in seen or (name != cell.strip() and name in taken):
            name = f"{base} ({copy})"
            copy += 1
        seen.add(name)
        names.append(name)
    return tuple(names)
