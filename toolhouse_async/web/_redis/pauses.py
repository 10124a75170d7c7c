"""How long to wait before a server is asked again."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["Pauses"]

FIRST: Final = 0.05
LONGEST: Final = 1.0


class Pauses:
    """Pauses that become longer, up to a second."""

    def __init__(self) -> None:
        self._next = FIRST

    async def sleep(self) -> None:
        """Wait."""
        await asyncio.sleep(self._next)
        self._next = min(2 * self._next, LONGEST)
