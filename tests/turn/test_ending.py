"""What a turn that is stopped leaves open on its run, and what its error tells."""

from __future__ import annotations

import pytest

from toolhouse_async import (
    ClosedError,
    ConflictError,
    ContactLostError,
    IdleTimeoutError,
    JobToken,
    ResumeUncertainError,
    ServerError,
    ToolCall,
    ToolExchange,
    ToolResult,
    TurnResult,
    WorkerError,
)
from toolhouse_async._turn.knowledge import Run
from toolhouse_async._turn.table import State
from toolhouse_async._wire.stage import Stage

from .test_machine import ANSWERED, ASKED, Answer, Telling, lost, resumed, whole

CLOSED = "the session was closed"


def stopped(one: Telling, *, in_flight: bool = False) -> ClosedError:
    error = ClosedError(CLOSED)
    one.stop(error, in_flight=in_flight)
    return error


def behind_a_job(**more: object) -> Telling:
    """A turn that is about to send its resume."""
    one = Telling(**more).enter().answer("one", head=Answer(job_id="j1")).end()
    return one.poll(ASKED, ANSWERED).enter()


def waiter(run: Run | None = None) -> Telling:
    return Telling(run or Run("r1", job=JobToken("a", "r1", "j1", 0.0, round=3)), state=State.WAITING)


# What its error tells


def test_an_error_has_the_run_where_it_does_not_name_one_itself() -> None:
    assert stopped(Telling(Run("r1")).enter()).run_id == "r1"
    own = ClosedError(CLOSED, run_id="r0")
    assert Telling(Run("r1")).enter().stop(own).run_id == "r0"


def test_an_error_has_the_token_behind_a_job_only() -> None:
    due = stopped(behind_a_job())
    assert due.token is not None
    assert due.token.job_id == "j1"
    assert stopped(behind_a_job().answer("t")).token is None
    assert stopped(whole_and_next()).token is None


def whole_and_next() -> Telling:
    return Telling(whole().run, "y").enter().answer("t")


def test_an_error_keeps_its_own_token_and_the_run_its_job() -> None:
    job = JobToken("a", "r1", "j0", 0.0)
    one = Telling(Run("r1", job=job)).enter()
    stopped(one)
    assert one.run.job is job
    error = ContactLostError("away", token=job)
    assert behind_a_job().stop(error).token is job


def test_an_error_of_the_workers_has_what_came_before_it() -> None:
    one = Telling().enter().answer("one")
    one.machine.received(b'{"type": "error", "message": "broken"}\n')
    with pytest.raises(WorkerError) as caught:
        one.end()
    assert caught.value.partial is not None
    assert (caught.value.partial.text, caught.value.partial.run_id) == ("one", "r1")
    silent = Telling().enter().answer()
    silent.machine.received(b'{"type": "error", "message": "broken"}\n')
    with pytest.raises(WorkerError):
        silent.end()


def test_a_turn_out_of_time_says_what_it_was_doing() -> None:
    one = Telling().enter().answer("o")
    error = one.turn.too_late(2.5)
    assert str(error) == "the turn took longer than its timeout of 2.5 s, while reading the answer"
    assert error.partial == one.turn.partial
    assert one.turn.partial == TurnResult("a", "r1", "o", rounds=("o",))
    job = Telling().enter().answer(head=Answer(job_id="j1")).end()
    assert str(job.turn.too_late(2)).endswith(
        "while waiting for a background job; a job is running, and the token waits for it"
    )


# What it leaves open


def test_a_message_that_was_not_sent_leaves_nothing_but_the_result_before_it() -> None:
    one = Telling(whole().run, "y").enter()
    said = one.turn.known_said
    stopped(one)
    assert not one.run.transcript.has(said)
    assert (one.run.ended, one.run.unfinished) == (None, None)


def test_a_recovery_that_found_nothing_leaves_what_was_known() -> None:
    known = whole().run
    ended = known.ended
    one = Telling(known, "other", state=State.RECOVERING).enter()
    stopped(one)
    assert ended is not None
    assert known.ended is ended


def test_an_answer_under_way_is_left_with_all_that_is_known_of_it() -> None:
    head = Answer()
    one = Telling(message="words").enter().answer("o", head=head)
    stopped(one)
    left = one.run.unfinished
    assert left is not None
    assert (left.stage, left.words, left.head, left.has_job) == (Stage.ANSWER, "words", head, False)
    heard = one.run.transcript.heard_before(None)
    assert heard is not None
    assert not heard.whole
    next_ = Telling(one.run, "y").enter().answer("n")
    assert next_.run.unfinished is None


def test_an_answer_under_way_whose_job_is_known_is_left_with_that() -> None:
    one = Telling(at=3.0).enter().answer("o", head=Answer(job_id="j1"))
    stopped(one)
    left = one.run.unfinished
    assert left is not None
    assert (left.stage, left.has_job, left.job) == (Stage.JOB, True, ("j1", 3.0))


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_job_that_is_waited_for_is_left_behind_what_was_heard(is_cut: bool) -> None:
    one = Telling().enter().answer("one", head=Answer(job_id="j1"))
    if is_cut:
        one.machine.cut("rst", 0)
    else:
        one.end()
    stopped(one)
    assert one.run.unfinished is not None
    assert one.run.unfinished.has_job is is_cut
    heard = one.run.transcript.heard_before(None)
    assert heard is not None
    assert heard.whole is not is_cut


def test_a_resume_is_left_due_or_of_unknown_fate() -> None:
    for in_flight, stage in ((False, Stage.RESUME_DUE), (True, Stage.RESUME)):
        one = behind_a_job(resume_message="continue")
        stopped(one, in_flight=in_flight)
        assert one.run.unfinished is not None
        assert (one.run.unfinished.stage, one.run.unfinished.words) == (stage, "continue")


def test_a_resume_of_unknown_fate_stays_one_while_the_job_before_it_runs() -> None:
    one = resumed().look(ASKED, ANSWERED, job="j1")
    stopped(one)
    assert one.run.unfinished is not None
    assert one.run.unfinished.stage is Stage.RESUME


def test_who_waited_for_the_job_of_others_leaves_only_what_it_has_sent() -> None:
    for in_flight, stage in ((False, None), (True, Stage.RESUME)):
        one = waiter().poll(ASKED, ANSWERED).enter()
        stopped(one, in_flight=in_flight)
        left = one.run.unfinished
        assert (None if left is None else left.stage) is stage


def test_a_search_that_is_stopped_leaves_the_message_as_it_was() -> None:
    one = lost()
    left = one.run.unfinished
    assert left is not None
    finding = Telling(one.run, state=State.FINDING, at=20.0).enter().look(ASKED, ANSWERED)
    assert stopped(finding).safe_to_retry is None
    assert one.run.unfinished is left
    finding = Telling(one.run, state=State.FINDING, at=20.0).enter()
    finding.look(ASKED, ANSWERED, ("user", "y"))
    assert stopped(finding).safe_to_retry is False
    assert one.run.unfinished is not left
    assert one.run.unfinished is not None
    assert (one.run.unfinished.stage, one.run.unfinished.since) == (Stage.ANSWER, 0.0)


# And how it is taken up


def test_an_answer_that_was_given_up_is_healed() -> None:
    one = Telling().enter().answer("o")
    stopped(one)
    again = Telling(one.run, state=State.FINDING, at=5.0)
    assert stopped(Telling(one.run, state=State.FINDING, at=5.0).enter()).safe_to_retry is False
    again.enter().look_on(ASKED, ANSWERED)
    assert again.todo.result.text == "one"
    assert again.turn.round == 0  # no resume was sent


def test_a_resume_of_unknown_fate_is_found_out_about() -> None:
    one = resumed()
    stopped(one)
    again = Telling(one.run, state=State.FINDING, at=one.now).enter()
    assert again.turn.state is State.RESUMING
    again.look_on(ASKED, ANSWERED, ("user", ""), ("assistant", "two"))
    assert again.todo.result.text == "onetwo"
    unknown = Telling(stopped_again(resumed()).run, state=State.FINDING).enter()
    with pytest.raises(ResumeUncertainError, match="nobody knows whether the resume was accepted; the history"):
        unknown.look_on(("user", "other"), ANSWERED)


def stopped_again(one: Telling) -> Telling:
    stopped(one)
    return one


def test_jobs_and_healing_of_both_turns_are_in_one_result() -> None:
    one = Telling().enter().answer("o", head=Answer(job_id="j1"))
    one.machine.cut("rst", 0)
    one.poll(ASKED, ANSWERED).look_on(ASKED, ANSWERED).enter().answer("two", head=Answer(job_id="j2")).end()
    stopped(one)
    late = waiter(one.run).poll(ASKED, ANSWERED, ("user", ""), ("assistant", "two")).enter()
    late.answer("three").end()
    result = one.run.ended
    assert isinstance(result, TurnResult)
    assert [job.job_id for job in result.jobs] == ["j1", "j2"]
    assert (result.text, result.recovered) == ("onetwothree", 1)


def test_a_message_is_looked_for_once_a_job_is_over() -> None:
    one = Telling(lost().run, state=State.FINDING).enter().look(ASKED, ANSWERED, job="j9")
    assert one.turn.state is State.WAITING
    one.poll(ASKED, ANSWERED, ("user", "y"))
    assert one.turn.state is State.FINDING
    unsure = resumed().look(ASKED, ANSWERED, job="j1").poll(ASKED, ANSWERED)
    assert unsure.turn.state is State.RESUMING
    unsure.look_on(ASKED, ANSWERED)
    assert unsure.now == 32  # it counts from when the fate became unknown


def test_a_job_is_waited_for_until_its_own_deadline() -> None:
    one = Telling().enter().answer("one", head=Answer(job_id="j1")).end()
    stopped(one)
    again = Telling(one.run, state=State.FINDING, at=40.0)
    again.machine.entered(40.0)
    assert str(again.todo) == "Poll(until=100.0)"
    again.poll(job="j1")
    assert str(again.todo) == "Poll(until=100.0)"


# Of one message by two turns


def test_what_a_turn_and_the_waiter_for_its_job_have_brought_is_one_result() -> None:
    lines = (
        b'{"type": "tool_call", "id": "1", "name": "t", "arguments": {}}\n'
        b'{"type": "tool_result", "id": "1", "content": "r"}\n'
        b'{"type": "odd"}\nno json\n'
    )
    one = Telling(background="detach").enter().answer("one", head=Answer(job_id="j1"))
    one.machine.received(lines)
    one.end()
    late = waiter(one.run)
    assert late.turn.before is one.todo.result
    late.poll(ASKED).enter().answer("t")
    late.machine.received(lines)
    late.machine.cut("rst", late.now)
    late.look_on(ASKED, ANSWERED, ("user", ""), ("assistant", "two"))
    exchange = ToolExchange(ToolCall("1", "t", {}), ToolResult("1", None, "r"))
    result, second = late.run.ended, late.todo.result
    assert isinstance(result, TurnResult)
    assert (second.text, second.rounds, second.recovered) == ("two", ("", "two"), 1)
    assert (result.text, result.rounds) == ("onetwo", ("one", "", "two"))
    assert (result.status, result.token) == ("completed", None)
    assert result.tool_calls == (exchange, exchange)
    assert [job.job_id for job in result.jobs] == ["j1"]
    assert (result.recovered, result.unknown, result.malformed, result.run_id) == (1, 2, 2, "r1")


def test_what_a_turn_has_brought_that_was_stopped_at_its_job() -> None:
    one = Telling().enter().answer("one", head=Answer(job_id="j1")).end()
    error = stopped(one)
    assert error.token is not None
    late = waiter(one.run)
    assert late.turn.before == TurnResult("a", "r1", "one", rounds=("one",))
    late.poll(ASKED, ANSWERED).enter().answer("two", head=Answer(job_id="j2")).end()
    stopped(late)
    assert waiter(one.run).turn.before == TurnResult(
        "a", "r1", "onetwo", jobs=late.turn.partial.jobs, rounds=("one", "", "two")
    )
    assert waiter(whole().run).turn.before is None
    assert waiter(lost().run).turn.before is None


def test_a_resume_behind_the_job_of_a_cut_answer_leaves_that_to_be_healed() -> None:
    one = Telling().enter().answer("o", head=Answer(job_id="j1"))
    one.machine.cut("rst", 0)
    stopped(one)
    late = waiter(one.run)
    assert late.turn.before is None
    late.poll(ASKED, ANSWERED).enter().answer("two")
    left = one.run.unfinished
    assert left is not None
    assert (left.stage, left.has_job, left.job) == (Stage.ANSWER, False, None)


def test_silence_is_named_where_it_was_the_reason_only() -> None:
    one = Telling(recover=False).enter().answer("o")
    with pytest.raises(IdleTimeoutError):
        one.machine.cut("silent", 0, is_idle=True)
    refused = Telling(Run("r1")).enter()
    refused.machine.refused(ConflictError("busy", status=409, safe_to_retry=True), 1.0)
    error = ServerError("down", status=503)
    with pytest.raises(ServerError):
        refused.machine.blind(error, 2.0, 0.5)
