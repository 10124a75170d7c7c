"""Checks of an emulator's settings, whose errors say in a sentence what is wanted."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from attrs import Attribute

__all__ = ["check", "number", "one_of", "whole"]

Check: TypeAlias = "Callable[[object, Attribute[Any], Any], None]"


def check(wanted: str, is_right: Callable[[Any], bool]) -> Check:
    """A validator that refuses what is not ``wanted``, by ``ConfigurationError``."""

    def validate(_: object, attribute: Attribute[Any], value: Any) -> None:
        if not is_right(value):
            raise ConfigurationError(f"{attribute.name} must be {wanted}, not {value!r:.80}")

    return validate


def one_of(*allowed: str, optional: bool = False) -> Check:
    """A validator for words."""
    wanted = " or ".join(map(repr, (*allowed, None) if optional else allowed))
    return check(wanted, lambda value: (optional and value is None) or (isinstance(value, str) and value in allowed))


def number(least: float) -> Check:
    """A validator for numbers."""
    return check(f"a number of at least {least:g}", lambda value: _is_number(value, Real) and value >= least)


def whole(least: int, most: int | None = None, *, optional: bool = False) -> Check:
    """A validator for whole numbers."""
    wanted = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"

    def is_right(value: Any) -> bool:
        if value is None:
            return optional
        return _is_number(value, Integral) and value >= least and (most is None or value <= most)

    return check(f"{wanted}, or None" if optional else wanted, is_right)


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
