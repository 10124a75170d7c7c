from __future__ import annotations

import pytest

from toolhouse_async import EventDecoder, JobStatus, Message, PollingPolicy, RecoveryPolicy
from toolhouse_async._turn.knowledge import Rules
from toolhouse_async._turn.reading import Sight
from toolhouse_async._turn.search import Search
from toolhouse_async._turn.transcript import Transcript

POLLING = PollingPolicy(min_interval=2, max_interval=2, jitter=0)
RECOVERY = RecoveryPolicy(quiet=10, deadline=60, absence=30)
BEFORE = ("u: hi", "a: one")


def chat(*entries: str) -> tuple[Message, ...]:
    roles = {"u": "user", "a": "assistant", "t": "tool"}
    pairs = [(roles[entry[0]], entry[3:]) for entry in entries]
    return tuple(Message(role, words, {"role": role, "content": words}) for role, words in pairs)


class Looking:
    """A search for the second message of a run; readings are told with their time."""

    def __init__(
        self,
        partial: str = "",
        *,
        words: str = "x",
        has_job: bool = False,
        since: float | None = None,
        recovery: RecoveryPolicy = RECOVERY,
    ) -> None:
        transcript = Transcript({})
        first = transcript.say("hi")
        first.is_certain = True
        transcript.hear(first, "one", whole=True)
        self.rules = Rules(POLLING, recovery, EventDecoder(), 1000)
        said = transcript.say(words)
        self.search = Search(
            transcript, said, partial, 0.0, rules=self.rules, polling=POLLING, has_job=has_job, since=since
        )

    def at(self, now: float, *entries: str, job: str | None = None) -> Search:
        self.search.take(JobStatus("a", "r1", job, history=chat(*BEFORE, *entries)), now)
        return self.search


def test_an_answer_is_found_when_readings_have_agreed_for_long_enough() -> None:
    one = Looking("y")
    assert not one.search.is_found
    assert not one.at(1, "u: x", "a: yes").is_found
    assert not one.at(10, "u: x", "a: yes").is_found
    assert one.at(11, "u: x", "a: yes").is_found
    assert one.search.reply is not None
    assert one.search.reply.text == "yes"


def test_rest_begins_anew_with_each_change_and_failed_readings_show_nothing() -> None:
    one = Looking("y")
    one.at(0, "u: x", "a: ye")
    assert not one.at(10, "u: x", "a: yes").is_found
    # Readings fail meanwhile: the clock goes on, and nothing is known.
    assert not one.search.is_found
    assert one.at(20, "u: x", "a: yes").is_found


@pytest.mark.parametrize(
    "entries", [["u: x"], ["u: x", "a: y"], ["u: x", "a: yes", "t: 7"], ["u: x", "t: 7"], ["u: x", "a: "]]
)
def test_an_answer_that_is_too_short_or_does_not_end_in_words_is_not_whole(entries: list[str]) -> None:
    one = Looking("ye")
    one.at(0, *entries)
    assert not one.at(10, *entries).is_found
    assert one.search.is_rested


def test_an_answer_that_ends_in_a_tools_result_waits_for_the_resume() -> None:
    one = Looking("ye")
    one.at(0, "u: x", "a: yes", "t: 7")
    assert not one.search.waits_for_resume
    assert one.at(10, "u: x", "a: yes", "t: 7").waits_for_resume
    assert not one.at(20, "u: x", "a: no", "t: 7").waits_for_resume


def test_before_a_job_an_answer_need_not_end_in_words() -> None:
    for entries, partial, found in (
        (["u: x", "a: yes", "t: 7"], "ye", True),
        (["u: x", "a: no", "t: 7"], "ye", False),
        (["u: x", "t: 7"], "", True),  # it never had words
        (["u: x", "t: 7"], "ye", False),
        ([], "", False),
    ):
        one = Looking(partial, has_job=True)
        one.at(0, *entries)
        assert one.at(10, *entries).is_found is found


def test_a_message_is_absent_after_long_enough() -> None:
    one = Looking()
    assert not one.at(0).is_absent
    assert not one.at(29).is_absent
    assert one.at(30).is_absent
    assert one.search.sight is Sight.ABSENT


def test_absence_counts_from_when_the_fate_became_unknown() -> None:
    assert Looking(since=-20).at(10).is_absent
    assert not Looking(since=-20).at(9).is_absent


def test_where_messages_are_shown_early_a_message_is_absent_when_it_is_quiet() -> None:
    one = Looking()
    one.rules.shows_messages_early = True
    assert not one.at(9).is_absent
    assert one.at(10).is_absent


def test_a_growing_answer_shows_that_messages_are_shown_early() -> None:
    one = Looking()
    one.at(0, "u: x")
    assert not one.rules.shows_messages_early
    one.at(1, "u: x", "a: y")
    assert one.rules.shows_messages_early
    other = Looking()
    other.at(0, "u: x", "a: yes")
    other.at(1, "u: x", "a: yes ")
    assert not other.rules.shows_messages_early


def test_absence_may_never_be_proven() -> None:
    one = Looking(recovery=RecoveryPolicy(quiet=10, deadline=60, absence=None))
    assert not one.at(1e6).is_absent
    one.rules.shows_messages_early = True
    assert one.at(1e6).is_absent


@pytest.mark.parametrize("history", [["u: somebody else"], ["u: x"], ["a: two"]])
def test_what_is_not_understood_is_no_absence(history: list[str]) -> None:
    one = Looking()
    one.at(0, *history)
    assert not one.at(1000, *history).is_absent


def test_what_nobody_can_explain_is_odd_once_it_has_rested() -> None:
    one = Looking()
    assert not one.at(0, "u: somebody else").is_odd
    assert one.at(10, "u: somebody else").is_odd
    assert not one.at(20).is_odd


def test_a_reading_that_holds_no_history_tells_of_the_job_alone() -> None:
    one = Looking()
    one.search.take(JobStatus("a", "r1", "j1"), 5)
    assert (one.search.job_id, one.search.sight, one.search.reply) == ("j1", None, None)
    assert one.at(6).job_id == "j1"
    assert one.at(7, job="j2").job_id == "j2"


def test_it_is_looked_at_the_cadence_and_just_when_something_is_due() -> None:
    one = Looking()
    one.at(0)
    assert one.search.next_look(0, None, 0.5) == 2
    assert one.search.next_look(9, None, 0.5) == 10  # the history will have rested
    assert one.search.next_look(29, None, 0.5) == 30  # it will be absent
    assert one.search.next_look(59, None, 0.5) == 60  # it is given up
    assert one.search.next_look(0, 7.0, 0.5) == 7  # as the service asks
    assert one.search.next_look(100, None, 0.5) == 102


def test_an_answer_found_in_time_may_still_prove_that_it_is_quiet() -> None:
    one = Looking()
    assert not one.search.is_too_late(59)
    assert one.search.is_too_late(60)
    one.at(59, "u: x", "a: yes")
    assert not one.search.is_too_late(60)
    assert one.search.is_too_late(70)


def test_patience_is_a_matter_of_good_readings_whatever_they_show() -> None:
    one = Looking()
    assert not one.search.is_patient
    assert not one.at(5, "u: x").is_patient
    assert not one.at(14, "u: x", "a: y").is_patient
    assert one.search.next_look(14, None, 0.5) == 15
    assert one.at(15, "u: x", "a: yes").is_patient


def test_pauses_grow_from_the_searchs_own_beginning_up_to_what_is_due() -> None:
    transcript, polling = Transcript({}), PollingPolicy(min_interval=2, max_interval=100, growth=0.5, jitter=0)
    rules = Rules(polling, RECOVERY, EventDecoder(), 1000)
    search = Search(transcript, transcript.say("x"), "", 100.0, rules=rules, polling=polling)
    assert search.next_look(100.0, None, 0.5) == 102.0
    search.take(JobStatus("a", "r1", history=chat("u: x")), 100.0)
    assert search.next_look(106.0, None, 0.5) == 109.0
    search.take(JobStatus("a", "r1", history=chat("u: x", "a: one")), 111.0)
    assert search.next_look(119.0, None, 0.5) == 121.0  # when that will have rested
