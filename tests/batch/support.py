"""A worker that rows are asked, and processes that stop without a word."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.answers import unused_port
from toolhouse_async import AsyncToolhouse, BatchItem, PollingPolicy, RecoveryPolicy, RetryPolicy, Timeouts
from toolhouse_async.stores import MemorySessionStore, Reading, SessionStore
from toolhouse_async.testing import EmulatorServer, WorkersEmulator

AGENT = "worker"
QUICK = PollingPolicy(min_interval=0.05, max_interval=0.2, jitter=0)


class World:
    """An emulator with a worker, and the record of what it has accepted.

    A message that begins with ``job`` starts one, with ``tool`` calls one; ``slow`` is answered in two halves, the
    second once :attr:`go_on` is set; ``error`` fails.

    Attributes:
        told: How often each message was accepted.
        go_on: Lets slow answers end.
        on_told: Called when a message was accepted.
    """

    def __init__(self, rest: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Make the worker.

        Args:
            rest: What it waits for in the middle of an answer, and in a job, by the seconds that this should take.
        """
        self._rest = rest
        self.emulator = WorkersEmulator()
        self.emulator.worker(AGENT)(self._worker)
        self.told: Counter[str] = Counter()
        self.resumes = 0
        self.go_on = asyncio.Event()
        self.slow = 0
        self.now = 0
        self.most = 0
        self.on_told: Callable[[], None] = lambda: None

    async def _worker(self, ctx: Any) -> Any:
        if ctx.job_result is not None:
            self.resumes += 1
            yield ctx.text(f"[{ctx.job_result}]")
            return
        self.told[ctx.message] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        self.on_told()
        try:
            if ctx.message.startswith("job"):
                yield ctx.background(self._job)
            if ctx.message.startswith("tool"):
                call = ctx.tool_call("look_up", {"word": ctx.message})
                yield call
                yield ctx.tool_result(call, [1, {"deep": None}])
            yield ctx.text("you ")
            if ctx.message.startswith("error"):
                raise RuntimeError("the worker has failed")
            if ctx.message.startswith("slow"):
                self.slow += 1
                await self.go_on.wait()
            await self._rest(0.1)
            yield ctx.text(f"said {ctx.message}")
        finally:
            self.now -= 1

    async def _job(self) -> str:
        await self._rest(0.5)
        return "computed"

    @property
    def twice(self) -> list[str]:
        """What was accepted more than once."""
        return [message for message, count in self.told.items() if count > 1]


def client_of(server: EmulatorServer, **options: Any) -> AsyncToolhouse:
    """A client whose waits are short."""
    options = {
        "polling": QUICK,
        "recovery": RecoveryPolicy(quiet=1, deadline=20, absence=1),
        "timeouts": Timeouts(idle=None),
        "retries": RetryPolicy(max_attempts=1),
        **options,
    }
    return AsyncToolhouse("key", base_url=server.url, **options)


@asynccontextmanager
async def served(world: World | None = None, **options: Any) -> AsyncIterator[Any]:
    """The world, its server, a client of it, and a store."""
    world = world or World()
    async with world.emulator.serve() as server, client_of(server, **options) as client:
        yield world, server, client, MemorySessionStore()


async def all_of(batch: Any) -> list[BatchItem]:
    """All items of a batch, in the order of their keys."""
    async with batch:
        items = [item async for item in batch]
    return sorted(items, key=lambda item: (len(item.key), item.key))


def texts(items: list[BatchItem]) -> list[str]:
    """What each item came to, in short."""
    return [item.result.text if item.result else f"{item.status}: {type(item.error).__name__}" for item in items]


class Mortal:
    """A store as a process sees it that dies at one of its steps: from then on nothing of it reaches the store.

    Attributes:
        steps: How many steps there were.
        on_done: Called behind each that it did.
        died: Set when it has died.
    """

    def __init__(self, store: SessionStore, *, dies_at: int, does_it: bool) -> None:
        self._store = store
        self._dies_at = dies_at
        self._does_it = does_it
        self.steps = 0
        self.on_done: Callable[[], None] = lambda: None
        self.died = asyncio.Event()

    def die(self) -> None:
        """Die now."""
        self.died.set()

    async def _step(self, call: Callable[[], Any]) -> Any:
        if self.died.is_set():
            await asyncio.Event().wait()
        self.steps += 1
        if self.steps == self._dies_at:
            if self._does_it:
                await call()
            self.die()
            await asyncio.Event().wait()
        done = await call()
        self.on_done()
        return done

    async def read(self, key: str) -> Reading:
        reading: Reading = await self._step(lambda: self._store.read(key))
        return reading

    async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        return bool(await self._step(lambda: self._store.swap(key, old, new)))

    def entries(self, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        return self._store.entries(prefix)

    async def aclose(self) -> None:
        pass


class Way:
    """The way to a server, which can be closed: what was on it is reset, and nothing gets through until it is open."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._port = unused_port()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._opening: list[asyncio.Task[None]] = []
        self.tries = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def open_in(self, seconds: float) -> None:
        """Open it later."""
        asyncio.get_running_loop().call_later(seconds, lambda: self._opening.append(asyncio.ensure_future(self.open())))

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        task = asyncio.ensure_future(self._pass(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tries += 1
        far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers.append(far_writer)
        ways = [asyncio.ensure_future(_copy(*way)) for way in ((reader, far_writer), (far_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for each in (writer, far_writer):
                each.transport.abort()
            await asyncio.wait(ways)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
