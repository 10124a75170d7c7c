"""Where a store, or what else has connections, was opened."""

from __future__ import annotations

import asyncio
import os

from ..errors import ConfigurationError


class Home:
    """The process, and the event loop, that a store belongs to once it was used.

    A fork copies connections whose threads and event loops stay behind: a child that used them would wait for ever.

    Args:
        what: What is at home there, in the words of errors.
    """

    def __init__(self, what: str = "store") -> None:
        self._what = what
        self._process: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether it was opened in another process."""
        return self._process not in (None, os.getpid())

    @property
    def is_closed(self) -> bool:
        """Whether its event loop is gone, and all connections with it."""
        return self._loop is not None and self._loop.is_closed()

    def check_process(self) -> None:
        """Settle here at the first call.

        Raises:
            ConfigurationError: The store was opened before a fork, on the other side of it.
        """
        if self.is_elsewhere:
            raise ConfigurationError(
                f"the {self._what} was opened before this process was made by fork, and is of no use here: make a "
                f"{self._what} in each process, after the fork"
            )
        self._process = os.getpid()

    def check(self) -> None:
        """Settle here, and on the running event loop, at the first call.

        Raises:
            ConfigurationError: The store is at home in another process, or on another event loop.
        """
        self.check_process()
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise ConfigurationError(f"one event loop uses a {self._what}: make another one for this event loop")
        self._loop = loop
