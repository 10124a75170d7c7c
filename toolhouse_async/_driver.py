"""What makes a turn move and stop: it does what the turn asks for, and owns what is asyncio's."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Protocol

from ._http.port import Answer, Cut, Dispatch
from ._log import log
from ._run.conversation import Conversation
from ._run.poll import RunPoll
from ._run.resume import SharedResume, Tap
from ._turn.commands import Command, Enter, Look, Note, Over, Poll, Read, Send
from ._turn.job import Job
from ._turn.machine import TurnMachine, nameless
from ._turn.table import State
from ._values.results import JobStatus, TurnResult
from ._wire import requests
from ._wire.answers import Headers, job_id_of, run_id_of
from .errors import (
    ClosedError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    ProtocolError,
    SessionBusyError,
    ToolhouseError,
    TurnTimeoutError,
)
from .events import Event


class Access(Protocol):
    """What a turn must have before it begins, and lets go at its end: a key."""

    async def enter(self, owner: Callable[[], asyncio.Task[object] | None]) -> object:
        """Wait for it; the conversation is known afterwards."""
        ...

    def leave(self) -> None:
        """Begin to let it go."""
        ...

    async def left(self, result: TurnResult | None) -> ToolhouseError | None:
        """Wait until it is let go; why that failed, if it did."""
        ...


class Driver:
    """Does what a turn asks for, without a task of its own.

    Whoever wants the next event steps it, in their own task: cancelling them cancels exactly the step under way,
    and memory is bounded by how fast they read.

    Attributes:
        turn: The turn.
        conversation: Whose turn it is.
        events: Events that were made and not yet taken, oldest first.
        is_over: Whether there will be no more events than those.
        error: Why it ended, if it failed.
        result: What it came to, if it did not.
        begun: Whether a step was ever made.
        stepped_by: The task that stepped it last.
    """

    __slots__ = (
        "_access", "_answer", "_busy", "_core", "_deadline", "_dispatch", "_interruption", "_is_armed", "_is_inside",
        "_malformed", "_poll", "_polled", "_seen", "_shared", "_silence", "_stopping", "_tap", "_timeout",
        "begun", "conversation", "error", "events", "is_over", "result", "stepped_by", "turn",
    )  # fmt: skip

    def __init__(
        self,
        conversation: Conversation,
        turn: TurnMachine,
        *,
        timeout: float | None = None,
        access: Access | None = None,
    ) -> None:
        """Prepare to drive a turn.

        Args:
            conversation: Whose turn it is.
            turn: The turn.
            timeout: Seconds for all of it.
            access: What it must have first.
        """
        self.conversation: Conversation = conversation
        self.turn: TurnMachine = turn
        self.events: deque[Event] = turn.events
        self.is_over: bool = False
        self.error: ToolhouseError | None = None
        self.result: TurnResult | None = None
        self.begun: bool = False
        self.stepped_by: asyncio.Task[object] | None = None
        self._access = access
        self._core = conversation.core
        self._shared = conversation.shared
        self._timeout = timeout
        self._deadline: float | None = None
        self._is_armed = False
        self._is_inside = False  # whether it has what it must have
        self._busy = False
        self._stopping = False  # whether the step under way is being cancelled by ourselves
        self._interruption: Callable[[], ToolhouseError] | None = None
        self._dispatch = Dispatch()  # how far a message has come
        self._answer: Answer | None = None
        self._tap: Tap | None = None  # a resume that is shared with others
        self._silence = False  # whether the answer was ended for its silence
        self._malformed = 0
        self._poll: RunPoll | None = None
        self._polled: Job | None = None  # the job that it polls for
        self._seen = 0

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the latest answer."""
        return Headers() if self._answer is None else self._answer.headers

    # One step

    async def advance(self) -> None:
        """Make one step: afterwards there may be events, and it may be over.

        Raises:
            SessionBusyError: Another task is in the middle of a step.

        Cancelling closes it.
        """
        task = self._enter_step()
        cancelling = task.cancelling()
        try:
            if not self.events:  # what its beginning has made comes first
                await self._do(self.turn.todo)
        except ToolhouseError as error:
            self._fail(error if self._interruption is None else self._interruption())
        except asyncio.CancelledError:
            if not self._stopping or task.cancelling() > cancelling + 1:
                self._fail(ClosedError("closed before its end: its reader was cancelled"))
                raise
        except GeneratorExit:
            self.abandon()  # by whoever collects garbage
            raise
        except BaseException as error:
            self._fail(ClosedError(f"closed before its end by {type(error).__name__}"))
            raise
        finally:
            self._busy = False
            if self._stopping:
                self._stopping = False
                task.uncancel()
        if self._interruption is not None and not self.is_over:
            self._fail(self._interruption())
        if self.is_over and self._access is not None:
            await self.left()

    def _enter_step(self) -> asyncio.Task[object]:
        """Begin a step, and before the first one everything."""
        if self._busy:
            raise SessionBusyError("another task is reading this turn")
        if self.begun:
            self._core.check_loop()
        else:
            self._core.check_usable()
        task = asyncio.current_task()
        if task is None:
            raise ConfigurationError("a turn is read in a task of asyncio")
        if not self.begun:
            self._begin()
        self.stepped_by = task
        self._busy = True
        return task

    def _begin(self) -> None:
        conversation, turn = self.conversation, self.turn
        now = self._core.time()
        is_waiter = turn.state is State.WAITING
        if not is_waiter:
            conversation.check_open()
            conversation.open_turns.add(self)
        if conversation.journal is not None:
            turn.notes = []
        if self._timeout is not None:
            self._deadline = now + self._timeout
        turn.drift = time.time() - now
        left = turn.token if is_waiter else None
        elapsed = 0.0 if left is None else max(0.0, time.time() - left.started)
        turn.begin(now, elapsed=elapsed, until=self._deadline)
        self._core.live.add(self)
        self.begun = True

    def _do(self, todo: Command) -> Coroutine[Any, Any, None]:
        """Do what the turn asks for, and tell it what came of it."""
        match todo:
            case Read():
                return self._read()
            case Send():
                return self._tell(self._send(todo))
            case Look():
                return self._tell(self._look(todo))
            case Poll():
                return self._tell(self._await_poll(todo))
            case Enter():
                return self._tell(self._enter())
            case Over():  # pragma: no cover - nobody steps a turn that is over
                raise AssertionError("the turn is over")

    async def _tell(self, step: Coroutine[Any, Any, None]) -> None:
        self._arm_deadline()
        await step
        await self._follow()

    async def _follow(self) -> None:
        """Write down what the turn wants written, and end with it."""
        turn = self.turn
        if turn.notes:
            await self._write_down(turn.notes)
        if type(turn.todo) is Over:
            self.result = turn.todo.result
            self.close()

    async def _write_down(self, notes: list[Note]) -> None:
        journal = self.conversation.journal
        assert journal is not None  # noqa: S101 - else the turn makes no notes
        while notes:
            note, token = notes.pop(0), self.turn.token
            if note is Note.ANSWERED:
                await journal.answered()
            elif note is Note.COMPLETED:
                journal.completed()
            else:
                assert token is not None  # noqa: S101 - the job and its run are known
                await journal.waiting(token)

    # Waiting for the run

    async def _enter(self) -> None:
        turn = self.turn
        if self._access is not None and not self._is_inside:
            await self._access.enter(lambda: self.stepped_by)
            self._is_inside = True
            self._take_run()
        if turn.may_join:
            self._shared.waiting[self] = None
            self._join_late()
        if self._tap is None:
            await self._shared.queue.acquire(self)
        self._shared.waiting.pop(self, None)
        if self._tap is not None:
            turn.joined(self._tap.shared.said, self._tap.shared.format, self._core.time())
        else:
            turn.entered(self._core.time())

    def _take_run(self) -> None:
        """Go by the run that the conversation has now."""
        self._shared = self.conversation.shared
        self.turn.run = self._shared.known

    def _join_late(self) -> None:
        """Take part in a resume that is under way, if it is the one that this turn would send."""
        resuming, behind = self._shared.resuming, self.turn.behind
        if resuming is None or not resuming.may_join or self._tap is not None:
            return
        if behind is None or self.turn.run.resumed.get(behind) is resuming.said:
            self._shared.waiting.pop(self, None)
            self._tap = resuming.join(self)

    def inherit(self, resume: SharedResume) -> None:
        """Take part in a resume that another turn sends, in place of sending one."""
        self._tap = resume.join(self)
        if self._poll is not None:
            self._poll.hurry()  # the job is over: no need to find that out later

    async def _await_poll(self, todo: Poll) -> None:
        turn, job = self.turn, self.turn.job
        assert job is not None  # noqa: S101 - it is polled for
        if self._poll is None or self._polled is not job:
            self._polled = job
            elapsed = self._core.time() - job.started
            self._poll = self._core.poll_of(turn.run, turn.agent_id, turn.polling, elapsed)
            self._seen = self._poll.number
        if turn.may_join:
            self._shared.waiting[self] = None
            self._join_late()
        if self._tap is None:
            report = await self._poll.report_after(self._seen, todo.until)
            self._seen = report.number
            if self._tap is None:
                self._refresh_drift()
                turn.polled(report, self._core.time())
                return
        turn.joined(self._tap.shared.said, self._tap.shared.format, self._core.time())

    # Sending

    async def _send(self, todo: Send) -> None:
        turn = self.turn
        if self._tap is None:
            await self._sleep_until(todo.at)
        try:
            answer = await self._answer_to(todo)
        except ConflictError as conflict:
            self._dispatch.in_flight = False
            self._drop_tap()
            turn.refused(conflict, self._core.time())
        except ToolhouseError as error:
            in_flight = self._in_flight
            self._drop_tap()
            self._dispatch.in_flight = in_flight
            if isinstance(error, NotFoundError) and self._begins_anew():
                return
            draw = self._core.service.randomness.random()
            turn.failed(error, self._core.time(), draw, in_flight=in_flight)
            self._dispatch.in_flight = False
        else:
            self._dispatch.in_flight = False
            self._take(answer)

    async def _answer_to(self, todo: Send) -> Answer:
        """Send a message; together with others, if they wait for the same."""
        tap = self._tap
        if tap is None:
            conversation, turn = self.conversation, self.turn
            if conversation.journal is not None:
                await conversation.journal.sending(todo.said, todo.fields.get("message"), resumes=todo.resumes)
            request = requests.send(turn.agent_id, todo.run_id, turn.format, todo.fields)
            send = self._core.service.send(request, self._deadline, self._dispatch)
            if turn.job is None and not todo.resumes:
                return await send
            shared = SharedResume(send, self._dispatch, format=turn.format, said=todo.said)
            tap = self._tap = shared.join(self)
            self._shared.share(shared, self)
            self._core.remember(self._shared)
        await tap.shared.answer()
        return tap

    def _take(self, answer: Answer) -> None:
        self._answer = answer
        self._silence = False
        self._watch_idle()
        self._named(lambda: self.turn.answered(answer, self._core.time()))

    def _named(self, tell: Callable[[], None]) -> None:
        """Tell the turn of an answer, by which its run may have another id."""
        turn = self.turn
        before = turn.run.run_id
        tell()
        if turn.run.run_id is not None and turn.run.run_id != before:
            self._core.name_run(self._shared, turn.agent_id, turn.run.run_id)

    @property
    def _in_flight(self) -> bool:
        return self._dispatch.in_flight if self._tap is None else self._tap.shared.dispatch.in_flight

    def _drop_tap(self) -> None:
        if self._tap is not None:
            self._tap.close()
            self._shared.leave(self._tap.shared)
            self._tap = None
            self._dispatch = Dispatch()

    def _begins_anew(self) -> bool:
        """Whether the message goes to a new run, the service not knowing the old one any more."""
        conversation, turn = self.conversation, self.turn
        if turn.may_join or turn.run.run_id is None or conversation.journal is None:
            return False
        if not conversation.journal.begin_anew():
            return False
        self._dispatch.in_flight = False
        self._shared.queue.release(self)
        self._take_run()
        turn.begin_anew()
        return True

    # Reading

    async def _read(self) -> None:
        answer, turn = self._answer, self.turn
        assert answer is not None  # noqa: S101 - the turn has been told of it
        try:
            data = await answer.read()
        except Cut as cut:
            self._end_reading(answer)
            turn.cut(str(cut), self._core.time(), is_idle=self._silence)
        else:
            if data:
                turn.received(data)
                if not answer.at_end:
                    return
            self._end_reading(answer)
            turn.ended(self._core.time(), proven=answer.framed)
        await self._follow()

    def _end_reading(self, answer: Answer) -> None:
        self._refresh_drift()
        self._warn()
        answer.close()
        self._drop_tap()
        self._dispatch = Dispatch()
        self._core.watch.drop(self._watch_idle)

    def _warn(self) -> None:
        malformed = self.turn.fold.malformed
        if malformed != self._malformed:
            log.warning("run %s: %d lines are not JSON", self.turn.run.run_id, malformed - self._malformed)
            self._malformed = malformed

    def _watch_idle(self) -> None:
        """See to it that a silent answer is cut; the limit is moved on when it is reached, if bytes have come."""
        limit, answer = self._core.timeouts.idle, self._answer
        if limit is None or answer is None:
            return
        now, since = self._core.time(), answer.waiting_since
        if since is not None and now - since >= limit - 1e-6:  # a timer may be early by a rounding
            self._silence = True
            answer.fail(f"nothing was received for {limit:g} s (Timeouts.idle)")
        else:
            self._core.watch.at(self._watch_idle, (now if since is None else since) + limit, self._watch_idle)

    # Looking

    async def _look(self, todo: Look) -> None:
        turn, service = self.turn, self._core.service
        await self._sleep_until(todo.at)
        run_id = turn.run.run_id
        if run_id is None:
            raise nameless()
        try:
            status = await self._status(run_id)
        except ToolhouseError as error:
            log.info("run %s could not be read: %s", run_id, error)
            if isinstance(error, NotFoundError) and turn.state is State.CHECKING and self._begins_anew():
                return
            turn.blind(error, self._core.time(), service.randomness.random())
        else:
            self._refresh_drift()
            turn.looked(status, self._core.time(), service.randomness.random())

    def _status(self, run_id: str) -> Coroutine[Any, Any, JobStatus]:
        service, agent_id = self._core.service, self.turn.agent_id
        if self.turn.state is State.PROBING:
            return service.read(agent_id, run_id, self._deadline)
        return service.poll(agent_id, run_id, whole=True)

    async def _sleep_until(self, when: float) -> None:
        # Also where it is due: the loop sees first which connections have been closed.
        await asyncio.sleep(max(when - self._core.time(), 0.0))

    def _refresh_drift(self) -> None:
        self.turn.drift = time.time() - self._core.time()

    # Its end

    def _arm_deadline(self) -> None:
        """Set the turn's own limit; a job that is waited for alone has it as its deadline."""
        if self._deadline is None or self._is_armed or (self.turn.state is State.WAITING and self._answer is None):
            return
        self._is_armed = True
        self._core.watch.at(self._at_deadline, self._deadline, self._at_deadline, may_read=self._may_read)

    def _may_read(self) -> bool:
        return self._in_flight or self.turn.state is not State.SENDING

    def _at_deadline(self) -> None:
        self._stop(self._too_late)

    def _too_late(self) -> ToolhouseError:
        turn = self.turn
        if self._answer is not None and turn.state is State.STREAMING:
            try:
                turn.received_last(self._answer.rest())
            except ProtocolError as error:
                log.info("run %s: the rest was not read: %s", turn.run.run_id, error)
        goes_on = "; a job is running, and the token waits for it" if turn.state is State.WAITING else ""
        return TurnTimeoutError(
            f"the turn took longer than its timeout of {self._timeout:g} s, while {turn.state.value}{goes_on}",
            partial=turn.partial,
        )

    def check_loop(self) -> asyncio.AbstractEventLoop | None:
        """Check that the event loop is the one that it was begun on, if it was; return that.

        Raises:
            ConfigurationError: It is another, or none.
        """
        if not self.begun:
            return None
        self._core.check_loop()
        return self._core.loop

    def interrupt(self, error: ToolhouseError) -> None:
        """End with ``error`` from any task: at once where a step is under way. Events not taken are dropped."""
        if not self.is_over:
            self.events.clear()
            self._stop(lambda: error)

    def close(self) -> None:
        """Let go of everything that is held. Idempotent, and never waits."""
        if self.begun and self.turn.state is not State.DONE:
            self._end_turn(ClosedError("closed before its end"))
        self.is_over = True
        self._core.live.discard(self)
        self._let_go()

    def abandon(self) -> None:
        """Let go of everything for a reader that was dropped, in whatever thread: garbage is collected in any."""
        loop = self._core.loop
        try:
            is_here = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_here = False
        if is_here or loop is None or loop.is_closed():
            with suppress(RuntimeError):  # the event loop is gone, and its connections with it
                self.close()
        else:
            self.is_over = True
            loop.call_soon_threadsafe(self.close)

    async def left(self) -> None:
        """Wait until what it must have is let go."""
        assert self._access is not None  # noqa: S101 - else nobody asks
        error = await self._access.left(self.result)
        if error is not None and self.error is None:
            self.error = error

    def _stop(self, make_error: Callable[[], ToolhouseError]) -> None:
        """End with an error that is made when the step under way has stopped; at once if there is none."""
        if not self._busy:
            self._fail(make_error())
            return
        if self._interruption is None and self.stepped_by is not None:
            self._stopping = True
            self.stepped_by.cancel()
        self._interruption = make_error

    def _fail(self, error: ToolhouseError) -> None:
        self._end_turn(error)
        self.error = error
        self.close()

    def _end_turn(self, error: ToolhouseError) -> None:
        """Tell the turn that it is over."""
        head = self._dispatch.head
        if head is not None:
            with suppress(ProtocolError):  # a name that is none cannot be kept
                late = LateHead(run_id_of(head), job_id_of(head))
                self._named(lambda: self.turn.answered(late, self._core.time()))
                self._dispatch.in_flight = False
        self._refresh_drift()
        self._warn()
        self.turn.stopped(error, self._core.time(), in_flight=self._in_flight)

    def _let_go(self) -> None:
        self._dispatch = Dispatch()
        shared = self._shared
        if self._tap is not None and (others := self._tap.shared.others(self._tap)):
            shared.queue.pass_on(self, others[0])
        self._drop_tap()
        if self._answer is not None:
            self._answer.close()
        self._core.watch.drop(self._watch_idle)
        self._core.watch.drop(self._at_deadline)
        shared.waiting.pop(self, None)
        shared.queue.release(self)
        self.conversation.open_turns.discard(self)
        if self._is_inside and self._access is not None:
            self._is_inside = False
            self._access.leave()


class LateHead:
    """What an answer said whose reader was cancelled in the very moment that it came; nothing more of it was read."""

    __slots__ = ("job_id", "run_id")

    def __init__(self, run_id: str | None, job_id: str | None) -> None:
        self.run_id: str | None = run_id
        self.job_id: str | None = job_id

    def redact(self, text: str) -> str:
        """Return the text: nobody has the key that the answer might repeat."""
        return text
