"""Those who hold a run, or wait for it."""

from __future__ import annotations

import asyncio
from typing import Any

from toolhouse_async._run.queue import Queue


class Holder:
    """Who holds a run, as a driver does; resumes that it inherits are kept."""

    def __init__(self) -> None:
        self.stepped_by: asyncio.Task[object] | None = None
        self.inherited: list[Any] = []

    def inherit(self, resume: Any) -> None:
        self.inherited.append(resume)


async def waits(queue: Queue, holder: Holder) -> asyncio.Task[None]:
    """A task in which ``holder`` waits for the run by now."""
    task = asyncio.ensure_future(queue.acquire(holder))
    await asyncio.sleep(0)
    return task
