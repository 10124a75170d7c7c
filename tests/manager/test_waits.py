"""Each wait of a use of a key is cancelled in one of the ways, in turn; in ``test_every_wait.py`` in all of them."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from tests.cancellation.stepping import How
from tests.support.virtual_time import CoarseTimeLoop

from .cancelling import ACTS, cancelled

WAYS = get_args(How)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": CoarseTimeLoop}


@pytest.mark.parametrize("name", ACTS)
async def test_each_wait(name: str) -> None:
    first = list(ACTS).index(name)
    waits = await cancelled(name, WAYS[first % len(WAYS)], 0)
    assert waits >= 3
    for step in range(1, waits + 1):
        await cancelled(name, WAYS[(first + step) % len(WAYS)], step)
