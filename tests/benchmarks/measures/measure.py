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
        core: The server's core, for a measure that starts a server of its own.
        rounds: Rounds to measure.
        full: Whether to take the time that the bars are meant for, rather than a quick look.
    """

    url: str
    core: int
    rounds: int
    full: bool


Measure: TypeAlias = Callable[[Setting], list[Row]]
Growth: TypeAlias = Callable[[Setting], list[Curve]]
