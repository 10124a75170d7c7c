"""What is written down of a turn, and what a process that has heard nothing of it makes of that."""

from __future__ import annotations

from typing import Any

import pytest

from toolhouse_async import ClosedError, EventDecoder, JobToken, Message
from toolhouse_async._turn import kept
from toolhouse_async._turn.commands import ENTER, Look, Note
from toolhouse_async._turn.fold import Fold
from toolhouse_async._turn.heard import EMPTY, first_of, key_of
from toolhouse_async._turn.knowledge import Run, Unfinished
from toolhouse_async._turn.others import Others
from toolhouse_async._turn.table import State
from toolhouse_async._turn.transcript import Transcript
from toolhouse_async._values.options import Options
from toolhouse_async._wire.records import Later, Record, Unsettled
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
    assert one.run.transcript.counted(None)[0] == {X: 1, EMPTY: 1}


# Messages of unknown fate


Y = key_of("y")


def stopped(*later: tuple[str, bool], open_: str | None = None) -> tuple[Run, Record]:
    """A run on which something of unknown fate was said behind "x", and more behind that, and what is kept of it."""
    run, said = Run("r1"), None
    for words, is_certain in (("x", True), *later):
        said = run.transcript.say(words)
        said.is_certain = is_certain
        if is_certain:
            run.transcript.hear(said, "one" if words == "x" else "two", whole=True)
    record = Record("r1")._replace(**kept.standing(run, said if open_ is not None else None))
    if open_ is not None:
        record = record._replace(unsettled=unsettled(Stage.MESSAGE, open_, resumes=False))
    return run, record


def test_what_was_said_behind_a_message_of_unknown_fate_is_kept_in_order() -> None:
    run, record = stopped(("y", False), ("z", True))
    assert (record.said, record.heard) == ({X: 1}, (ONE,))
    assert record.since == (Later(Y, False, None), Later(key_of("z"), True, ((3, key_of("two")),)))
    assert kept.is_known(run, record)
    assert not kept.is_known(run, record._replace(since=record.since[:1]))
    assert not kept.is_known(run, record._replace(since=()))
    again = Run("r1", transcript=Transcript(None))
    assert kept.take_up(again, record, 0.0, idle=0.0, job_age=0.0) is None
    assert kept.standing(again, None) == kept.standing(run, None)
    assert kept.is_known(again, record)


def test_what_is_open_is_not_among_what_was_said_before() -> None:
    _, record = stopped(("y", False), open_="y")
    assert (record.said, record.heard, record.since) == ({X: 1}, (ONE,), ())
    run = Run("r1", transcript=Transcript(None))
    said = kept.take_up(run, record, 0.0, idle=0.0, job_age=0.0)
    assert kept.standing(run, said)["since"] == ()
    assert kept.standing(run, None)["since"] == (Later(Y, False, None),)


@pytest.mark.parametrize("words", ["z", "other"])
@pytest.mark.parametrize("stage", [Stage.ANSWER, Stage.RESUME_DUE])
def test_an_answer_behind_a_message_of_unknown_fate(stage: Stage, words: str) -> None:
    """Where it ends is not known, nor which it is where another version has written it down."""
    _, record = stopped(("y", False), ("z", True))
    run = Run("r1", transcript=Transcript(None))
    record = record._replace(unsettled=unsettled(stage, words, resumes=False))
    kept.take_up(run, record, 0.0, idle=0.0, job_age=0.0)
    counts, since = run.transcript.counted(None)
    more = [words] if words == "other" and stage is Stage.ANSWER else []
    assert counts == {X: 1}
    assert [each.key for each in since] == [Y, key_of("z"), *map(key_of, more)]
    assert all(each.heard is None or not each.heard.whole for each in since)


def test_a_message_of_unknown_fate_is_open_still_once_another_was_refused() -> None:
    run, _ = stopped(("y", False))
    open_ = run.transcript.latest
    assert open_ is not None
    run.unfinished = Unfinished(Stage.MESSAGE, open_, "y", 0.0, Fold(), Options())
    refused = run.transcript.say("z")
    assert kept.standing(run, refused)["since"] == (Later(Y, False, None),)
    run.transcript.take_back(refused)
    standing = kept.standing(run, refused)
    assert (standing["heard"], standing["since"]) == ((ONE,), ())


def test_a_resume_that_was_refused_for_its_job_is_due() -> None:
    """What the job follows is not what was said last: the history says it."""
    run, _ = stopped()
    message = run.transcript.latest
    assert message is not None
    run.unfinished = Unfinished(Stage.JOB, message, "x", 0.0, Fold(), Options(), job=("j1", 0.0))
    assert kept.left(run) == unsettled(Stage.JOB, "x", resumes=False)
    resume = run.transcript.say("")
    run.transcript.take_back(resume)
    run.unfinished = Unfinished(Stage.JOB, resume, "", 0.0, Fold(), Options(), job=("j1", 0.0))
    assert kept.left(run) == unsettled(Stage.RESUME_DUE)
    record = Record("r1")._replace(**kept.standing(run, resume), unsettled=kept.left(run))
    assert kept.is_known(run, record)
    run.unfinished = None
    assert kept.left(run) is None


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
