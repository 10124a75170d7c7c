"""One task of this process at a time for each key, in order of asking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from ..errors import SessionBusyError

Owner: TypeAlias = Callable[[], "asyncio.Task[object] | None"]
"""Which task would have to go on for the key to be let go."""


class _Gate:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
        self.owner: Owner | None = None


class Gates:
    """Locks by key, which exist as long as somebody has or wants them."""

    def __init__(self) -> None:
        self._gates: dict[str, _Gate] = {}

    def is_used(self, key: str) -> bool:
        """Whether somebody has or wants it, but for one who is about to leave."""
        gate = self._gates.get(key)
        return gate is not None and (gate.owner is not None or gate.users > 1)

    async def enter(self, key: str, owner: Owner) -> None:
        """Wait for those who came before. A cancelled call leaves the queue as if it had not been.

        Raises:
            SessionBusyError: The caller's own task has the key, which could never go on.
        """
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = _Gate()
        if gate.owner is not None and gate.owner() is asyncio.current_task():
            raise SessionBusyError("this task has the key already: finish or close what uses it first")
        gate.users += 1
        try:
            await gate.lock.acquire()
        except BaseException:
            self._drop(key, gate)
            raise
        gate.owner = owner

    def disown(self, key: str) -> None:
        """Note that whoever has the key is about to leave without the help of their task."""
        self._gates[key].owner = None

    def leave(self, key: str) -> None:
        """Let the next one in."""
        gate = self._gates[key]
        gate.owner = None
        gate.lock.release()
        self._drop(key, gate)

    def _drop(self, key: str, gate: _Gate) -> None:
        gate.users -= 1
        if gate.users == 0:
            del self._gates[key]
