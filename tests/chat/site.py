"""The chat example, served from a thread: a Workers API, the application, and a network before it that can fail."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import uvicorn
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.routing import Route

from tests.support.answers import KEY, unused_port
from toolhouse_async import AsyncToolhouse, PollingPolicy, RecoveryPolicy, RetryPolicy, Timeouts
from toolhouse_async.stores import SQLiteSessionStore
from toolhouse_async.testing import WorkersEmulator

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "chat"
AGENT = "worker"
QUICK: dict[str, Any] = {
    "polling": PollingPolicy(min_interval=0.05, max_interval=0.2, jitter=0),
    "recovery": RecoveryPolicy(quiet=0.2, deadline=5, absence=0.2),
    "retries": RetryPolicy(max_attempts=1),
    "timeouts": Timeouts(response=20),
}
"""Waits that are short: these tests take real time."""


def load_example() -> ModuleType:
    """The example as a module of its own."""
    spec: Any = importlib.util.spec_from_file_location("chat_example", FOLDER / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLE = load_example()


class Site:
    """What a test sees of it. Workers are told what to do by the words of a message, see :meth:`_worker`.

    Attributes:
        url: Where a browser finds the chat: the network that can fail.
        emulator: The Workers API; its switches and faults may be changed.
        accepted: The messages that workers have been told.
        options: What :func:`create_app` is told besides; holds from the next start.
        routes: Routes of the application besides its own; likewise.
    """

    def __init__(self, portal: BlockingPortal, folder: Path) -> None:
        self._portal = portal
        self._folder = folder
        self._go_on = asyncio.Event()
        self.emulator = WorkersEmulator(api_key=KEY)
        self.emulator.worker(AGENT)(self._worker)
        self.accepted: list[str | None] = []
        self.says = ""
        self.pieces: list[str] = []
        self.workers_url = ""
        self.url = ""
        self._network: Network | None = None
        self._application: Any = None
        self.port = unused_port()  # it has this again after a restart: one that the system gives may be another's then
        self.result: Any = None  # what tools return, in place of what they saw
        self.options: dict[str, Any] = {"https": False}
        self.routes: list[Route] = []

    async def _worker(self, ctx: Any) -> AsyncIterator[Any]:
        self.accepted.append(ctx.message)
        if ctx.job_result is not None:
            yield ctx.text(f"The job says **{ctx.job_result}**.")
            return
        what, _, rest = (ctx.message or "").partition(" ")
        match what:
            case "wait":  # a word, and another when the test says so; after "wait on" no end
                yield ctx.text("first ")
                await self._go_on.wait()
                yield ctx.text("second")
                await (asyncio.Event() if rest == "on" else self._go_on).wait()
            case "job":  # a job that ends when the test says so
                yield ctx.background(self._job)
                yield ctx.text("Computing.")
            case "tools":
                call = ctx.tool_call("look", {"at": rest})
                yield call
                yield ctx.tool_result(call, self.result or {"seen": ["<b>", rest]})
                yield ctx.text("I looked.")
            case "count":
                for number in range(int(rest)):
                    yield ctx.text(f"{number} ")
                    await asyncio.sleep(0.01)
            case "pieces":  # what the test has laid out
                for piece in self.pieces:
                    yield ctx.text(piece)
            case "fail":
                yield ctx.text("half ")
                raise RuntimeError(f"10.0.0.7 says hunter2, {KEY}")
            case _:
                yield ctx.text(f"You said: {ctx.message}")

    async def _job(self) -> str:
        await self._go_on.wait()
        return "forty-two"

    def go_on(self) -> None:
        """Let waiting workers and jobs go on."""
        self._portal.call(self._go_on.set)

    def lose(self) -> None:
        """Let the service forget all conversations."""
        self._portal.call(self.emulator._runs.clear)

    def hold(self) -> None:
        """Let the next ones wait again."""
        self._portal.call(self._go_on.clear)

    def kept(self) -> int:
        """How many conversations the store has, while the application is stopped."""

        async def count() -> int:
            async with SQLiteSessionStore(self._folder / "chat.db") as store:
                return len([entry async for entry in store.entries("")])

        return self._portal.call(count)

    def stop_application(self) -> None:
        """Stop the application in order, as a deployment does."""
        self._application.__exit__(None, None, None)
        self._application = None

    def restart_application(self, **options: Any) -> None:
        """Stop it and start it again, with other options."""
        self.options.update(options)
        self.stop_application()
        self.start_application()

    def start_application(self) -> None:
        """Start it, or start it again on the same conversations."""
        self._application = self._portal.wrap_async_context_manager(self._serve())
        self.port = self._application.__enter__()

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[int]:
        app = EXAMPLE.create_app(
            lambda: AsyncToolhouse(KEY, base_url=self.workers_url, **QUICK),
            AGENT,
            secret="a secret of these tests",
            store=lambda: SQLiteSessionStore(self._folder / "chat.db"),
            hosts=("127.0.0.1",),
            **self.options,
        )
        app.router.routes.extend(self.routes)
        config = uvicorn.Config(app, port=self.port, log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        server.capture_signals = _nothing  # type: ignore[method-assign] # they belong to the tests' own thread
        serving = asyncio.create_task(server.serve())
        while not server.started:
            if serving.done():
                await serving
            await asyncio.sleep(0.005)
        try:
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True
            await serving

    @property
    def network(self) -> Network:
        """What lies between the browser and the application."""
        assert self._network is not None
        return self._network

    @contextmanager
    def up(self) -> Iterator[Site]:
        """Serve it all."""
        with self._portal.wrap_async_context_manager(self.emulator.serve()) as workers:
            self.workers_url = workers.url
            self.server = workers
            self.start_application()
            try:
                with self._portal.wrap_async_context_manager(Network(self)) as self._network:
                    self.url = f"http://127.0.0.1:{self._network.port}"
                    yield self
            finally:
                if self._application is not None:
                    self.stop_application()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


class Network:
    """Connections from a browser to the application, which can be cut."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._pipes: dict[asyncio.Task[None], None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_down = threading.Event()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._cut()
        await self._server.wait_closed()

    async def _cut(self) -> None:
        for task in list(self._pipes):
            task.cancel()
        if self._pipes:
            await asyncio.wait(self._pipes)

    def cut(self) -> None:
        """Cut all connections, and refuse new ones."""
        self.is_down.set()
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def mend(self) -> None:
        """Let new connections through."""
        self.is_down.clear()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._pipes)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes[task] = None
        task.add_done_callback(self._pipes.pop)
        try:
            if not self.is_down.is_set():
                above, server = await asyncio.open_connection("127.0.0.1", self._site.port)
                try:
                    pipes = [asyncio.ensure_future(_pipe(reader, server)), asyncio.ensure_future(_pipe(above, writer))]
                    try:
                        await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for pipe in pipes:
                            pipe.cancel()
                        await asyncio.wait(pipes)
                finally:
                    server.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass  # the application is not there, or the connection was cut
        finally:
            writer.transport.abort()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # cut on the other side


def until(condition: Callable[[], object]) -> None:
    """Wait for another thread to bring something about; a test that waits for ever is stopped by its timeout."""
    while not condition():
        time.sleep(0.01)


@contextmanager
def served(folder: Path) -> Iterator[Site]:
    """A site with nobody in it."""
    with start_blocking_portal(name="chat") as portal, Site(portal, folder).up() as site:
        yield site
