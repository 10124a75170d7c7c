"""The memory of one contestant in a fresh process.

``python -m tests.benchmarks.memory CONTESTANT URL TURNS EVENTS HOW TOGETHER`` opens the turns, so many at the same
moment, which are left idle after their first event, or with ``TURNS`` 1 reads one to its end. It prints, in bytes: for
idle turns what each takes, for a long turn how much more is in use in its second half. ``HOW`` is ``rss`` or
``allocated``.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from pathlib import Path
from resource import getpagesize

import aiohttp
import orjson

from toolhouse_async import AsyncToolhouse

from .contestants import Consume, Contestant, floor, ours
from .plans import Plan
from .seen import ask

CONTESTANTS: dict[str, Contestant] = {"floor": floor, "ours": ours}
FEW = 50
"""Turns of those that are opened before it counts, so that what is made once is there."""
SAMPLES = 40


def used(how: str) -> int:
    """Bytes in use: resident in memory, or allocated by Python."""
    gc.collect()
    if how == "rss":
        return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()
    return tracemalloc.get_traced_memory()[0]


async def _open(consume: Consume, url: str, turns: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(consume(Plan("idle"))) for _ in range(turns)]
    async with aiohttp.ClientSession() as session:
        seen = 0
        while seen < turns:
            await asyncio.sleep(0.1)
            seen += (await ask(session, url)).messages
        await asyncio.sleep(turns / 1000)  # for the last answers to be read
    assert not any(task.done() for task in tasks)
    return tasks


async def idle(contestant: Contestant, url: str, turns: int, how: str, together: int = FEW) -> float:
    """What each open turn takes, when there are ``turns``, so many of them opened at the same moment.

    What is needed to open many at once stays with the allocator.
    """
    async with contestant(url) as consume:
        tasks = await _open(consume, url, FEW)
        before = used(how)
        while len(tasks) < turns:
            tasks += await _open(consume, url, min(together, turns - len(tasks)))
        taken = used(how) - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return taken / (turns - FEW)


async def long(url: str, events: int, how: str) -> list[int]:
    """What is in use while a turn of ours goes on, without the words that it keeps."""
    after: list[int] = []
    count = size = 0
    plan = str(Plan("burst", events))
    async with AsyncToolhouse("key", base_url=url) as toolhouse, toolhouse.stream(plan, "x") as turn:
        async for text in turn.text_stream:
            count += 1
            size += len(text)
            if count % (events // SAMPLES) == 0:
                after.append(used(how) - size)
    return after


def growth(samples: list[int]) -> int:
    """How much more is in use in the second half: the least of each, since what is read at once comes and goes."""
    middle = len(samples) // 2
    return min(samples[middle:]) - min(samples[:middle])


def main() -> None:
    """The command."""
    name, url, turns, events, how, together = sys.argv[1:]
    if how == "allocated":
        tracemalloc.start()
    if int(turns) == 1:
        taken = growth(asyncio.run(long(url, int(events), how)))
    else:
        taken = asyncio.run(idle(CONTESTANTS[name], url, int(turns), how, int(together)))
    print(orjson.dumps(taken).decode())


if __name__ == "__main__":
    main()
