"""What the tests share: an emulator behind nginx, clients before it, workers that pause, and what to look at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Self

from tests.conversations.support import AGENT, KEY, assert_accepted
from tests.faults.support import PATIENCE, eventually
from toolhouse_async import (
    AsyncToolhouse,
    Event,
    PollingPolicy,
    RecoveryPolicy,
    RetryPolicy,
    TextDelta,
    Turn,
    TurnCompleted,
    TurnResult,
)
from toolhouse_async.testing import EmulatorServer, WorkerContext, WorkerEvent, WorkersEmulator
from toolhouse_async.testing.workers import echo

from .nginx import Nginx, Site

QUICK: Mapping[str, Any] = {
    "retries": RetryPolicy(initial=0.02),
    "polling": PollingPolicy(min_interval=0.02, max_interval=0.05),
    "recovery": RecoveryPolicy(quiet=0.15, deadline=10, absence=0.15),
}
"""Short waits, since the clock is the real one."""

WHOLE = "one two three four"

DEFAULTS = "proxy_buffering on; proxy_http_version 1.0;"
"""What a location of nginx 1.22 does when nothing is said of it."""

PASS = "proxy_buffering off; proxy_http_version 1.1;"
"""A location that passes words on as they come."""

SHORT = "proxy_read_timeout 800ms;"
"""Less than what a worker pauses for, and more than a busy machine needs for anything else."""


class Pausing:
    """A worker that says half of its words, then the rest once it may go on; others it echoes at once.

    Attributes:
        may_go_on: What it waits for, again with every message.
        first: Say the first half before the pause; else nothing, not even headers.
        only: Pause for this message alone.
        cancelled: Whether a call of it was ended half-way.
    """

    def __init__(self, may_go_on: Callable[[], object], *, first: bool = True, only: str = WHOLE) -> None:
        self.may_go_on = may_go_on
        self.first = first
        self.only = only
        self.cancelled = False

    @property
    def function(self) -> Callable[[WorkerContext], AsyncIterator[WorkerEvent]]:
        """The worker, to be registered."""

        async def worker(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
            words = [event async for event in echo(ctx)]
            half = len(words) // 2 if self.first else 0
            try:
                for number, word in enumerate(words):
                    if number == half and ctx.message == self.only:
                        await eventually(self.may_go_on)
                    yield word
            except asyncio.CancelledError:
                self.cancelled = True
                raise

        return worker


class Job:
    """A worker with a background job, and its words before and after it.

    Attributes:
        may_end: Lets the job end.
    """

    def __init__(self, proxied: Proxied, *, polls: int | None = None) -> None:
        """Register it; with ``polls`` the job ends by itself once so many have come."""
        self.may_end = asyncio.Event()

        async def job() -> None:
            if polls is not None:
                await eventually(lambda: proxied.count("GET") >= polls)
                self.may_end.set()
            await self.may_end.wait()

        @proxied.emulator.worker(AGENT)
        async def worker(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
            if len(ctx.history) == 1:
                yield ctx.background(job)
                yield ctx.text("working, ")
            else:
                yield ctx.text(ctx.message or "done")


class Proxied:
    """An emulator with nginx before it, and clients that know only nginx.

    Attributes:
        emulator: The Workers API, with an echoing worker.
        server: The emulator's server.
        servers: It, and others that a test adds.
        folder: Where each nginx has a folder of its own.
        events: What the turn gave that was read last.
        is_checked: Whether ``accepted`` was called.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self.emulator = WorkersEmulator(api_key=KEY)
        self.emulator.worker(AGENT)(echo)
        self.server: EmulatorServer
        self.servers: list[EmulatorServer] = []
        self.events: list[Event] = []
        self.is_checked = False
        self._program = program
        self._turn: Turn | None = None
        self.folder = folder
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.server = await self._stack.enter_async_context(self.emulator.serve())
        self.servers.append(self.server)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def nginx(self, location: str = PASS, *, upstream: str | None = None, **lines: str) -> Nginx:
        """Start an nginx with these lines of configuration, see ``Site``; ``{upstream}`` is the emulator's address."""
        task = asyncio.current_task()
        assert task is not None
        # pytest-timeout's signal does not interrupt a loop in real time.
        self._stack.callback(asyncio.get_running_loop().call_later(PATIENCE, task.cancel).cancel)
        address = self.server.url.removeprefix("http://")
        filled = {kind: text.replace("{upstream}", address) for kind, text in {"location": location, **lines}.items()}
        nginx = await self._stack.enter_async_context(
            Nginx(self._program, Path(mkdtemp(dir=self.folder)), self.server.url if upstream is None else upstream)
        )
        await nginx.start(Site(**filled))
        return nginx

    async def client(self, nginx: Nginx, **options: Any) -> AsyncToolhouse:
        """An open client of the Workers API behind nginx."""
        client = AsyncToolhouse(**{"api_key": KEY, "base_url": nginx.url, **QUICK, **options})
        return await self._stack.enter_async_context(client)

    def pausing(self, may_go_on: Callable[[], object] | None = None, **options: Any) -> Pausing:
        """Let the worker pause, by default until the history is read, as only a client does whose answer was cut."""
        worker = Pausing(may_go_on or (lambda: self.count("GET")), **options)
        self.emulator.worker(AGENT)(worker.function)
        return worker

    @property
    def words(self) -> str:
        """What was read of the worker's words."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    def count(self, method: str) -> int:
        """How many requests of ``method`` have come to the emulator."""
        return sum(request.method == method for request in self.server.requests)

    async def read_until(self, turn: Turn, enough: Callable[[], object]) -> None:
        """Read a turn event by event until it is so; the rest is left to ``read``."""
        if turn is not self._turn:
            self._turn, self.events = turn, []
        while not enough():
            self.events.append(await anext(turn))

    async def read(self, turn: Turn) -> TurnResult:
        """Read a turn event by event to its end; its words make up its result."""
        await self.read_until(turn, lambda: self.events and type(self.events[-1]) is TurnCompleted)
        completed = self.events[-1]
        assert type(completed) is TurnCompleted
        assert self.words == completed.result.text
        return completed.result

    def accepted(self, *messages: str, in_order: bool = True) -> None:
        """Every message was accepted exactly once, in this order, and nothing else was.

        Every test says so in its end. Of several servers, or messages sent at once, nobody knows the order.
        """
        self.is_checked = True
        if in_order and self.servers == [self.server]:
            assert_accepted(self.server, *messages)
            return
        accepted = [request for server in self.servers for request in server.accepted]
        assert sorted(f"{each.method} {each.json()['message']}" for each in accepted) == sorted(messages)
