"""A store for one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from ._protocol import Reading


class MemorySessionStore:
    """Keeps sessions in this process's memory: for tests, and for bots that may forget everything when they end.

    One event loop uses it; its clock is that loop's.
    """

    def __init__(self) -> None:
        self._entries: dict[str, bytes] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def read(self, key: str) -> Reading:
        """See :meth:`SessionStore.read`."""
        return Reading(self._entries.get(key), asyncio.get_running_loop().time())

    async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        """See :meth:`SessionStore.swap`."""
        if self._entries.get(key) != old:
            return False
        if new is None:
            self._entries.pop(key, None)
        else:
            self._entries[key] = new
        return True

    async def entries(self, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        """See :meth:`SessionStore.entries`."""
        for key, value in list(self._entries.items()):
            if key.startswith(prefix):
                yield key, value

    async def aclose(self) -> None:
        """Do nothing: the sessions stay as long as the store does."""
