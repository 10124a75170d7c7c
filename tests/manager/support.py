"""A worker that keys talk to, clients of it, and processes that stop without a word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.stores import Troubled
from toolhouse_async import AsyncToolhouse, PollingPolicy, RecoveryPolicy, SessionManager, Timeouts
from toolhouse_async.stores import MemorySessionStore
from toolhouse_async.testing import EmulatorServer, WorkersEmulator

AGENT = "worker"
QUICK = PollingPolicy(min_interval=0.05, max_interval=0.2, jitter=0)


class World:
    """An emulator with a worker that remembers what it was told, and by whom.

    A message ``job`` starts a job, and ``twice`` another one behind it; ``slow`` is answered in two halves, the second
    once :attr:`go_on` is set.

    Attributes:
        told: The messages that were accepted, by run.
        go_on: Lets slow answers and jobs end.
    """

    def __init__(self) -> None:
        self.emulator = WorkersEmulator()
        self.emulator.worker(AGENT)(self._worker)
        self.told: dict[str, list[str | None]] = {}
        self.go_on = asyncio.Event()
        self.is_slow = asyncio.Event()

    async def _worker(self, ctx: Any) -> Any:
        told = self.told.setdefault(ctx.run_id, [])
        told.append(ctx.message)
        if told == ["twice", ""]:
            self.go_on.clear()  # the second job waits anew
        if ctx.message in ("job", "twice") or told == ["twice", ""]:
            yield ctx.background(self._job)
        if ctx.job_result is not None:
            yield ctx.text(f"[{ctx.job_result}]")
        yield ctx.text(f"{len(told)}:")
        if ctx.message == "slow":
            self.is_slow.set()
            await self.go_on.wait()
        yield ctx.text(str(ctx.message))

    async def _job(self) -> str:
        await self.go_on.wait()
        return "computed"

    @property
    def accepted(self) -> list[str | None]:
        """All messages that were accepted, whatever the run."""
        return [message for told in self.told.values() for message in told]


def client_of(server: EmulatorServer, **options: Any) -> AsyncToolhouse:
    """A client whose waits are short."""
    options = {
        "polling": QUICK,
        "recovery": RecoveryPolicy(quiet=1, deadline=20, absence=1),
        "timeouts": Timeouts(idle=None),
        **options,
    }
    return AsyncToolhouse("key", base_url=server.url, **options)


class Process:
    """A client and a manager as a process of their own has them, with its own way to the store.

    Attributes:
        store: That way.
    """

    def __init__(self, client: AsyncToolhouse, store: Any, **options: Any) -> None:
        self.store = Troubled(store)
        self.client = client
        self.manager = SessionManager(client, AGENT, store=self.store, **options)

    async def stop(self) -> None:
        """Stop it where it is: it writes nothing more and says nothing more."""
        self.store.down = True
        await self.client.aclose()


@asynccontextmanager
async def processes(
    count: int = 1, *, world: World | None = None, store: Any = None, **options: Any
) -> AsyncIterator[Any]:
    """The world, its server, and so many processes on one store."""
    world = world or World()
    store = MemorySessionStore() if store is None else store
    async with world.emulator.serve() as server:
        made = [Process(client_of(server), store, **options) for _ in range(count)]
        try:
            yield world, server, *made
        finally:
            for process in made:
                process.store.down = process.store.is_mute = False
                process.store.held = None
                await process.manager.aclose()
                await process.client.aclose()
