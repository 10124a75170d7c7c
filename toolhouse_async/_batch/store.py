"""The store of a batch as its rows see it, which wait for one that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from .._log import log
from ..errors import StoreError

if TYPE_CHECKING:
    from ..stores import Reading, SessionStore

T = TypeVar("T")

GRACE: Final = 10.0
"""Seconds for which the end waits for a store that is away."""


class WatchedStore:
    """Says once that the store is away, and once a batch was stopped, that asking again for longer does not help."""

    def __init__(self, store: SessionStore, is_stopped: Callable[[], bool]) -> None:
        self._store = store
        self._is_stopped = is_stopped
        self._failing: set[str] = set()  # a full disk is read, and not written
        self._give_up: float | None = None

    async def read(self, key: str) -> Reading:
        """Return what stands under ``key``."""
        return await self._watch("read", self._store.read(key))

    async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        """Put ``new`` in the place of ``old`` if exactly that stands there."""
        return await self._watch("swap", self._store.swap(key, old, new))

    def entries(self, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        """Go through all entries whose key begins with ``prefix``."""
        return self._store.entries(prefix)

    async def aclose(self) -> None:
        """Let go of connections and files."""
        await self._store.aclose()

    async def _watch(self, what: str, call: Awaitable[T]) -> T:
        try:
            done = await call
        except StoreError as error:
            if not error.is_lasting:
                self._failed(what, error)
            raise
        if self._failing:
            self._failing.discard(what)
            if not self._failing:
                self._give_up = None
                log.info("the store works again: the batch goes on")
        return done

    def _failed(self, what: str, error: StoreError) -> None:
        if not self._failing:
            log.warning("the store fails (%.300s): the batch waits until it works again", error)
        self._failing.add(what)
        if self._is_stopped():
            now = asyncio.get_running_loop().time()
            self._give_up = self._give_up or now + GRACE
            error.is_lasting = now >= self._give_up
