"""One call of a worker: from what it yields to the stream, the history and the jobs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
from attrs import define, field

from ..events import ErrorEvent, TextDelta, ToolCall, ToolResult
from ._events import BackgroundCall, StreamEvent, ndjson_line
from ._history import Spoken, answer_entries
from ._jobs import Job, error_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from ._context import Worker, WorkerContext
    from ._conversation import Run
    from ._delivery import Delivery
    from ._state import EmulatorState

RUN_ID: Final = "X-Toolhouse-Run-ID"
JOB_ID: Final = "x-toolhouse-job-id"

_log: Final = logging.getLogger("toolhouse_async.testing")


@define(eq=False)
class Answer:
    """The answer to one message, written in a task of its own so that it can outlive the request."""

    _state: EmulatorState
    _run: Run
    _context: WorkerContext
    _ndjson: bool
    _delivery: Delivery
    _spawn: Callable[[Coroutine[Any, Any, None]], object]
    _withheld: list[dict[str, Any]] | None
    """The message's entry, if it comes into the history with the answer's end; ``None`` if it stands there already."""
    _started: bool = field(default=False, init=False)
    _mute: bool = field(default=False, init=False)
    _spoken: list[Spoken] = field(factory=list[Spoken], init=False)

    def entries(self) -> list[dict[str, Any]]:
        """What the history holds of the answer while it is being written."""
        if self._state.history_delay or self._withheld is not None:
            return []
        return self._entries(with_text=self._state.history_partial)

    async def write(self, worker: Worker) -> None:
        """Call the worker and stream what it yields. Cancelling stops it and closes the connection."""
        failure: Exception | None = None
        complete = False
        try:
            events = cast("AsyncGenerator[object, None]", worker(self._context))
            async with aclosing(events):
                async for event in events:
                    await self._take(event)
            complete = True
        except Exception as error:  # noqa: BLE001 - whatever the worker raises is its answer's end
            _log.warning("worker %s failed", self._context.agent_id, exc_info=True)
            failure = error
        finally:
            # The history comes before the stream's end: a client that has seen the end may read it at once.
            self._settle(complete)
            if not complete and failure is None:
                self._delivery.abort()
        try:
            await self._end(failure)
        except Exception:  # noqa: BLE001 - ndjson_object and ndjson_end are the user's
            _log.warning("the answer of worker %s cannot be ended", self._context.agent_id, exc_info=True)
            self._delivery.abort()

    async def _take(self, event: object) -> None:
        if isinstance(event, BackgroundCall):
            job = self._start_job(event)
            if not self._started:
                await self._start(job)
            return
        if not isinstance(event, StreamEvent):
            raise TypeError(f"a worker yields what its context makes, not {event!r:.200}")
        text = event.text if isinstance(event, TextDelta) else ""
        data = self._line(event) if self._ndjson else text.encode()
        if isinstance(event, TextDelta):
            if text:
                self._spoken.append(event)
        elif isinstance(event, ToolCall | ToolResult) and self._state.history_tools:
            self._spoken.append(event)
        if not self._started:
            await self._start(None)
        await self._write(data)

    async def _start(self, job: Job | None) -> None:
        self._started = True
        headers = {
            "Content-Type": "application/x-ndjson" if self._ndjson else "text/plain; charset=utf-8",
            RUN_ID: self._context.run_id,
        }
        if job is not None:
            headers[JOB_ID] = job.id
        try:
            await self._delivery.start(headers)
        except ConnectionError:  # the client is gone: whether the worker goes on is on_disconnect's affair
            self._mute = True
        if job is not None and not self._state.job_answer_body:
            self._mute = True

    async def _write(self, data: bytes) -> None:
        if self._mute:
            await asyncio.sleep(0)  # the worker may await nothing else, and would keep all others from running
        elif data:
            try:
                await self._delivery.write(data)
            except ConnectionError:  # as above
                self._mute = True

    def _start_job(self, call: BackgroundCall) -> Job:
        job, run = Job(call), self._run
        run.jobs.append(job)
        run.header_misses = self._state.job_header_lag
        if len(run.jobs) == 1:
            self._spawn(run.work_off(self._state.conflict_lag, self._state.outcome_entry))
        return job

    def _line(self, event: StreamEvent) -> bytes:
        return ndjson_line(self._state.ndjson_object(event))

    def _entries(self, *, with_text: bool) -> list[dict[str, Any]]:
        spoken = [event for event in self._spoken if with_text or not isinstance(event, TextDelta)]
        return answer_entries(spoken, self._state.history_tool_role)

    def _settle(self, complete: bool) -> None:
        entries = self._entries(with_text=complete or self._state.history_partial)
        self._run.end_answer([*(self._withheld or ()), *entries], self._state.history_delay)

    async def _end(self, failure: Exception | None) -> None:
        if failure is not None and not self._started:
            body = orjson.dumps({"error": error_text(failure)})
            await self._delivery.send(500, {"Content-Type": "application/json"}, body)
            return
        if failure is not None and not self._ndjson:
            self._delivery.abort()
            return
        if not self._started:
            await self._start(None)
        if failure is not None:
            await self._write(self._line(ErrorEvent(str(failure), type(failure).__name__)))
        elif self._ndjson and self._state.ndjson_end is not None:
            await self._write(ndjson_line(self._state.ndjson_end))
        try:
            await self._delivery.end()
        except ConnectionError:
            self._mute = True
