"""What a row of a batch costs beside a message of ``client.map``, which keeps nothing."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator
from statistics import median
from typing import Any

from toolhouse_async import AsyncToolhouse
from toolhouse_async.stores import SQLiteSessionStore

from ..memory import used
from ..plans import Plan
from ..report import Row
from ..rounds import Figures, ratio
from .keys import stores
from .measure import Setting

SHORT = str(Plan("burst", 3))
ROWS = 200
"""Rows between two looks at the clock."""
MANY = 100_000
"""Rows over which memory must not grow."""
MB = 1_000_000
BY_MAP = "client.map"


async def _rows(setting: Setting) -> list[Row]:
    """CPU time of this process for each row, when it is asked and when it is given again from the store."""
    taken: Figures = {}
    async with AsyncToolhouse("key", base_url=setting.url) as toolhouse, stores() as kinds:

        async def measure(name: str, items: AsyncIterator[Any], *, counts: bool) -> None:
            gc.collect()
            began = time.process_time()
            count = len([item async for item in items if item.error is None])
            if counts:
                taken.setdefault(name, []).append((time.process_time() - began) / ROWS * 1e6)
            assert count == ROWS

        rows = ["x"] * ROWS
        for number in range(-1, setting.rounds):
            await measure(BY_MAP, toolhouse.map(SHORT, rows), counts=number >= 0)
            for name, store in kinds.items():
                for what in (name, f"{name}, again"):
                    batch = toolhouse.batch(SHORT, rows, store=store, name=f"round {number}")
                    await measure(what, batch, counts=number >= 0)
    by_map = median(taken[BY_MAP])
    return [
        Row(what, name, median(taken[figure]), "µs", BY_MAP, by_map, ratio(taken, figure, BY_MAP))
        for what, suffix in (("a row by client.batch", ""), ("a row given again from the store", ", again"))
        for name in kinds
        for figure in (f"{name}{suffix}",)
    ]


async def _memory(url: str, count: int) -> float:
    """How many bytes more are resident behind all rows than behind a fifth of them, with SQLite."""
    first = 0
    with tempfile.TemporaryDirectory() as folder:
        async with (
            AsyncToolhouse("key", base_url=url) as toolhouse,
            SQLiteSessionStore(f"{folder}/batch.db") as store,
            toolhouse.batch(SHORT, ("x" for _ in range(count)), store=store, name="large") as batch,
        ):
            async for _ in batch:
                if batch.progress.done == count // 5:
                    first = used("rss")
            assert batch.progress.done == count
            return used("rss") - first


def batched(setting: Setting) -> list[Row]:
    """The figures of batches."""
    count = MANY if setting.full else MANY // 50
    growth = asyncio.run(_memory(setting.url, count))
    grown = Row(f"growth over {count:,} rows of a batch", "SQLite", growth / MB, "MB", bar=4.0)
    return [*asyncio.run(_rows(setting)), grown]
