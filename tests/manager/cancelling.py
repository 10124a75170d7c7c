"""Uses of a key that are cancelled, and what must be true behind that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from tests.cancellation.passes import STOPPED, cancelled_in
from tests.cancellation.stepping import PROMPT, How, cancelled_at
from toolhouse_async import OutcomeUnknownError, StreamInterruptedError

from .support import World, processes

Act = Callable[[Any], Awaitable[Any]]


async def _checkout(process: Any) -> Any:
    async with process.manager.checkout("k") as session:
        return await session.send("job")


async def _iterate(process: Any) -> Any:
    return [event async for event in process.manager.stream("k", "job")]


async def _forget(process: Any) -> Any:
    await process.manager.forget("k")


async def _resume(process: Any) -> Any:
    return await process.manager.resume_pending()


ACTS: dict[str, Act] = {
    "send": lambda process: process.manager.send("k", "job"),
    "first": lambda process: process.manager.send("new", "job"),
    "checkout": _checkout,
    "iterate": _iterate,
    "forget": _forget,
    "resume": _resume,
}


async def cancelled(name: str, how: How | None, step: int) -> int:
    """Cancel an act at one of its waits, or of the loop's passes, and go on with the key; how many there were."""
    world = World()
    world.go_on.set()
    async with asyncio.timeout(3600), processes(2, world=world) as (_, server, one, two):
        await one.manager.send("k", "hello")
        if name == "resume":
            await one.manager.send("k", "job", background="detach")

        async def act() -> Any:
            return await ACTS[name](one)

        if how is None:
            task = asyncio.ensure_future(act())
            count = await cancelled_in(step, task)
            if task.cancelled():
                assert count <= step + STOPPED
            elif task.exception() is not None:
                raise task.exception()  # type: ignore[misc]
        else:
            outcome = await cancelled_at(step, how, act())
            count = outcome.waits
            assert outcome.error is None or outcome.propagated
            assert outcome.delay <= PROMPT
        await go_on(two.manager, "new" if name == "first" else "k")
        assert [info async for info in two.manager.sessions() if info.holder or info.waiting or info.unknown] == []
        assert world.accepted.count("job") <= 1
        assert world.accepted.count("") <= 1
        assert world.accepted.count("next") == 1
        await asyncio.sleep(1)
        assert not one.manager._house.tasks
        assert not one.manager._house.live
        assert not one.manager._house.gates._gates
    assert server.connections == 0
    return count


async def go_on(manager: Any, key: str) -> None:
    """The next process has the key at once, and may go on with it; whatever the first has left is settled."""
    started = asyncio.get_running_loop().time()
    async with manager.checkout(key) as session:
        assert asyncio.get_running_loop().time() - started <= 5
        unknown = False
        try:
            await session.reconcile()
        except OutcomeUnknownError:
            unknown = True
        except StreamInterruptedError:
            pass
        with suppress(OutcomeUnknownError):
            await session.send("next")
            return
        assert unknown
    await manager.forget(key)
    await manager.send(key, "next")
