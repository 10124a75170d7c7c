"""Works on a batch, and is killed for it.

python batch_victim.py SETTINGS: an object in JSON with ``url``, ``kind``, ``where``, ``log``, ``seed``, ``kills`` and
``rows``, their number.

The program itself kills: it forks a process that works on the batch, kills that after a random time, and so on. With no
kills to make it works on the batch to its end. Each item that is given out is written to the log.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from typing import Any

from toolhouse_async import AsyncToolhouse, PollingPolicy, RecoveryPolicy
from toolhouse_async.stores import PostgresSessionStore, RedisSessionStore, SQLiteSessionStore

from .victim import Log

AGENT = "worker"
LEASE = 1.0
QUICK = PollingPolicy(min_interval=0.03, max_interval=0.1)
QUIET = RecoveryPolicy(quiet=0.5, deadline=20, absence=0.5)
AT_ONCE = 6
"""Rows that one process has under way."""
MEAN_LIFE = 0.6
"""Seconds that a process lives on the average."""


def rows_of(settings: dict[str, Any]) -> list[str]:
    """What is asked; every tenth starts a job."""
    return [f"{'job' if number % 10 == 3 else 'word'}|{number}" for number in range(settings["rows"])]


async def work(settings: dict[str, Any]) -> None:
    """Work on the batch."""
    log = Log(settings["log"])
    kinds: dict[str, Any] = {
        "sqlite": SQLiteSessionStore,
        "redis": RedisSessionStore,
        "postgres": PostgresSessionStore,
    }
    async with (
        AsyncToolhouse("", base_url=settings["url"], polling=QUICK, recovery=QUIET) as toolhouse,
        kinds[settings["kind"]](settings["where"]) as store,
        toolhouse.batch(AGENT, rows_of(settings), store=store, name="night", concurrency=AT_ONCE, lease=LEASE) as batch,
    ):
        async for item in batch:
            log(
                "item",
                key=item.key,
                row=item.row,
                status=item.status,
                text=item.result and item.result.text,
                error=repr(item.error),
                is_last=not settings["kills"],
            )
        log("end", is_last=not settings["kills"])


def main(settings: dict[str, Any]) -> None:
    """Make processes and kill them."""
    if not settings["kills"]:
        asyncio.run(work(settings))
        return
    chance = random.Random(settings["seed"])
    for _ in range(settings["kills"]):
        child = os.fork()
        if child == 0:
            asyncio.run(work(settings))
            os._exit(0)
        time.sleep(0.02 + chance.expovariate(1 / MEAN_LIFE))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) not in (0, -signal.SIGKILL):
            raise SystemExit(f"a process ended by itself: {status}")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
