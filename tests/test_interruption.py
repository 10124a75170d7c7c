from __future__ import annotations

import asyncio

import pytest

from tests.support.answers import client_of, said
from tests.support.raw_server import RawServer
from toolhouse_async import ClosedError
from toolhouse_async._interruption import Interruption


async def goes_on() -> bool:
    """Whether the task's next wait is one like any other."""
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        return False
    return True


@pytest.mark.parametrize("error", [None, OSError("no key")], ids=["and goes on", "and fails"])
async def test_a_step_that_closes_its_own_session_leaves_its_task_in_peace(error: OSError | None) -> None:
    async def key() -> str:
        await session.aclose()
        if error is not None:
            raise error
        return "key"

    async with RawServer([said("x")]) as server, client_of(server, api_key=key) as toolhouse:
        session = toolhouse.session("a")
        with pytest.raises(ClosedError if error is None else OSError, match=r"the session was closed|no key"):
            await session.send("x")
        assert await goes_on()
        assert server.requests == []


async def test_whoever_has_let_go_of_the_task_does_not_cancel_it_later() -> None:
    task = asyncio.current_task()
    assert task is not None
    interruption = Interruption(task, lambda: ClosedError("closed"))
    interruption.end()
    assert await goes_on()
    assert (interruption.is_cancelling, task.cancelling()) == (False, 0)


async def test_its_own_task_is_cancelled_where_it_waits_next() -> None:
    task = asyncio.current_task()
    assert task is not None
    interruption = Interruption(task, lambda: ClosedError("closed"))
    assert not await goes_on()
    interruption.end()
    assert task.cancelling() == 0


async def test_another_task_is_cancelled_at_once() -> None:
    left = asyncio.create_task(asyncio.sleep(1))
    await asyncio.sleep(0)
    interruption = Interruption(left, lambda: ClosedError("closed"))
    assert (interruption.is_cancelling, left.cancelling()) == (True, 1)
    with pytest.raises(asyncio.CancelledError):
        await left
