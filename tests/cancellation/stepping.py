"""Cancelling a coroutine exactly where it waits: at its first wait, its second, and so on to its end."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Literal

import anyio
from attrs import define

from tests.support.virtual_time import VirtualTimeLoop

How = Literal["early", "late", "again", "scope", "timeout"]
"""How a wait is cancelled.

- ``early``: as soon as it begins.
- ``late``: when what it waits for has just come, and the waiting task has not yet been told.
- ``again``: as ``early``, and each wait of the clean-up too.
- ``scope``: by an anyio cancel scope, which cancels each later wait by itself.
- ``timeout``: by ``asyncio.timeout``, which makes a ``TimeoutError`` of it.
"""
PROMPT = 0.5
"""Seconds that the end may come behind the cancellation: a tick of the coarse clock, no timer of the library."""


class TickingLoop(VirtualTimeLoop):
    """Calls ``on_tick`` before each of its passes; if that returns true, the pass does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.on_tick: Callable[[], bool] | None = None
        select = self._clock.select

        def ticking(timeout: float | None = None) -> Any:
            return select(0 if self.on_tick is not None and self.on_tick() else timeout)

        self._clock.select = ticking  # type: ignore[method-assign]


@types.coroutine
def _watched(
    coroutine: Coroutine[Any, Any, Any], on_wait: Callable[[asyncio.Future[Any] | None], None]
) -> Generator[Any, Any, Any]:
    """Run ``coroutine`` in the current task, and say before each wait what it waits for."""
    resume: Callable[[], Any] = lambda: coroutine.send(None)  # noqa: E731
    while True:
        try:
            future = resume()
        except StopIteration as done:
            return done.value
        on_wait(future)
        try:
            yield future
        except BaseException as error:  # noqa: BLE001 - handed on to the coroutine
            resume = lambda error=error: coroutine.throw(error)  # noqa: E731
        else:
            resume = lambda: coroutine.send(None)  # noqa: E731


@define
class Outcome:
    """How a coroutine ended that was to be cancelled at its ``step``-th wait.

    Attributes:
        waits: How many waits it made.
        was_cancelled: Whether the cancellation was asked for; not if it made fewer waits.
        propagated: Whether the cancellation came out of it.
        value: What it returned, if it did.
        error: What else it raised.
        delay: Seconds from the cancellation to its end.
    """

    waits: int = 0
    was_cancelled: bool = False
    propagated: bool = False
    value: Any = None
    error: BaseException | None = None
    delay: float = 0.0


async def cancelled_at(step: int, how: How, coroutine: Coroutine[Any, Any, Any]) -> Outcome:
    """Run ``coroutine`` in a task of its own and cancel it at its ``step``-th wait, counted from 1."""
    loop = asyncio.get_running_loop()
    outcome = Outcome()
    runs = {"scope": _in_scope, "timeout": _in_timeout}.get(how, _bare)
    cancel: Callable[[], object] = lambda: None  # noqa: E731 - until there is something to cancel
    since = 0.0

    def cancel_now(*_: object) -> None:
        nonlocal since
        if not outcome.was_cancelled:
            outcome.was_cancelled, since = True, loop.time()
        cancel()

    def on_wait(future: asyncio.Future[Any] | None) -> None:
        outcome.waits += 1
        if outcome.waits == step and how == "late" and future is not None:
            future.add_done_callback(cancel_now)
        elif outcome.waits == step or (how == "again" and outcome.was_cancelled):
            cancel_now()

    def cancel_by(function: Callable[[], object]) -> None:
        nonlocal cancel
        cancel = function

    task = asyncio.create_task(runs(_watched(coroutine, on_wait), outcome, cancel_by))
    await asyncio.wait([task])
    outcome.propagated = outcome.propagated or task.cancelled()
    if not task.cancelled():
        outcome.error = task.exception()
    outcome.delay = loop.time() - since if outcome.was_cancelled else 0.0
    return outcome


async def _bare(watched: Any, outcome: Outcome, cancel_by: Callable[[Callable[[], object]], None]) -> None:
    task = asyncio.current_task()
    assert task is not None
    cancel_by(task.cancel)
    outcome.value = await watched


async def _in_scope(watched: Any, outcome: Outcome, cancel_by: Callable[[Callable[[], object]], None]) -> None:
    with anyio.CancelScope() as scope:
        cancel_by(scope.cancel)
        outcome.value = await watched
    outcome.propagated = scope.cancelled_caught


async def _in_timeout(watched: Any, outcome: Outcome, cancel_by: Callable[[Callable[[], object]], None]) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as timeout:
            cancel_by(lambda: timeout.reschedule(loop.time()))
            outcome.value = await watched
    except TimeoutError as error:
        outcome.propagated = timeout.expired() and isinstance(error.__cause__, asyncio.CancelledError)
        if not outcome.propagated:
            raise
