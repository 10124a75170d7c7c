"""The courses of a turn without a loop, a client or a transport: the machine alone, one step after another.

The world and the judge are those of the other explorer. :mod:`tests.explore.courses` goes through all courses.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Final

import orjson
from attrs import define, evolve, field

from toolhouse_async import (
    ClosedError,
    ConflictError,
    EventDecoder,
    JobStatus,
    NotSentError,
    OutcomeUnknownError,
    PollingPolicy,
    RateLimitError,
    RecoveryPolicy,
    ServerError,
    ToolhouseError,
    TurnResult,
)
from toolhouse_async._turn.commands import Enter, Look, Over, Poll, Read, Send
from toolhouse_async._turn.job import Job
from toolhouse_async._turn.knowledge import Rules, Run
from toolhouse_async._turn.machine import TurnMachine
from toolhouse_async._turn.polls import Polls
from toolhouse_async._turn.progress import Progress
from toolhouse_async._turn.table import State
from toolhouse_async._values.options import Options
from toolhouse_async._wire.history import parse_history

from . import world
from .choices import Choices
from .clock import CLOCK, EPOCH
from .keyed import Kept
from .steps import CALM, KEYED, Step
from .switches import Switches
from .truth import Judge, Sending, brief
from .world import AGENT, Reply, World

POLLING: Final = PollingPolicy(min_interval=1, max_interval=1, jitter=0, failure_budget=3, failure_window=5)
RECOVERY: Final = RecoveryPolicy(quiet=3.0, deadline=12.0, absence=8.0)
DRAW: Final = 0.5


DECODER: Final = EventDecoder()


@define
class Head:
    """What an answer says before its body."""

    run_id: str | None
    job_id: str | None

    def redact(self, text: str) -> str:
        """There is no key."""
        return text


@define(eq=False)
class Course:
    """One state: a turn under way or over, the service, and what the program is to do next.

    Attributes:
        is_mortal: Whether the process may be killed.
        kept: What a store keeps of the conversation, where it has a key.
        wanted: What another process is recovering: a message, ``""`` for the last one; ``None`` while none is.
        recovered: What that came to last.
    """

    world: World
    judge: Judge
    run: Run
    rules: Rules
    to_do: list[Step]
    stops: bool
    now: float = EPOCH
    turn: TurnMachine | None = None
    sending: Sending | None = None
    reply: Reply | None = None
    polls: Polls | None = None
    polled: Job | None = None
    found: list[TurnResult | ToolhouseError | None] = field(factory=list[TurnResult | ToolhouseError | None])
    is_mortal: bool = False
    kept: Kept | None = None
    wanted: str | None = None
    recovered: TurnResult | ToolhouseError | None = None


def begin(program: tuple[Step, ...], choices: Choices, switches: Switches, jobs: int, *, stops: bool) -> Course:
    """The first state of a program."""
    CLOCK.now = EPOCH
    service = World(choices, CLOCK.time, switches, jobs)
    course = Course(service, Judge(service), Run(), _rules(), list(program), stops)
    if course.to_do[0] is KEYED:
        del course.to_do[0]
        course.kept = Kept()
    return course


def _rules() -> Rules:
    return Rules(POLLING, RECOVERY, DECODER, 1 << 20)


def go_on(course: Course) -> None:
    """Go on by one choice or more."""
    advance(course)
    while course.world.calm and (course.turn is not None or course.to_do):
        advance(course)  # nothing is to be chosen any more, or not yet


def rest(course: Course) -> None:
    """Go on to where something is to be chosen, or the program is calm, and forget what has served its time.

    No violation is lost. Each step that is taken here has one way to go. Nothing happens until the time that the turn
    waits for. An answer is read no further once the turn asks for something else, and polls are those of one job. The
    judge concludes the same from events in brief.
    """
    while course.turn is None and course.to_do and not course.world.calm:
        advance(course)
    turn = course.turn
    while turn is not None and type(turn.progress.todo) is Enter and not course.stops:
        advance(course)
        turn = course.turn
    todo = None if turn is None else turn.progress.todo
    if type(todo) is not Read:
        course.reply = None
    if turn is None or course.polled is not turn.progress.job:
        course.polls = course.polled = None
    if isinstance(todo, Send | Look) and not course.stops:
        course.now = max(course.now, todo.at)
    if turn is not None and turn.progress.events:
        if course.sending is not None:
            course.sending.events = brief([*course.sending.events, *turn.progress.events])
        turn.progress.events.clear()


def advance(course: Course) -> None:
    """Do what the turn asks for, in the way that the adversary picks; or begin the program's next step."""
    CLOCK.now = course.now
    turn = course.turn
    if turn is None:
        _begin_step(course)
    else:
        try:
            _do(course, turn)
        except ToolhouseError as error:
            turn.stopped(_alone(error), CLOCK.now, in_flight=_in_flight(error))
        assert course.sending is None or course.turn is turn
        if course.kept is not None and course.turn is turn:
            course.kept.note(course.run, turn.progress)
        if course.turn is turn and type(turn.progress.todo) is Over:
            _end(course, turn, turn.progress.todo)
    course.now = CLOCK.now


def _alone(error: ToolhouseError) -> ToolhouseError:
    """An error that keeps no frames alive, and by them no states."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)


def _in_flight(error: ToolhouseError) -> bool:
    return error.safe_to_retry is None


def _begin_sending(course: Course, name: str, options: Options, *, is_mortal: bool) -> None:
    words = course.world.words(name)
    course.is_mortal = is_mortal
    course.judge.heals, course.world.resume = options.recover, options.resume_message
    course.sending = course.judge.sends(words)
    course.turn = TurnMachine(Progress(AGENT, course.run, course.rules, options, message=words))
    course.turn.progress.notes = None if course.kept is None else []
    course.turn.begin(CLOCK.now)


def _begin_step(course: Course) -> None:
    kind, name, options = course.to_do.pop(0)
    service, run = course.world, course.run
    if kind == "calm":
        service.calm = True
        CLOCK.now += 30
    elif kind == "trouble":
        service.calm = False
    elif kind == "doubt":
        course.to_do = course.to_do if course.judge.is_in_doubt else []
    elif kind == "last":
        _judge_last(course)
    elif kind == "elsewhere":
        course.run = Run.of_others("r1") if course.kept is None else course.kept.take_up()
        course.rules, course.is_mortal, course.kept = _rules(), False, None
    elif kind == "recover":
        course.wanted = service.words(name)
        _recover(course)
    elif kind == "agrees":
        course.judge.agrees(course.recovered, None if run.unfinished else run.ended)
    elif kind in ("send", "mortal"):
        _begin_sending(course, name, options, is_mortal=kind == "mortal")
    else:
        _reconcile(course)


def _reconcile(course: Course) -> None:
    run = course.run
    if run.unfinished is None:
        error = run.ended
        _found(course, copy.copy(error) if isinstance(error, ToolhouseError) else error)
    elif run.run_id is None:
        _found(course, OutcomeUnknownError("it was to start the conversation"))
    else:
        going_on = evolve(run.unfinished.options, background="resume", timeout=None)
        course.turn = TurnMachine(Progress(AGENT, run, course.rules, going_on, state=State.FINDING))
        course.turn.begin(CLOCK.now)


def _end(course: Course, turn: TurnMachine, over: Over) -> None:
    """A turn is over: hold what it says to the truth."""
    sending, course.turn, course.reply, course.sending = course.sending, None, None, None
    if course.kept is not None:
        course.kept.leave(course.run)
    course.polls = course.polled = None
    if course.wanted is not None:
        _recovered(course, over, goes_on=turn.progress.began is State.FINDING)
        return
    if sending is None:
        _found(course, over.error or over.result)
        return
    sending.events = brief([*sending.events, *turn.progress.events])
    sending.result, sending.error = over.result, over.error
    course.judge.is_over(sending)
    del sending.events[1:]  # they were judged


def _found(course: Course, found: TurnResult | ToolhouseError | None) -> None:
    """``reconcile()`` has said something."""
    for each in course.found:
        course.judge.is_consistent(each, found)
    if not any(isinstance(each, TurnResult) for each in course.found):
        course.judge.reconciled(found, course.run.run_id)
    course.found.append(found)


def _recover(course: Course) -> None:
    recovering = Progress(AGENT, course.run, course.rules, CALM, state=State.RECOVERING, message=course.wanted or None)
    course.turn = TurnMachine(recovering)
    course.turn.begin(CLOCK.now)


def _recovered(course: Course, over: Over, *, goes_on: bool) -> None:
    """``recover()`` has come to something; where it went on with its own turn, that may not be what was asked for."""
    found = over.error or over.result
    if found is None or (goes_on and course.wanted and over.error is None):
        _recover(course)
        return
    course.judge.recovered(course.wanted or "", found)
    course.wanted, course.recovered = None, found


def _judge_last(course: Course) -> None:
    last = course.judge.sendings[-1]
    if last.error is not None:
        knows = not course.found or not isinstance(course.found[-1], ToolhouseError)
        course.judge.is_refused_truly(last.error, knows=knows)


def _do(course: Course, turn: TurnMachine) -> None:
    todo, service = turn.progress.todo, course.world
    if course.stops and service.pick("turn", ("goes on", 0), ("is stopped", 1)) == "is stopped":
        turn.stopped(ClosedError("closed"), CLOCK.now, in_flight=False)
        return
    if course.is_mortal and service.pick("process", ("goes on", 0), ("is killed", 0)) == "is killed":
        course.judge.dies(course.sending, is_kept=course.kept is not None)
        course.turn = course.reply = course.sending = course.polls = course.polled = None
        return
    match todo:
        case Enter():
            turn.entered(CLOCK.now)
        case Send():
            CLOCK.now = max(CLOCK.now, todo.at) + 0.5
            _send(course, turn, todo)
        case Read():
            CLOCK.now += 0.25
            _read(course, turn)
        case Look():
            CLOCK.now = max(CLOCK.now, todo.at) + 0.5
            status = _status(course)
            if isinstance(status, ToolhouseError):
                turn.blind(status, CLOCK.now, DRAW)
            else:
                turn.looked(status, CLOCK.now, DRAW)
        case Poll():
            _poll(course, turn, todo)
        case Over():
            raise AssertionError("the turn is over")


def _send(course: Course, turn: TurnMachine, todo: Send) -> None:
    service = course.world
    if course.kept is not None:
        course.kept.sending(course.run, turn.progress, todo)
        if course.sending is not None:
            course.sending.is_noted = True
    error: ToolhouseError
    in_flight = True
    try:
        reply = service.exchange("POST" if todo.run_id is None else "PUT", orjson.dumps(todo.fields))
    except world.NotSent:
        error, in_flight = NotSentError("refused"), False
    except world.Lost:
        error = OutcomeUnknownError("lost")
    else:
        if course.stops and service.pick("sender", ("goes on", 0), ("is stopped", 1)) == "is stopped":
            raise ClosedError("closed")
        if reply.status == 200:
            service.told(reply.headers)
            course.reply = reply
            turn.answered(_head(reply), CLOCK.now)
            return
        if reply.status == 409:
            turn.refused(ConflictError("busy", status=409, safe_to_retry=True), CLOCK.now)
            return
        if reply.status == 429:
            error, in_flight = RateLimitError("slow down", status=429, safe_to_retry=True, retry_after=1.0), False
        else:
            error = ServerError("failed", status=reply.status)
    turn.failed(error, CLOCK.now, DRAW, in_flight=in_flight)


def _head(reply: Reply) -> Head:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    return Head(headers.get("x-toolhouse-run-id"), headers.get("x-toolhouse-job-id"))


def _read(course: Course, turn: TurnMachine) -> None:
    reply = course.reply
    assert reply is not None
    try:
        data = reply.take()
    except world.Cut:
        turn.cut("the connection was lost", CLOCK.now)
        return
    if data:
        turn.received(data)
    else:
        turn.ended(CLOCK.now, proven=reply.framed)


_history: Final = cache(parse_history)


def _status(course: Course) -> JobStatus | ToolhouseError:
    reply = course.world.exchange("GET", None)
    course.world.told(reply.headers)
    if reply.status != 200:
        return ServerError("failed", status=reply.status, safe_to_retry=True)
    return JobStatus(AGENT, "r1", _head(reply).job_id, None, _history(b"".join(reply.pieces)))


def _poll(course: Course, turn: TurnMachine, todo: Poll) -> None:
    job = turn.progress.job
    assert job is not None
    if course.polls is None or course.polled is not job:
        elapsed = CLOCK.now - job.started
        course.polled, course.polls = (
            job,
            Polls(POLLING, CLOCK.now, DRAW, elapsed=elapsed, run_id="r1", run_begun=course.run.begun),
        )
    polls = course.polls
    if todo.until is not None:
        polls.advance(todo.until)
    CLOCK.now = max(CLOCK.now, polls.next_at) + 0.5
    status = _status(course)
    if isinstance(status, ToolhouseError):
        polls.failed(status, CLOCK.now, DRAW)
    else:
        polls.polled(status, CLOCK.now, DRAW)
    turn.polled(polls.latest, CLOCK.now)
