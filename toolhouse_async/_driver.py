"""What makes a turn move and stop: it does what the turn asks for, and owns what is asyncio's."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ._interruption import Interruption
from ._log import log
from ._reader import Reader
from ._run.conversation import Access, Conversation
from ._run.participant import Participant
from ._run.resume import SharedResume
from ._turn.commands import ENTER, READ, Command, Look, Over, Poll, Send
from ._turn.machine import TurnMachine
from ._turn.progress import Progress, nameless
from ._turn.table import State
from ._values.results import TurnResult
from .errors import (
    ClosedError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    SessionBusyError,
    StoreError,
    ToolhouseError,
)
from .events import Event

if TYPE_CHECKING:
    from ._observed import ObservedTurn


class Driver:
    """Does what a turn asks for, without a task of its own.

    Whoever wants the next event steps it, in their own task: cancelling them cancels exactly the step under way,
    and memory is bounded by how fast they read.

    Attributes:
        machine: The turn, to be told what happens.
        turn: How far it has come.
        conversation: Whose turn it is.
        events: Events that were made and not yet taken, oldest first.
        is_over: Whether there will be no more events than those.
        error: Why it ended, if it failed.
        result: What it came to, if it did not.
        begun: Whether a step was ever made.
        here: True until the event loop goes on, where its reader has said so.
    """

    # What most turns never change, or late, stands here: no time and no memory is spent on it where many turns begin.
    is_over: bool = False
    error: ToolhouseError | None = None
    result: TurnResult | None = None
    begun: bool = False
    here: Sequence[bool] = ()
    _deadline: float | None = None
    _is_armed: bool = False
    _is_inside: bool = False
    """Whether it has what it must have."""
    _busy: bool = False
    _interruption: Interruption | None = None
    _observed: ObservedTurn | None = None

    def __init__(
        self,
        conversation: Conversation,
        machine: TurnMachine,
        *,
        timeout: float | None = None,
        access: Access | None = None,
    ) -> None:
        """Prepare to drive a turn.

        Args:
            conversation: Whose turn it is.
            machine: The turn.
            timeout: Seconds for all of it.
            access: What it must have first.
        """
        self.conversation: Conversation = conversation
        self.machine: TurnMachine = machine
        self.turn: Progress = machine.progress
        turn, core = self.turn, conversation.core
        self._access = access
        self._core = core
        self._participant = Participant(conversation, turn)
        if core.observers is not None:
            self._observed = core.observers.watch(turn, lambda: core.time())
            self._participant.make_own_requests(self._observed.number)
        self.events: deque[Event] = turn.events
        self._reader = Reader(core, machine, self._participant)
        self._timeout = timeout

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the latest answer."""
        return self._reader.headers

    # One step

    async def advance(self) -> None:
        """Go on until there is an event, or it is over.

        Raises:
            SessionBusyError: Another task is in the middle of a step.

        Cancelling closes it.
        """
        task, turn = self._enter_step(), self.turn
        cancelling = task.cancelling()
        try:
            while not self.events:  # what its beginning has made comes first
                if turn.todo is READ:  # the most frequent, and within the turn's limit
                    await self._reader.read()
                else:
                    await self._do(turn.todo)
                if turn.notes:
                    await self.conversation.write_down(turn)
                if type(turn.todo) is Over:
                    self.result = turn.todo.result
                    self.close()
                    break
        except BaseException as error:
            if not self._end_by(error, task.cancelling() - cancelling):
                raise
        finally:
            self._busy = False
            if self._interruption is not None:
                self._end_interrupted(self._interruption)
        if self._access is not None and self.is_over:
            await self.left()

    def _end_by(self, error: BaseException, cancelled: int) -> bool:
        """End by what a step has raised, its task being ``cancelled`` so often; whether nothing of it goes on."""
        match error:
            case ToolhouseError():
                self._fail(error if self._interruption is None else self._interruption.make_error())
                return True
            case asyncio.CancelledError():
                if self._interruption is not None and self._interruption.is_cancelling and cancelled <= 1:
                    return True
                self._fail(ClosedError("closed before its end: its reader was cancelled"))
            case GeneratorExit():
                self._busy = False
                self.abandon()  # by whoever collects garbage
            case _:
                self._fail(ClosedError(f"closed before its end by {type(error).__name__}"))
        return False

    def _end_interrupted(self, interruption: Interruption) -> None:
        """End with the step that was interrupted."""
        interruption.end()
        if not self.is_over:
            self._fail(interruption.make_error())

    def _enter_step(self) -> asyncio.Task[object]:
        """Begin a step, and before the first one everything."""
        if self._busy:
            raise SessionBusyError("another task is reading this turn")
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        if task is None:
            self._core.check_loop()  # which says so, if there is none
            raise ConfigurationError("a turn is read in a task of asyncio")
        if not self.begun:
            self._begin()
        elif task.get_loop() is not self._core.loop:
            self._core.check_loop()
        self._participant.stepped_by = task
        self._busy = True
        return task

    def _begin(self) -> None:
        conversation, turn = self.conversation, self.turn
        state = turn.state
        if state is State.WAITING:
            self._core.check_usable()
        else:
            conversation.check_open()
            self._core.check_loop()
            conversation.open_turns.add(self)
        if self._observed is not None:
            self._observed.begun()
        if conversation.journal is not None:
            turn.notes = []
        if self._timeout is not None:
            self._deadline = self._core.time() + self._timeout
        if state is not State.SENDING:
            turn.drift = self._core.drift()  # for the token of a job that was left
            left = turn.left
            elapsed = 0.0 if left is None else max(0.0, time.time() - left.started)
            self.machine.begin(self._core.time(), elapsed=elapsed, until=self._deadline)
        self._core.live.add(self)
        self.begun = True

    def _do(self, todo: Command) -> Coroutine[Any, Any, None]:
        """Do what the turn asks for, and tell it what came of it."""
        if self._deadline is not None and not self._is_armed:
            self._arm_deadline(self._deadline)
        if todo is ENTER:
            return self._enter()
        match todo:
            case Send():
                return self._send(todo)
            case Look():
                return self._look(todo)
            case Poll():
                return self._await_poll(todo)
            case _:  # pragma: no cover - the one is done at once, and nobody steps a turn that is over
                raise AssertionError(todo)

    # Waiting for the run

    async def _enter(self) -> None:
        participant = self._participant
        if self._access is not None and not self._is_inside:
            await self._access.enter(lambda: participant.stepped_by)
            self._is_inside = True
            participant.take_run()
        resume = await participant.enter()
        if resume is None:
            self.machine.entered(self._core.time())
        else:
            self.machine.joined(resume.said, resume.format, self._core.time())

    async def _await_poll(self, todo: Poll) -> None:
        turn = self.turn
        assert turn.job is not None  # noqa: S101 - it is polled for
        found = await self._participant.report(turn.job, todo.until)
        if isinstance(found, SharedResume):
            self.machine.joined(found.said, found.format, self._core.time())
        else:
            turn.drift = self._core.drift()
            self.machine.polled(found, self._core.time())

    # Sending

    async def _send(self, todo: Send) -> None:
        participant = self._participant
        try:
            answer = await participant.send(todo, self._deadline)
        except ConflictError as conflict:
            participant.done_sending()
            self.turn.drift = self._core.drift()  # for a job that was left
            self.machine.refused(conflict, self._core.time())
        except ToolhouseError as error:
            in_flight = participant.in_flight
            participant.done_sending()
            participant.dispatch.in_flight = in_flight
            if isinstance(error, NotFoundError) and self._begins_anew():
                return
            draw = self._core.service.randomness.random()
            self.machine.failed(error, self._core.time(), draw, in_flight=in_flight)
            participant.dispatch.in_flight = False
        else:
            participant.dispatch.in_flight = False
            self._reader.begin(answer)

    def _begins_anew(self) -> bool:
        """Whether the message goes to a new run, the service not knowing the old one any more."""
        conversation, turn = self.conversation, self.turn
        if turn.may_join or turn.run.run_id is None or conversation.journal is None:
            return False
        if not conversation.journal.begin_anew():
            return False
        self._participant.begin_anew()
        self.machine.begin_anew()
        return True

    # Looking

    async def _look(self, todo: Look) -> None:
        turn, chance = self.turn, self._core.service.randomness.random
        if (pause := todo.at - self._core.time()) > 0:
            await asyncio.sleep(pause)
        run_id = turn.run.run_id
        if run_id is None:
            raise nameless()
        try:
            status = await self._participant.look(run_id, self._deadline)
        except ToolhouseError as error:
            log.info("run %s could not be read: %s", run_id, type(error).__name__)
            if self.conversation.journal is not None:
                self.conversation.journal.blind(error)
            if isinstance(error, NotFoundError) and turn.state is State.CHECKING and self._begins_anew():
                return
            self.machine.blind(error, self._core.time(), chance())
        else:
            turn.drift = self._core.drift()
            self.machine.looked(status, self._core.time(), chance())

    # Its end

    def _arm_deadline(self, deadline: float) -> None:
        """Set the turn's own limit; a job that is waited for alone has it as its deadline."""
        if self.turn.state is State.WAITING and self._reader.answer is None:
            return
        self._is_armed = True
        self._core.watch.at(self._at_deadline, deadline, self._at_deadline, may_read=self._may_read)

    def _may_read(self) -> bool:
        return self._participant.in_flight or self.turn.state is not State.SENDING

    def _at_deadline(self) -> None:
        self._stop(self._too_late)

    def _too_late(self) -> ToolhouseError:
        self._reader.take_rest()
        return self.turn.too_late(self._timeout)

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
        if self._observed is not None:
            self._observed.ended()

    def abandon(self) -> None:
        """Let go of everything for a reader that was dropped, in whatever thread: garbage is collected in any."""
        loop = self._core.loop
        if loop is None or loop.is_closed() or (not self._busy and self._core.is_here()):
            with suppress(RuntimeError):  # the event loop may be gone, and its connections with it
                self.close()
        elif not self._busy:  # else another reader is in the middle of a step: it is theirs
            self.is_over = True
            loop.call_soon_threadsafe(self.close)

    async def left(self) -> None:
        """Wait until what it must have is let go."""
        assert self._access is not None  # noqa: S101 - else nobody asks
        error = await self._access.left()
        if error is not None and self.error is None:
            self.error = error

    def _stop(self, make_error: Callable[[], ToolhouseError]) -> None:
        """End with an error that is made when the step under way has stopped; at once if there is none."""
        if not self._busy:
            self._fail(make_error())
            return
        task = self._participant.stepped_by
        assert task is not None  # noqa: S101 - it is in the middle of a step
        if self._interruption is None:
            self._interruption = Interruption(task, make_error)
        else:
            self._interruption.make_error = make_error

    def _fail(self, error: ToolhouseError) -> None:
        partial = self.turn.partial
        if isinstance(error, StoreError) and (partial.text or partial.tool_calls or partial.jobs):
            error.partial = partial
        self._end_turn(error)
        self.error = error
        self.close()

    def _end_turn(self, error: ToolhouseError) -> None:
        """Tell the turn that it is over."""
        self._reader.take_late_head()
        self.turn.drift = self._core.drift()
        self._reader.warn()
        self.machine.stopped(error, self._core.time(), in_flight=self._participant.in_flight)

    def _let_go(self) -> None:
        self._reader.close()
        self._participant.leave()
        if self._is_armed:
            self._core.watch.drop(self._at_deadline)
        self.conversation.open_turns.discard(self)
        if self._is_inside and self._access is not None:
            self._is_inside = False
            self._access.leave()
