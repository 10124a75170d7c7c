"""Every course that a turn can take: over the states of the turn itself, each visited once.

A state is what the machine, the world and the judge know; so courses that come to the same are followed once. States
with the most faults left are visited first: whatever may happen in a state, may happen in it with more left. So none is
visited again with fewer.

``python -m tests.explore.courses PROGRAM FAULTS JOBS [switch=value …] [stops] [seconds=60] [unreduced] [checked]``
"""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeAlias

from attrs import define, field

from .__main__ import switches_of, without_logs
from .choices import Choices
from .copies import fork
from .course import Course, begin, go_on, rest
from .states import key_of
from .steps import PROGRAMS, Step
from .switches import Switches
from .truth import Violation


@define
class Tally:
    """What an exploration came to.

    Attributes:
        states: States that were visited.
        transitions: Ways from one to another.
        seconds: How long that took.
        is_complete: Whether those are all.
        ends: How often the program came to what.
        found: Of each kind of violation the first that was found: what went wrong, and what was said.
    """

    states: int = 0
    transitions: int = 0
    seconds: float = 0.0
    is_complete: bool = True
    ends: Counter[str] = field(factory=Counter[str])
    found: dict[str, tuple[str, str]] = field(factory=dict[str, tuple[str, str]])


_Key: TypeAlias = bytes


@define
class _Next:
    """What may follow a state.

    Attributes:
        left: Faults that are left.
        story: What went another way than the first.
        course: The state.
        complaint: The rule that was broken on the way, if one was.
    """

    left: int
    story: str
    course: Course
    complaint: Violation | None

    def key(self, *, reduces: bool) -> _Key:
        """What stands for the state; the faults that are left are part of it where nothing is left out."""
        turn, sending = self.course.turn, self.course.sending
        # Of all that got to the service, the judge asks for this message.
        got_there = sending is not None and sending.words in self.course.world.heard[sending.heard :]
        state = None if turn is None else turn.progress.state
        key = key_of((self.course, got_there), self.course.now, state, reduces=reduces)
        return key if reduces else key + bytes([self.left])


def explore(
    program: tuple[Step, ...],
    *,
    faults: int,
    jobs: int,
    switches: Switches | None = None,
    stops: bool = False,
    seconds: float | None = None,
    reduces: bool = True,
) -> Tally:
    """Visit every state that a program can come to.

    Args:
        program: What the user does.
        faults: The most faults in one course.
        jobs: The most jobs that a message may start.
        switches: How the service is.
        stops: Whether the user may stop the turn at any step, at the price of a fault.
        seconds: When to leave off, ``None`` for the end.
        reduces: Whether to take for one what goes on in the same way.
    """
    choices = _Budgeted()
    first = begin(program, choices, switches or Switches(), jobs, stops=stops)
    until = None if seconds is None else time.monotonic() + seconds
    exploration = _Exploration(choices, faults, until, reduces=reduces)
    began = time.monotonic()
    gc.disable()  # it would look through millions of objects, none of which is part of a cycle
    try:
        exploration.play(first)
    finally:
        gc.enable()
    tally = exploration.tally
    tally.states, tally.seconds = len(exploration.parents), time.monotonic() - began
    return tally


class _Exploration:
    """States that were visited, and those that are still to be, by the faults that are left.

    Attributes:
        tally: What it came to so far.
        parents: Of each state the one that it was found from, and what was chosen there.
    """

    def __init__(self, choices: _Budgeted, faults: int, until: float | None, *, reduces: bool) -> None:
        self.tally = Tally()
        self.parents: dict[_Key, tuple[_Key | None, str]] = {}
        self._choices = choices
        self._until = until
        self._reduces = reduces
        self._waiting: list[dict[_Key, tuple[_Key | None, _Next]]] = [{} for _ in range(faults + 1)]

    def play(self, first: Course) -> None:
        """Visit all."""
        faults = len(self._waiting) - 1
        self._waiting[faults][b""] = None, _Next(faults, "", first, None)
        for left in range(faults, -1, -1):
            queue = deque[tuple[_Key, Course]]()
            for key, (parent, state) in self._waiting[left].items():
                if key not in self.parents:
                    self.parents[key] = parent, state.story
                    queue.append((key, state.course))
            self._waiting[left].clear()
            while queue and self.tally.is_complete:
                self._visit(*queue.popleft(), left, queue)
                self.tally.is_complete = self._until is None or time.monotonic() < self._until

    def _visit(self, here: _Key, course: Course, left: int, queue: deque[tuple[_Key, Course]]) -> None:
        """Note all that may follow a state."""
        tally, parents = self.tally, self.parents
        if _is_over(course):
            tally.ends[_outcome(course)] += 1
            return
        for state in _following(course, self._choices, left, reduces=self._reduces):
            tally.transitions += 1
            if state.complaint is not None:
                if state.complaint.kind not in tally.found:
                    tally.found[state.complaint.kind] = self._story(here, state.story), state.complaint.detail
                continue
            key = state.key(reduces=self._reduces)
            if key in parents:
                continue
            if state.left == left:
                parents[key] = here, state.story
                queue.append((key, state.course))
            else:
                self._waiting[state.left].setdefault(key, (here, state))

    def _story(self, here: _Key | None, last: str) -> str:
        told = [last]
        while here is not None:
            here, story = self.parents[here]
            told.append(story)
        return "; ".join(filter(None, reversed(told))) or "nothing went wrong"


def check(program: tuple[Step, ...], *, faults: int, jobs: int, switches: Switches | None = None) -> Iterator[str]:
    """Tell what states differ in that are taken for one.

    They must go on in the same way: where the same is chosen, to states that are taken for one again, or to the same
    violation. Then each violation is found that is found where nothing is taken for one.
    """
    choices = _Budgeted()
    first = begin(program, choices, switches or Switches(), jobs, stops=False)
    queue, visited = deque([(faults, first)]), set[_Key]()
    ways: dict[tuple[int, _Key], dict[str, object]] = {}
    while queue:
        left, course = queue.popleft()
        if _is_over(course):
            continue
        here = _Next(left, "", course, None).key(reduces=True)
        found: dict[str, object] = {}
        for state in _following(course, choices, left, reduces=True):
            told = " ".join(each.name for each in choices.made)
            found[told] = state.complaint.kind if state.complaint else (state.left, state.key(reduces=True))
            key = state.key(reduces=False)
            if state.complaint is None and key not in visited:
                visited.add(key)
                queue.append((state.left, state.course))
        known = ways.setdefault((left, here), found)
        yield from (
            f"{each}: {known.get(each)}, {found.get(each)}"
            for each in known | found
            if known.get(each) != found.get(each)
        )


def _is_over(course: Course) -> bool:
    return course.turn is None and not course.to_do


def _following(course: Course, choices: _Budgeted, left: int, *, reduces: bool) -> Iterator[_Next]:
    """All states that may follow one, each with the rule that it breaks, if it does."""
    choices.restart(left)
    while True:
        choices.begin()
        child: Course = fork(course)
        complaint: Violation | None = None
        try:
            go_on(child)
            if reduces:
                rest(child)
        except Violation as violation:
            complaint = violation
        except (AssertionError, LookupError, AttributeError, TypeError) as error:
            complaint = Violation(f"an unexpected {type(error).__name__}", str(error))
        noted = child.judge.noted
        yield _Next(choices.left, choices.story, child, complaint or (noted[0] if noted else None))
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


def _play(name: str, *, faults: int, jobs: int, rest: tuple[str, ...]) -> tuple[str, bool]:
    """Explore one program; what is to be printed, and whether nothing is wrong."""
    flags = [word for word in rest if word in _FLAGS]
    switches, seconds = switches_of([word for word in rest if word not in _FLAGS])
    title = f"{name} faults<={faults} jobs<={jobs}"
    if "checked" in flags:
        told = list(check(PROGRAMS[name], faults=faults, jobs=jobs, switches=switches))
        return "\n".join([f"{title}: {len(told)} differences of states that are taken for one", *told[:9]]), not told
    tally = explore(
        PROGRAMS[name],
        faults=faults,
        jobs=jobs,
        switches=switches,
        stops="stops" in flags,
        seconds=seconds,
        reduces="unreduced" not in flags,
    )
    unfinished = "" if tally.is_complete else ", NOT COMPLETE"
    lines = [
        f"{title}: {tally.states} states, {tally.transitions} transitions, {tally.seconds:.1f} s{unfinished}, "
        f"{len(tally.found)} kinds of violation"
    ]
    for kind, (story, detail) in tally.found.items():
        lines += [f"  ! {kind}", f"      {story}", f"      {detail[:300]}"]
    return "\n".join(lines), not tally.found


_FLAGS = ("stops", "unreduced", "checked")


def main(words: list[str]) -> int:
    """Explore, several programs at once; the exit status says whether there was a violation."""
    name, faults, jobs, *rest = words
    names = list(PROGRAMS) if name == "all" else name.split(",")
    play = partial(_play, faults=int(faults), jobs=int(jobs), rest=tuple(rest))
    is_clean = True
    with ProcessPoolExecutor(initializer=without_logs) as pool:  # it starts processes once it is given work
        for told, is_right in map(play, names) if len(names) == 1 else pool.map(play, names):
            print(told, flush=True)
            is_clean = is_clean and is_right
    return 0 if is_clean else 1


if __name__ == "__main__":
    without_logs()
    sys.exit(main(sys.argv[1:]))
