"""Cut answers, answers that end in doubt, and jobs behind either: what the history makes of them."""

from __future__ import annotations

import pytest

from toolhouse_async import (
    ClosedError,
    ConflictError,
    JobStarted,
    JobToken,
    ServerError,
    StreamInterruptedError,
    StreamRecovered,
    TextDelta,
    TurnCompleted,
    TurnResumed,
)
from toolhouse_async._turn.commands import ENTER, Look, Poll
from toolhouse_async._turn.knowledge import Run
from toolhouse_async._turn.machine import TurnMachine
from toolhouse_async._turn.table import State

from .test_machine import ANSWERED, ASKED, Answer, Telling, resumed

RESULT, RESUME = ("tool", "7"), ("user", "")
CALL = b'{"type": "tool_call", "id": "1", "name": "t", "arguments": {}}\n'


def cut(*words: str, **more: object) -> Telling:
    one = Telling(**more).enter().answer(*words)
    one.machine.cut("rst", 0)
    return one


def heard_before_next(one: Telling) -> tuple[int, bool]:
    heard = one.run.transcript.heard_before(None)
    assert heard is not None
    return heard.size, heard.whole


# Cut answers


@pytest.mark.parametrize(
    ("received", "stored", "text", "events"),
    [
        ("o", "one", "one", [StreamRecovered("one", "ne"), TextDelta("ne")]),
        ("other", "one", "other", None),  # shorter than what came: it is not all of it
        ("two", "one", "one", [StreamRecovered("one", "")]),  # another text: nothing is put together
        ("one\n", "one", "one\n", [StreamRecovered("one\n", "")]),  # stored trimmed
        ("one ", "one \n", "one \n", [StreamRecovered("one \n", "\n"), TextDelta("\n")]),
    ],
)
def test_what_stands_for_a_cut_answer(received: str, stored: str, text: str, events: list[object] | None) -> None:
    one = cut(received)
    if events is None:
        with pytest.raises(StreamInterruptedError) as caught:
            one.look_on(ASKED, ("assistant", stored))
        assert type(caught.value) is StreamInterruptedError
        return
    one.look_on(ASKED, ("assistant", stored))
    assert one.todo.result.text == text
    assert one.events[2:-1] == events
    assert one.todo.result.run_id == "r1"
    assert heard_before_next(one) == (len(text.strip()), True)


def test_an_answer_that_stands_open_is_resumed_once_it_is_too_late_for_more() -> None:
    one = cut("o").look_on(ASKED, ANSWERED, RESULT)
    assert (one.now, one.todo) == (70.0, ENTER)
    assert one.enter().todo.resumes
    one.answer("two", head=Answer(job_id="j2")).end().poll(ASKED, ANSWERED, RESULT, RESUME, ("assistant", "two"))
    assert one.enter().todo.resumes
    assert one.turn.fold.round_text == ""


def test_a_job_that_is_seen_running_while_an_answer_is_healed() -> None:
    one = cut("o").look(ASKED, job="j1")
    assert isinstance(one.todo, Poll)
    one.poll(ASKED, ANSWERED, RESULT)
    assert one.turn.state is State.HEALING
    one.look_on(ASKED, ANSWERED, RESULT)
    assert one.now == 12.0  # behind a job, an answer may end in a tool's result
    one.enter().answer("two", head=Answer(job_id="j2")).end().poll()
    assert one.turn.state is State.SENDING


def test_a_job_that_only_a_resumed_worker_can_have_started() -> None:
    one = resumed().look(ASKED, ANSWERED, job="j2").poll(ASKED, ANSWERED, RESUME, ("assistant", "two"))
    assert one.turn.state is State.HEALING
    one.look_on(ASKED, ANSWERED, RESUME, ("assistant", "two")).enter()
    assert one.turn.round == 1
    one.answer("three").end()
    assert one.todo.result.text == "onetwothree"


def test_silence_is_forgotten_with_the_answer_that_it_cut() -> None:
    one = Telling().enter().answer("o", head=Answer(job_id="j1"))
    one.machine.cut("silent", 0, is_idle=True)
    one.poll(ASKED, ANSWERED).look_on(ASKED, ANSWERED).enter().answer("two").end(proven=False)
    with pytest.raises(StreamInterruptedError) as caught:
        one.look_on(ASKED, ANSWERED)
    assert type(caught.value) is StreamInterruptedError


def test_a_cut_answer_whose_job_is_left_running() -> None:
    one = Telling(background="detach").enter().answer("o", head=Answer(job_id="j1"))
    with pytest.raises(StreamInterruptedError, match="rst; a job is running") as caught:
        one.machine.cut("rst", 0)
    partial, token = caught.value.partial, JobToken("a", "r1", "j1", 0.0)
    assert (partial.text, partial.status, partial.token, one.run.job) == ("o", "background", token, token)


# Ends that are compared


def test_a_job_that_a_tool_has_started_need_not_be_compared() -> None:
    one = Telling().enter().answer("one")
    one.machine.received(CALL)
    assert isinstance(one.end().look(job="j1").todo, Poll)


def test_words_behind_a_call_are_compared_once() -> None:
    one = Telling().enter().answer("one")
    one.machine.received(CALL)
    assert one.end().look(ASKED, ("assistant", "one two")).turn.state is State.HEALING


def test_words_alone_are_looked_for_until_the_history_shows_them() -> None:
    one = Telling(format="text").enter().answer()
    one.machine.received(b"one")
    assert isinstance(one.end().look().todo, Look)
    one.look(ASKED, ANSWERED)
    assert one.todo.result.text == "one"


def test_an_unproven_end_without_words_is_whole_where_a_job_has_followed() -> None:
    one = Telling().enter().answer().end(proven=False).look_on(ASKED, job="j1")
    assert one.now == 10.0
    one.poll(ASKED, RESULT)
    assert one.todo is ENTER


def test_a_job_behind_an_answer_that_is_not_whole_and_not_to_be_healed() -> None:
    one = Telling(recover=False).enter().answer("o").end(proven=False)
    with pytest.raises(StreamInterruptedError, match="it ended, but the history does not show") as caught:
        one.look_on(ASKED, ("assistant", "other"), job="j1")
    token = one.stop(caught.value).token
    assert token is not None
    assert token.job_id == "j1"


def test_a_run_that_waits_without_a_job_is_resumed_and_its_next_job_followed() -> None:
    one = Telling(settle=True).enter().answer("one").end().look_on(ASKED, ANSWERED, RESULT).enter()
    one.answer("two", head=Answer(job_id="j2")).end()
    one.look_on(ASKED, ANSWERED, RESULT, RESUME, ("assistant", "two"), job="j2")
    one.poll(ASKED, ANSWERED, RESULT, RESUME, ("assistant", "two"), RESULT)
    assert one.todo is ENTER


# What the last poll of a job shows of the words before it


@pytest.mark.parametrize(
    ("received", "settle", "text"), [("o", "auto", "one"), ("o", True, "one"), ("o", False, "o"), ("", "auto", "")]
)
def test_the_words_before_a_job_are_made_whole(received: str, settle: bool | str, text: str) -> None:
    one = Telling(settle=settle).enter().answer(*([received] if received else []), head=Answer(job_id="j1")).end()
    if isinstance(one.todo, Look):
        one.look_on(ASKED, ("assistant", received), job="j1")
    one.poll(ASKED, ANSWERED, RESULT)
    assert one.turn.fold.result("a", "r1", status="completed", token=None).text == text
    assert heard_before_next(one) == (3, True)
    assert one.enter().todo.resumes


def test_other_words_before_a_job_are_not_put_in_place_of_those_received() -> None:
    one = Telling().enter().answer("xy", head=Answer(job_id="j1")).end().poll(ASKED, ANSWERED, RESULT)
    assert heard_before_next(one) == (2, True)


def test_words_are_left_as_they_are_where_the_user_wants_no_healing() -> None:
    one = Telling(recover=False).enter().answer("o", head=Answer(job_id="j1")).end().poll(ASKED, ANSWERED, RESULT)
    assert one.turn.partial.text == "o"
    assert heard_before_next(one) == (3, True)


# Jobs and their resumes


def test_each_resume_has_its_number_and_is_sent_at_once() -> None:
    one = Telling().enter()
    for job in ("j1", "j2"):
        one.answer("x", head=Answer(job_id=job)).end().poll().enter()
        assert one.todo.at == 0.0
    one.answer("x").end()
    assert [event for event in one.events if isinstance(event, TurnResumed)] == [
        TurnResumed("r1", 1),
        TurnResumed("r1", 2),
    ]


@pytest.mark.parametrize(("job", "number"), [(None, 1), (JobToken("a", "r1", "j1", 0.0, round=3), 4)])
def test_who_waits_goes_on_counting(job: JobToken | None, number: int) -> None:
    one = Telling(Run("r1", job=job), state=State.WAITING).poll(ASKED, ANSWERED).enter().answer("two")
    assert TurnResumed("r1", number) in one.events


@pytest.mark.parametrize(("job", "deadline"), [("j1", 100.0), ("j2", 102.0)])
def test_a_job_that_a_poll_has_missed_goes_on_from_its_start(job: str, deadline: float) -> None:
    one = Telling().enter().answer(head=Answer(job_id="j1")).end().poll().enter()
    one.machine.refused(ConflictError("busy", status=409), one.now)
    assert one.look(job=job).todo == Poll(deadline)
    assert one.poll(job=job).todo == Poll(deadline)
    assert one.poll(ASKED).todo is ENTER


def test_who_waits_may_begin_late_and_have_a_deadline_of_their_own() -> None:
    job = JobToken("a", "r1", "j1", 0.0)
    one = Telling(Run("r1", job=job), state=State.WAITING)
    TurnMachine(one.turn).begin(10.0, elapsed=4.0)
    assert one.todo == Poll(106.0)
    TurnMachine(one.turn).begin(10.0, elapsed=4.0, until=50.0)
    assert one.todo == Poll(50.0)
    TurnMachine(one.turn).begin(10.0)
    assert one.todo == Poll(110.0)
    assert one.events == [JobStarted("j1")] * 4


@pytest.mark.parametrize("has_resumed", [False, True])
def test_the_resume_after_a_job_of_unknown_id(has_resumed: bool) -> None:
    before = Telling().enter().answer("one", head=Answer(job_id="j1")).end()
    if has_resumed:
        before.poll(ASKED, ANSWERED).enter().answer("two").end()
    else:
        before.stop(ClosedError("closed"))
        before.run.job = None
    late = Telling(before.run, state=State.WAITING, at=50.0).poll(ASKED, ANSWERED).enter()
    if not has_resumed:
        assert late.todo.resumes
        return
    assert late.turn.state is State.HEALING
    with pytest.raises(StreamInterruptedError, match="a message of this client has resumed the run"):
        late.look_on(ASKED, ANSWERED)


def test_when_a_run_was_begun_and_by_whom() -> None:
    mine = Telling(at=3.0).enter().answer("one")
    assert mine.run.begun == 3.0
    mine.end()
    assert Telling(mine.run, "y", at=9.0).enter().answer("two").run.begun == 3.0
    assert Telling(Run("r0"), at=3.0).enter().answer("one").run.begun is None


def test_a_result_comes_last() -> None:
    one = Telling().enter().answer("one").end()
    assert one.events[-1] == TurnCompleted(one.todo.result)


def test_readings_that_fail_are_no_rest() -> None:
    one = cut("o").look(ASKED, ANSWERED)
    while isinstance(one.todo, Look) and one.now < 30:
        one.now = one.todo.at
        one.machine.blind(ServerError("down", status=503), one.now, 0.5)
    one.look(ASKED, ANSWERED)
    assert one.turn.state is State.DONE


def test_an_answer_that_never_comes_to_a_message_that_had_arrived() -> None:
    one = resumed()
    with pytest.raises(StreamInterruptedError, match="the message had arrived, and the history does not show"):
        one.look_on(ASKED, ANSWERED, RESUME)


def test_a_cut_answer_without_words_is_resumed_once_its_job_is_over() -> None:
    one = Telling().enter().answer(head=Answer(job_id="j1"))
    one.machine.cut("rst", 0)
    history = (ASKED, ("assistant", ""))
    one.poll(*history).look_on(*history)
    assert (one.now, one.todo) == (12.0, ENTER)


def test_an_end_that_proves_nothing_is_compared_before_its_job_is_waited_for() -> None:
    one = Telling().enter().answer("o", head=Answer(job_id="j1")).end(proven=False)
    assert (one.turn.state, one.todo) == (State.SETTLING, Look(0.0))
    assert isinstance(one.look_on(ASKED, ANSWERED, job="j1").todo, Poll)
    one.poll(ASKED, ANSWERED)
    assert one.turn.state is State.HEALING


@pytest.mark.parametrize(("stored", "size", "is_whole"), [("o", 1, False), ("one", 3, True)])
def test_what_was_heard_before_a_job_where_nothing_is_compared(stored: str, size: int, is_whole: bool) -> None:
    one = Telling(settle=False).enter().answer("o", head=Answer(job_id="j1")).end(proven=False)
    one.poll(ASKED, ("assistant", stored), RESULT)
    assert heard_before_next(one) == (1 if not is_whole else size, is_whole)
