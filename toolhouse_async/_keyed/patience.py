"""Asking a store that fails again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from .._log import log
from ..errors import LeaseLostError, StoreError

T = TypeVar("T")

RETRY: Final = 0.05
"""Seconds until a store that failed is asked again, the first time."""
LAZY_RETRY: Final = 1.0
"""Seconds when it lasts."""


async def patiently(ask: Callable[[], Awaitable[T]], patience: float) -> T:
    """Ask a store, and again for so many seconds where it fails.

    Raises:
        StoreError: It fails still.
    """
    loop = asyncio.get_running_loop()
    give_up, pause = loop.time() + patience, RETRY
    while True:
        try:
            return await ask()
        except LeaseLostError:
            raise
        except StoreError as error:
            if error.is_lasting or loop.time() + pause > give_up:
                raise
            log.info("the session store failed (%s); again in %.2f s", error, pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LAZY_RETRY)
