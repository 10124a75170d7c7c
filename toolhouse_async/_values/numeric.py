"""Numbers of other libraries, such as numpy's, as plain ones."""

from __future__ import annotations

from operator import index
from typing import Any


def plain_number(value: object) -> Any:
    """A real number of any class as an ``int`` or a ``float``; what is none, or too large, as it is."""
    kind = type(value)
    if value is None or kind is int or kind is float or kind is bool:
        return value
    try:
        return index(value)  # type: ignore[arg-type] # what is no integer is told by that
    except TypeError:
        pass
    from numbers import Real  # here, since few programs need it

    try:
        return float(value) if isinstance(value, Real) else value
    except OverflowError:
        return value
