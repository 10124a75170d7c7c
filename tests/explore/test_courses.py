"""The explorer of the machine alone: it visits all, finds what is wrong, and takes for one what goes on in one way."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Any

import pytest

from toolhouse_async import (
    Event,
    JobStarted,
    OutcomeUnknownError,
    StreamRecovered,
    TextDelta,
    TurnResumed,
    TurnStarted,
)
from toolhouse_async._turn.heard import Said
from toolhouse_async._turn.table import State

from . import courses, states
from .copies import fork
from .courses import check, explore
from .defects import DEFECTS
from .states import key_of
from .steps import PROGRAMS
from .truth import brief, text_of


def test_a_course_is_played_to_its_end() -> None:
    tally = explore(PROGRAMS["first"], faults=0, jobs=1)
    assert tally.is_complete
    assert tally.found == {}
    assert tally.ends == {"ok": tally.ends.total()}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    defect, program, faults, jobs = DEFECTS[name]
    defect(monkeypatch)
    assert explore(PROGRAMS[program], faults=faults, jobs=jobs).found


@pytest.mark.parametrize("name", [name for name, (*_, faults, jobs) in DEFECTS.items() if faults + jobs < 3])
def test_a_defect_is_found_as_where_no_states_are_taken_for_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    defect, program, faults, jobs = DEFECTS[name]
    defect(monkeypatch)
    reduced, all_ = (explore(PROGRAMS[program], faults=faults, jobs=jobs, reduces=reduces) for reduces in (True, False))
    assert reduced.found.keys() == all_.found.keys()
    assert reduced.states <= all_.states


def test_states_that_are_wrongly_taken_for_one_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "ENOUGH", states.Keys({**states.REDUCED, "World.job": None}, states.SUMMED_UP))
    assert any("is over" in each for each in check(PROGRAMS["first"], faults=0, jobs=1))


def test_states_that_differ_by_their_time_alone_are_the_same() -> None:
    early, late = {"at": 1001.0, "long ago": 1000.5}, {"at": 2001.0, "long ago": 2000.5}
    assert key_of(early, 1003.0) == key_of(late, 2003.0)
    assert key_of(early, 1003.0) != key_of(late, 2004.0)


def test_one_second_ago_is_not_two() -> None:
    """The two have the same hash in Python."""
    assert key_of([1002.0], 1003.0) != key_of([1001.0], 1003.0)


def test_the_same_object_is_not_an_equal_one() -> None:
    one, other = Said("a"), Said("a")
    assert key_of([one, one], 0.0) == key_of([other, other], 0.0)
    assert key_of([one, one], 0.0) != key_of([one, other], 0.0)


class Colour(Enum):
    RED = 1


class Own:
    def __init__(self) -> None:
        self.parts = [[1], deque([2]), {"three": [3]}, {4}, bytearray(b"5"), (6, [6]), Colour.RED, None]
        self.again = self.parts
        self.error = OutcomeUnknownError("lost")
        self.method = self.tell

    def tell(self) -> int:
        return len(self.parts)


def test_a_fork_is_the_same_and_its_own() -> None:
    first = Own()
    second: Any = fork(first)
    assert second.parts == first.parts
    assert second.again is second.parts
    assert key_of(first, 0.0) == key_of(second, 0.0)
    second.parts[0].append(2)
    second.parts[5][1].append(7)
    second.error.safe_to_retry = True
    assert first.parts[0] == [1]
    assert first.parts[5] == (6, [6])
    assert first.error.safe_to_retry is None
    second.parts.clear()
    assert (first.method(), second.method()) == (8, 0)
    assert key_of(first, 0.0) != key_of(second, 0.0)


def test_what_nobody_can_copy_is_told() -> None:
    with pytest.raises(TypeError, match="iterator"):
        fork([iter([1])])


def test_a_search_is_part_of_a_state_while_it_goes_on() -> None:
    class Progress:
        __slots__ = ("search",)

        def __init__(self, search: str) -> None:
            self.search = search

    def keys(state: State) -> int:
        return len({key_of(Progress(search), 0.0, state) for search in ("one", "another")})

    assert keys(State.HEALING) == 2
    assert keys(State.SENDING) == 1


@pytest.mark.parametrize(
    "events",
    [
        [],
        [TurnStarted("worker", "r1")],
        [TextDelta("a"), TextDelta("b"), JobStarted("j1"), TurnResumed("r1", 1), TextDelta("c")],
        [TextDelta("a"), TurnResumed("r1", 1), TextDelta("b"), StreamRecovered("bc", "c"), TextDelta("c")],
        [JobStarted("j1"), TurnResumed("r1", 1), TextDelta("b"), StreamRecovered("x", "")],
    ],
)
def test_events_in_brief_say_the_same(events: list[Event]) -> None:
    for cut in range(len(events) + 1):
        told = brief([*brief(events[:cut]), *events[cut:]])
        assert text_of(told) == text_of(events)
        assert bool(told) == bool(events)
        jobs = [[each for each in some if isinstance(each, JobStarted)] for some in (told, events)]
        assert jobs[0] == jobs[1]


def test_an_exploration_that_is_left_off_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert courses.main(["first", "1", "1", "seconds=0"]) == 0
    assert "NOT COMPLETE" in capsys.readouterr().out


def test_the_command_prints_a_line_for_each_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert courses.main(["first,second", "0", "0"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("first faults<=0 jobs<=0: ")
    assert second.startswith("second faults<=0 jobs<=0: ")
    assert second.endswith(" s, 0 kinds of violation")


def test_the_command_checks_what_is_taken_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert courses.main(["first", "0", "1", "checked"]) == 0
    assert capsys.readouterr().out == "first faults<=0 jobs<=1: 0 differences of states that are taken for one\n"


def test_the_command_tells_what_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    DEFECTS["takes a cut for an end"][0](monkeypatch)
    assert courses.main(["first", "1", "0", "unreduced"]) == 1
    assert "  ! success with another text than the truth\n      answer: is cut" in capsys.readouterr().out
