"""Both event loops, and the assertion that no test of a fault may leave out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from .support import BACKENDS, Fault


@pytest.fixture(scope="session", autouse=True)
def warm_loops() -> None:
    """Let each kind of loop open what it keeps for the life of the process."""
    for backend in BACKENDS:
        with asyncio.Runner(**backend.values[0][1]) as runner:
            runner.run(asyncio.sleep(0))


@pytest.fixture(scope="module", params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """asyncio's loop in virtual time, and uvloop in real time."""
    return request.param


@pytest.fixture
async def fault(caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> AsyncIterator[Fault]:
    """What a test breaks things with; it must end in ``await fault.survived(...)``."""
    fault = Fault(caplog)
    failed = request.session.testsfailed
    yield fault
    await fault.close()
    assert fault.is_checked or request.session.testsfailed > failed, "the test does not end in fault.survived()"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs the certificates that clients trust."""
    return trustme.CA()
