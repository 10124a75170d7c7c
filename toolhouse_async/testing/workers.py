"""Workers that are ready to use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ._context import WorkerContext
    from ._events import WorkerEvent

__all__ = ["echo"]


async def echo(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
    """Say the message back word by word; a start without a message gets a greeting."""
    message = "Hello! Send me a message and I will say it back." if ctx.message is None else ctx.message
    for word in re.findall(r"\s*\S+|\s+$", message):
        yield ctx.text(word)
