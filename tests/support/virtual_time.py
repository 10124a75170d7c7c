"""An event loop whose clock jumps to the next timer, so that long waits cost no time.

Sockets served by the same loop work as ever: the loopback interface hands data over at once, so what is still
unready after a short real look is waiting for a timer. The clock runs in real time instead while something
outside the loop is at work for it: a job of an executor, an anyio worker thread, a subprocess, or whatever a
test names with ``real_time()``.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

EPOCH = 1000.0
"""What ``loop.time()`` says at the start, in seconds."""

LOOK = 0.0001
"""Seconds of real waiting for sockets before the clock jumps: a selector would wait for a millisecond at least."""


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that owns the clock: a wait without events moves it by the wait's length."""

    def __init__(self) -> None:
        super().__init__()
        self.now = EPOCH
        self.is_real: Callable[[], bool] = lambda: False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.is_real():
            started = time.monotonic()
            ready = super().select(timeout)
            self.now += min(time.monotonic() - started, timeout) if ready else timeout
            return ready
        ready = super().select(0)
        if not ready:
            time.sleep(LOOK)
            ready = super().select(0)
        if not ready:
            self.now = max(self.now + timeout, math.nextafter(self.now, math.inf))  # always on
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector event loop with virtual time (see the module)."""

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        self._clock.is_real = self._is_real
        self._outside = 0
        self._processes: list[asyncio.SubprocessTransport] = []
        super().__init__(self._clock)

    def time(self) -> float:
        """The virtual time, in seconds."""
        return self._clock.now

    @contextmanager
    def real_time(self) -> Iterator[None]:
        """Let the clock run in real time within this block, for example while a thread is answering."""
        self._outside += 1
        try:
            yield
        finally:
            self._outside -= 1

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        self._outside += 1
        future.add_done_callback(self._job_returned)
        return future

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        transport, protocol = await super().subprocess_exec(*args, **kwargs)
        self._processes.append(transport)
        return transport, protocol

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> Any:
        transport, protocol = await super().subprocess_shell(*args, **kwargs)
        self._processes.append(transport)
        return transport, protocol

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        with self.real_time():  # it joins the threads, with a timeout
            await super().shutdown_default_executor(*args, **kwargs)

    def _job_returned(self, future: asyncio.Future[Any]) -> None:
        self._outside -= 1

    def _is_real(self) -> bool:
        self._processes = [process for process in self._processes if process.get_returncode() is None]
        return bool(self._outside or self._processes or self._has_busy_worker())

    def _has_busy_worker(self) -> bool:
        # anyio starts worker threads itself; each knows its loop, and is idle once its result is reported.
        return any(
            not thread.stopping and thread not in thread.idle_workers
            for thread in threading.enumerate()
            if getattr(thread, "loop", None) is self and hasattr(thread, "idle_workers")
        )


class CoarseTimeLoop(VirtualTimeLoop):
    """Rings its timers at whole half seconds only, so that many cases share one jump of the clock."""

    def call_at(self, when: float, *args: Any, **options: Any) -> asyncio.TimerHandle:
        return super().call_at(math.ceil(when * 2) / 2, *args, **options)
