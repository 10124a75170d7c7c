"""Rows of a file, and the file of their answers: CSV with a header, or a JSON value a line."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, TextIO, TypeAlias

import orjson

from ..._batch.rows import Questions
from ..._values.eventjson import json_text
from ..._wire.jsontext import loads_exactly
from ...errors import ConfigurationError
from ..jsonlines import harmless_json
from ..terminal import harmless

__all__ = ["ADDED", "Answers", "Row", "Rows", "check_out", "written"]

Row: TypeAlias = "str | dict[str, Any]"

ADDED: Final = ("status", "answer", "error")
"""The columns that answers add to those of the rows."""
TEXT: Final = "row"
"""The column of a row that is a string."""
LONGEST_CELL: Final = 1 << 24
"""Characters; longer ones come of a quote that is never closed."""


class Rows:
    """The rows of a file, read anew in each iteration, so that none needs to be kept.

    Attributes:
        columns: Those of all rows, in the order in which they first come.
    """

    def __init__(self, path: Path, *, key: str | None, template: str | None) -> None:
        """Read the file once, to find what is wrong with it before anything is sent.

        Args:
            path: The file: its name ends in ``.csv`` or ``.jsonl``.
            key: The column that holds the rows' keys; ``None``: they are numbered.
            template: What messages are made of.

        Raises:
            ConfigurationError: It cannot be read, or a row is none or does not fit.
        """
        if str(path) == "-":
            raise ConfigurationError(
                "ROWS must be a file, since it is read more than once: write what a pipe gives to a .csv or .jsonl file"
            )
        if kind_of(path) is None:
            raise ConfigurationError(
                f"{str(path)!r:.200} is neither .csv nor .jsonl: write the rows to a .csv file, with commas and "
                "a header, or to a .jsonl file, an object or string on each line"
            )
        self._path = path
        self._key = key
        self._questions = Questions(None if key is None else self.key_of, template)
        self._template = template
        self._header: list[str] = []
        self._line = 0  # that of the row which was read last
        columns: dict[str, None] = {}
        for row in self:
            if isinstance(row, dict):
                self._check_template(row)
            place = f"{path.name!r:.200}: line {self._line}"
            if not self._questions.ask(row, place).message.strip():
                raise ConfigurationError(f"{place} has an empty message: fill the row, or take it out of the file")
            columns.update(dict.fromkeys(row if isinstance(row, dict) else (TEXT,)))
        columns = {**dict.fromkeys(self._header), **columns}
        clash = [name for name in ADDED if name in columns]
        if clash:
            raise ConfigurationError(
                f"{path.name!r:.200} has a column {clash[0]!r} already, which the answers have too: rename it, or "
                f"write the rows without the columns {', '.join(ADDED)} of --out"
            )
        self.columns = tuple(columns)

    def __len__(self) -> int:
        return self._questions.count

    def __iter__(self) -> Iterator[Row]:
        name = self._path.name
        try:
            if kind_of(self._path) == "csv":
                with self._path.open(encoding="utf-8-sig", newline="") as table:
                    yield from self._placed(_csv_rows(table, name, self._begin))
            else:
                with self._path.open("rb") as lines:
                    yield from self._placed(_json_rows(lines, name))
        except OSError as error:
            why = error.strerror or error
        else:
            return
        raise ConfigurationError(f"{name!r:.200} cannot be read: {why}")

    def _placed(self, rows: Iterator[tuple[int, Row]]) -> Iterator[Row]:
        for line, row in rows:
            self._line = line
            yield row

    def _begin(self, header: list[str]) -> None:
        """Check what is asked against the columns of a table, which may have no rows.

        Raises:
            ConfigurationError: A column is missing.
        """
        self._check_template(header)
        self._questions.check_columns(header)
        if self._key is not None and self._key not in header:
            raise ConfigurationError(f"{self._path.name!r:.200} has no column {self._key!r:.200} for --key")
        self._header = header

    def _check_template(self, columns: Iterable[str]) -> None:
        if self._template is None:
            column = next(filter(None, columns), "column")  # that of an index may have no name
            raise ConfigurationError(f"--template says what is asked: --template '… {{{column}}}'")

    def key_of(self, row: Row, number: int) -> str:
        """The key of a row.

        Raises:
            ConfigurationError: It has none.
        """
        if self._key is None:
            return str(number)
        if not isinstance(row, dict) or row.get(self._key) in (None, ""):
            raise ConfigurationError(
                f"{self._path.name!r:.200}: line {self._line} has nothing in the column {self._key!r:.200}, "
                "which is its key"
            )
        value = row[self._key]
        return value if isinstance(value, str) else json_text(value)


def kind_of(path: Path) -> str | None:
    """How a file is written, by its name; ``None`` if that does not say."""
    return {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}.get(path.suffix.lower())


def check_out(path: Path, rows: Path) -> None:
    """Refuse a file for the answers before anything is asked.

    Args:
        path: The file.
        rows: That of the rows.

    Raises:
        ConfigurationError: It is a folder, or in none; its name does not say how it is written, or is that of the rows.
    """
    if str(path) == "-":
        raise ConfigurationError(
            "--out must be a file, since it is written whole: give a .csv or .jsonl file, and print that"
        )
    if path.is_dir():
        raise ConfigurationError(f"--out {str(path)!r:.200} is a folder: name a .csv or .jsonl file")
    if kind_of(path) is None:
        raise ConfigurationError(f"--out {str(path)!r:.200} is neither .csv nor .jsonl: give it one of these endings")
    if path.exists() and rows.exists() and path.samefile(rows):
        raise ConfigurationError(f"--out {path.name!r:.200} is the file of the rows; give the answers another name")
    folder = _behind_links(path).parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigurationError(f"--out: there is no folder {str(folder)!r:.200} that can be written to")


def _behind_links(path: Path) -> Path:
    """The file that a symbolic link leads to, which is written in its place."""
    return path.resolve() if path.is_symlink() else path


def _csv_rows(file: TextIO, name: str, begin: Callable[[list[str]], None]) -> Iterator[tuple[int, Row]]:
    """The rows of a table, each behind the number of the line in which it begins."""
    csv.field_size_limit(LONGEST_CELL)  # Python's own is 128 KiB
    reader = csv.reader(file, strict=True)
    line = 1
    try:
        header = next(reader, [])
        if not header:
            raise ConfigurationError(f"{name!r:.200} has no header: its first line must name the columns")
        if twice := next((column for column, times in Counter(header).items() if times > 1), None):
            raise ConfigurationError(f"{name!r:.200} has the column {twice!r:.200} twice")
        if len(header) == 1 and (separator := next((each for each in ";\t" if each in header[0]), "")):
            raise ConfigurationError(
                f"{name!r:.200}: its columns are separated by {separator!r}, it seems; write it with commas"
            )
        begin(header)
        line = reader.line_num + 1
        for cells in reader:
            if cells:  # a line with nothing in it is no row
                _check_cells(f"{name!r:.200}: line {line}", len(cells), len(header))
                yield line, dict(zip(header, cells, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        why = str(error)
    except UnicodeDecodeError:  # which is of the part that was read ahead, not of the line
        line, why = _undecodable(file.buffer)
    else:
        return
    raise ConfigurationError(f"{name!r:.200}: line {line} cannot be read: {why:.200}")


def _check_cells(place: str, count: int, wanted: int) -> None:
    """Refuse a row that is not as long as the header: what it lacks or has too much would be asked amiss.

    Raises:
        ConfigurationError: It is not.
    """
    if count != wanted:
        cells = "1 cell" if count == 1 else f"{count:,} cells"
        hint = "write the commas of empty cells, too" if count < wanted else "write a cell that has commas in quotes"
        raise ConfigurationError(f"{place} has {cells}, the header has {wanted:,}: {hint}")


def _undecodable(file: IO[bytes]) -> tuple[int, str]:
    """The number of the first line that is not UTF-8, and why."""
    file.seek(0)
    for number, line in enumerate(file, 1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return number, f"{error}; write the file in UTF-8"
    return 1, "it has changed meanwhile"


def _json_rows(file: IO[bytes], name: str) -> Iterator[tuple[int, Row]]:
    """The rows of a file of JSON lines, each behind the number of its line."""
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = loads_exactly(line)
        except ValueError as error:
            why = f"is no JSON: {error}"
        else:
            if isinstance(row, str | dict):
                yield number, row
                continue
            why = f"is {type(row).__name__}; it must be an object or a string"
        if line.lstrip().startswith(b"["):
            pandas = "to_json(…, orient='records', lines=True)"
            why = f"is an array: write each of its items on a line of its own (pandas: {pandas})"
        raise ConfigurationError(f"{name!r:.200}: line {number} {why:.200}")


@contextmanager
def written(path: Path, columns: tuple[str, ...]) -> Generator[Answers]:
    """Write a file whole or not at all: it takes its name at the end of the block, unless that is left by an error.

    One that was there before gives it its mode; behind a symbolic link its target is replaced.

    Args:
        path: The file: its name ends in ``.csv`` or ``.jsonl``.
        columns: Those of the rows; the answers' follow them.

    Raises:
        ConfigurationError: It cannot be written.
    """
    target = _behind_links(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            with draft.open("w", encoding="utf-8", newline="") as file:
                with suppress(FileNotFoundError):
                    shutil.copymode(target, draft)  # before anything is in it that others may not read
                yield Answers(file, kind_of(path) or "", (*columns, *ADDED))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise
    except OSError as error:
        why = error.strerror or error
    else:
        return
    raise ConfigurationError(f"{str(path)!r:.200} cannot be written: {why}")


class Answers:
    """A file of answers, row by row."""

    def __init__(self, file: IO[str], kind: str, columns: Iterable[str]) -> None:
        self._file = file
        self._columns = dict.fromkeys(columns)
        self._table = csv.DictWriter(file, list(self._columns), restval="") if kind == "csv" else None
        if self._table is not None:
            self._table.writeheader()

    def add(self, row: Row, added: Mapping[str, Any]) -> None:
        """Add a row with what became of it.

        Raises:
            ConfigurationError: The table has no place for one of its columns.
        """
        whole: dict[str, Any] = {**(row if isinstance(row, dict) else {TEXT: row}), **added}
        if self._table is None:
            self._file.write(f"{harmless_json(_line(whole))}\n")
        else:
            if (new := next((name for name in whole if name not in self._columns), None)) is not None:
                raise ConfigurationError(f"a row has the new column {new!r:.200}")
            cells = {name: _cell(value) for name, value in whole.items()}
            self._table.writerow({**cells, **{name: harmless(cells[name]) for name in added}})  # rows are the user's


def _line(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else harmless_json(json_text(value))
