"""Uses keys, and is killed for it.

python victim.py SETTINGS: an object in JSON with ``url``, ``kind``, ``where``, ``log``, ``seed``, ``kills``, ``keys``.

The program itself kills: it forks a process that uses keys, kills that after a random time, and so on. Each of them
writes what it is about to do and what came of it to the log, a line at a time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from toolhouse_async import (
    AsyncToolhouse,
    LeaseLostError,
    OutcomeUnknownError,
    PollingPolicy,
    RecoveryPolicy,
    SessionManager,
    StoreError,
    ToolhouseError,
)
from toolhouse_async.stores import PostgresSessionStore, RedisSessionStore, SQLiteSessionStore

AGENT = "worker"
LEASE = 1.0
QUICK = PollingPolicy(min_interval=0.03, max_interval=0.1)
QUIET = RecoveryPolicy(quiet=0.5, deadline=20, absence=0.5)
AT_ONCE = 4
"""Keys that one process uses at the same time."""
MEAN_LIFE = 0.12
"""Seconds that a process lives on the average."""


class Log:
    """Lines that are kept whatever happens to who wrote them."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __call__(self, what: str, **more: Any) -> None:
        os.write(self._file, json.dumps({"what": what, "by": os.getpid(), **more}).encode() + b"\n")


@asynccontextmanager
async def opened(settings: dict[str, Any]) -> AsyncIterator[SessionManager]:
    """A manager as any program makes it."""
    kinds: dict[str, Any] = {
        "sqlite": SQLiteSessionStore,
        "redis": RedisSessionStore,
        "postgres": PostgresSessionStore,
    }
    async with (
        AsyncToolhouse("", base_url=settings["url"], polling=QUICK, recovery=QUIET) as toolhouse,
        kinds[settings["kind"]](settings["where"]) as store,
        SessionManager(toolhouse, AGENT, store=store, lease=LEASE) as manager,
    ):
        yield manager


async def say(manager: SessionManager, log: Log, key: str, message: str) -> None:
    """Send a message once, or know that it was sent; whatever is unknown is found out and written down."""
    while True:
        log("sending", key=key, message=message)
        try:
            result = await manager.send(key, message)
        except OutcomeUnknownError as error:
            log("unknown", key=key, message=message, error=str(error))
        except (LeaseLostError, StoreError) as error:
            log("failed", key=key, message=message, error=repr(error))
            if error.safe_to_retry is not True:
                return
            continue
        else:
            log("answer", key=key, message=message, text=result.text)
            return
        if await settle(manager, log, key, message):
            return


async def settle(manager: SessionManager, log: Log, key: str, message: str) -> bool:
    """Find out what became of the message that the key is uncertain about; whether it is ours, and has arrived."""
    async with manager.checkout(key) as session:
        if session.run_id is not None:
            try:
                found = await session.reconcile()
            except ToolhouseError as error:  # it has arrived, and its answer is not whole: the job's resume is missing
                log("settled", key=key, text=None, error=repr(error))
                return False
            log("settled", key=key, text=None if found is None else found.text)
            return found is not None and message in found.text
    log("forget", key=key)
    await manager.forget(key)
    return False


async def live(settings: dict[str, Any], seed: int) -> None:
    """Use keys until killed."""
    chance, log, number = random.Random(seed), Log(settings["log"]), iter(range(1_000_000))

    async def deliver(key: str, result: Any) -> None:
        log("delivered", key=key, text=result.text)

    async def use() -> None:
        while True:
            key = f"key {chance.randrange(settings['keys'])}"
            kind = "job" if chance.random() < 0.25 else "word"
            await say(manager, log, key, f"{key}|{kind}|{seed}-{next(number)}")

    async with opened(settings) as manager, asyncio.TaskGroup() as tasks:
        tasks.create_task(manager.resume_pending(deliver))
        for _ in range(AT_ONCE):
            tasks.create_task(use())


async def clear_up(settings: dict[str, Any]) -> None:
    """Say one last thing to every key, at once, and finish every job."""
    log = Log(settings["log"])

    async def enter(key: str) -> None:
        started = time.monotonic()
        async with manager.checkout(key):
            log("entered", key=key, after=time.monotonic() - started)

    async def finish(key: str) -> None:
        await say(manager, log, key, f"{key}|word|last")

    async with opened(settings) as manager:
        keys = [info.key async for info in manager.sessions()]
        await asyncio.gather(*map(enter, keys))
        for resumed in await manager.resume_pending():
            log("resumed", key=resumed.key, text=resumed.result and resumed.result.text, error=repr(resumed.error))
        await asyncio.gather(*map(finish, keys))
        left = ["all"]
        for _ in range(40):  # a key that could not be let go, on a busy machine, is free when its lease has ended
            if left:
                left = [info.key async for info in manager.sessions() if info.pending or info.unknown or info.holder]
                await asyncio.sleep(LEASE / 4 if left else 0)
        log("left", keys=left)


def main(settings: dict[str, Any]) -> None:
    """Make processes and kill them; with no kills to make, clear up."""
    if not settings["kills"]:
        asyncio.run(clear_up(settings))
        return
    chance = random.Random(settings["seed"])
    for number in range(settings["kills"]):
        child = os.fork()
        if child == 0:
            asyncio.run(live(settings, settings["seed"] * 1_000_000 + number))
            os._exit(1)
        time.sleep(0.02 + chance.expovariate(1 / MEAN_LIFE))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            raise SystemExit(f"a process ended by itself: {status}")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
