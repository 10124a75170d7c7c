"""Counts that no noise can change: calls, bytecode instructions, callbacks, tasks and timers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from attrs import define

from .contestants import Contestant
from .plans import Plan


@define
class Counts:
    """What one or more turns took.

    Attributes:
        calls: Calls of functions written in Python, this package's included.
        instructions: Bytecode instructions; they are counted only where asked for.
        passes: Passes of the event loop, as calls and instructions are counted: how many there are is luck, and each is
            some calls and instructions.
        callbacks: Callbacks run by the event loop, a task's steps being such.
        tasks: Tasks made.
        timers: Timers made.
    """

    calls: int = 0
    instructions: int = 0
    passes: int = 0
    callbacks: int = 0
    tasks: int = 0
    timers: int = 0


_PASS = asyncio.BaseEventLoop._run_once.__code__  # type: ignore[attr-defined] # what a pass of the event loop calls


@contextmanager
def counted_calls(counts: Counts) -> Iterator[None]:
    """Count calls in this thread."""

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            counts.calls += 1
            counts.passes += frame.f_code is _PASS

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)


@contextmanager
def counted_instructions(counts: Counts) -> Iterator[None]:
    """Count bytecode instructions."""
    counting = _traced_instructions if sys.version_info < (3, 12) else _monitored_instructions
    with counting(counts):
        yield


@contextmanager
def _traced_instructions(counts: Counts) -> Iterator[None]:
    """Count those in this thread, of functions called from now on."""

    def count(frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode":
            counts.instructions += 1
        else:
            counts.passes += event == "call" and frame.f_code is _PASS
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def _monitored_instructions(counts: Counts) -> Iterator[None]:
    """Count all of them; tracing misses some since Python 3.12."""

    def count(code: object, offset: int) -> None:
        counts.instructions += 1

    def begin(code: object, offset: int) -> None:
        counts.passes += code is _PASS

    monitoring: Any = vars(sys)["monitoring"]
    monitoring.use_tool_id(_TOOL, __name__)
    try:
        monitoring.register_callback(_TOOL, monitoring.events.INSTRUCTION, count)
        monitoring.register_callback(_TOOL, monitoring.events.PY_START, begin)
        monitoring.set_events(_TOOL, monitoring.events.INSTRUCTION | monitoring.events.PY_START)
        yield
    finally:
        monitoring.set_events(_TOOL, 0)
        monitoring.free_tool_id(_TOOL)


_TOOL = 4
"""An id that no usual debugger, coverage tool or profiler takes."""


@contextmanager
def counted_work(counts: Counts) -> Iterator[None]:
    """Count what the running event loop is given to do."""
    loop: Any = asyncio.get_running_loop()
    run, call_at = asyncio.Handle._run, loop.call_at

    def count_run(handle: asyncio.Handle) -> None:
        counts.callbacks += 1
        run(handle)

    def count_task(_: object, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        counts.tasks += 1
        return asyncio.Task(coroutine, loop=loop, **more)

    def count_timer(*arguments: Any, **more: Any) -> asyncio.TimerHandle:
        counts.timers += 1
        return call_at(*arguments, **more)

    asyncio.Handle._run = count_run
    loop.call_at = count_timer
    loop.set_task_factory(count_task)
    try:
        yield
    finally:
        asyncio.Handle._run = run
        del loop.call_at
        loop.set_task_factory(None)


HOW = {"calls": counted_calls, "instructions": counted_instructions, "work": counted_work}


def count(url: str, contestant: Contestant, plan: Plan, how: str, turns: int = 1, repeats: int = 3) -> Counts:
    """Count ``turns`` turns by one client on a connection that it has; the best of some repeats.

    An answer in one burst may come in more pieces than it must, and each is some more work: the least work is the
    right one. Events that come one by one may be late and come together: there, it is the most.
    """
    best = min if plan.kind == "burst" else max

    async def once() -> Counts:
        async with contestant(url) as consume:
            await consume(plan)
            return best([await counted(consume) for _ in range(repeats)], key=_size)

    async def counted(consume: Callable[[Plan], Awaitable[int]]) -> Counts:
        counts = Counts()
        with HOW[how](counts):
            for _ in range(turns):
                found = await consume(plan)
                assert found == plan.count, f"{found} of {plan.count} events"
        return counts

    return asyncio.run(once())


def _size(counts: Counts) -> tuple[int, ...]:
    return counts.callbacks, counts.calls, counts.instructions
