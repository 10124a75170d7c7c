"""A serving emulator: its address, its record of requests, its tasks."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from ._handlers import Endpoints

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ._requests import RecordedRequest
    from ._state import EmulatorState

__all__ = ["EmulatorServer", "Serving"]

_BACKLOG: Final = 4096
_GRACE: Final = 5.0
"""Seconds that a cancelled worker or job may take to end."""
_SPINS: Final = 10
"""Passes of the event loop in which accepted connections are made, and the tasks of closed ones end."""

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


class Serving(AbstractAsyncContextManager[EmulatorServer, None]):
    """Serves ``state`` within the block; everything that it started is ended behind it.

    It is no generator, for Python ends one that nobody keeps, and the server would go with it.
    """

    def __init__(self, state: EmulatorState, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests: list[RecordedRequest] = []
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", Endpoints(state, self._requests, self._spawn).handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=_GRACE)
        self._listener: asyncio.Server

    async def __aenter__(self) -> EmulatorServer:
        runner = self._runner
        await runner.setup()
        assert runner.server is not None  # noqa: S101 - it is made by setup
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(runner.server, self._host, self._port, backlog=_BACKLOG)
        except BaseException:
            await runner.cleanup()
            raise
        server = EmulatorServer(runner, self._requests)
        port = self._listener.sockets[0].getsockname()[1]
        server.url = f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{port}"
        return server

    async def __aexit__(self, *_: object) -> None:
        """Close every connection and end every task, however many are under way; a cancelled exit does so too."""
        try:
            await self._stop_listening()
        finally:
            await self._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        connections = [] if self._runner.server is None else self._runner.server.connections
        for transport in [each.transport for each in connections if each.transport is not None]:
            transport.abort()
        if self._tasks:
            stuck = (await asyncio.wait(self._tasks, timeout=_GRACE))[1]
            for task in stuck:
                _log.warning("a worker or job does not end: %r", task)
        await self._runner.cleanup()
        await _spin()

    async def _stop_listening(self) -> None:
        """Accept no more connections, and have those made that are accepted already.

        asyncio loses them, open, if the listener is closed in between (https://github.com/python/cpython/issues/109564).
        """
        with suppress(NotImplementedError):  # on Windows
            for each in self._listener.sockets:
                asyncio.get_running_loop().remove_reader(each)
        try:
            await _spin()
        finally:
            self._listener.close()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _spin() -> None:
    for _ in range(_SPINS):
        await asyncio.sleep(0)
