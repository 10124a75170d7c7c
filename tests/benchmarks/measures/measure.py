"""What a measure is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from attrs import frozen

from ..report import Curve, Row

T = TypeVar("T")


@frozen
class Setting:
    """What a measure works with.

    Attributes:
        url: The server.
        rounds: Rounds to measure.
        full: Whether to take the time that the bars are meant for, rather than a quick look.
        new_loop: Makes event loops; ``None`` for asyncio's own.
    """

    url: str
    rounds: int
    full: bool
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None

    def run(self, measure: Coroutine[Any, Any, T]) -> T:
        """Measure on an event loop of that kind."""
        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            return runner.run(measure)


Measure: TypeAlias = Callable[[Setting], list[Row]]
Growth: TypeAlias = Callable[[Setting], list[Curve]]
