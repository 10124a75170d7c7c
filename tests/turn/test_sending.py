"""What comes of messages and resumes that get no good answer."""

from __future__ import annotations

import pytest

from toolhouse_async import (
    ConflictError,
    ContactLostError,
    NotSentError,
    ProtocolError,
    RateLimitError,
    ResumeUncertainError,
    ServerError,
    TLSError,
    ToolhouseError,
    UncertainSessionError,
    UnprocessableEntityError,
)
from toolhouse_async._turn.commands import ENTER
from toolhouse_async._turn.knowledge import Run
from toolhouse_async._turn.table import State

from .test_machine import ANSWERED, ASKED, Answer, Telling, lost


def resuming() -> Telling:
    return Telling().enter().answer("one", head=Answer(job_id="j1")).end().poll(ASKED, ANSWERED).enter()


@pytest.mark.parametrize(
    ("run_id", "safe_to_retry", "is_nameless"), [(None, False, True), (None, None, False), ("r1", False, False)]
)
def test_a_good_answer_that_is_no_use_leaves_a_run_without_a_name(
    run_id: str | None, safe_to_retry: bool | None, is_nameless: bool
) -> None:
    one = Telling(Run(run_id)).enter()
    with pytest.raises(ProtocolError):
        one.machine.failed(ProtocolError("odd", safe_to_retry=safe_to_retry), 0, 0.5, in_flight=True)
    assert one.run.is_nameless is is_nameless


def test_a_resume_that_was_refused_for_a_while_is_sent_when_the_service_says() -> None:
    one = resuming()
    said = one.turn.known_said
    limited = RateLimitError("slow", status=429, retry_after=7.0, safe_to_retry=True)
    one.machine.failed(limited, one.now, 0.5, in_flight=True)
    assert one.todo is ENTER
    assert not one.run.transcript.has(said)
    assert one.enter().todo.at == 9.0


@pytest.mark.parametrize(
    "error", [TLSError("refused"), UnprocessableEntityError("no", status=422), NotSentError("away")]
)
def test_a_resume_that_will_not_get_through_by_waiting_ends_the_turn(error: ToolhouseError) -> None:
    one = resuming()
    if type(error) is NotSentError:
        one.machine.failed(error, one.now, 0.5, in_flight=False)
        assert one.enter().todo.at == 4.0
        return
    with pytest.raises(type(error)):
        one.machine.failed(error, one.now, 0.5, in_flight=False)
    assert one.turn.state is State.SENDING


def test_the_last_failure_of_a_resume_is_told() -> None:
    one = resuming()
    with pytest.raises(ContactLostError, match="The last failure: the service is away"):
        while True:
            one.machine.failed(NotSentError("the service is away"), one.now, 0.5, in_flight=False)
            one.enter()
            one.now = one.todo.at


def test_why_the_fate_of_a_resume_is_unknown_is_told() -> None:
    one = resuming()
    one.machine.failed(ServerError("bad gateway", status=502), one.now, 0.5, in_flight=True)
    with pytest.raises(ResumeUncertainError, match=r"whether the resume was accepted \(bad gateway\); the history"):
        one.look_on(("user", "other"), ANSWERED)


def test_a_worker_that_speaks_is_waited_for_until_the_deadline() -> None:
    one, spoken = Telling(Run("r1"), at=5.0).enter(), ""
    conflict = ConflictError("busy", status=409)
    assert not one.turn.rules.shows_messages_early
    with pytest.raises(ConflictError):
        while True:
            one.machine.refused(conflict, one.now)
            spoken += "word "
            one.look(ASKED, ("assistant", spoken)).enter()
            one.now = one.todo.at
    assert 100 < one.now < 115
    assert one.turn.rules.shows_messages_early


def test_a_worker_that_has_stopped_to_speak_is_not_seen_to_show_messages_early() -> None:
    one = Telling(Run("r1")).enter()
    one.machine.refused(ConflictError("busy", status=409), 0)
    one.look(ASKED)
    assert not one.turn.rules.shows_messages_early


# What bars a message


def test_a_conversation_of_unknown_beginning_takes_no_message() -> None:
    first = Telling().enter()
    error = ServerError("away", status=502)
    with pytest.raises(ServerError):
        first.machine.failed(error, 0, 0.5, in_flight=True)
    first.stop(error, in_flight=True)
    assert first.run.unfinished is not None
    first.run.unfinished.bars, first.run.unfinished.told = True, False
    with pytest.raises(UncertainSessionError, match="begin another session"):
        Telling(first.run, "z").enter()
    assert first.run.unfinished.told


def test_a_message_that_a_process_has_died_with_is_told_of_once() -> None:
    one = lost()
    assert one.run.unfinished is not None
    one.run.unfinished.told = False
    with pytest.raises(UncertainSessionError, match="its turn was closed or its process ended"):
        Telling(one.run, "z").enter()
    assert one.run.unfinished.told
    assert Telling(one.run, "z").enter().turn.state is State.CHECKING


def test_a_message_that_is_seen_to_have_arrived_is_known_to_have() -> None:
    one = lost()
    assert one.run.unfinished is not None
    with pytest.raises(UncertainSessionError, match="did arrive"):
        Telling(one.run, "z").enter().look(ASKED, ANSWERED, ("user", "y"))
    assert one.run.unfinished.said.is_certain


def test_a_history_that_explains_nothing_is_given_up_once_it_has_rested() -> None:
    one = Telling(lost().run, "z").enter()
    with pytest.raises(UncertainSessionError, match="does not tell"):
        one.look_on(("user", "other"), ANSWERED)
    assert one.now == 10.0
    late = Telling(lost().run, "z").enter()
    with pytest.raises(UncertainSessionError, match="does not tell"):
        late.look_on()  # it lags, for as long as it is looked at
    assert late.now == 60.0


@pytest.mark.parametrize(
    ("error", "bars"), [(ProtocolError("no HTTP"), True), (ServerError("away", status=502), False)]
)
def test_a_message_whose_answer_is_no_http_bars_the_next(error: ToolhouseError, bars: bool) -> None:
    one = Telling(Run("r1")).enter()
    with pytest.raises(type(error)):
        one.machine.failed(error, 0, 0.5, in_flight=True)
    one.stop(error, in_flight=True)
    assert one.run.unfinished is not None
    assert one.run.unfinished.bars is bars
