from __future__ import annotations

import asyncio
import gc

import pytest

from tests.support.answers import KEY
from toolhouse_async import AsyncToolhouse, ClosedError, ConfigurationError, PollingPolicy, ToolhouseError
from toolhouse_async._core import Core


def core() -> Core:
    return AsyncToolhouse(KEY)._core


class Turn:
    """Something live that notes how it was ended."""

    def __init__(self) -> None:
        self.ended: list[ToolhouseError] = []

    def interrupt(self, error: ToolhouseError) -> None:
        self.ended.append(error)


async def test_closing_ends_what_is_live() -> None:
    one, turn, left = core(), Turn(), Turn()
    one.check_usable()
    one.live |= {turn, left}
    one.live.discard(left)
    one.close()
    assert [type(error) for error in turn.ended] == [ClosedError]
    assert left.ended == []
    for check in (one.check_open, one.check_usable):
        with pytest.raises(ClosedError):
            check()


def test_it_belongs_to_the_first_loop() -> None:
    one = core()

    async def use() -> None:
        one.check_usable()
        one.check_usable()
        assert one.time() == pytest.approx(asyncio.get_running_loop().time(), abs=1)

    asyncio.run(use())
    with pytest.raises(ConfigurationError, match="event loop"):
        asyncio.run(use())


async def test_runs_and_polls_are_kept_as_long_as_somebody_needs_them() -> None:
    one, policy = core(), PollingPolicy()
    run = one.run_of("a", "r1")
    assert one.run_of("a", "r1") is run
    assert one.run_of("b", "r1") is not run
    one.name_run(run, "a", "r2")
    assert one.run_of("a", "r2") is run
    poll = one.poll_of(run.known, "a", policy, 0.0)
    assert one.poll_of(run.known, "a", policy, 0.0) is poll
    run.known.begun = 5.0
    del run, poll
    gc.collect()
    assert one.run_of("a", "r1").known.begun is None
    assert not one._polls


def test_runs_that_nobody_holds_take_no_place_for_ever() -> None:
    one = core()
    held = [one.run_of("a", f"held {number}") for number in range(150)]
    for number in range(2000):
        one.run_of("a", f"dropped {number}")
    assert len(one._runs) <= 2 * len(held) + 1
    assert all(one.run_of("a", f"held {number}") is run for number, run in enumerate(held))
