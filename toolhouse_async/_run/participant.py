"""One turn among those on its run: it queues with them, polls with them, and sends together with them."""

from __future__ import annotations

import asyncio

from .._core import Core
from .._http.port import Answer, Dispatch, Service
from .._log import log
from .._turn.commands import Send
from .._turn.job import Job
from .._turn.polls import Report
from .._turn.progress import Progress
from .._turn.table import State
from .._values.results import JobStatus
from .._wire import requests
from .conversation import Conversation
from .poll import RunPoll
from .resume import SharedResume, Tap
from .shared import SharedRun


class Participant:
    """A turn, as the others on its run see it.

    It looks at the turn, and tells it nothing but which run it is on.

    Attributes:
        stepped_by: The task that stepped the turn last.
        dispatch: How far the message has come that it sends by itself.
    """

    stepped_by: asyncio.Task[object] | None = None
    _tap: Tap | None = None
    """Its part in a resume that several send as one."""
    _poll: RunPoll | None = None
    _polled: Job | None = None
    """The job that it polls for."""
    _seen: int = 0
    """The last report that it has seen."""
    _has_looked: bool = False
    """Whether the log says that it looks in the history."""
    _service: Service | None = None
    """What makes its requests, where that is not the client's service as it is."""

    def __init__(self, conversation: Conversation, turn: Progress) -> None:
        self.dispatch: Dispatch = Dispatch()
        self._conversation = conversation
        self._turn = turn
        self._shared: SharedRun = conversation.shared
        if turn.options.terms is not None:
            self.make_own_requests()

    def make_own_requests(self, number: int | None = None) -> None:
        """Make requests with the turn's own headers and times, and have them told of by the turn's ``number``."""
        options = self._turn.options
        self._service = self._core.service.for_turn(options.headers, options.timeouts, number)

    @property
    def _core(self) -> Core:
        return self._conversation.core

    # The run

    def take_run(self) -> None:
        """Go by the run that the conversation has now."""
        self._shared = self._conversation.shared
        self._turn.run = self._shared.known

    def begin_anew(self) -> None:
        """Go on with the conversation's new run; what was sent to the old one was not accepted."""
        self.dispatch.in_flight = False
        self._shared.queue.release(self)
        self.take_run()

    def name_run(self, run_id: str) -> None:
        """Make the run known by the id that an answer brought."""
        self._conversation.core.name_run(self._shared, self._turn.agent_id, run_id)

    # Waiting

    async def enter(self) -> SharedResume | None:
        """Wait for the turns before it on the run; or for a resume that it can take part in, which is returned."""
        if self._turn.is_unsent:
            if not self._shared.queue.take(self):
                await self._shared.queue.acquire(self)
            return None
        self._look_for_others()
        if self._tap is None:
            await self._shared.queue.acquire(self)
        self._shared.waiting.pop(self, None)
        return self._resume

    async def report(self, job: Job, until: float | None) -> Report | SharedResume:
        """Wait for the next poll of the run; or for a resume that it can take part in.

        Args:
            job: The job that is waited for.
            until: The loop's time at which a poll is wanted in any case.
        """
        turn = self._turn
        if self._poll is None or self._polled is not job:
            self._polled = job
            elapsed = self._core.time() - job.started
            self._poll = self._core.poll_of(turn.run, turn.agent_id, turn.polling, elapsed, turn.options.terms)
            self._seen = self._poll.number
        self._look_for_others()
        if self._tap is None:
            report = await self._poll.report_after(self._seen, until, self._service)
            self._seen = report.number
            return self._resume or report
        return self._tap.shared

    @property
    def _resume(self) -> SharedResume | None:
        return None if self._tap is None else self._tap.shared

    def _look_for_others(self) -> None:
        """If the turn would send a resume: be one of those who wait to, and take part where it is under way."""
        turn = self._turn
        if not turn.may_join:
            return
        self._shared.waiting[self] = None
        resuming, behind = self._shared.resuming, turn.behind
        if resuming is None or not resuming.may_join or self._tap is not None:
            return
        if behind is None or turn.run.resumed.get(behind) is resuming.said:  # it is the one that it would send
            self._shared.waiting.pop(self, None)
            self._tap = resuming.join(self)

    def inherit(self, resume: SharedResume) -> None:
        """Take part in a resume that another turn sends, in place of sending one."""
        self._tap = resume.join(self)
        if self._poll is not None:
            self._poll.hurry()  # the job is over: no need to find that out later

    # Sending

    async def send(self, todo: Send, deadline: float | None) -> Answer:
        """Send a message and return its answer; together with others, if they wait for the same.

        Args:
            todo: What to send.
            deadline: The loop's time after which no retry begins.

        Raises:
            ToolhouseError: There is no good answer.
        """
        tap = self._tap
        if tap is None:
            conversation, turn = self._conversation, self._turn
            if todo.at and (pause := todo.at - self._core.time()) > 0:
                await asyncio.sleep(pause)
            if conversation.journal is not None:
                await conversation.journal.sending(todo.said, todo.fields.get("message"), resumes=todo.resumes)
            request = requests.send(turn.agent_id, todo.run_id, turn.format, todo.fields)
            send = (self._service or conversation.core.service).send(request, deadline, self.dispatch)
            if turn.job is None and not todo.resumes:
                return await send
            shared = SharedResume(send, self.dispatch, format=turn.format, said=todo.said)
            tap = self._tap = shared.join(self)
            self._shared.share(shared, self)
            self._core.remember(self._shared)
        await tap.shared.answer()
        return tap

    @property
    def in_flight(self) -> bool:
        """Whether a message was sent, by itself or by others for it, and its fate is not known."""
        return self.dispatch.in_flight if self._tap is None else self._tap.shared.dispatch.in_flight

    # Reading the run

    async def look(self, run_id: str, deadline: float | None) -> JobStatus:
        """Read the run once.

        Args:
            run_id: The run.
            deadline: The loop's time after which no retry begins.

        Raises:
            ToolhouseError: It cannot be read.
        """
        turn, service = self._turn, self._service or self._core.service
        if turn.state is State.PROBING:
            return await service.probe(turn.agent_id, run_id, deadline)
        if not self._has_looked and turn.state is not State.SETTLING:  # which takes no time, most of the time
            self._has_looked = True
            log.info("run %s: looking in its history, for %g s at most", run_id, turn.rules.recovery.deadline)
        return await service.poll(turn.agent_id, run_id, whole=True)

    # Leaving

    def done_sending(self) -> None:
        """Forget the message, whatever became of it; whoever shared it with others leaves them."""
        if self._tap is None:
            self.dispatch.head, self.dispatch.in_flight = None, False
            return
        self.dispatch = Dispatch()  # the other is that of all who have sent it together
        self._tap.close()
        self._shared.leave(self._tap.shared)
        self._tap = None

    def leave(self) -> None:
        """Leave the run to the others; first to one that goes on with the same answer. Idempotent."""
        shared = self._shared
        if self._tap is not None:
            if others := self._tap.shared.others(self._tap):
                shared.queue.pass_on(self, others[0])
            self.done_sending()
        if shared.waiting:
            shared.waiting.pop(self, None)
        shared.queue.release(self)
