"""An emulator being served, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conversations.support import AGENT, connect
from toolhouse_async import AsyncToolhouse, Session
from toolhouse_async.testing import EmulatorServer, WorkersEmulator


@pytest.fixture
def emulator() -> WorkersEmulator:
    return WorkersEmulator()


@pytest.fixture
async def server(emulator: WorkersEmulator) -> AsyncIterator[EmulatorServer]:
    async with emulator.serve() as server:
        yield server


@pytest.fixture
async def toolhouse(server: EmulatorServer) -> AsyncIterator[AsyncToolhouse]:
    async with connect(server) as toolhouse:
        yield toolhouse


@pytest.fixture
async def session(toolhouse: AsyncToolhouse) -> AsyncIterator[Session]:
    async with toolhouse.session(AGENT) as session:
        yield session


@pytest.fixture(params=["ndjson", "text"])
def family(request: pytest.FixtureRequest) -> str:
    return request.param
