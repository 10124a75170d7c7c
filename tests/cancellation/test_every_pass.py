"""Cancelled between any two passes of the event loop, also while tasks of the library's own are at work."""

from __future__ import annotations

from typing import Any

import pytest

from .passes import one_alone, two_together
from .stepping import TickingLoop


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": TickingLoop}


@pytest.mark.parametrize("name", ["send", "map", "recovery", "queue"])
async def test_every_pass(name: str) -> None:
    await one_alone(name)


@pytest.mark.parametrize("who", ["first", "second", "both"])
async def test_those_who_wait_with_one_who_is_cancelled_get_their_answer(who: str) -> None:
    await two_together(who)
