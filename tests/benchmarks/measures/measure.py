"""What a measure is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from ..report import Curve, Row


@frozen
class Setting:
    """What a measure works with.

    Attributes:
        url: The server.
        rounds: Rounds to measure.
        full: Whether to take the time that the bars are meant for, rather than a quick look.
    """

    url: str
    rounds: int
    full: bool


Measure: TypeAlias = Callable[[Setting], list[Row]]
Growth: TypeAlias = Callable[[Setting], list[Curve]]
