"""The kinds of event loop that the tests of this folder run on, in real time, and servers that say nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import pytest

from tests.support.answers import client_of, history, said
from tests.support.raw_server import RawServer, Request, silence
from toolhouse_async import AsyncToolhouse, PollingPolicy, RecoveryPolicy, RetryPolicy

LIMIT = 0.05
"""Seconds of the limits that tests come to."""

HANGS = 30.0
"""Seconds after which something hangs, however slow the machine is."""


class _Skewed(asyncio.SelectorEventLoop):
    """Rings its timers early or late, as clocks of coarse resolution and busy systems do."""

    skew = 0.0

    def call_at(self, when: float, *args: Any, **options: Any) -> asyncio.TimerHandle:
        return super().call_at(when + self.skew, *args, **options)


class EarlyLoop(_Skewed):
    """Rings a millisecond early."""

    skew = -0.001


class LateLoop(_Skewed):
    """Rings a millisecond late."""

    skew = 0.001


class NoTimesLoop(asyncio.SelectorEventLoop):
    """Gives a plain handle for what is due at once, as uvloop does: it does not tell its time."""

    def call_at(self, when: float, callback: Any, *args: Any, **options: Any) -> Any:
        if when - self.time() < 0.0005:
            return self.call_soon(callback, *args, **options)
        return super().call_at(when, callback, *args, **options)


def debugging_loop() -> asyncio.AbstractEventLoop:
    """asyncio's loop in debug mode."""
    loop = asyncio.SelectorEventLoop()
    loop.set_debug(True)
    loop.slow_callback_duration = HANGS  # what is slow is not under test
    return loop


def eager_loop() -> asyncio.AbstractEventLoop:
    """asyncio's loop where tasks begin before ``create_task`` returns."""
    loop = asyncio.SelectorEventLoop()
    loop.set_task_factory(vars(asyncio)["eager_task_factory"])
    return loop


def uvloop_loop() -> asyncio.AbstractEventLoop:
    """uvloop's loop."""
    import uvloop

    return uvloop.new_event_loop()


LOOPS: list[Any] = [
    pytest.param(asyncio.SelectorEventLoop, id="asyncio"),
    pytest.param(debugging_loop, id="debug"),
    pytest.param(EarlyLoop, id="early"),
    pytest.param(LateLoop, id="late"),
    pytest.param(NoTimesLoop, id="no-times"),
    *([pytest.param(eager_loop, id="eager")] if sys.version_info >= (3, 12) else []),
    *([pytest.param(uvloop_loop, id="uvloop")] if find_spec("uvloop") else []),
]

QUICK: dict[str, Any] = {
    "retries": RetryPolicy(max_attempts=1),
    "polling": PollingPolicy(min_interval=0.01, max_interval=0.02, failure_budget=1, failure_window=0),
    "recovery": RecoveryPolicy(quiet=0.01, deadline=0.5, absence=0.01),
}


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
    """Answers nothing."""
    await silence(reader)


async def open_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
    """Begins each answer to a message and does not end it; a job runs."""
    if request.method == "GET":
        writer.write(history(job="j1"))
    else:
        writer.write(said("x", ends=False))
        await silence(reader)


@asynccontextmanager
async def talk(script: Any, **options: Any) -> AsyncIterator[AsyncToolhouse]:
    """A client of a server, which must not hang."""
    async with asyncio.timeout(HANGS), RawServer(script) as server, client_of(server, **QUICK | options) as client:
        yield client
