"""What a store of keyed sessions can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from ..errors import ConfigurationError


class Reading(NamedTuple):
    """What stands in a store under a key.

    Attributes:
        value: The entry; ``None`` if there is none.
        time: The store's time when it was read, in seconds from whatever moment. All who use the store must have the
            same time: take the clock of its server where it has one.
    """

    value: bytes | None
    time: float


class SessionStore(Protocol):
    """A map from strings to bytes that changes an entry only for whoever knows what stands there.

    All that :class:`~toolhouse_async.SessionManager` and batches need of a store: locks, leases and queues are entries
    too, and a change by a process that has lost its lease fails, since the entry is not the one it knew. Keys are any
    strings: of any length, with any characters, lone surrogates and NUL included. Entries are some hundred bytes; those
    of a :class:`~toolhouse_async.Batch` hold whole results, and may have any size.

    Each method may be called from many tasks at once, and may be cancelled; what it was doing is done then, or not.

    Raises:
        StoreError: From each method: it failed, and asking again may help.
    """

    async def read(self, key: str) -> Reading:
        """Return what stands under ``key``."""
        ...

    async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        """Put ``new`` in the place of ``old`` if exactly that stands there; ``None`` means no entry.

        Must be one step for all who use the store, and must be kept when the process ends in the next moment.

        Returns:
            Whether it was done. After an error nobody knows; asking again may say ``False`` then, although it was.
        """
        ...

    def entries(self, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        """Go through all entries whose key begins with ``prefix``, in any order; read in pages, not all at once."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and files. Idempotent; what was kept stays."""
        ...


def check_store(store: object) -> None:
    """Refuse what is no store: a path, or the class of one.

    Raises:
        ConfigurationError: It is none.
    """
    if isinstance(store, type) or not (hasattr(store, "read") and hasattr(store, "swap")):
        given = f"the class {store.__name__}" if isinstance(store, type) else type(store).__name__
        raise ConfigurationError(f"store must be a SessionStore, such as SQLiteSessionStore(…), not {given}")
