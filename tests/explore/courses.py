"""Every course that a turn can take: breadth first over the states of the turn itself, each visited once.

The turn is the machine alone, without a loop, a client or a transport. The world and the judge are those of the other
explorer. A state is what the machine, the world and the judge know, all times being relative to now; so courses that
come to the same are followed once, and three faults can be played to their end.

``python -m tests.explore.courses PROGRAM FAULTS JOBS [switch=value …]``
"""

from __future__ import annotations

import copy
import logging
import sys
import time
from collections import Counter, deque
from collections.abc import Hashable, Iterator, Mapping
from typing import Final

import orjson
from attrs import define, evolve, field

from toolhouse_async import (
    ClosedError,
    ConflictError,
    Event,
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
from toolhouse_async._turn.table import State
from toolhouse_async._values.options import Options
from toolhouse_async._wire.history import parse_history

from . import world
from .__main__ import switches_of
from .choices import Choices
from .states import CLOCK, EPOCH, fork, key_of
from .switches import Switches
from .truth import Judge, Sending, Violation
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
    """One state: a turn under way or over, the service, and what the program is to do next."""

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


Step = tuple[str, str, Options]
"""What a program does, the message that it sends, and the options."""

CALM: Final = Options()
SETTLED: Final = Options(settle=True)
TEXT: Final = Options(format="text")


def sends(name: str, options: Options = CALM) -> Step:
    """Send a message while all may happen."""
    return "send", name, options


FINDS_OUT: Final[tuple[Step, ...]] = (("calm", "", CALM), ("reconcile", "", CALM), ("reconcile", "", CALM))
GOES_ON: Final[tuple[Step, ...]] = (*FINDS_OUT, ("send", "z", CALM), ("last", "", CALM))
BEFORE: Final[tuple[Step, ...]] = (("calm", "", CALM), ("send", "a", CALM), ("trouble", "", CALM))

PROGRAMS: Final[Mapping[str, tuple[Step, ...]]] = {
    "first": (sends("a"), *GOES_ON),
    "second": (*BEFORE, sends("b"), *GOES_ON),
    "same-words": (*BEFORE, sends("a"), *GOES_ON),
    "settled": (*BEFORE, sends("b", SETTLED), *GOES_ON),
    "two": (sends("a"), sends("b"), *GOES_ON),
    "wordless": (*BEFORE, sends("", Options(resume_message="go on")), *GOES_ON),
    "unhealed": (*BEFORE, sends("b", Options(recover=False)), *GOES_ON),
}


def begin(program: tuple[Step, ...], choices: Choices, switches: Switches, jobs: int, *, stops: bool) -> Course:
    """The first state of a program."""
    CLOCK.now = EPOCH
    service = World(choices, CLOCK.time, switches, jobs)
    rules = Rules(POLLING, RECOVERY, DECODER, 1 << 20)
    return Course(service, Judge(service), Run(), rules, list(program), stops)


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
            turn.stopped(error, CLOCK.now, in_flight=_in_flight(error))
        assert course.sending is None or course.turn is turn
        if type(turn.progress.todo) is Over:
            _end(course, turn, turn.progress.todo)
    course.now = CLOCK.now


def _in_flight(error: ToolhouseError) -> bool:
    return error.safe_to_retry is None


def _begin_step(course: Course) -> None:
    kind, name, options = course.to_do.pop(0)
    service, run = course.world, course.run
    if kind == "calm":
        service.calm = True
        CLOCK.now += 30
    elif kind == "trouble":
        service.calm = False
    elif kind == "last":
        _judge_last(course)
    elif kind == "send":
        words = service.words(name)
        course.judge.heals, service.resume = options.recover, options.resume_message
        course.sending = course.judge.sends(words)
        course.turn = TurnMachine(AGENT, run, course.rules, options, message=words)
        course.turn.begin(CLOCK.now)
    elif run.unfinished is None:
        error = run.ended
        _found(course, copy.copy(error) if isinstance(error, ToolhouseError) else error)
    elif run.run_id is None:
        _found(course, OutcomeUnknownError("it was to start the conversation"))
    else:
        going_on = evolve(run.unfinished.options, background="resume", timeout=None)
        course.turn = TurnMachine(AGENT, run, course.rules, going_on, state=State.FINDING)
        course.turn.begin(CLOCK.now)


def _end(course: Course, turn: TurnMachine, over: Over) -> None:
    """A turn is over: hold what it says to the truth."""
    sending, course.turn, course.reply, course.sending = course.sending, None, None, None
    course.polls = course.polled = None
    if sending is None:
        _found(course, over.error or over.result)
        return
    sending.events = list[Event](turn.progress.events)
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


def _judge_last(course: Course) -> None:
    last = course.judge.sendings[-1]
    if last.error is not None:
        knows = not isinstance(course.found[-1], ToolhouseError)
        course.judge.is_refused_truly(last.error, knows=knows)


def _do(course: Course, turn: TurnMachine) -> None:
    todo, service = turn.progress.todo, course.world
    if course.stops and service.pick("turn", ("goes on", 0), ("is stopped", 1)) == "is stopped":
        turn.stopped(ClosedError("closed"), CLOCK.now, in_flight=False)
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


def _status(course: Course) -> JobStatus | ToolhouseError:
    reply = course.world.exchange("GET", None)
    course.world.told(reply.headers)
    if reply.status != 200:
        return ServerError("failed", status=reply.status, safe_to_retry=True)
    return JobStatus(AGENT, "r1", _head(reply).job_id, None, parse_history(b"".join(reply.pieces)))


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


@define
class Tally:
    """What an exploration came to."""

    states: int = 0
    transitions: int = 0
    seconds: float = 0.0
    is_complete: bool = True
    ends: Counter[str] = field(factory=Counter[str])
    found: dict[str, tuple[str, str]] = field(factory=dict[str, tuple[str, str]])


def explore(
    program: tuple[Step, ...],
    *,
    faults: int,
    jobs: int,
    switches: Switches | None = None,
    stops: bool = False,
    seconds: float | None = None,
) -> Tally:
    """Visit every state that a program can come to.

    Args:
        program: What the user does.
        faults: The most faults in one course.
        jobs: The most jobs that a message may start.
        switches: How the service is.
        stops: Whether the user may stop the turn at any step, at the price of a fault.
        seconds: When to leave off, ``None`` for the end.
    """
    tally = Tally()
    began = time.monotonic()
    choices = _Budgeted()
    first = begin(program, choices, switches or Switches(), jobs, stops=stops)
    choices.begin()
    parents: dict[Hashable, tuple[Hashable | None, str]] = {}
    queue: deque[tuple[Hashable, int, Course]] = deque([(None, faults, first)])
    while queue:
        if seconds is not None and time.monotonic() - began > seconds:
            tally.is_complete = False
            break
        here, left, course = queue.popleft()
        if course.turn is None and not course.to_do:
            tally.ends[_outcome(course)] += 1
            continue
        for child, complaint in _children(course, choices, left):
            tally.transitions += 1
            key = object() if complaint else (choices.left, key_of(child, child.now))
            if key in parents:
                continue
            parents[key] = (here, choices.story)
            if complaint is None:
                queue.append((key, choices.left, child))
            elif complaint.kind not in tally.found:
                tally.found[complaint.kind] = (_story(parents, key), complaint.detail)
    tally.states, tally.seconds = len(parents), time.monotonic() - began
    return tally


def _children(course: Course, choices: _Budgeted, left: int) -> Iterator[tuple[Course, Violation | None]]:
    """All states that may follow one, each with the rule that it breaks, if it does."""
    choices.restart(left)
    while True:
        choices.begin()
        child: Course = fork(course)
        complaint: Violation | None = None
        try:
            advance(child)
            while child.world.calm and (child.turn is not None or child.to_do):
                advance(child)  # nothing is to be chosen any more, or not yet
        except Violation as violation:
            complaint = violation
        except (AssertionError, LookupError, AttributeError, TypeError) as error:
            complaint = Violation(f"an unexpected {type(error).__name__}", str(error))
        noted = child.judge.noted
        yield child, complaint or (noted[0] if noted else None)
        if not choices.next():
            return


class _Budgeted(Choices):
    """The choices of one transition, with the faults that are left."""

    def __init__(self) -> None:
        super().__init__(0)

    def restart(self, left: int) -> None:
        """Begin with another state."""
        super().__init__(left)

    @property
    def left(self) -> int:
        """Faults that are left."""
        return self._left

    @property
    def story(self) -> str:
        """What went another way than the first."""
        return ", ".join(f"{each.what}: {each.name}" for each in self.made if each.number)


def _outcome(course: Course) -> str:
    return " ".join(
        "ok" if each.result else type(each.error).__name__ for each in course.judge.sendings if each.words != "z"
    )


def _story(parents: Mapping[Hashable, tuple[Hashable | None, str]], key: Hashable | None) -> str:
    told: list[str] = []
    while key is not None:
        key, story = parents[key]
        if story:
            told.append(story)
    return "; ".join(reversed(told)) or "nothing went wrong"


def main(words: list[str]) -> int:
    """Explore; the exit status says whether there was a violation."""
    name, faults, jobs, *rest = words
    stops = "stops" in rest
    switches, seconds = switches_of([word for word in rest if word != "stops"])
    failed = False
    for program in PROGRAMS if name == "all" else name.split(","):
        tally = explore(
            PROGRAMS[program], faults=int(faults), jobs=int(jobs), switches=switches, stops=stops, seconds=seconds
        )
        unfinished = "" if tally.is_complete else ", NOT COMPLETE"
        print(
            f"{program} faults<={faults} jobs<={jobs}: {tally.states} states, {tally.transitions} transitions, "
            f"{tally.seconds:.1f} s{unfinished}, {len(tally.found)} kinds of violation",
            flush=True,
        )
        for kind, (story, detail) in tally.found.items():
            print(f"  ! {kind}\n      {story}\n      {detail[:300]}", flush=True)
        failed = failed or bool(tally.found)
    return 1 if failed else 0


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.exit(main(sys.argv[1:]))
