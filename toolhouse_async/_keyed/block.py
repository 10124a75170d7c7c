"""The block in which a key is had."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from .._session import Session
    from .checkout import Checkout


class CheckedOutSession:
    """The ``async with`` block of :meth:`SessionManager.checkout`."""

    def __init__(self, checkout: Checkout, session: Session) -> None:
        self._checkout = checkout
        self._session = session

    async def __aenter__(self) -> Session:
        task = asyncio.current_task()
        await self._checkout.enter(lambda: task)
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._checkout.conversation.close()
        if kind is None and self._checkout.has_answer:
            self._checkout.delivered()
        self._checkout.leave()
        if kind is not None and not issubclass(kind, Exception):
            return  # cancelled: the key is let go in the background
        failed = await self._checkout.left()
        if failed is not None and error is None:
            raise failed
