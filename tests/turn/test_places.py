"""Where messages belong in a reading: resumes in a row, words said twice, and what others have said before."""

from __future__ import annotations

import pytest

from toolhouse_async import Message
from toolhouse_async._turn.heard import NOTHING_HEARD, NOTHING_YET, Said, key_of
from toolhouse_async._turn.reading import Sight
from toolhouse_async._turn.transcript import Transcript

from .test_transcript import chat, said_after

SYSTEM = Message("system", "Be brief.", {})


def heard_before_next(transcript: Transcript) -> tuple[int, bool]:
    heard = transcript.heard_before(None)
    assert heard is not None
    return heard.size, heard.whole


@pytest.mark.parametrize(
    ("before", "history"),
    [
        ([("x", "wait")], ["u: x", "a: wait"]),
        ([("x", "wait"), ("", "")], ["u: x", "a: wait", "u: "]),
        ([("x", "wait"), ("", ""), ("", "")], ["u: x", "a: wait", "u: ", "u: "]),
        ([("x", "wait"), ("", "more"), ("", "")], ["u: x", "a: wait", "u: ", "a: more", "u: "]),
        ([("x", "wait"), ("", "more"), ("", ""), ("", "")], ["u: x", "a: wait", "u: ", "a: more", "u: ", "u: "]),
    ],
)
def test_of_resumes_in_a_row_each_has_its_place(before: list[tuple[str | None, str]], history: list[str]) -> None:
    transcript = Transcript({})
    said = said_after(transcript, "", *before)
    assert transcript.find(chat(*history), said, "").sight is Sight.ABSENT
    assert transcript.find(chat(*history, "u: "), said, "").sight is Sight.ARRIVED
    found = transcript.find(chat(*history, "u: ", "a: done"), said, "")
    assert found.reply is not None
    assert (found.sight, found.reply.text) == (Sight.ARRIVED, "done")


def test_of_the_same_words_in_a_history_that_proves_nothing_the_last_are_meant() -> None:
    transcript = Transcript({})
    said = said_after(transcript, "x", ("x", "one"))
    found = transcript.find([SYSTEM, *chat("u: x", "a: one", "u: x", "a: two")], said, "tw")
    assert found.reply is not None
    assert (found.sight, found.reply.text) == (Sight.ODD, "two")
    found = transcript.find([SYSTEM, *chat("u: x", "a: two", "u: z", "a: three")], said, "tw")
    assert found.reply is not None
    assert found.reply.text == "two"
    found = transcript.find([SYSTEM, *chat("u: z", "a: one", "u: x", "a: two", "u: z")], said, "tw")
    assert found.reply is not None
    assert found.reply.text == "two"


def test_behind_an_answer_that_nobody_knows_a_message_may_lag() -> None:
    """Some of what was said before was said by a process that is gone."""
    transcript = Transcript({key_of("w"): 1, key_of("x"): 1})
    said = transcript.say("y")
    assert transcript.find(chat("u: w", "a: one", "u: x", "a: two"), said, "").sight is Sight.ABSENT
    assert transcript.find(chat("u: w", "a: one", "u: x"), said, "").sight is Sight.ODD
    heard = Transcript({key_of("x"): 1})
    said = said_after(heard, "y", ("z", "one"))
    assert heard.find(chat("u: x", "u: z", "a: one"), said, "").sight is Sight.ABSENT
    unheard = Transcript({key_of("x"): 1})
    unheard.say("z").is_certain = True
    said = unheard.say("y")
    assert unheard.find(chat("u: x", "a: one", "u: z"), said, "").sight is Sight.ODD


def test_whether_what_was_said_last_stands_last() -> None:
    transcript = Transcript({})
    assert not transcript.ends([])
    said_after(transcript, "y", ("x", "one"))
    assert transcript.ends(chat("u: x", "a: one", "u: y"))
    assert transcript.ends(chat("u: x", "a: one", "u: y", "a: two"))
    assert not transcript.ends(chat("u: x", "a: one"))
    assert not transcript.ends(chat("u: x", "a: one", "u: y", "u: z"))
    assert not transcript.ends(chat("u: x", "a: other", "u: y"))


def test_what_stands_last_was_said_last_whoever_has_said_it() -> None:
    history = chat("u: hi", "a: one", "u: go", "a: wait")
    transcript = Transcript.of_last(history)
    last = transcript.latest
    assert last is not None
    assert (last.key, last.is_certain, transcript.counted(None)) == (key_of("go"), True, (None, ()))
    found = transcript.find(history, last, "")
    assert found.reply is not None
    assert (found.sight, found.reply.text) == (Sight.ARRIVED, "wait")
    transcript.hear(last, "wait", whole=True)
    transcript.saw(history)
    said = transcript.say("y")
    assert transcript.find(history, said, "").sight is Sight.ABSENT
    assert transcript.find([*history, *chat("u: y")], said, "").sight is Sight.ARRIVED
    assert transcript.find(chat("u: ho", "a: one", "u: go", "a: wait"), said, "").sight is Sight.ODD
    silent = Transcript.of_last(chat("a: one"))
    assert silent.latest is not None
    found = silent.find(chat("a: one"), silent.latest, "")
    assert found.reply is not None
    assert (found.sight, found.reply.text) == (Sight.ARRIVED, "one")


def test_what_a_reading_shows_while_the_run_rests_was_heard() -> None:
    unheard = Transcript({})
    unheard.say("x").is_certain = True
    unheard.saw(chat("u: x", "a: o ne"))
    assert heard_before_next(unheard) == (3, True)
    half = Transcript({})
    half.hear(half.say("x"), "o", whole=False)
    half.saw(chat("u: x", "a: one"))
    assert heard_before_next(half) == (3, True)
    whole = Transcript({})
    said_after(whole, "y", ("x", "one"))
    whole.take_back(whole.latest or whole.say(""))
    whole.saw(chat("u: x", "a: one", "t: 7", "a: and more"))
    assert heard_before_next(whole) == (3, True)
    others = Transcript(None)
    others.saw(chat("u: hi", "a: one", "u: ho", "a: three"))
    assert heard_before_next(others) == (5, True)


def test_a_message_that_comes_late_stands_behind_the_latest() -> None:
    transcript = Transcript({})
    said_after(transcript, None, ("x", "one"))
    late, last = transcript.say("late"), transcript.say("y")
    last.is_certain = True
    transcript.hear(last, "two", whole=True)
    assert transcript.find_overtaken(chat("u: x", "a: one", "u: y", "a: two")) is None
    assert transcript.find_overtaken(chat("u: x", "a: one", "u: late")) is None
    assert transcript.find_overtaken(chat("u: late")) is None
    assert transcript.find_overtaken(chat("u: z", "a: one", "u: y", "a: two", "u: late")) is None
    found = transcript.find_overtaken(chat("u: x", "a: one", "u: y", "a: two", "u: late", "a: three"))
    assert found is late
    assert late.is_certain
    assert transcript.latest is late


def test_a_resume_that_was_not_accepted_is_forgotten_with_what_was_heard() -> None:
    transcript = Transcript({})
    resume = said_after(transcript, "", ("x", "one"))
    transcript.hear(resume, "two", whole=True)
    transcript.take_back(resume)
    transcript.say("y")
    assert heard_before_next(transcript) == (0, False)
    transcript.take_back(transcript.latest or resume)
    assert heard_before_next(transcript) == (3, True)
    assert Transcript({}).heard_before(None) == NOTHING_HEARD


def test_an_answer_begins_in_the_middle_of_an_entry() -> None:
    transcript = Transcript({})
    said = said_after(transcript, "", ("x", "one"))
    found = transcript.find(chat("u: x", "a: o n e  twelve", "a: three", "u: "), said, "")
    assert found.reply is not None
    assert found.reply.text == "twelvethree"


def test_behind_a_resume_of_which_nothing_was_heard_more_may_stand() -> None:
    transcript = Transcript({})
    said_after(transcript, "", ("x", "one")).is_certain = True
    said = transcript.say("y")
    for entries, sight in (
        (["u: x", "a: one", "u: ", "a: two", "u: y"], Sight.ARRIVED),
        (["u: x", "a: one", "u: y"], Sight.ARRIVED),
        (["u: x", "a: one", "u: ", "a: two"], Sight.ABSENT),
        (["u: x", "u: y"], Sight.ODD),
        (["u: x", "a: other", "u: y"], Sight.ODD),
    ):
        assert transcript.find(chat(*entries), said, "").sight is sight, entries


@pytest.mark.parametrize(
    ("prior", "entries", "sight"),
    [
        ({"x": 1}, ["u: x", "a: one", "u: ", "u: y"], Sight.ODD),  # nobody has said that
        ({"x": 1, "": 1}, ["u: x", "a: one", "u: ", "u: y"], Sight.ARRIVED),
        ({}, ["a: hello", "u: y"], Sight.ODD),
        ({"": 1}, ["a: hello", "u: y"], Sight.ARRIVED),
        ({"": 1}, ["u: y"], Sight.ARRIVED),
        ({"x": 1}, ["a: hello", "u: x", "u: y"], Sight.ODD),
    ],
)
def test_what_was_said_before_explains_what_stands_before(
    prior: dict[str, int], entries: list[str], sight: Sight
) -> None:
    transcript = Transcript({key_of(words): times for words, times in prior.items()})
    assert transcript.find(chat(*entries), transcript.say("y"), "").sight is sight


def sights(transcript: Transcript, said: Said, cases: list[tuple[list[str], Sight]]) -> None:
    for entries, sight in cases:
        assert transcript.find(chat(*entries), said, "").sight is sight, entries


def test_a_run_that_others_have_begun_is_understood_from_what_was_heard_first() -> None:
    transcript = Transcript(None)
    said = said_after(transcript, "y", ("x", "one"))
    cases = [
        (["u: o", "a: q", "u: x", "a: one", "u: y"], Sight.ARRIVED),
        (["u: x", "a: one", "u: y"], Sight.ARRIVED),
        (["u: o", "a: q", "u: x", "a: one"], Sight.ABSENT),
        (["u: o", "a: q"], Sight.LAGS),
        (["u: o", "a: q", "u: x", "a: o"], Sight.LAGS),
        (["u: x", "a: one", "u: x", "a: one", "u: y"], Sight.ODD),
    ]
    sights(transcript, said, cases)


@pytest.mark.parametrize("before", [[], [("x", "")], [("", "one")]])
def test_a_run_that_others_have_begun_is_not_understood_before_anything_was_heard(
    before: list[tuple[str | None, str]],
) -> None:
    transcript = Transcript(None)
    said = said_after(transcript, "y", *before)
    sights(transcript, said, [(["u: x", "a: one", "u: y"], Sight.ODD), (["u: x", "a: one"], Sight.ODD)])
    half = Transcript(None)
    half.hear(half.say("x"), "o", whole=False)
    sights(half, half.say("y"), [(["u: x", "a: one", "u: y"], Sight.ODD)])


def test_an_answer_that_is_not_all_there_lags_only_where_nothing_follows() -> None:
    transcript = Transcript({})
    said = said_after(transcript, "y", ("x", "one"))
    sights(transcript, said, [(["u: x", "a: o"], Sight.LAGS), (["u: x", "a: o", "u: y"], Sight.ODD)])
    tail = NOTHING_HEARD.followed_by("one", whole=True)
    later = Transcript({key_of("x"): 1}, tail)
    sights(later, later.say("y"), [(["u: x", "a: o"], Sight.LAGS), (["u: x", "a: o", "u: y"], Sight.ODD)])


def test_a_resume_behind_what_an_earlier_process_has_heard() -> None:
    transcript = Transcript({key_of("x"): 1}, NOTHING_HEARD.followed_by("one", whole=True))
    said = said_after(transcript, "y", ("", "two"))
    cases = [
        (["u: x", "a: one", "u: ", "a: two", "u: y"], Sight.ARRIVED),
        (["u: x", "a: one", "u: ", "a: two"], Sight.ABSENT),
        (["u: x", "a: one", "u: ", "a: tw"], Sight.LAGS),
        (["u: x", "a: one", "u: ", "a: six", "u: y"], Sight.ODD),
    ]
    sights(transcript, said, cases)


def test_words_that_were_heard_behind_half_an_answer_have_to_be_there() -> None:
    transcript = Transcript({})
    first = transcript.say("x")
    first.is_certain = True
    transcript.hear(first, "on", whole=False)
    resume = transcript.say("")
    resume.is_certain = True
    transcript.hear(resume, "two", whole=True)
    cases = [
        (["u: x", "a: one", "u: ", "a: two", "u: y"], Sight.ARRIVED),
        (["u: x", "a: on"], Sight.LAGS),
        (["u: x", "a: on", "u: y"], Sight.ODD),
    ]
    sights(transcript, transcript.say("y"), cases)


def test_where_words_behind_a_message_of_unknown_fate_belong_is_not_known_though_neither_is_there() -> None:
    transcript = Transcript({})
    for words in ("x", ""):
        transcript.hear(transcript.say(words), "o", whole=True)
    sights(transcript, transcript.say("y"), [([], Sight.ODD)])


@pytest.mark.parametrize("is_certain", [False, True])
def test_a_resume_that_was_accepted_may_be_recorded_in_words_of_the_services(is_certain: bool) -> None:
    transcript = Transcript({})
    said = said_after(transcript, "", ("x", "one"))
    said.is_certain = is_certain
    found = transcript.find(chat("u: x", "a: one", "u: continue", "a: two"), said, "")
    if not is_certain:
        assert found.sight is Sight.ODD
        return
    assert found.reply is not None
    assert (found.sight, found.reply.text) == (Sight.ARRIVED, "two")
    sights(transcript, said, [(["u: x", "a: one", "u: on", "u: and on"], Sight.ODD)])


def test_what_was_heard_in_several_rounds() -> None:
    heard = NOTHING_HEARD
    for words in ("a b", "", "cd", "ef"):
        heard = heard.followed_by(words, whole=True)
    assert (heard.size, len(heard.pieces)) == (6, 3)
    assert heard.begins("abcdef")
    assert heard.begins("abcdefgh")
    assert not heard.begins("abcdf")
    assert not heard.begins("abcde")
    assert NOTHING_YET.followed_by("ab", whole=True).followed_by("c d", whole=True).more == 4
