"""Whatever a public awaitable waits for, cancelling it there in any way leaks nothing, and the session can go on."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from tests.support.virtual_time import CoarseTimeLoop

from .stepping import How
from .waits import every_wait
from .world import SCENARIOS


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": CoarseTimeLoop}


@pytest.mark.parametrize("how", get_args(How))
@pytest.mark.parametrize("name", SCENARIOS)
async def test_every_wait(name: str, how: How) -> None:
    await every_wait(name, lambda step: how)
