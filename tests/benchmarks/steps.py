"""How long the steps of an event loop take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def timed_steps(clock: Callable[[], float] = time.thread_time) -> Iterator[list[float]]:
    """Collect the seconds that each step takes of this process's event loops: of a task, or another callback.

    What asyncio's transports do with the bytes that they receive is left out: it is the HTTP library's, and as long
    for whoever uses that. By default they are seconds of the thread's CPU time, which a busy machine does not lengthen.
    """
    taken: list[float] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        receives = isinstance(getattr(handle._callback, "__self__", None), asyncio.BaseTransport)
        began = clock()
        run(handle)
        if not receives:
            taken.append(clock() - began)

    asyncio.Handle._run = timed
    try:
        yield taken
    finally:
        asyncio.Handle._run = run


async def lateness(late: list[float], interval: float = 0.01) -> None:
    """Add to ``late``, until cancelled, by how many seconds the event loop wakes later than asked to."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval
        await asyncio.sleep(interval)
        late.append(loop.time() - due)
