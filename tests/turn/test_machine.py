"""A few plain courses of a turn, told by hand; all courses are the explorer's (``tests/explore``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from toolhouse_async import (
    ClosedError,
    ConflictError,
    ContactLostError,
    Event,
    EventDecoder,
    IdleTimeoutError,
    JobFinished,
    JobProgress,
    JobStarted,
    JobStatus,
    JobToken,
    Message,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PollingPolicy,
    ProtocolError,
    RecoveryPolicy,
    ResumeUncertainError,
    ServerError,
    StreamInterruptedError,
    StreamRecovered,
    TextDelta,
    ToolhouseError,
    TooManyRoundsError,
    TurnCompleted,
    TurnResumed,
    TurnStarted,
    UncertainSessionError,
    WorkerError,
)
from toolhouse_async._turn.commands import ENTER, READ, Look, Note, Over, Poll, Send
from toolhouse_async._turn.knowledge import Head, Rules, Run
from toolhouse_async._turn.machine import TurnMachine
from toolhouse_async._turn.polls import Report
from toolhouse_async._turn.progress import Progress
from toolhouse_async._turn.table import State
from toolhouse_async._values.options import Options
from toolhouse_async._wire.stage import Stage

POLLING = PollingPolicy(min_interval=2, max_interval=2, jitter=0, deadline=100, max_rounds=2)
RECOVERY = RecoveryPolicy(quiet=10, deadline=60, absence=30)


class Answer(Head):
    """What an answer says before its body."""

    def __init__(self, run_id: str | None = "r1", job_id: str | None = None) -> None:
        self._ids = (run_id, job_id)

    @property
    def run_id(self) -> str | None:
        return self._ids[0]

    @property
    def job_id(self) -> str | None:
        return self._ids[1]

    def redact(self, text: str) -> str:
        return text.replace("secret", "***")


class Telling:
    """One who tells a turn what happened, as a driver does."""

    def __init__(self, run: Run | None = None, message: str | None = "x", *, at: float = 0.0, **more: Any) -> None:
        state, fields = more.pop("state", State.SENDING), more.pop("fields", {})
        self.run = run or Run()
        self.turn = Progress(
            "a",
            self.run,
            Rules(POLLING, RECOVERY, EventDecoder(), 1000),
            Options(**more),
            state=state,
            message=message,
            fields=lambda: dict(fields),
        )
        self.machine = TurnMachine(self.turn)
        self.turn.notes = []
        self.now = at
        self.machine.begin(at)

    @property
    def todo(self) -> Any:
        return self.turn.todo

    @property
    def events(self) -> list[Event]:
        """What was to be seen since one last looked."""
        events = list(self.turn.events)
        self.turn.events.clear()
        return events

    def enter(self) -> Telling:
        assert self.todo is ENTER
        self.machine.entered(self.now)
        return self

    def answer(self, *words: str, head: Head | None = None) -> Telling:
        assert isinstance(self.todo, Send)
        self.now = max(self.now, self.todo.at)
        self.machine.answered(head or Answer(), self.now)
        assert self.todo is READ
        for word in words:
            self.machine.received(json.dumps({"type": "text", "text": word}).encode() + b"\n")
        return self

    def end(self, *, proven: bool = True) -> Telling:
        self.machine.ended(self.now, proven=proven)
        return self

    def look(self, *entries: tuple[str, str], job: str | None = None) -> Telling:
        assert isinstance(self.todo, Look)
        self.now = max(self.now, self.todo.at)
        self.machine.looked(status(*entries, job=job), self.now, 0.5)
        return self

    def look_on(self, *entries: tuple[str, str], job: str | None = None) -> Telling:
        """The same history until it is no more looked at."""
        while isinstance(self.todo, Look):
            self.look(*entries, job=job)
        return self

    def poll(self, *entries: tuple[str, str], job: str | None = None) -> Telling:
        assert isinstance(self.todo, Poll)
        self.now += 2
        self.machine.polled(Report(1, status(*entries, job=job), 2.0), self.now)
        return self

    def stop(self, error: ToolhouseError, *, in_flight: bool = False) -> ToolhouseError:
        self.machine.stopped(error, self.now, in_flight=in_flight)
        assert self.todo == Over(error=error)
        return error


def status(*entries: tuple[str, str], job: str | None = None, asked: float | None = None) -> JobStatus:
    return JobStatus("a", "r1", job, asked, history=tuple(Message(role, text, {}) for role, text in entries))


ASKED, ANSWERED = ("user", "x"), ("assistant", "one")


def whole() -> Telling:
    """A turn that has ended well."""
    return Telling().enter().answer("one").end()


# A message and its answer


def test_a_message_and_its_answer() -> None:
    one = Telling(fields={"vars": {"a": 1}}, extra_body={"b": 2}).enter()
    assert one.todo == Send(0.0, one.todo.said, {"message": "x", "vars": {"a": 1}, "b": 2}, None, resumes=False)
    assert one.answer("o", "ne").events == [TurnStarted("a", "r1"), TextDelta("o"), TextDelta("ne")]
    (completed,) = one.end().events
    assert isinstance(completed, TurnCompleted)
    assert (completed.result.text, completed.result.status) == ("one", "completed")
    assert one.todo == Over(completed.result)
    assert one.run.ended is completed.result
    assert one.turn.notes == [Note.ANSWERED, Note.COMPLETED]


@pytest.mark.parametrize(("run", "fields"), [(Run(), {}), (Run("r1"), {"message": ""})])
def test_a_message_of_nothing(run: Run, fields: Mapping[str, str]) -> None:
    one = Telling(run, None).enter()
    assert (one.todo.fields, one.todo.run_id) == (fields, run.run_id)


def test_a_run_without_a_name_cannot_be_continued() -> None:
    one = Telling().enter().answer("one", head=Answer(None)).end()
    assert isinstance(one.todo, Over)
    with pytest.raises(ProtocolError, match="X-Toolhouse-Run-ID"):
        Telling(one.run).enter()


def test_an_error_of_the_workers_ends_the_turn_behind_its_answer() -> None:
    one = Telling().enter().answer("one")
    one.machine.received(b'{"type": "error", "message": "the secret is out", "code": "secret-1"}\n')
    with pytest.raises(WorkerError) as caught:
        one.end()
    assert (str(caught.value), caught.value.code) == ("the worker reported an error: the *** is out", "***-1")
    one.stop(caught.value)
    assert caught.value.safe_to_retry is False
    assert one.run.ended is caught.value


# Jobs


def test_a_job_and_the_resume() -> None:
    one = Telling().enter().answer("one", head=Answer(job_id="j1")).end()
    assert one.todo == Poll(100.0)
    assert one.turn.job_id == "j1"
    one.poll(job="j1")
    assert one.poll(ASKED, ANSWERED, ("tool", "7")).enter().todo.resumes
    assert (one.todo.fields, one.todo.run_id) == ({"message": ""}, "r1")
    one.answer("two").end()
    assert [type(event) for event in one.events] == [
        TurnStarted,
        TextDelta,
        JobStarted,
        JobProgress,
        JobFinished,
        TurnResumed,
        TextDelta,
        TurnCompleted,
    ]
    assert one.todo.result.text == "onetwo"
    assert [job.job_id for job in one.todo.result.jobs] == ["j1"]
    assert one.turn.notes == [Note.ANSWERED, Note.WAITING, Note.ANSWERED, Note.COMPLETED]


LATE = ASKED, ANSWERED, ("tool", "7"), ("user", "late"), ("assistant", "two")


def behind_one_given_up(words: str) -> Telling:
    """A turn whose job is over, behind a message that was given up while it was under way."""
    given_up = Telling(Run("r1"), words).enter()
    given_up.stop(ClosedError("closed"), in_flight=True)
    one = Telling(given_up.run).enter().answer("one", head=Answer(job_id="j1")).end()
    return one.poll(*LATE).enter()


def test_a_message_that_comes_late_may_have_resumed_the_run() -> None:
    one = behind_one_given_up("late")
    assert one.todo == Look(2.0)
    one.look_on(*LATE)
    assert one.todo.result.text == "onetwo"
    lost = Telling(one.run, "next").enter()
    lost.stop(OutcomeUnknownError("cut"), in_flight=True)
    found = Telling(one.run, state=State.FINDING).enter()
    found.look_on(*LATE, ("user", "next"), ("assistant", "three"))
    assert found.todo.result.text == "three"


@pytest.mark.parametrize("words", ["another", "x", ""])
def test_what_does_not_show_that_a_message_came_late(words: str) -> None:
    """What stands behind the latest is not what was given up; or it says the same, so that either may be meant."""
    assert behind_one_given_up(words).todo.resumes


def test_a_job_that_is_left_running() -> None:
    one = Telling(background="detach").enter().answer("one", head=Answer(job_id="j1")).end()
    assert one.todo.result.status == "background"
    assert one.todo.result.token == one.run.job == JobToken("a", "r1", "j1", 0.0)
    waiter = Telling(one.run, state=State.WAITING)
    assert waiter.events == [JobStarted("j1")]
    assert waiter.turn.token == one.run.job
    waiter.poll().enter().answer("two").end()
    assert waiter.todo.result.text == "two"


def test_so_many_jobs() -> None:
    one = Telling().enter()
    for number in range(2):
        one.answer(head=Answer(job_id=f"j{number}")).end().poll().enter()
    one.answer(head=Answer(job_id="j2"))
    with pytest.raises(TooManyRoundsError) as caught:
        one.end()
    token = one.stop(caught.value).token
    assert token is not None
    assert token.job_id == "j2"


def test_a_job_found_once_the_answer_has_ended() -> None:
    one = Telling().enter().answer()
    assert one.end().todo == Look(0.0)
    assert one.look(ASKED, job="j1").todo == Poll(100.0)
    assert one.turn.state is State.WAITING


def test_a_job_that_was_over_before_anybody_looked() -> None:
    one = Telling(settle=True).enter().answer("one").end()
    one.look_on(ASKED, ANSWERED, ("tool", "7"))
    assert one.now == 10
    assert one.enter().todo.resumes
    assert one.answer("two").turn.state is State.STREAMING


def test_who_only_waits_is_told_what_the_service_said_last() -> None:
    one = Telling(Run("r1"), state=State.WAITING)
    one.turn.only_waits = True
    assert not one.turn.may_join
    assert one.poll(ASKED).todo == Over()
    assert one.turn.status == status(ASKED)


def test_a_resume_that_another_sends() -> None:
    one = Telling(Run("r1"), state=State.WAITING)
    one.poll(job="j1")
    assert one.turn.may_join
    said = one.run.transcript.say("")
    one.machine.joined(said, "text", one.now)
    assert one.todo == Send(one.now, said, {}, "r1", resumes=True)
    assert one.turn.format == "text"
    one.machine.answered(Answer(), one.now)
    one.machine.received(b"two")
    assert [type(event) for event in one.events] == [JobStarted, JobProgress, JobFinished, TurnResumed, TextDelta]


# Refused, and not sent


def test_a_job_that_was_left_is_as_old_for_the_message_that_waits_for_it() -> None:
    for job_id, started in (("j1", 70.0), ("j2", 100.0)):
        run = Run("r1", job=JobToken("a", "r1", "j1", 1070.0))
        one = Telling(run, at=100.0).enter()
        one.turn.drift = 1000.0
        one.machine.refused(ConflictError("busy", status=409), one.now)
        one.look(job=job_id)
        assert one.turn.job is not None
        assert one.turn.job.started == started


def test_a_refusal_behind_which_a_job_stands() -> None:
    one = Telling(Run("r1")).enter()
    one.machine.refused(ConflictError("busy", status=409), 0)
    assert one.look(job="j1").todo == Poll(100.0)
    assert one.poll().enter().todo.fields == {"message": "x"}
    assert not one.todo.resumes
    one.answer("one").end()
    assert one.todo.result.text == "one"


def test_a_refusal_without_a_job_is_tried_again_a_few_times() -> None:
    conflict = ConflictError("busy", status=409)
    one, sent = Telling(Run("r1")).enter(), [0.0]
    with pytest.raises(ConflictError) as caught:
        while True:
            one.machine.refused(conflict, one.now)
            one.look().enter()
            one.now = one.todo.at
            sent.append(one.now)
    assert caught.value is conflict
    assert sent == [0, 0.5, 1.5, 3.5, 7.5]
    assert one.stop(conflict).safe_to_retry is True


def test_a_refusal_may_be_left_to_the_user() -> None:
    one = Telling(Run("r1"), on_conflict="raise").enter()
    with pytest.raises(ConflictError):
        one.machine.refused(ConflictError("busy", status=409), 0)


def test_a_worker_that_still_speaks_is_waited_for() -> None:
    one, spoken = Telling(Run("r1")).enter(), ""
    while one.now < 60:
        one.machine.refused(ConflictError("busy", status=409), one.now)
        spoken += "word "
        one.look(ASKED, ("assistant", spoken)).enter()
        one.now = one.todo.at


def test_what_was_not_sent_is_raised_for_a_message_and_tried_again_for_a_resume() -> None:
    one = Telling(Run("r1")).enter()
    with pytest.raises(NotSentError):
        one.machine.failed(NotSentError("away"), 0, 0.5, in_flight=False)
    resume = Telling(Run("r1"), state=State.WAITING)
    resume.poll(job="j1").poll().enter()
    with pytest.raises(ContactLostError, match="could not be sent for 60 s") as caught:
        while True:
            resume.machine.failed(NotSentError("away"), resume.now, 0.5, in_flight=False)
            resume.enter()
            resume.now = resume.todo.at
    token = resume.stop(caught.value).token
    assert token is not None
    assert token.job_id == "j1"


# Cut answers


def test_a_cut_answer_is_healed_from_the_history() -> None:
    one = Telling().enter().answer("o")
    one.machine.cut("rst", 0)
    assert one.todo == Look(0)
    one.look_on(ASKED, ANSWERED)
    assert one.now == 10
    assert [event for event in one.events if not isinstance(event, TurnStarted)][1:-1] == [
        StreamRecovered("one", "ne"),
        TextDelta("ne"),
    ]
    assert (one.todo.result.text, one.todo.result.recovered) == ("one", 1)


def test_an_answer_that_the_history_does_not_show_is_interrupted() -> None:
    one = Telling().enter().answer("o")
    one.machine.cut("rst", 0, is_idle=True)
    with pytest.raises(IdleTimeoutError, match="rst; the history does not show the whole of it") as caught:
        one.look_on(ASKED)
    assert one.now == 60
    assert caught.value.partial is not None
    assert caught.value.partial.text == "o"
    one.stop(caught.value)
    assert one.run.unfinished is not None
    assert one.run.unfinished.stage is Stage.ANSWER


def test_a_cut_answer_may_be_left_as_it_is() -> None:
    one = Telling(recover=False).enter().answer("o", head=Answer(job_id="j1"))
    with pytest.raises(StreamInterruptedError) as caught:
        one.machine.cut("rst", 0)
    token = one.stop(caught.value).token
    assert token is not None
    assert token.job_id == "j1"


def test_a_cut_answer_before_a_job_is_healed_once_that_is_over() -> None:
    one = Telling().enter().answer("o", head=Answer(job_id="j1"))
    one.machine.cut("rst", 0)
    one.poll(job="j1").poll(ASKED, ANSWERED).look_on(ASKED, ANSWERED)
    one.enter().answer("two").end()
    assert one.todo.result.text == "onetwo"


def test_an_end_that_proves_nothing_is_compared() -> None:
    one = Telling().enter().answer("o").end(proven=False)
    one.look_on(ASKED, ANSWERED)
    assert (one.todo.result.text, one.todo.result.recovered) == ("one", 1)


# Messages of unknown fate


def lost() -> Telling:
    """A message after a whole turn, of which nobody knows whether it was accepted."""
    one = Telling(whole().run, "y").enter()
    error = OutcomeUnknownError("no answer")
    with pytest.raises(OutcomeUnknownError):
        one.machine.failed(error, 0, 0.5, in_flight=True)
    assert one.stop(error, in_flight=True).safe_to_retry is None
    assert one.run.unfinished is not None
    assert one.run.unfinished.is_uncertain
    assert one.run.unfinished.bars
    return one


def test_the_next_turn_finds_out_first_and_is_sent_where_it_did_not_arrive() -> None:
    one = Telling(lost().run, "z").enter()
    assert one.turn.state is State.CHECKING
    one.look_on(ASKED, ANSWERED)
    assert one.now == 30
    assert (one.todo.fields, one.run.unfinished) == ({"message": "z"}, None)


def test_the_next_turn_is_refused_where_it_arrived() -> None:
    one = Telling(lost().run, "z").enter()
    with pytest.raises(UncertainSessionError, match="did arrive") as caught:
        one.look(ASKED, ANSWERED, ("user", "y"))
    assert one.stop(caught.value).safe_to_retry is True
    again = Telling(one.run, "z")
    with pytest.raises(UncertainSessionError, match="did arrive"):  # what is known stays known
        again.enter()


@pytest.mark.parametrize("history", [[("user", "x\n"), ANSWERED], [ASKED, ANSWERED, ("user", "other")], [ANSWERED]])
def test_the_next_turn_is_refused_where_nobody_can_know(history: list[tuple[str, str]]) -> None:
    one = Telling(lost().run, "z").enter()
    with pytest.raises(UncertainSessionError, match="nobody can know yet") as caught:
        one.look_on(*history)
    assert one.stop(caught.value).safe_to_retry is True
    assert one.run.unfinished is not None
    assert one.run.unfinished.is_uncertain


def test_what_became_of_a_message_is_found_out() -> None:
    absent = Telling(lost().run, state=State.FINDING).enter().look_on(ASKED, ANSWERED)
    assert absent.todo == Over()
    assert absent.run.unfinished is None
    arrived = Telling(lost().run, state=State.FINDING).enter()
    arrived.look_on(ASKED, ANSWERED, ("user", "y"), ("assistant", "two"))
    assert arrived.todo.result.text == "two"
    unknown = Telling(lost().run, state=State.FINDING).enter()
    with pytest.raises(OutcomeUnknownError, match="nobody can know yet"):
        unknown.look_on(("user", "other"), ANSWERED)


def test_what_a_turn_before_it_has_settled_is_not_looked_for() -> None:
    run = Telling().enter().answer("one").end().run
    assert run.ended is not None
    assert Telling(run, state=State.FINDING).enter().todo == Over(run.ended)
    run.ended = failed = WorkerError("broken", code="E1")
    with pytest.raises(WorkerError, match="broken") as caught:
        Telling(run, state=State.FINDING).enter()
    assert caught.value is not failed  # the traceback of one does not grow by that of another


def resumed() -> Telling:
    """A resume after a job, of which nobody knows whether it was accepted."""
    one = Telling().enter().answer("one", head=Answer(job_id="j1")).end().poll(ASKED, ANSWERED).enter()
    one.machine.failed(ServerError("away", status=502), one.now, 0.5, in_flight=True)
    assert one.turn.state is State.RESUMING
    return one


def test_a_resume_of_unknown_fate_is_sent_again_only_where_it_did_not_arrive() -> None:
    one = resumed().look_on(ASKED, ANSWERED)
    assert one.now == 32
    assert one.enter().todo.resumes
    arrived = resumed().look_on(ASKED, ANSWERED, ("user", ""), ("assistant", "two"))
    assert arrived.todo.result.text == "onetwo"
    unknown = resumed()
    with pytest.raises(ResumeUncertainError) as caught:
        unknown.look_on(("system", "They have talked."), ANSWERED)
    token = unknown.stop(caught.value).token
    assert token is not None
    assert token.job_id == "j1"


def test_a_job_that_runs_again_or_still_shows_whether_the_resume_arrived() -> None:
    again = resumed().look(ASKED, ANSWERED, job="j1")  # it is the job before the resume, so nothing is known yet
    assert again.turn.job is not None
    assert again.turn.state is State.WAITING
    assert again.turn.lost is not None
    arrived = resumed().look(ASKED, ANSWERED, job="j2")
    assert arrived.turn.state is State.WAITING
    assert arrived.turn.lost is None


def test_a_shared_resume_that_another_found_absent_is_sent_again() -> None:
    one = resumed()
    one.run.transcript.take_back(one.turn.known_said)
    assert one.look(ASKED, ANSWERED).enter().todo.resumes


def test_a_job_is_resumed_after_once() -> None:
    one = Telling().enter().answer("one", head=Answer(job_id="j1")).end()
    one.poll(ASKED, ANSWERED).enter().answer("two").end()
    late = Telling(one.run, state=State.WAITING)
    late.run.job = JobToken("a", "r1", "j1", 0)
    late = Telling(one.run, state=State.WAITING).poll(ASKED, ANSWERED, ("assistant", "two")).enter()
    late.look_on(ASKED, ANSWERED, ("assistant", "two"))
    assert late.todo.result.text == "two"


def test_a_message_to_a_run_that_is_gone_is_sent_to_a_new_one() -> None:
    one = Telling(lost().run, "z").enter()
    one.machine.begin_anew()
    assert one.turn.said is None
    one.turn.run = Run()
    assert (one.enter().todo.run_id, one.todo.fields) == (None, {"message": "z"})


# Stopped


def test_a_turn_that_is_stopped_says_what_is_known_of_its_message() -> None:
    before = Telling().enter()
    assert before.stop(ClosedError("closed")).safe_to_retry is True
    assert before.run.unfinished is None
    sent = Telling().enter()
    assert sent.stop(ClosedError("closed"), in_flight=True).safe_to_retry is None
    assert sent.run.unfinished is not None
    assert not sent.run.unfinished.bars  # the user gave it up
    answered = Telling().enter().answer("o")
    assert answered.stop(ClosedError("closed")).safe_to_retry is False
    assert answered.run.unfinished is not None
    assert answered.run.unfinished.stage is Stage.ANSWER
    waits = Telling().enter().answer(head=Answer(job_id="j1")).end()
    error = waits.stop(ClosedError("closed"))
    assert error.token is not None
    assert error.token.job_id == "j1"
    assert waits.run.unfinished is not None
    assert waits.run.unfinished.stage is Stage.JOB


def test_a_turn_that_was_stopped_is_taken_up_where_it_was_left() -> None:
    waits = Telling().enter().answer("one", head=Answer(job_id="j1")).end()
    waits.stop(ClosedError("closed"))
    again = Telling(waits.run, state=State.FINDING).enter()
    again.poll(ASKED, ANSWERED).enter().answer("two").end()
    assert again.todo.result.text == "onetwo"
    assert [job.job_id for job in again.todo.result.jobs] == ["j1"]


def test_a_turn_that_was_stopped_behind_a_job_that_nobody_saw_resumes_the_run_after_that() -> None:
    """The resume before it followed another job, and its answer is known already."""
    one = Telling(settle=True).enter().answer("one", head=Answer(job_id="j1")).end()
    one.look_on(ASKED, ANSWERED, job="j1").poll(ASKED, ANSWERED, ("tool", "7")).enter().answer("two").end()
    history = (ASKED, ANSWERED, ("tool", "7"), ("user", ""), ("assistant", "two"), ("tool", "8"))
    one.look_on(*history).enter().machine.refused(ConflictError("busy", status=409, safe_to_retry=True), one.now)
    with pytest.raises(ServerError) as caught:
        one.machine.blind(ServerError("failed", status=503), one.now, 0.5)
    one.stop(caught.value)
    again = Telling(one.run, state=State.FINDING, at=one.now).enter()
    assert again.todo.resumes
    again.answer("three").end()
    assert again.todo.result.text == "onetwothree"


def test_what_is_over_is_not_stopped() -> None:
    one = whole()
    todo = one.todo
    one.machine.stopped(ClosedError("closed"), 1, in_flight=False)
    assert one.todo is todo


def test_what_was_received_is_given_to_a_reader_who_stops() -> None:
    one = Telling().enter().answer("o")
    one.machine.received_last(b'{"type": "text", "text": "ne"}')
    assert one.turn.partial.text == "one"


def test_a_run_that_cannot_be_read_behind_a_409_ends_the_turn() -> None:
    telling = Telling(Run("r1")).enter()
    telling.machine.refused(ConflictError("busy", status=409, safe_to_retry=True), 1.0)
    error = NotFoundError("gone", status=404)
    with pytest.raises(NotFoundError):
        telling.machine.blind(error, 2.0, 0.5)


def test_a_resume_of_unknown_fate_is_looked_for_by_who_waits_later() -> None:
    """Another waiter of this client had sent it, and nobody knows what became of it."""
    run = Run("r1", job=JobToken("a", "r1", "j1", 0.0))
    run.resumed["j1"] = run.transcript.say("")
    telling = Telling(run, state=State.WAITING)
    telling.machine.polled(Report(1, status(("user", "x"), ("assistant", "one"))), 3.0)
    telling.enter()
    assert telling.turn.state is State.RESUMING
    assert isinstance(telling.todo, Look)


def test_a_shared_resume_that_another_knows_to_be_accepted_is_not_taken_back() -> None:
    run = Run("r1", job=JobToken("a", "r1", "j1", 0.0))
    said = run.transcript.say("")
    telling = Telling(run, state=State.WAITING)
    telling.machine.joined(said, "ndjson", 1.0)
    said.is_certain = True
    telling.machine.refused(ConflictError("busy", status=409, safe_to_retry=True), 2.0)
    assert run.transcript.has(said)
