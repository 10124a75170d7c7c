"""What every test of a fault shares: servers and clients that are closed in the end, and the one assertion of all."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pickle
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, closing, suppress
from typing import Any

import pytest

from tests.conversations.support import AGENT, RUN, Reply, Scripted, assistant, history, said, streamed, user
from tests.support.answers import chain
from tests.support.proxy import Cut, Proxy
from tests.support.raw_server import RawServer
from tests.support.virtual_time import VirtualTimeLoop
from toolhouse_async import (
    AsyncToolhouse,
    Event,
    PollingPolicy,
    RecoveryPolicy,
    RetryPolicy,
    TextDelta,
    ToolhouseError,
    Turn,
    TurnCompleted,
    TurnResult,
)

KEY = "th-Qv7canary3xZ9-must-be-found-nowhere-0J4kW8pL"
"""The key of every client here; the ending assertion looks for it everywhere."""

QUICK: Mapping[str, Any] = {
    "retries": RetryPolicy(initial=0.01),
    "polling": PollingPolicy(min_interval=0.01, max_interval=0.02),
    "recovery": RecoveryPolicy(quiet=0.05, deadline=0.5, absence=0.05),
}
"""Short waits, for loops whose clock is the real one."""

PATIENCE = 50.0
"""Seconds of real time that a test may take."""

WORDS = ("one ", "two ", "three ")
WHOLE = "one two three four"
HISTORY = history(user("hi"), assistant(WHOLE))
DONE = streamed(said("done"))

ASYNCIO = pytest.param(("asyncio", {"loop_factory": VirtualTimeLoop}), id="asyncio")
BACKENDS = [ASYNCIO]
if os.environ.get("TOOLHOUSE_TEST_UVLOOP"):  # a session of its own: `nox -s uvloop`
    import uvloop

    BACKENDS.append(pytest.param(("asyncio", {"loop_factory": uvloop.new_event_loop}), id="uvloop"))


def virtual_time(why: str) -> Any:
    """Run the test on asyncio's loop alone, whose clock can be made to jump; ``why`` stands in the documentation."""
    return pytest.mark.parametrize("anyio_backend", [ASYNCIO])


def now() -> float:
    """The loop's time."""
    return asyncio.get_running_loop().time()


class Server(Scripted):
    """Gives each method's answers in order."""

    def __init__(self, tls: Any = None, **replies: Iterable[Reply]) -> None:
        super().__init__(**replies)
        self._tls = tls

    @property
    def arrived(self) -> list[str]:
        """Every message that the service may have taken: all that were not refused as too many or as a conflict."""
        return [
            f"{each.request.method} {each.request.json().get('message', '')}" if each.request.body else "POST"
            for each in self.exchanges
            if each.request.method != "GET" and each.status not in (409, 429)
        ]


class Listener(RawServer):
    """A port whose connections a test serves itself, from the first byte."""

    def __init__(self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        super().__init__([])
        self._handler = serve

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError):
            await self._handler(reader, writer)


def open_files() -> set[tuple[str, str]]:
    """Every open file descriptor and what it is."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the descriptor of the listing itself
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return {(number, what) for number, what in found if what != "/dev/null"}  # libuv keeps one for each loop


def slack() -> float:
    """Seconds that a machine may be late by: none in virtual time."""
    return 0.0 if isinstance(asyncio.get_running_loop(), VirtualTimeLoop) else 40.0


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until it is so: the other end of a connection hears of things a little later."""
    pause = 0.005
    async with asyncio.timeout(50):
        while not condition():
            await asyncio.sleep(pause)
            pause = min(1.2 * pause, 0.2)


class Fault:
    """One test's servers, clients and findings."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.events: list[Event] = []
        self.is_checked = False
        self._stack = AsyncExitStack()
        self._servers: list[RawServer] = []
        self._clients: list[AsyncToolhouse] = []
        self._shown: list[Any] = []
        self._errors: list[BaseException] = []
        self._reports: list[str] = []
        self._logs = caplog
        caplog.set_level(logging.DEBUG)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._reported(context))
        self._files: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[Any]] | None = None

    def _reported(self, context: dict[str, Any]) -> None:
        # A client that refuses the certificate is no fault of the test server's.
        if "incoming connection" not in context["message"] and "SSL" not in context["message"]:
            self._reports.append(f"{context['message']}: {context.get('exception')!r}")

    async def server(self, tls: Any = None, **replies: Iterable[Reply]) -> Server:
        """A Workers API that answers as it is told."""
        return await self._enter(Server(tls, **replies))

    async def listener(
        self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> Listener:
        """A port that speaks as ``serve`` says."""
        return await self._enter(Listener(serve))

    def _begin(self) -> None:
        if self._tasks is None:  # the test itself runs in another task than the fixture
            task, loop = asyncio.current_task(), asyncio.get_running_loop()
            assert task is not None
            if not isinstance(loop, VirtualTimeLoop):  # which pytest-timeout's signal does not interrupt
                loop.call_later(PATIENCE, task.cancel)
            self._tasks = asyncio.all_tasks()
            self._files = open_files()

    async def _enter(self, server: Any) -> Any:
        self._begin()
        self._servers.append(server)
        return await self._stack.enter_async_context(server)

    async def proxy(self, server: RawServer, **faults: Any) -> Proxy:
        """A connection to ``server`` that suffers."""
        return await self._stack.enter_async_context(Proxy(server.url, **faults))

    def client(self, server: Any, **options: Any) -> AsyncToolhouse:
        """A client of a server, or of a URL, with short waits."""
        self._begin()
        url = server if isinstance(server, str) else server.url
        client = AsyncToolhouse(**{"api_key": KEY, "base_url": url, **QUICK, **options})
        self._clients.append(client)
        return client

    def show(self, *objects: Any) -> None:
        """Have more objects searched for the key."""
        self._shown += objects

    async def read(self, turn: Turn) -> TurnResult:
        """Read a turn event by event."""
        self.show(turn)
        async for event in turn:
            self.events.append(event)
        completed = self.events[-1]
        assert type(completed) is TurnCompleted
        return completed.result

    async def fails(self, kind: type[ToolhouseError] | tuple[type[ToolhouseError], ...], step: Awaitable[Any]) -> Any:
        """Await what must fail with exactly this error, and return it."""
        with pytest.raises(ToolhouseError) as caught:
            await step
        kinds = kind if isinstance(kind, tuple) else (kind,)
        assert type(caught.value) in kinds, repr(caught.value)
        self._errors.append(caught.value)
        return caught.value

    @property
    def words(self) -> str:
        """All the words that were delivered."""
        return "".join(event.text for event in self.events if type(event) is TextDelta)

    async def survived(self, *arrived: str, delivered: str = "") -> None:
        """The assertion in which every test ends.

        Args:
            arrived: The messages that servers may have accepted, in order: no other, and none more often.
            delivered: The words that reached the reader: all that were received.
        """
        self.is_checked = True
        assert self.words == delivered
        for client in self._clients:
            await client.aclose()
        await eventually(lambda: not any(server.open_connections for server in self._servers))
        scripted = [server for server in self._servers if isinstance(server, Server)]
        assert [message for server in scripted for message in server.arrived] == list(arrived)
        for server in scripted:
            assert {request.headers.get("authorization") for request in server.requests} <= {f"Bearer {KEY}"}
        await self.close()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            gc.collect()
        assert [str(each.message) for each in warned] == []
        await eventually(lambda: asyncio.all_tasks() <= (self._tasks or set()))
        try:
            await eventually(lambda: open_files() <= self._files)
        except TimeoutError:
            pytest.fail(f"left open: {open_files() - self._files}")
        assert self._reports == []
        for what in self._written():
            assert KEY not in what, what[:2000]

    async def close(self) -> None:
        """Close all that is still open."""
        for client in self._clients:
            await client.aclose()
        await self._stack.aclose()

    def _written(self) -> Iterator[str]:
        """Everything that could show the key."""
        for record in self._logs.records:
            yield logging.Formatter().format(record)
            yield f"{record.args!r}{record.__dict__!r}"
        for error in self._errors:
            yield "".join(traceback.format_exception(error))
            yield pickle.dumps(error).decode("latin-1")
            assert type(pickle.loads(pickle.dumps(error))) is type(error)
            for each in chain(error):
                yield f"{each!r}{each}{each.args!r}{vars(each)!r}{getattr(each, '__notes__', '')}"
        for event in self.events:
            yield f"{event!r}{event}"
            yield pickle.dumps(event).decode("latin-1")
        for each in (*self._shown, *self._clients):
            yield f"{each!r}{each}"


async def cut_and_healed(
    fault: Fault,
    broken: Reply,
    kind: type[ToolhouseError],
    *,
    received: str = "".join(WORDS),
    cut: Cut | None = None,
    **options: Any,
) -> Any:
    """An answer breaks: without recovery its reader gets the error, by default the whole answer; returns the error."""
    server = await fault.server(post=[broken, broken], get=[HISTORY] * 40)
    targets = [server, server] if cut is None else [await fault.proxy(server, cut=cut) for _ in range(2)]
    strict, default = (fault.client(target, **options) for target in targets)
    error = await fault.fails(kind, fault.read(strict.stream(AGENT, "hi", recover=False)))
    assert (error.run_id, error.partial.text, error.safe_to_retry) == (RUN, received, False)
    assert fault.words == received
    result = await fault.read(default.stream(AGENT, "hi"))
    assert (result.text, result.recovered) == (WHOLE, True)
    await fault.survived("POST hi", "POST hi", delivered=received + WHOLE)
    return error


def patched(**attributes: Any) -> ExitStack:
    """Give the running loop other methods, as another environment would: a resolver, for example."""
    loop: Any = asyncio.get_running_loop()
    stack = ExitStack()
    for name, value in attributes.items():
        setattr(loop, name, value)
        stack.callback(delattr, loop, name)
    return stack
