"""A use of a key, cancelled between any two passes of the event loop."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cancellation.stepping import TickingLoop

from .cancelling import ACTS, cancelled


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": TickingLoop}


@pytest.mark.parametrize("name", ACTS)
async def test_every_pass(name: str) -> None:
    passes = await cancelled(name, None, 0)
    assert passes > 5
    for step in range(1, passes + 1):
        await cancelled(name, None, step)
