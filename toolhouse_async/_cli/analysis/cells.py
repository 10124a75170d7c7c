"""What a single cell is: missing, a whole number, a number, a truth value, a date, or text."""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum

__all__ = ["Kind", "classify", "is_missing", "number"]

_MISSING = frozenset(("", *"-?.", "--", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "nil"))
_TRUTH = frozenset(("true", "false", "yes", "no", "y", "n"))
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?", re.ASCII | re.DOTALL)
_GROUPED = {  # thousands: any groups beside the decimal mark
    ".": re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?", re.ASCII),
    # one point alone stays a decimal point: files mix "3,5" with coordinates such as "48.1371"
    ",": re.compile(r"[+-]?[1-9]\d{0,2}(?:(?:\.\d{3})+,\d*|(?:\.\d{3}){2,})", re.ASCII),
}
_POINTS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d*)?", re.ASCII)
_START = frozenset("+-.0123456789")
_LARGEST = 1e150  # squares of deviations stay finite


class Kind(Enum):
    """What a cell is."""

    MISSING = "missing"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    CODE = "code"
    """Digits with leading zeros: a postal code or an id, whose zeros arithmetic would lose."""
    TEXT = "text"


def is_missing(cell: str) -> bool:
    """Whether a stripped cell stands for a missing value: empty, ``NA``, ``null``, ``-`` and the like."""
    return len(cell) <= 4 and cell.lower() in _MISSING


def number(cell: str, decimal: str = ".", *, thousands: bool = False) -> float | None:
    """Read a stripped cell as a finite number, ``None`` if it is none.

    Args:
        cell: The cell; thousands may be grouped by the mark that is not ``decimal``.
        decimal: The file's decimal mark, ``"."`` or ``","``.
        thousands: Whether one point alone groups thousands too, as in ``1.000``, beside a decimal comma.
    """
    if cell[:1] not in _START or "_" in cell or len(cell) > 64 or not cell.isascii():
        return None  # float() reads "inf", 1_000 and other scripts' digits too
    if "," in cell or (decimal == "," and cell.count(".") > (not thousands)):
        if (_POINTS if thousands else _GROUPED[decimal]).fullmatch(cell):
            cell = cell.replace("." if decimal == "," else ",", "")
        if decimal == ",":
            cell = cell.replace(",", ".")
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if -_LARGEST <= value <= _LARGEST else None


def classify(cell: str, decimal: str = ".", *, thousands: bool = False) -> tuple[Kind, float | None]:
    """Say what a stripped cell is, with its value where it is a number; the arguments are those of :func:`number`."""
    if is_missing(cell):
        return Kind.MISSING, None
    value = number(cell, decimal, thousands=thousands)
    if value is not None:
        digits = cell.lstrip("+-")
        if not digits.isdigit():
            return Kind.NUMBER, value
        return (Kind.CODE, value) if len(digits) > 1 and digits[0] == "0" else (Kind.INTEGER, value)
    if cell.lower() in _TRUTH:
        return Kind.BOOLEAN, None
    return (Kind.DATE if _is_date(cell) else Kind.TEXT), None


def _is_date(cell: str) -> bool:
    if cell[4:5] != "-" or not _DATE.fullmatch(cell):
        return False
    try:
        datetime.fromisoformat(cell)
    except ValueError:
        return False
    return True
