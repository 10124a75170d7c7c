"""A serving emulator: its address, its record of requests, its tasks."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from ._handlers import Endpoints

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from ._requests import RecordedRequest
    from ._state import EmulatorState

__all__ = ["EmulatorServer"]

_BACKLOG: Final = 4096
_GRACE: Final = 5.0
"""Seconds that a cancelled worker or job may take to end."""
_SPINS: Final = 10
"""Passes of the event loop in which the tasks of closed connections end."""

_log: Final = logging.getLogger("toolhouse_async.testing")


class EmulatorServer:
    """What ``WorkersEmulator.serve`` gives.

    Attributes:
        url: The base URL, without a slash at its end.
        requests: The requests in order of arrival; of very many only the latest are kept (``keep_requests``).
    """

    def __init__(self, runner: web.AppRunner, requests: list[RecordedRequest]) -> None:
        self.url = ""
        self.requests = requests
        self._runner = runner

    @property
    def accepted(self) -> list[RecordedRequest]:
        """The recorded requests whose message was taken into a conversation."""
        return [request for request in self.requests if request.accepted]

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        server = self._runner.server
        return 0 if server is None else len(server.connections)


@asynccontextmanager
async def serve(state: EmulatorState, host: str, port: int) -> AsyncGenerator[EmulatorServer, None]:
    """Serve ``state`` within the block; everything that it started is ended behind it."""
    tasks: set[asyncio.Task[None]] = set()

    def spawn(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    requests: list[RecordedRequest] = []
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", Endpoints(state, requests, spawn).handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=_GRACE)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=_BACKLOG)
        await site.start()
        server = EmulatorServer(runner, requests)
        address = runner.addresses[0]
        server.url = f"http://{f'[{host}]' if ':' in host else host}:{address[1]}"
        yield server
        await site.stop()
    finally:
        await _stop(runner, tasks)


async def _stop(runner: web.AppRunner, tasks: set[asyncio.Task[None]]) -> None:
    """Close every connection and end every task, however many are under way."""
    for task in tasks:
        task.cancel()
    connections = [] if runner.server is None else runner.server.connections
    for transport in [each.transport for each in connections if each.transport is not None]:
        transport.abort()
    if tasks:
        _, stuck = await asyncio.wait(tasks, timeout=_GRACE)
        for task in stuck:
            _log.warning("a worker or job does not end: %r", task)
    await runner.cleanup()
    for _ in range(_SPINS):
        await asyncio.sleep(0)
