"""Rows, as users give them: their keys and their messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from string import Formatter
from typing import Any, Final, NamedTuple

from .._turn.heard import key_of
from .._values.options import check_message
from ..errors import ConfigurationError

RECORDS: Final = "frame.astype(object).where(frame.notna(), '').to_dict('records')"
"""The rows of a table of pandas, with ``""`` in place of what is missing, which is refused …"""
DICTS: Final = "frame.fill_nan(None).to_dicts(), with '' in place of None"
"""… and those of one of polars."""
_OF_TABLE: Final = f"; of a table of pandas pass {RECORDS}, of polars {DICTS}"


class Question(NamedTuple):
    """A row, and what is asked for it.

    Attributes:
        number: Its place among the rows, from 0.
        key: Its key.
        row: The row itself.
        message: What is sent.
        digest: What stands for that in the store.
        name: What messages to the user call the row.
    """

    number: int
    key: str
    row: Any
    message: str
    digest: str
    name: str


class Questions:
    """Makes questions of rows, in their order.

    Attributes:
        count: How many it has made.
        is_keyed: Whether the rows have keys of their own.
    """

    def __init__(self, key: Callable[[Any, int], str] | None, template: str | None) -> None:
        """Say how.

        Args:
            key: Makes a row's key of the row and its index; default the index.
            template: What a message is made of.

        Raises:
            ConfigurationError: An argument is wrong.
        """
        if key is not None and not callable(key):
            raise ConfigurationError(f"key must be a function of a row and its index, not {key!r:.80}")
        if template is not None:
            _check_template(template)
        self._key = key
        self.is_keyed: bool = key is not None
        self._template = template
        self._seen: set[int] = set()
        self.count = 0

    def ask(self, row: Any, name: str | None = None) -> Question:
        """The question of the next row.

        Args:
            row: The row.
            name: What messages call it, as of a file; default its key, or its number.

        Raises:
            ConfigurationError: The row is none, or does not fit the template; or its key is none, or that of a row
                before it.
        """
        number = f"row {self.count} (counted from 0)"
        key = self._key_of(row, name or number)
        of_table = "" if name else _OF_TABLE
        name = name or (f"row {key!r:.200}" if self.is_keyed else number)
        try:
            message = self._message(row, of_table)
            check_message(message)
        except ConfigurationError as error:
            raise ConfigurationError(f"{name}: {error}") from None
        self.count += 1
        return Question(self.count - 1, key, row, message, key_of(message), name)

    def check_columns(self, columns: Sequence[str]) -> None:
        """Refuse a template that names a column which no row has.

        Args:
            columns: Those of all rows.

        Raises:
            ConfigurationError: It does.
        """
        named = {*columns} - {""}  # {} is no column without a name, such as that of an index
        for _, field, _, _ in Formatter().parse(self._template or ""):
            if field is not None and (name := re.split(r"[.\[]", field, maxsplit=1)[0]) not in named:
                has = ", ".join(map(repr, columns))
                hint = _doubled(name) or _unnamable(field, columns)
                raise ConfigurationError(f"the template names {{{name:.200}}}; the columns are {has:.300}{hint}")

    def _key_of(self, row: Any, name: str) -> str:
        if self._key is None:
            return str(self.count)
        try:
            key = self._key(row, self.count)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # from within the function
            raise ConfigurationError(
                f"key is called with a row and its index, as in key(row, index): {error!s:.300}"
            ) from error
        except KeyError as error:
            if not isinstance(row, Mapping) or not error.args or error.args[0] in row:
                raise
            has = ", ".join(map(repr, row))
            raise ConfigurationError(
                f"{name} has no column {error.args[0]!r:.200}, which key takes; the row has {has:.300}"
            ) from error
        if not isinstance(key, str):
            hint = ": make one by str()" if hasattr(key, "__index__") else ""
            raise ConfigurationError(f"key must return a string, not {key!r:.80}, as of {name}{hint}")
        trace = hash(key)  # of 64 bits, not the key itself, so that a million rows take little memory
        if trace in self._seen:
            raise ConfigurationError(f"two rows have the key {key!r:.200}; {name} is the second")
        self._seen.add(trace)
        return key

    def _message(self, row: Any, of_table: str) -> str:
        if isinstance(row, str):
            return row if self._template is None else self._format(self._template, row)
        if not isinstance(row, Mapping):
            if _is_missing(row):  # in a column
                raise ConfigurationError(f"it {_without(row)}")
            is_of_table = isinstance(row, tuple) or hasattr(row, "to_dict")  # as of itertuples(), rows() and iterrows()
            hint = of_table if is_of_table else ""
            raise ConfigurationError(f"a row must be a string or a mapping, not {type(row).__name__}{hint}")
        if self._template is None:
            raise ConfigurationError("a row that is a mapping needs template=, which says what is asked")
        message = self._format(self._template, row)
        _check_values(self._template, row, of_table)
        return message

    @staticmethod
    def _format(template: str, row: Any) -> str:
        try:
            return template.format(row) if isinstance(row, str) else template.format_map(row)
        except (LookupError, AttributeError, ValueError, TypeError) as error:
            why = f"{type(error).__name__}: {error}"
        has, hint = f"; the row has {', '.join(map(repr, row))}", _doubled(why)
        if isinstance(row, str):
            has = "" if hint else "; the row is a string: {} stands for it"
        else:
            fields = [field for _, field, _, _ in Formatter().parse(template) if field]
            hint = hint or next(filter(None, (_unnamable(field, row) for field in fields)), "")
        raise ConfigurationError(f"it does not fit the template ({why:.300}){has:.300}{hint}")


def _check_values(template: str, row: Mapping[str, Any], of_table: str) -> None:
    """Refuse a row that has no value for a field: its message would say ``None`` or ``nan``."""
    for _, field, _, _ in Formatter().parse(template):
        if field is None:
            continue
        value, _ = Formatter().get_field(field, (), row)
        if _is_missing(value):
            hint = "" if value is None else of_table
            raise ConfigurationError(f"{{{field:.200}}} {_without(value)}{hint}")


def _without(missing: object) -> str:
    return f"has no value, but {missing!r:.80}: fill it, or leave the row out"


def _is_missing(value: object) -> bool:
    if value is None or not isinstance(value, Hashable):  # an array compares item by item
        return value is None
    try:
        return bool(value != value)  # NaN and NaT are not equal to themselves
    except TypeError:  # and NA of pandas does not say
        return True


def _doubled(field: str) -> str:
    """A hint where a field is one of JSON that stands in a template."""
    return "; braces that stay are doubled: {{ }}" if '"' in field else ""


def _unnamable(field: str, columns: Iterable[object]) -> str:
    """A hint where a field is the name of a column that ``str.format`` takes for something else."""
    if field not in map(str, columns) or not re.search(r"[.\[]|^\d+$", field):
        return ""
    return f"; rename {field!r:.200}: a template takes no name that has a dot or a bracket, or is a number"


def _check_template(template: object) -> None:
    if not isinstance(template, str):
        raise ConfigurationError(f"template must be a string, not {type(template).__name__}")
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigurationError(f"template is no pattern of str.format: {error}") from None
    if all(field is None for _, field, _, _ in pieces):
        raise ConfigurationError("template has no field such as {city}, so every row would be asked the same")
