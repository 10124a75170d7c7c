"""As ``test_every_wait``, each wait cancelled in one way: the ways take turns."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from tests.support.virtual_time import CoarseTimeLoop

from .stepping import How
from .waits import every_wait
from .world import SCENARIOS

HOWS: tuple[How, ...] = get_args(How)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": CoarseTimeLoop}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_each_wait_in_one_way(name: str) -> None:
    first = [*SCENARIOS].index(name)
    await every_wait(name, lambda step: HOWS[(first + step) % len(HOWS)])
