"""An emulator being served, and a plain HTTP client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from attrs import frozen

from toolhouse_async.testing import EmulatorServer, WorkersEmulator


@frozen
class Answer:
    """An answer, read to its end."""

    status: int
    headers: Any
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def run_id(self) -> str:
        return self.headers["X-Toolhouse-Run-ID"]

    @property
    def job_id(self) -> str | None:
        return self.headers.get("x-toolhouse-job-id")


class Client:
    """Talks to the emulator without the library's own client."""

    def __init__(self, server: EmulatorServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    def stream(self, method: str, path: str, **options: Any) -> Any:
        return self.session.request(method, self.server.url + path, **options)

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        async with self.stream(method, path, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def start(self, message: str | None = None, agent: str = "a") -> Answer:
        return await self.ask("POST", f"/{agent}", json={} if message is None else {"message": message})

    async def go_on(self, run_id: str, message: str = "", agent: str = "a") -> Answer:
        return await self.ask("PUT", f"/{agent}/{run_id}", json={"message": message})

    async def read(self, run_id: str, agent: str = "a") -> Answer:
        return await self.ask("GET", f"/{agent}/{run_id}")

    async def history(self, run_id: str, agent: str = "a") -> list[dict[str, Any]]:
        async with self.stream("GET", f"/{agent}/{run_id}") as response:
            return await response.json()

    async def said(self, run_id: str) -> list[tuple[str, str]]:
        return [(entry["role"], entry["content"]) for entry in await self.history(run_id)]

    async def until_over(self, run_id: str) -> None:
        while (await self.read(run_id)).job_id is not None:
            pass


@pytest.fixture
def emulator() -> WorkersEmulator:
    return WorkersEmulator()


@pytest.fixture
async def server(emulator: WorkersEmulator) -> AsyncIterator[EmulatorServer]:
    async with emulator.serve() as server:
        yield server


@pytest.fixture
async def client(server: EmulatorServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(server, session)
