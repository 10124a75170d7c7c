"""A few courses of a turn that recovers what another process began; all courses are the explorer's."""

from __future__ import annotations

import pytest

from toolhouse_async import (
    ClosedError,
    JobToken,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    ServerError,
    StreamInterruptedError,
    TurnResult,
)
from toolhouse_async._turn.commands import ENTER, Look, Over, Poll, Send
from toolhouse_async._turn.heard import key_of
from toolhouse_async._turn.knowledge import Run
from toolhouse_async._turn.table import State

from .test_machine import ANSWERED, ASKED, Answer, Telling, status, whole

GO, WAIT, RESULT, DONE = ("user", "go"), ("assistant", "wait"), ("tool", "7"), ("assistant", "done")


def recovering(run: Run | None = None, message: str | None = "go") -> Telling:
    one = Telling(run or Run.of_others("r1"), message, state=State.RECOVERING)
    assert one.todo is ENTER
    return one.enter()


def test_an_answer_that_has_rested() -> None:
    one = recovering()
    assert one.todo == Look(0.0)
    one.look(GO, DONE)
    one.look(GO, DONE)
    assert isinstance(one.todo, Look)
    one.look_on(GO, DONE)
    assert one.now == 10.0
    assert one.todo.result.text == "done"
    assert one.run.ended is one.todo.result


def test_a_job_and_the_resume() -> None:
    one = recovering().look(GO, WAIT, job="j1")
    assert isinstance(one.todo, Poll)
    one.poll(job="j1").poll(GO, WAIT, RESULT)
    assert one.turn.state is State.RECOVERING
    one.look_on(GO, WAIT, RESULT)
    assert one.enter().todo.resumes
    one.answer("done").end()
    assert one.todo.result.rounds == ("wait", "done")
    assert [job.job_id for job in one.todo.result.jobs] == ["j1"]


@pytest.mark.parametrize("many", [1, 2])
def test_a_resume_is_sent_by_one_of_those_who_recover(many: int) -> None:
    one = recovering()
    one.look_on(GO, WAIT, RESULT)
    assert one.now == 30.0  # RecoveryPolicy.absence
    sent = one.enter().todo
    assert isinstance(sent, Send)
    one.answer("do")
    one.machine.stopped(OutcomeUnknownError("ended"), one.now, in_flight=False)
    for _ in range(many):
        other = recovering(one.run)
        other.look_on(GO, WAIT, RESULT, ("user", ""), DONE)
        assert other.todo.result.text == "waitdone"


def test_its_own_result_is_known_until_the_history_says_something_else() -> None:
    known = whole().run
    one = recovering(known, "x").look(("user", "x"), ("assistant", "one"))
    assert one.todo == Over(known.ended)
    other = recovering(known, "x")
    other.look_on(("user", "x"), ("assistant", "two"))
    assert other.todo.result.text == "two"
    further = recovering(known, None)
    further.look_on(("user", "x"), ("assistant", "two"), GO, DONE)
    assert further.todo.result.text == "done"
    assert further.run.transcript.latest is not None
    assert further.run.transcript.latest.key != other.turn.known_said.key


def test_a_message_that_vanishes_again() -> None:
    one = recovering().look(GO, WAIT)
    with pytest.raises(StreamInterruptedError) as caught:
        one.look_on()
    assert caught.value.partial.text == "wait"
    assert one.stop(caught.value).safe_to_retry is False
    assert one.run.unfinished is None


def test_a_message_that_nobody_answers() -> None:
    one = recovering()
    with pytest.raises(StreamInterruptedError, match="does not show the whole of its answer") as caught:
        one.look_on(GO)
    assert caught.value.partial.text == ""
    assert one.stop(caught.value).safe_to_retry is False


def test_a_run_that_cannot_be_read() -> None:
    one = recovering()
    one.machine.blind(ServerError("down", status=503), 1.0, 0.5)
    gone = NotFoundError("gone", status=404, safe_to_retry=True)
    with pytest.raises(NotFoundError):
        one.machine.blind(gone, 2.0, 0.5)
    assert one.stop(gone).safe_to_retry is None


def test_a_service_that_could_never_be_asked_is_not_what_a_history_shows() -> None:
    one = recovering()
    down = NotSentError("nobody answers")
    one.machine.blind(down, 1.0, 0.5)
    with pytest.raises(OutcomeUnknownError, match="could not be read: nobody answers") as caught:
        one.machine.blind(down, 1e6, 0.5)
    assert caught.value.__cause__ is down
    assert one.stop(caught.value).safe_to_retry is None


RESUME, AND = ("user", ""), ("user", "and")


def heard_before_next(one: Telling) -> tuple[int, bool]:
    heard = one.run.transcript.heard_before(None)
    assert heard is not None
    return heard.size, heard.whole


def test_what_is_heard_of_it_goes_on_from_there() -> None:
    one = recovering(message=None)
    one.look_on(GO, WAIT, RESULT, RESUME, DONE)
    assert (one.todo.result.text, one.todo.result.rounds) == ("waitdone", ("wait", "done"))
    assert one.turn.words == "go"
    assert heard_before_next(one) == (8, True)
    next_ = Telling(one.run, "y", at=one.now).enter()
    next_.stop(OutcomeUnknownError("lost"), in_flight=True)
    found = Telling(one.run, state=State.FINDING, at=one.now).enter()
    found.look_on(GO, WAIT, RESULT, RESUME, DONE, ("user", "y"), ("assistant", "yes"))
    assert found.todo.result.text == "yes"


def test_a_turn_behind_which_others_have_gone_on() -> None:
    one = recovering().look_on(GO, DONE, AND, ("assistant", "more"))
    assert (one.todo.result.text, one.now) == ("done", 10.0)
    assert one.run.ended is None
    open_ = recovering()
    with pytest.raises(StreamInterruptedError, match="does not show the whole") as caught:
        open_.look_on(GO, WAIT, RESULT, AND)
    assert type(caught.value) is StreamInterruptedError
    assert caught.value.partial.text == "wait"
    running = recovering().look(GO, DONE, AND, job="j1")
    assert isinstance(running.todo, Look)


def test_a_resume_that_stands_there_is_waited_for() -> None:
    one = recovering()
    with pytest.raises(StreamInterruptedError):
        one.look_on(GO, WAIT, RESULT, RESUME)
    assert one.now == 60.0
    again = recovering().look(GO, WAIT, job="j1").poll(GO, WAIT, RESULT, RESUME)
    with pytest.raises(StreamInterruptedError):
        again.look_on(GO, WAIT, RESULT, RESUME)


def test_what_nobody_here_can_explain_is_told() -> None:
    one = recovering()
    with pytest.raises(StreamInterruptedError, match="another process began the turn, and the history holds what"):
        one.look_on(GO, ("summary", "they talked"), DONE)
    assert one.now == 10.0


@pytest.mark.parametrize(
    ("before", "after", "resumes"),
    [
        ((GO, WAIT), (GO, WAIT), True),  # the service records no results
        ((GO, WAIT), (GO, WAIT, RESULT), True),
        ((GO, WAIT, RESULT), (GO, WAIT, RESULT, DONE), False),  # somebody has resumed the run
        ((GO, WAIT, RESULT, DONE), (GO, WAIT, RESULT, DONE), True),
        ((GO,), (GO,), True),
    ],
)
def test_whether_a_run_is_resumed_once_its_job_is_over(
    before: tuple[tuple[str, str], ...], after: tuple[tuple[str, str], ...], resumes: bool
) -> None:
    one = recovering().look(*before, job="j1").poll(*after).look_on(*after)
    assert one.now == 12.0
    if not resumes:
        assert one.todo.result.text == "waitdone"
        return
    words = "".join(text for role, text in after if role == "assistant")
    assert heard_before_next(one) == (len(words), True)
    assert one.enter().todo.resumes
    one.answer("more", head=Answer(job_id="j2")).end().poll(*after)
    assert one.todo is ENTER
    assert one.turn.jobs == 2


def test_a_job_that_nobody_saw_is_counted() -> None:
    one = recovering()
    one.look_on(GO, WAIT, RESULT)
    assert one.turn.jobs == 1
    one.enter().answer("done").end()
    assert [one.todo.result.text, one.todo.result.rounds] == ["waitdone", ("wait", "done")]


def test_a_job_is_left_once_the_history_has_rested() -> None:
    one = Telling(Run.of_others("r1"), "go", state=State.RECOVERING, background="detach").enter()
    one.look(GO, WAIT, job="j1")
    error_token = one.turn.token
    assert error_token is not None
    assert error_token.job_id == "j1"
    one.look_on(GO, WAIT, job="j1")
    assert one.now == 10.0
    result = one.todo.result
    assert (result.status, result.text, result.token) == ("background", "wait", JobToken("a", "r1", "j1", 0.0))
    assert heard_before_next(one) == (4, True)
    assert one.turn.known_said.key == key_of("go")


def test_a_pause_that_is_asked_for_while_a_job_is_to_be_left() -> None:
    one = Telling(Run.of_others("r1"), "go", state=State.RECOVERING, background="detach").enter()
    one.machine.looked(status(GO, WAIT, job="j1", asked=7.0), 0.0, 0.5)
    assert one.todo == Look(7.0)


def test_a_reading_that_fails_changes_nothing_of_what_was_seen() -> None:
    one = recovering()
    while one.now < 8:
        one.look(GO, DONE)
    one.machine.blind(ServerError("down", status=503), 9.0, 0.5)
    assert one.todo == Look(10.0)
    one.look(GO, DONE)
    assert one.todo.result.text == "done"
    late = recovering().look(GO, WAIT)
    with pytest.raises(StreamInterruptedError) as caught:
        while True:
            late.now = late.todo.at
            late.machine.blind(ServerError("down", status=503), late.now, 0.5)
    assert caught.value.partial.text == "wait"


def test_who_is_stopped_tells_what_was_seen() -> None:
    for entries, safe_to_retry in (((GO, WAIT), False), ((), None)):
        one = recovering().look(*entries)
        assert one.stop(ClosedError("closed")).safe_to_retry is safe_to_retry


def test_its_own_result_is_known_only_where_the_history_is_understood() -> None:
    known = whole().run
    one = recovering(known, "x").look(("user", "other"), ("assistant", "z"), ASKED, ANSWERED)
    assert isinstance(one.todo, Look)
    same = recovering(known, "x").look(ASKED, ("assistant", "o ne"))
    assert isinstance(same.todo, Over)
    assert isinstance(same.todo.result, TurnResult)
    assert same.todo.result.text == "one"


def test_what_stands_behind_a_job_is_shown_where_it_is_never_whole() -> None:
    history = (GO, WAIT, RESULT, RESUME, ("assistant", "mo"), ("tool", "8"), RESUME)
    one = recovering().look(GO, WAIT, job="j1").poll(*history)
    with pytest.raises(StreamInterruptedError) as caught:
        one.look_on(*history)
    assert caught.value.partial.text == "waitmo"


def test_all_rounds_behind_a_message_were_heard_before_the_resume() -> None:
    one = recovering().look_on(GO, WAIT, RESULT, RESUME, ("assistant", "mo"), ("tool", "8"))
    assert one.todo is ENTER
    assert heard_before_next(one) == (6, True)


def test_what_others_have_added_to_an_answer_of_this_clients_own() -> None:
    before = Telling().enter().answer("one", head=Answer(job_id="j1")).end().poll(ASKED, ANSWERED, RESULT).enter()
    before.answer("two").end()
    one = recovering(before.run, "x").look_on(ASKED, ANSWERED, RESULT, RESUME, ("assistant", "two more"))
    assert one.todo.result.text == "onetwo more"
    assert heard_before_next(one) == (10, True)
