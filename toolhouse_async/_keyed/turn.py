"""A turn that takes its key at its first step, and lets it go at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .._driver import Driver
from .._held import Turn
from ..errors import StoreError

if TYPE_CHECKING:
    import asyncio

    from .._values.options import Options
    from .checkout import Checkout


class KeyAccess:
    """A key, as what a turn must have."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout

    async def enter(self, owner: Callable[[], asyncio.Task[object] | None]) -> None:
        """Wait for the key, and load its conversation."""
        await self._checkout.enter(owner)

    def leave(self) -> None:
        """Begin to let the key go."""
        self._checkout.leave()

    async def left(self) -> StoreError | None:
        """Wait until the key is let go; why the end of its conversation could not be saved, if so."""
        return await self._checkout.left()


class KeyedTurn(Turn):
    """A turn of a keyed session."""

    def __init__(self, checkout: Checkout, options: Options, *, message: str | None) -> None:
        conversation = checkout.conversation
        turn = conversation.turn(options, message=message)
        super().__init__(Driver(conversation, turn, timeout=options.timeout, access=KeyAccess(checkout)))

    async def aclose(self) -> None:
        """Close it, from any task, and wait until its key is let go. Idempotent."""
        await super().aclose()
        await self._driver.left()
