"""Background functions, run for real."""

from __future__ import annotations

import contextvars
import inspect
import logging
import threading
from asyncio import get_running_loop
from concurrent.futures import Executor, Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar
from uuid import uuid4

from attrs import field, frozen

from ._events import BackgroundCall

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

_log: Final = logging.getLogger("toolhouse_async.testing")


@frozen
class Outcome:
    """How a job ended: what it returned, or the text of its error."""

    result: Any = field(repr=False)
    failed: bool = False


@frozen
class Job:
    """A background call with its id."""

    call: BackgroundCall
    id: str = field(factory=lambda: str(uuid4()))

    async def run(self) -> Outcome:
        """Run the function to its end; an error is an outcome. Cancelling cancels an async function alone."""
        function, args = self.call.function, self.call.args
        try:
            if inspect.iscoroutinefunction(function):
                result = function(*args)
            else:
                call = partial(contextvars.copy_context().run, function, *args)
                result = await get_running_loop().run_in_executor(_THREADS, call)
            result = await result if inspect.isawaitable(result) else result
            return Outcome("null" if result is None else result)  # None says to a worker that there was no job
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the function raises is its outcome
            _log.warning("background job %s failed", self.id, exc_info=True)
            return Outcome(error_text(error), failed=True)


def error_text(error: BaseException) -> str:
    """Return the error as one line."""
    return f"{type(error).__name__}: {error}"


class _DaemonThreads(Executor):
    """A thread for every call, none of which keeps the process alive.

    A pool would let the jobs of many conversations queue behind one another, and is joined when the loop or
    the interpreter ends, however long a job still takes.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the future
                # a future that is awaited cannot hold StopIteration
                future.set_exception(RuntimeError(repr(error)) if isinstance(error, StopIteration) else error)
            else:
                future.set_result(result)

        threading.Thread(target=run, name="toolhouse background job", daemon=True).start()
        return future


_THREADS: Final = _DaemonThreads()
