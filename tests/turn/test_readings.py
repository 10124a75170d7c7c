"""When a turn reads its run again, and what a failed reading means, in every state that reads it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from toolhouse_async import (
    NotFoundError,
    OutcomeUnknownError,
    ResumeUncertainError,
    ServerError,
    StreamInterruptedError,
    ToolhouseError,
    UncertainSessionError,
)
from toolhouse_async._turn.commands import Look, Over
from toolhouse_async._turn.knowledge import Run
from toolhouse_async._turn.table import State

from .test_machine import ANSWERED, ASKED, Telling, lost, resumed, status

DOWN = ServerError("down", status=503, retry_after=7.0)
GONE = NotFoundError("gone", status=404)
NOTHING_NEW = (ASKED, ANSWERED)


def checking() -> Telling:
    return Telling(lost().run, "z").enter()


def settling() -> Telling:
    return Telling(settle=True).enter().answer("one two").end()


def healing() -> Telling:
    one = Telling().enter().answer("one two")
    one.machine.cut("rst", 0)
    return one


def finding() -> Telling:
    return Telling(lost().run, state=State.FINDING).enter()


def recovering() -> Telling:
    return Telling(Run.of_others("r1"), "z", state=State.RECOVERING).enter()


READERS = (checking, settling, healing, resumed, finding, recovering)


@pytest.mark.parametrize("begin", READERS)
def test_the_service_may_ask_for_a_pause(begin: Callable[[], Telling]) -> None:
    one = begin()
    one.machine.looked(status(*NOTHING_NEW), one.now, 0.5)
    assert one.todo == Look(one.now + 2)
    one.machine.looked(status(*NOTHING_NEW, asked=7.0), one.now, 0.5)
    assert one.todo == Look(one.now + 7)
    one.machine.looked(status(*NOTHING_NEW), one.now, 0.5)
    one.machine.blind(DOWN, one.now, 0.5)
    assert one.todo == Look(one.now + 7)


def test_a_pause_that_is_asked_for_once_the_turn_of_another_has_rested() -> None:
    one, unanswered = recovering(), ("user", "z")
    while one.now < 10:
        one.look(unanswered)
    one.machine.looked(status(unanswered, asked=7.0), one.now, 0.5)
    assert one.todo == Look(one.now + 7)


@pytest.mark.parametrize(
    ("begin", "error"),
    [
        (checking, UncertainSessionError),
        (healing, StreamInterruptedError),
        (resumed, ResumeUncertainError),
        (finding, OutcomeUnknownError),
        (recovering, NotFoundError),
    ],
)
def test_a_run_that_is_gone_ends_the_turn(begin: Callable[[], Telling], error: type[ToolhouseError]) -> None:
    one = begin()
    with pytest.raises(error, match="gone") as caught:
        one.machine.blind(GONE, one.now, 0.5)
    assert type(caught.value) is error


def test_an_answer_whose_run_is_gone_is_as_whole_as_its_end_proves() -> None:
    loose = Telling().enter().answer().end()
    loose.machine.blind(GONE, 0, 0.5)
    assert isinstance(loose.todo, Over)
    strict = settling()
    strict.machine.blind(GONE, 3.0, 0.5)
    assert (strict.todo, strict.turn.state) == (Look(3.0), State.HEALING)
    left = Telling(recover=False).enter().answer("o").end(proven=False)
    with pytest.raises(StreamInterruptedError, match="it ended, but the history does not show"):
        left.machine.blind(GONE, 0, 0.5)


def blind_to_the_end(one: Telling) -> Telling:
    while isinstance(one.todo, Look) and one.turn.state is State.SETTLING:
        one.now = one.todo.at
        one.machine.blind(ServerError("down", status=503), one.now, 0.5)
    return one


def test_an_answer_with_a_proven_end_stands_where_nothing_could_be_read_at_all() -> None:
    proven = blind_to_the_end(settling())
    assert (proven.now, proven.turn.state) == (60.0, State.DONE)
    assert blind_to_the_end(Telling().enter().answer("one").end(proven=False)).turn.state is State.HEALING
    assert blind_to_the_end(settling().look()).turn.state is State.HEALING


def test_a_history_that_agrees_at_the_last_moment_agrees() -> None:
    one = settling()
    for now in (60.0, 70.0):
        assert isinstance(one.todo, Look)
        one.machine.looked(status(ASKED, ("assistant", "one two")), now, 0.5)
    assert one.todo.result.text == "one two"


@pytest.mark.parametrize("begin", [checking, finding])
def test_absence_counts_from_when_the_fate_became_unknown(begin: Callable[[], Telling]) -> None:
    state = State.FINDING if begin is finding else State.SENDING
    one = Telling(lost().run, "z", state=state, at=20.0).enter()
    one.look_on(ASKED, ANSWERED)
    assert one.now == 30
