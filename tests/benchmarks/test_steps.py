"""No step of the event loop takes long, so that what else runs in it is not held up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from .contestants import Contestant, ours, send, text_stream
from .machine import cores, serving
from .plans import Plan
from .steps import timed_steps

pytestmark = pytest.mark.skipif(
    "COVERAGE_RUN" in os.environ, reason="measuring coverage takes longer than what it measures"
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server in a process of its own."""
    with serving(cores()[1]) as address:
        yield address


def longest_step(url: str, contestant: Contestant, plan: Plan, repeats: int = 5) -> float:
    """The longest step of the event loop in the best of some turns, in milliseconds of CPU time."""

    async def measure() -> float:
        longest: list[float] = []
        async with contestant(url) as consume:
            await consume(plan)
            for _ in range(repeats):
                with timed_steps() as steps:
                    await consume(plan)
                longest.append(max(steps))
        return min(longest) * 1000

    return asyncio.run(measure())


@pytest.mark.parametrize(
    "plan",
    [
        Plan("burst", 20_000, 1),
        Plan("burst", 20_000, 20),
        Plan("burst", 20_000, 1000),
        Plan("burst", 50, 1, 0, 100_000),
        Plan("burst", 5, 1, 0, 1_000_000),
    ],
    ids=["one event a chunk", "20 a chunk", "1000 a chunk", "lines of 100 kB", "lines of 1 MB"],
)
@pytest.mark.parametrize("contestant", [ours, text_stream, send])
def test_no_step_of_the_event_loop_is_longer_than_5_ms(url: str, contestant: Contestant, plan: Plan) -> None:
    assert longest_step(url, contestant, plan) <= 5
