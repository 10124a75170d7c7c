"""Every kind of event loop, in real time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from .support import LOOPS


@pytest.fixture(scope="session", autouse=True)
def warm_loops() -> None:
    """Let each kind of loop open what it keeps for the life of the process."""
    for each in LOOPS:
        with asyncio.Runner(loop_factory=each.values[0]) as runner:
            runner.run(asyncio.sleep(0))


@pytest.fixture(scope="module", params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The kinds of loop."""
    factory: Callable[[], asyncio.AbstractEventLoop] = request.param
    return "asyncio", {"loop_factory": factory}
