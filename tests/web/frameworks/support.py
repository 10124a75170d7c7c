"""The pages' files, served; the worker behind them; clients that read event by event and may leave at any moment."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from itertools import count
from types import ModuleType
from typing import Any

import aiohttp
import pytest
import uvicorn
from aiohttp import web
from attrs import define, field

from tests.docs.blocks import ROOT, marked
from tests.docs.setups import AGENT_ID
from tests.support.answers import KEY
from tests.support.virtual_time import VirtualTimeLoop
from tests.web.support import Sent, read_sse
from toolhouse_async.testing import EmulatorServer, WorkersEmulator

PAGE = "how-to/web-frameworks.md"
TEXT = (ROOT / "docs" / PAGE).read_text("utf-8")
FASTAPI_TEXT = (ROOT / "docs/how-to/fastapi.md").read_text("utf-8")
BLOCKS = {block.argument: block for block in marked("framework")}
FRAMEWORKS = ["fastapi", "aiohttp", "django", "litestar"]
each_framework = pytest.mark.parametrize("name", FRAMEWORKS)

LONG = 70.0
"""Seconds that a worker is silent for: some heartbeats long."""
SOON = 5.0
"""Seconds within which something happens "at once": fewer than lie between two heartbeats."""
HEARTBEAT = b":\n\n"
SECRET = "hunter2"
"""What a worker's error says and nobody may read."""


@cache
def module(name: str) -> ModuleType:
    """The page's file as a module, made once: Django can be set up only once in a process."""
    block = BLOCKS[name]
    made = ModuleType(f"page_{name}")
    sys.modules[made.__name__] = made  # where FastAPI, Django and Litestar look for it
    exec(compile(block.code, block.place, "exec", dont_inherit=True), vars(made))
    return made


class Worker:
    """A worker that does what its message says, and knows how it was ended.

    Attributes:
        go_on: Lets ``steps`` say its next word, and ends the job of ``job``.
        ended: ``"stopped"`` once a call of it was cancelled, ``"finished"`` once one came to its end.
    """

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.ended = ""

    async def __call__(self, ctx: Any) -> AsyncIterator[Any]:
        try:
            async for event in self._said(ctx):
                yield event
        except asyncio.CancelledError:
            self.ended = "stopped"
            raise
        self.ended = "finished"

    async def _said(self, ctx: Any) -> AsyncIterator[Any]:  # noqa: C901 - a table, one case for each message
        if ctx.job_result is not None:
            yield ctx.text("The job is over.")
            return
        match ctx.message:
            case "steps":  # each word once the one before has been heard
                for number in range(5):
                    yield ctx.text(f"word{number} ")
                    await self.go_on.wait()
                    self.go_on.clear()
            case "words":
                for number in count():
                    yield ctx.text(f"word{number} ")
                    await asyncio.sleep(1)
            case "flood":
                while True:
                    yield ctx.text("o" * 60_000)
                    await asyncio.sleep(0)
            case "silent":
                yield ctx.text("first ")
                await asyncio.sleep(LONG)
                yield ctx.text("last")
            case "mute":
                await asyncio.sleep(LONG)
                yield ctx.text("late")
            case "job":
                yield ctx.background(self.go_on.wait)
                yield ctx.text("Computing. ")
            case "refuse":
                raise RuntimeError(f"the password is {SECRET}, the key {KEY}")
            case "fail":
                yield ctx.text("half ")
                raise RuntimeError(f"the password is {SECRET}, the key {KEY}")
            case _:
                yield ctx.text(ctx.message)


class Reading:
    """The answer to a request for a stream, read event by event."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def piece(self) -> bytes:
        """What comes next: an event or a heartbeat."""
        piece = await self.answer.content.readuntil(b"\n\n")
        assert piece, "the stream is over"
        return piece

    async def event(self) -> Sent:
        """The next event; heartbeats are passed over."""
        while (piece := await self.piece()) == HEARTBEAT:
            pass
        (event,) = read_sse(piece)
        return event

    async def rest(self) -> list[Sent]:
        """All events up to the end."""
        return read_sse(await self.answer.content.read())

    def leave(self, how: str = "close") -> None:
        """Go away, in order or not."""
        connection = self.answer.connection
        assert connection is not None, "the stream is over"
        if how == "reset":
            assert connection.transport is not None
            connection.transport.abort()
        self.answer.close()


@define
class Site:
    """A server as the page has it, and the service behind it.

    Attributes:
        url: Its address.
        client: A browser, so to speak.
        service: The emulator.
        worker: Its worker.
    """

    url: str
    client: aiohttp.ClientSession
    service: EmulatorServer
    worker: Worker
    emulator: WorkersEmulator
    _stop: Any
    _answers: list[aiohttp.ClientResponse] = field(factory=list)

    async def read(self, question: str, url: str | None = None) -> Reading:
        """Ask for a stream; its headers have come when this returns."""
        answer = await self.client.post(f"{url or self.url}/stream", json={"question": question})
        self._answers.append(answer)
        assert answer.status == 200, await answer.text()
        return Reading(answer)

    def close_answers(self) -> None:
        """Let go of what was cut or never read to its end: a connection that is collected before its answer warns."""
        for answer in self._answers:
            answer.close()

    async def accepted(self, number: int = 1) -> None:
        """Wait until the service has taken so many messages."""
        await soon(lambda: len(self.service.accepted) >= number)

    def stop(self) -> asyncio.Task[None]:
        """Tell the server to stop, as ``SIGTERM`` does; the task ends when it has."""
        return self._stop()  # type: ignore[no-any-return]


async def soon(condition: Any, seconds: float = SOON) -> None:
    """Wait until it is so, in real time as long as a busy machine may take."""
    virtual = isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    async with asyncio.timeout(seconds if virtual else 50):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def site(name: str, *, app: Any = None, **options: Any) -> AsyncIterator[Site]:
    """Serve a file of the page until the block ends, and find that it has closed its client.

    Args:
        name: Which of them.
        app: What to serve in its place, for what has something put around it.
        options: For uvicorn, or aiohttp's ``AppRunner``.
    """
    worker = Worker()
    emulator = WorkersEmulator(on_disconnect="stop", api_key=KEY)
    emulator.worker(AGENT_ID)(_generator(worker))
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        service = await stack.enter_async_context(emulator.serve())
        patch.setenv("TOOLHOUSE_BASE_URL", service.url)
        patch.setenv("TOOLHOUSE_API_KEY", KEY)
        serve = _by_aiohttp if name == "aiohttp" else _by_uvicorn
        stop = await serve(app or module(name), listener, options)
        client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        it = Site(f"http://127.0.0.1:{listener.getsockname()[1]}", client, service, worker, emulator, stop)
        try:
            yield it
        finally:
            it.close_answers()
            await client.close()
            await stop()
        assert service.connections == 0, "the client was closed with the server"


def _generator(worker: Worker) -> Any:
    async def function(ctx: Any) -> AsyncIterator[Any]:  # the emulator wants a function
        async for event in worker(ctx):
            yield event

    return function


async def _by_uvicorn(app: Any, listener: socket.socket, options: dict[str, Any]) -> Any:
    served = app.app if isinstance(app, ModuleType) else app
    # The server looks around every tenth of a second, so virtual time runs: idle connections are not to end by that.
    options = {"timeout_keep_alive": 10**6, **options}
    config = uvicorn.Config(served, log_config=None, access_log=False, ws="none", lifespan="on", **options)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started:
        assert not serving.done(), "it does not start"
        await asyncio.sleep(0.01)

    def stop() -> asyncio.Task[None]:
        server.should_exit = True
        return serving

    return stop


async def _by_aiohttp(app: Any, listener: socket.socket, options: dict[str, Any]) -> Any:
    settings = {"handler_cancellation": True, "access_log": None, "shutdown_timeout": 60.0, **options}
    runner = web.AppRunner(app.make_app(), **settings)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    stopping: list[asyncio.Task[None]] = []

    def stop() -> asyncio.Task[None]:
        if not stopping:
            stopping.append(asyncio.create_task(runner.cleanup()))
        return stopping[0]

    return stop
