"""The endpoints of the Workers API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson
from attrs import frozen

from ._answer import JOB_ID, Answer
from ._context import WorkerContext
from ._delivery import BrokenDelivery, Delivery
from ._faults import CLOSE_DELIMITED
from ._requests import RecordedRequest, Refusal, Target, body_of, target_of

if TYPE_CHECKING:
    from aiohttp import web

    from ._conversation import Run
    from ._faults import Fault
    from ._state import EmulatorState, Registered

_JSON: Final = {"Content-Type": "application/json"}

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


@frozen(eq=False)
class Endpoints:
    """Answers requests.

    Attributes:
        state: The emulator.
        requests: Where requests are recorded.
        spawn: Starts a task that the server ends when it stops.
    """

    state: EmulatorState
    requests: list[RecordedRequest]
    spawn: Spawn

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, or break it as a fault says. Cancelled when the client leaves."""
        record = RecordedRequest(request.method, request.raw_path, request.headers)
        self.requests.append(record)
        if len(self.requests) > self.state.keep_requests:
            del self.requests[0]
        record.body = await request.content.read()
        target = target_of(record.method, record.path)
        fault = self.state.faults.take(record.method, target.agent_id if isinstance(target, Target) else None)
        if fault is not None and fault.delays:
            await fault.released()
            fault = None
        return await self._deliver(request, record, target, fault)

    async def _deliver(
        self, request: web.Request, record: RecordedRequest, target: Target | Refusal, fault: Fault | None
    ) -> web.StreamResponse:
        handled = fault is None or fault.accept or not fault.replaces
        delivery: Delivery
        close_delimited = self.state.answer_framing == "close" and record.method in ("POST", "PUT")
        if close_delimited or (fault is not None and fault.breaks_framing):
            delivery = BrokenDelivery(request, record, fault or CLOSE_DELIMITED, close_delimited=close_delimited)
        else:
            delivery = Delivery(request, record, fault)
        answer: asyncio.Task[None] | None = None
        try:
            if handled:
                answer = await self._respond(record, target, delivery)
            else:
                await delivery.send(200, {})
            await delivery.done.wait()
            return await delivery.finish()
        except asyncio.CancelledError:
            if answer is not None and self.state.on_disconnect == "stop":
                answer.cancel()
            raise

    async def _respond(
        self, record: RecordedRequest, target: Target | Refusal, delivery: Delivery
    ) -> asyncio.Task[None] | None:
        """Send the API's own answer, or start the task that does so."""
        try:
            return await self._call(record, target, delivery)
        except Refusal as refusal:
            await delivery.send(refusal.status, {**_JSON, **refusal.headers}, refusal.body())
            return None

    async def _call(
        self, record: RecordedRequest, target: Target | Refusal, delivery: Delivery
    ) -> asyncio.Task[None] | None:
        if isinstance(target, Refusal):
            raise target
        worker = self._authorized(record, target)
        if record.method == "POST":
            body = body_of(record.body)
            return self._begin(record, target, delivery, worker, body, self.state.new_run(target.agent_id))
        run = self.state.find_run(target.agent_id, target.run_id)
        if run is None:
            raise Refusal(404, "no such run")
        if record.method != "PUT":
            await self._read(run, delivery)
            return None
        body = body_of(record.body)
        if "message" not in body:
            raise Refusal(422, "a message is required")
        await self._wait_for_turn(run, target.run_id)
        if self.state.rotate_run_id:
            self.state.name_run(run)
        return self._begin(record, target, delivery, worker, body, run)

    def _authorized(self, record: RecordedRequest, target: Target) -> Registered:
        worker = self.state.workers.get(target.agent_id)
        if self.state.api_key is not None and not (worker is not None and worker.public):
            scheme, _, key = record.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or key.strip() != self.state.api_key:
                raise Refusal(401, "a valid API key is required", {"WWW-Authenticate": "Bearer"})
        if worker is None:
            raise Refusal(404, "no such worker")
        return worker

    def _begin(
        self,
        record: RecordedRequest,
        target: Target,
        delivery: Delivery,
        worker: Registered,
        body: dict[str, Any],
        run: Run,
    ) -> asyncio.Task[None]:
        message = body.get("message")
        heard = self.state.user_entries(message)
        history = [*run.known(), *map(dict[str, Any], heard)]
        withheld = heard if self.state.history_message_at == "end" else None
        if withheld is None:
            for entry in heard:
                run.record(entry)
        outcome, run.outcome = run.outcome, None
        context = WorkerContext(
            agent_id=run.agent_id,
            run_id=run.run_id,
            message=message,
            history=self.state.renamed(history),
            job_result=None if outcome is None else outcome.result,
            job_failed=outcome is not None and outcome.failed,
            body=body,
        )
        answer = Answer(self.state, run, context, target.ndjson, delivery, self.spawn, withheld)
        run.answer = answer
        record.accepted = True
        return self.spawn(answer.write(worker.function))

    async def _wait_for_turn(self, run: Run, run_id: str) -> None:
        """Return once the run takes a message.

        Raises:
            Refusal: It takes none: a job runs, another answer is being written, or the run has another id
                now.
        """
        while True:
            if run.job_id is not None:
                raise Refusal(409, "a background job is running", self._job_header(run.job_id))
            if run.late_conflicts:
                run.late_conflicts -= 1
                raise Refusal(409, "a background job is running")
            if run.run_id != run_id:
                raise Refusal(404, "the run has another id now")
            if run.answer is None:
                return
            if self.state.while_answering == "conflict":
                raise Refusal(409, "another answer is being written")
            await run.answered()

    def _job_header(self, job_id: str) -> dict[str, str]:
        return {JOB_ID: job_id} if self.state.conflict_job_header else {}

    async def _read(self, run: Run, delivery: Delivery) -> None:
        headers = dict(_JSON)
        if run.job_id is not None:
            if run.header_misses:
                run.header_misses -= 1
            else:
                headers[JOB_ID] = run.job_id
        body = b""
        if run.job_id is None or self.state.job_poll_body == "history":
            body = orjson.dumps(self.state.shown(run))
        elif self.state.job_poll_body == "object":
            body = orjson.dumps({"status": "running", "job_id": run.job_id})
        await delivery.send(200, headers, body)
