"""The command ``mcp`` as a program of its own."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from mcp import StdioServerParameters

from tests.cli.support import COMMAND, environment
from tests.mcp.client.support import TOOL
from tests.mcp.workers import AGENT, worker
from tests.support.answers import KEY
from toolhouse_async.testing import WorkersEmulator

OFFERED = f"{TOOL}={AGENT}=Does what it is told."

HANDSHAKE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


@asynccontextmanager
async def workers(**fault: Any) -> AsyncIterator[Any]:
    """The emulator with the tests' worker, and what goes wrong there."""
    emulator = WorkersEmulator(api_key=KEY)
    emulator.worker(AGENT)(worker)
    if fault:
        emulator.faults.add(**fault)
    async with emulator.serve() as server:
        yield server


def arguments(*more: str) -> list[str]:
    """The command and its arguments."""
    return [*COMMAND, "mcp", "--worker", OFFERED, *more]


def surroundings(url: str, **changes: str) -> dict[str, str]:
    """The environment of the command."""
    return environment(TOOLHOUSE_BASE_URL=url, TOOLHOUSE_API_KEY=KEY, **changes)


def parameters(url: str, *more: str) -> StdioServerParameters:
    """How a client of the protocol starts it."""
    program, *words = arguments(*more)
    return StdioServerParameters(command=program, args=words, env=surroundings(url))


class Lines:
    """The command on its pipes, line by line.

    Attributes:
        process: The process.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._number = 0

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request, and wait for its answer; what is told meanwhile is passed over."""
        number = await self.begin(method, **params)
        while (message := await self.read()).get("id") != number:
            assert message["method"].startswith("notifications/")
        return message

    async def begin(self, method: str, **params: Any) -> int:
        """Send a request."""
        self._number += 1
        await self.write({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        return self._number

    async def write(self, message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")
        await self.process.stdin.drain()

    async def read(self) -> dict[str, Any]:
        """The next line, which has to be a message of the protocol."""
        assert self.process.stdout is not None
        async with asyncio.timeout(50):
            message: dict[str, Any] = json.loads(await self.process.stdout.readline())
        assert message["jsonrpc"] == "2.0"
        return message

    async def shake_hands(self) -> None:
        """Open the connection as clients of the protocol before 2026 do."""
        await self.request("initialize", **HANDSHAKE)
        await self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    async def call(self, message: str) -> int:
        """Begin a call."""
        return await self.begin("tools/call", name=TOOL, arguments={"message": message}, _meta={"progressToken": 1})

    async def end(self) -> tuple[int, bytes, bytes]:
        """Wait for its end: the status, and what it has written and nobody has read."""
        async with asyncio.timeout(50):
            out, err = await self.process.communicate(b"")  # which closes stdin
        assert self.process.returncode is not None
        return self.process.returncode, out, err


@asynccontextmanager
async def piped(url: str, **streams: Any) -> AsyncIterator[Lines]:
    """Start the command; it is killed where a test has not ended it."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    process = await asyncio.create_subprocess_exec(*arguments(), **pipes, env=surroundings(url))
    try:
        yield Lines(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@contextmanager
def serving(url: str, *more: str, **changes: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command on a port: its process, and the address that it prints."""
    command = arguments("--http", *more)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings(url, **changes)
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None
            yield process, found[0]
        finally:
            process.kill()


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str]:
    """Tell it to stop: its status, and what it has written on stderr."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=50)
    return process.returncode, errors


async def until_accepted(running: Any, many: int = 1) -> None:
    """Wait until the workers have so many messages."""
    async with asyncio.timeout(50):
        while len(running.accepted) < many:
            await asyncio.sleep(0.02)


async def until_nobody_talks(running: Any) -> None:
    """Wait until the workers' answers have no readers any more."""
    async with asyncio.timeout(50):
        while running.connections:
            await asyncio.sleep(0.02)
