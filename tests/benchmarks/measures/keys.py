"""What keyed sessions cost beside a session that the program keeps itself."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.support.redis_server import RedisServer, find_redis
from toolhouse_async import AsyncToolhouse, Limits, SessionManager
from toolhouse_async.stores import MemorySessionStore, RedisSessionStore, SessionStore, SQLiteSessionStore

from ..plans import Plan
from ..report import Row
from ..rounds import Figures, ratio
from .measure import Setting

SHORT = str(Plan("burst", 3))
MESSAGES = 100
"""Messages between two looks at the clock."""
Send = Callable[[str], Awaitable[object]]


@asynccontextmanager
async def stores() -> AsyncIterator[dict[str, SessionStore]]:
    """One of each kind, closed at the end; Redis is a server of this block's own."""
    with TemporaryDirectory() as folder:
        redis = RedisServer(find_redis(), Path(folder))
        redis.start()
        try:
            made: dict[str, SessionStore] = {
                "memory": MemorySessionStore(),
                "SQLite": SQLiteSessionStore(Path(folder) / "sessions.db"),
                "Redis": RedisSessionStore(redis.url),
            }
            yield made
            for store in made.values():
                await store.aclose()
        finally:
            redis.stop()


async def _each(setting: Setting) -> list[Row]:
    """One message after the other: CPU time of this process for each."""
    taken: Figures = {}
    async with AsyncToolhouse("key", base_url=setting.url) as toolhouse, stores() as kinds:
        session = toolhouse.session(SHORT)
        managers = {name: SessionManager(toolhouse, SHORT, store=store) for name, store in kinds.items()}
        senders: dict[str, Callable[[], Awaitable[object]]] = {"Session.send": lambda: session.send("x")}
        for name, manager in managers.items():
            senders[name] = lambda manager=manager: manager.send("key", "x")  # type: ignore[misc]
        for number in range(-1, setting.rounds):
            for name, send in senders.items():
                gc.collect()
                began = time.process_time()
                for _ in range(MESSAGES):
                    await send()
                if number >= 0:
                    taken.setdefault(name, []).append((time.process_time() - began) / MESSAGES * 1e6)
        for manager in managers.values():
            await manager.aclose()
    return [
        Row(
            "a message by manager.send", name, median(taken[name]), "µs", "Session.send",
            median(taken["Session.send"]), ratio(taken, name, "Session.send"),
        )
        for name in kinds
    ]  # fmt: skip


async def _at_once(setting: Setting, keys: int) -> list[Row]:
    """A message to each of very many keys at the same moment, and what they leave behind in this process."""
    rows: list[Row] = []
    limits = Limits(max_connections=500)
    async with AsyncToolhouse("key", base_url=setting.url, limits=limits) as toolhouse, stores() as kinds:
        for name, store in kinds.items():
            async with SessionManager(toolhouse, SHORT, store=store, lease=120) as manager:
                await manager.send("first", "x")
                began = time.perf_counter()
                await asyncio.gather(*(manager.send(f"key {number}", "x") for number in range(keys)))
                rows.append(Row(f"{keys:,} keys at once: all answered", name, time.perf_counter() - began, "s"))
    return rows


async def _idle(setting: Setting, keys: int) -> list[Row]:
    """What a key takes in this process that nobody uses."""
    rows: list[Row] = []
    async with AsyncToolhouse("key", base_url=setting.url) as toolhouse, stores() as kinds:
        for name, store in kinds.items():
            async with SessionManager(toolhouse, SHORT, store=store) as manager:
                for number in range(100):
                    await manager.send(f"before {number}", "x")
                before = _allocated()
                for number in range(keys):
                    await manager.send(f"key {number}", "x")
                taken = (_allocated() - before) / keys
                rows.append(Row(f"memory of each of {keys:,} idle keys, in the process", name, taken / 1000, "kB"))
    return rows


def _allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def keyed(setting: Setting) -> list[Row]:
    """The figures of keyed sessions."""
    rows = asyncio.run(_each(setting)) + asyncio.run(_at_once(setting, 10_000 if setting.full else 1000))
    tracemalloc.start()
    try:
        return rows + asyncio.run(_idle(setting, 1000))
    finally:
        tracemalloc.stop()
