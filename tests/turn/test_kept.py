"""What is written down of a turn, and what a process that has heard nothing of it makes of that."""

from __future__ import annotations

from typing import Any

import pytest

from toolhouse_async import ClosedError, EventDecoder, JobToken, Message
from toolhouse_async._turn import kept
from toolhouse_async._turn.commands import ENTER, Look, Note
from toolhouse_async._turn.heard import EMPTY, first_of, key_of
from toolhouse_async._turn.knowledge import Run
from toolhouse_async._turn.others import Others
from toolhouse_async._turn.table import State
from toolhouse_async._turn.transcript import Transcript
from toolhouse_async._wire.records import Record, Unsettled
from toolhouse_async._wire.stage import Stage
from toolhouse_async.events import ToolCall

from .test_machine import ANSWERED, ASKED, Answer, Telling

TOKEN = JobToken("a", "r1", "j1", 0.0)
RESULT, RESUME, TWO = ("tool", "7"), ("user", ""), ("assistant", "two")
X, ONE = key_of("x"), (3, key_of("one"))


def unsettled(stage: Stage, words: str | None = "", *, resumes: bool = True) -> Unsettled:
    return Unsettled(words, bars=False, told=True, resumes=resumes, stage=stage)


def taken_up(stage: Stage, **record: Any) -> Telling:
    """One who finds out what became of a turn whose first round said "one"."""
    said = {X: 1} if stage in (Stage.RESUME, Stage.RESUME_DUE) else {X: 1, EMPTY: 1}
    record = {"token": TOKEN, "said": said, "heard": (ONE,), "unsettled": unsettled(stage), **record}
    run = Run("r1", transcript=Transcript(None))
    kept.take_up(run, Record(run_id="r1", **record), 0.0, idle=0.0, job_age=0.0)
    return Telling(run, None, state=State.FINDING).enter()


# What is written down


def test_a_message_and_its_answer() -> None:
    record = Record(token=TOKEN)._replace(**kept.sending("x", resumes=False))
    assert record.unsettled == Unsettled("x", bars=True, told=False, resumes=False, stage=Stage.MESSAGE)
    assert kept.answered(record, None) == {"unsettled": unsettled(Stage.ANSWER, "x", resumes=False), "token": None}
    assert kept.answered(record, TOKEN) == {"unsettled": unsettled(Stage.JOB, "x", resumes=False), "token": TOKEN}


def test_a_resume_and_its_answer() -> None:
    record = Record(token=TOKEN)._replace(**kept.sending("", resumes=True))
    assert record.unsettled == unsettled(Stage.RESUME)
    assert kept.answered(record, None) == {"unsettled": unsettled(Stage.ANSWER)}
    later = JobToken("a", "r1", "j2", 0.0, round=1)
    assert kept.answered(record, later) == {"unsettled": unsettled(Stage.JOB), "token": later}


def test_a_job_says_nothing_of_what_is_of_unknown_fate() -> None:
    resume, message = unsettled(Stage.RESUME), unsettled(Stage.MESSAGE, "x", resumes=False)
    for open_ in (resume, message):
        assert kept.waiting(Record(unsettled=open_), TOKEN, refused=False) == {"unsettled": open_, "token": TOKEN}
    assert kept.waiting(Record(unsettled=message), TOKEN, refused=True) == {"unsettled": None, "token": TOKEN}
    answer = Record(unsettled=unsettled(Stage.ANSWER))
    assert kept.waiting(answer, TOKEN, refused=False)["unsettled"] == unsettled(Stage.JOB)


@pytest.mark.parametrize("job_id", [None, "j1"])
def test_the_job_that_an_answer_tells_of_is_known_at_once(job_id: str | None) -> None:
    one = Telling().enter().answer(head=Answer(job_id=job_id))
    token = one.turn.announced(5.0)
    assert token == (None if job_id is None else JobToken("a", "r1", "j1", 5.0))


def test_what_is_learned_of_a_resume_is_noted() -> None:
    one = taken_up(Stage.RESUME)
    one.turn.notes = []
    one.look(ASKED, ANSWERED, RESULT, RESUME, TWO)
    assert one.turn.notes == [Note.ARRIVED]


# How it is taken up: the result has all rounds


def test_a_resume_that_was_accepted() -> None:
    one = taken_up(Stage.ANSWER).look_on(ASKED, ANSWERED, RESULT, RESUME, TWO)
    assert (one.now, one.todo.result.rounds) == (10.0, ("one", "two"))


def test_a_resume_that_is_not_recorded_as_such() -> None:
    one = taken_up(Stage.ANSWER).look_on(ASKED, ANSWERED, RESULT, TWO)
    assert one.todo.result.rounds == ("one", "two")


def test_a_resume_with_words() -> None:
    go_on = unsettled(Stage.ANSWER, "go on")
    one = taken_up(Stage.ANSWER, unsettled=go_on, said={X: 1, key_of("go on"): 1})
    one.look_on(ASKED, ANSWERED, RESULT, ("user", "go on"), TWO)
    assert one.todo.result.rounds == ("one", "two")


def test_a_resume_that_had_not_arrived_is_sent_again() -> None:
    one = taken_up(Stage.RESUME).look_on(ASKED, ANSWERED, RESULT).enter()
    assert one.todo.resumes
    one.answer("two").end()
    assert one.todo.result.rounds == ("one", "two")


def test_a_job_behind_a_resume() -> None:
    token = JobToken("a", "r1", "j2", 0.0, round=1)
    one = taken_up(Stage.JOB, token=token)
    history = (ASKED, ANSWERED, RESULT, RESUME, TWO, RESULT)
    one.poll(*history).look_on(*history).enter().answer("three").end()
    assert one.todo.result.rounds == ("one", "two", "three")
    assert one.turn.round == 2


def test_a_resume_that_was_due() -> None:
    """The history alone says what it follows."""
    one = taken_up(Stage.RESUME_DUE)
    assert one.turn.state is State.RECOVERING
    one.look_on(ASKED, ANSWERED, RESULT)
    assert (one.now, one.todo) == (10.0, ENTER)
    one.enter().answer("two").end()
    assert one.todo.result.rounds == ("one", "two")


def test_a_resume_that_was_due_is_so_until_it_is_sent() -> None:
    one = taken_up(Stage.RESUME_DUE).look(ASKED, ANSWERED)
    one.machine.stopped(error := ClosedError("closed"), one.now, in_flight=False)
    assert error.safe_to_retry is False
    left = one.run.unfinished
    assert left is not None
    assert left.stage is Stage.RESUME_DUE
    again = Telling(one.run, None, state=State.FINDING).enter()
    again.look_on(ASKED, ANSWERED).enter().answer("two").end()
    assert again.todo.result.rounds == ("one", "two")


def test_what_is_looked_up_is_looked_up_again_after_a_failure() -> None:
    one = taken_up(Stage.ANSWER).look(ASKED, ANSWERED, RESULT, RESUME)
    one.machine.stopped(ClosedError("closed"), one.now, in_flight=False)
    again = Telling(one.run, None, state=State.FINDING).enter()
    again.look_on(ASKED, ANSWERED, RESULT, RESUME, TWO)
    assert again.todo.result.rounds == ("one", "two")


@pytest.mark.parametrize(
    "history",
    [
        (ASKED, ANSWERED, RESULT, RESUME, TWO, ("user", "y"), ("assistant", "yes")),  # others have gone on
        (("summary", "they talked"), ASKED, RESULT),  # no answer is there
    ],
)
def test_what_the_history_does_not_show_is_not_made_up(history: tuple[tuple[str, str], ...]) -> None:
    one = taken_up(Stage.ANSWER).look(*history)
    assert one.turn.partial.text == ""
    assert isinstance(one.todo, Look)


def test_a_history_without_the_message_shows_no_rounds() -> None:
    """As where a store's record counts the resume alone, and the history begins behind the message."""
    one = taken_up(Stage.ANSWER, said={EMPTY: 1}).look(TWO)
    assert one.turn.seeking.reply is not None
    assert one.turn.partial.text == ""


def test_a_reading_that_lags_shows_no_rounds() -> None:
    """Else an earlier turn's answer could be taken for an earlier round."""
    one = taken_up(Stage.ANSWER).look(ASKED)
    assert one.turn.partial.text == ""
    one.look_on(ASKED, ANSWERED, RESULT, RESUME, TWO)
    assert one.todo.result.rounds == ("one", "two")


def test_a_job_of_unknown_id_is_found_in_the_history() -> None:
    one = taken_up(Stage.JOB, token=None).look(ASKED, ANSWERED, RESULT, RESUME, TWO, job="j2")
    history = (ASKED, ANSWERED, RESULT, RESUME, TWO, RESULT)
    one.poll(*history).look_on(*history).enter().answer("three").end()
    assert one.todo.result.rounds == ("one", "two", "three")


def test_a_message_that_was_not_counted() -> None:
    """A record of another version may not have it."""
    one = taken_up(Stage.ANSWER, said={X: 1})
    assert one.run.transcript.counts == {X: 1, EMPTY: 1}


# The rounds before an answer


def before(reply: str, *entries: tuple[str, str]) -> tuple[str, ...] | None:
    found = Others.before("x", is_resume=False).turn_in([Message(role, text, {}) for role, text in entries])
    assert found is not None
    fold = found.fold_before(reply, EventDecoder())
    return None if fold is None else fold.result("a", "r1").rounds


@pytest.mark.parametrize(
    ("reply", "rounds"),
    [
        ("two", ("one", "")),
        ("t w o", ("one", "")),
        ("", ("one", "two", "")),
        ("onetwo", ("",)),
        ("wo", ("one", "t", "")),
        ("other", None),
    ],
)
def test_the_rounds_before_an_answer(reply: str, rounds: tuple[str, ...] | None) -> None:
    assert before(reply, ASKED, ANSWERED, RESULT, RESUME, TWO) == rounds


def test_the_calls_of_all_rounds_are_kept() -> None:
    call = {"role": "assistant", "content": "one", "tool_calls": [{"id": "1", "function": {"name": "t"}}]}
    history = [Message("user", "x", {}), Message("assistant", "one", call), Message("user", "", {})]
    found = Others.before("x", is_resume=False).turn_in(history)
    assert found is not None
    fold = found.fold_before("", EventDecoder())
    assert fold is not None
    (exchange,) = fold.result("a", "r1").tool_calls
    assert isinstance(exchange.call, ToolCall)
    assert exchange.call.name == "t"


def test_the_first_characters_of_a_text() -> None:
    assert [first_of(" a b c ", size) for size in (0, 1, 2)] == ["", " a", " a b"]
