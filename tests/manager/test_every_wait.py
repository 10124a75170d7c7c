"""Whatever a use of a key waits for, cancelling it there lets the key go, saves what is known and leaks nothing."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from tests.cancellation.stepping import How
from tests.support.virtual_time import CoarseTimeLoop

from .cancelling import ACTS, cancelled


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": CoarseTimeLoop}


@pytest.mark.parametrize("how", get_args(How))
@pytest.mark.parametrize("name", ACTS)
async def test_every_wait(name: str, how: How) -> None:
    waits = await cancelled(name, how, 0)
    assert waits >= 3
    for step in range(1, waits + 1):
        await cancelled(name, how, step)
