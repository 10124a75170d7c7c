"""A turn that takes its key at its first step, and lets it go at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._exchange import Exchange
from .._turn import Turn
from ..errors import StoreError

if TYPE_CHECKING:
    from .._options import Options
    from .._results import TurnResult
    from .._wire.steps import Signal
    from .checkout import Checkout


class KeyedExchange(Exchange):
    """An exchange within one use of a key."""

    __slots__ = ("_checkout", "_is_inside")

    def __init__(self, checkout: Checkout, options: Options, *, message: str | None) -> None:
        super().__init__(checkout.conversation, options, message=message, timeout=options.timeout)
        self._checkout = checkout
        self._is_inside = False

    async def _step(self) -> Signal | None:
        if not self._is_inside:
            await self._checkout.enter(lambda: self.stepped_by)
            self._is_inside = True
        return await super()._step()

    def _let_go(self) -> None:
        super()._let_go()
        if self._is_inside:
            self._is_inside = False
            self._checkout.leave()

    async def advance(self) -> None:
        """Make one step; the last one ends when the key is let go.

        Cancelling closes it; the key is let go in the background then.
        """
        await super().advance()
        if self.is_over:
            await self.left()

    async def left(self) -> None:
        """Wait until the key is let go."""
        error = await self._checkout.left()
        if error is not None and self.error is None:
            self.error = _reported(error, self.result)


def _reported(error: StoreError, result: TurnResult | None) -> StoreError:
    """The error of a turn that went well but for what was to be saved of it."""
    error.partial = result
    error.run_id = None if result is None else result.run_id
    error.safe_to_retry = False
    return error


class KeyedTurn(Turn):
    """A turn of a keyed session."""

    def __init__(self, engine: KeyedExchange) -> None:
        super().__init__(engine)
        self._exchange = engine

    async def aclose(self) -> None:
        """Close it, from any task, and wait until its key is let go. Idempotent."""
        await super().aclose()
        await self._exchange.left()
