"""What a reading of a history proves of a message: by hand, and in some of the worlds of ``test_histories.py``."""

from __future__ import annotations

import pytest

from toolhouse_async._turn.heard import NOTHING_HEARD, Said, goes_on_from, is_same_text, is_shorter, key_of, squeezed
from toolhouse_async._turn.reading import Reply, Sight, fingerprint
from toolhouse_async._turn.transcript import Found, Transcript
from toolhouse_async._values.results import Message
from toolhouse_async._wire.entries import End

from .histories import THEIRS, Turn, check_known, check_own, check_read, check_unread, messages

WHOLE, HALF, UNSURE = (Turn("x", "ok", known) for known in ("whole", "half", "unsure"))
TAKEN, EMPTY = Turn("x", "", "taken"), Turn("", "", "unsure")


@pytest.mark.parametrize("course", [(WHOLE,), (HALF,), (UNSURE, UNSURE), (WHOLE, EMPTY), (WHOLE, TAKEN)], ids=str)
@pytest.mark.parametrize("ours", ["x", ""])
def test_what_a_reading_proves_in_a_small_world(course: tuple[Turn, ...], ours: str) -> None:
    assert sum(check_own(course, ours)) or not ours
    check_read(course, ours, THEIRS)


@pytest.mark.parametrize("course", [(), (WHOLE,), (UNSURE,)], ids=str)
@pytest.mark.parametrize("ours", ["x", ""])
def test_what_a_reading_proves_where_others_were_before(course: tuple[Turn, ...], ours: str) -> None:
    check_unread(course, ours)
    check_known(course, ours, None)
    check_known(course, ours, "ok")


@pytest.mark.parametrize(
    ("text", "partial", "goes_on", "is_same", "shorter"),
    [
        ("one two", "one", True, False, False),
        ("one\ntwo", "one t", True, False, False),
        ("one", "one ", True, True, False),
        ("on", "one", False, False, True),
        ("o\nn", "one", False, False, True),  # stored with white space of its own
        ("other", "one", False, False, False),
        ("", "", True, True, False),
    ],
)
def test_texts_are_compared_without_their_white_space(
    text: str, partial: str, goes_on: bool, is_same: bool, shorter: bool
) -> None:
    assert goes_on_from(text, partial) is goes_on
    assert is_same_text(text, partial) is is_same
    assert is_shorter(text, partial) is shorter


def chat(*entries: str) -> list[Message]:
    """Entries written as ``"u: words"``."""
    roles = {"u": "user", "a": "assistant", "t": "tool"}
    return messages(tuple((roles[entry[0]], entry[3:]) for entry in entries))


def said_after(transcript: Transcript, words: str | None, *before: tuple[str | None, str]) -> Said:
    for each, heard in before:
        said = transcript.say(each)
        said.is_certain = True
        transcript.hear(said, heard, whole=True)
    return transcript.say(words)


@pytest.mark.parametrize(
    ("entries", "reply"),
    [
        (["u: hi", "a: one"], Reply("one", End.WORDS, 1)),
        (["u: hi", "a: one", "t: x", "a: two"], Reply("onetwo", End.WORDS, 3)),
        (["u: hi", "a: one", "t: x"], Reply("one", End.TOOL, 2)),
        (["u: hi", "a: one", "t: x", "u: "], Reply("one", End.NOTHING, 3)),
        (["u: hi", "a: one", "t: x", "u: next"], Reply("one", End.NOTHING, 2)),  # somebody has gone on
        (["u: hi"], Reply("", End.NOTHING, 0)),
    ],
)
def test_the_reply_is_what_stands_behind_the_message(entries: list[str], reply: Reply) -> None:
    transcript = Transcript({})
    assert transcript.find(chat(*entries), said_after(transcript, "hi"), "") == Found(Sight.ARRIVED, reply)


@pytest.mark.parametrize("words", [None, ""])
def test_the_reply_to_a_message_without_words_is_what_was_not_heard_before_it(words: str | None) -> None:
    transcript = Transcript({})
    said = said_after(transcript, words, ("hi", "w ait"))
    for entries in (["u: hi", "a: wa it\n", "t: x", "u: ", "a: done"], ["u: hi", "a: wait", "t: x", "a: done"]):
        found = transcript.find(chat(*entries), said, "")
        assert found.sight is Sight.ARRIVED
        assert found.reply is not None
        assert (found.reply.text, found.reply.end) == ("done", End.WORDS)
    assert transcript.find(chat("u: hi", "a: wait", "u: "), said, "").sight is Sight.ARRIVED
    assert transcript.find(chat("u: hi", "a: wait", "t: x"), said, "").sight is Sight.ABSENT
    assert transcript.find(chat("u: hi", "a: wa"), said, "").sight is Sight.LAGS


def test_content_blocks_are_matched_by_their_text() -> None:
    transcript = Transcript({})
    thought = [{"type": "thinking", "text": "hm"}, {"type": "text", "text": "yes"}]
    history = [Message("user", [{"type": "text", "text": "hi"}], {}), Message("assistant", thought, {})]
    assert transcript.find(history, said_after(transcript, "hi"), "").reply == Reply("yes", End.WORDS, 1)


@pytest.mark.parametrize(
    ("words", "entries", "partial", "reply"),
    [
        ("3", ["u: 2", "a: two", "u: 3", "a: three"], "th", "three"),  # a window
        ("3", ["u: 2", "a: two", "u: 3", "a: three"], "x", "three"),  # said once alone: no earlier one can be meant
        ("3", ["a: three"], "three", "three"),  # its latest entry alone
        ("3", ["a: three"], "th", None),
        ("3", ["a: three"], "", None),
        ("2", ["u: 2", "a: two"], "two", "two"),  # the second of two windows of the same words
        ("2", ["u: 2", "a: two"], "", None),
        ("2", ["u: 2", "a: two"], "more", None),
        ("2", ["u: 1", "a: one", "u: 3", "a: three", "u: 2", "a: two"], "", None),
        ("3\n", ["u: 1", "a: one", "u: 2", "a: two", "u: 3", "a: three"], "th", "three"),  # stored in another form
        ("4", ["u: 1", "a: one", "u: 2", "a: two", "u: 3", "a: three"], "", None),
    ],
)
def test_an_answer_in_a_history_that_proves_nothing(
    words: str, entries: list[str], partial: str, reply: str | None
) -> None:
    transcript = Transcript({})
    found = transcript.find(chat(*entries), said_after(transcript, words, ("1", "one"), ("2", "two")), partial)
    assert found.sight is Sight.ODD
    assert (None if found.reply is None else found.reply.text) == reply


def test_what_stands_in_a_history_that_proves_nothing_may_have_come_before_the_resume() -> None:
    transcript = Transcript({})
    said = said_after(transcript, "", ("hi", "wait"))
    system = Message("system", "Be brief.", {})
    assert transcript.find([system, *chat("u: hi", "a: wait", "t: x")], said, "") == Found(Sight.ODD, None)
    found = transcript.find([system, *chat("u: hi", "a: wait", "t: x", "a: done")], said, "do")
    assert found.reply is not None
    assert (found.sight, found.reply.text) == (Sight.ODD, "done")


def test_how_often_each_message_was_accepted() -> None:
    transcript = Transcript({key_of("x"): 1})
    for words, is_certain in (("x", True), (None, True), ("y", False)):
        transcript.say(words).is_certain = is_certain
    counts, last = {key_of("x"): 2, key_of(""): 1}, transcript.latest
    assert transcript.counted(last) == (counts, [])
    assert transcript.counted(None) == (counts, [last])
    later = [transcript.say(words) for words in ("x", "z")]
    later[0].is_certain = True
    assert transcript.counted(later[1]) == (counts, [last, later[0]])
    assert Transcript(None).counted(None) == (None, ())


def test_what_was_heard_behind_the_last_message_with_words() -> None:
    transcript = Transcript({})
    assert transcript.heard_before(None) == NOTHING_HEARD
    assert Transcript({key_of("x"): 1}).heard_before(None) is None
    said_after(transcript, "", ("x", "a b"))
    said = transcript.latest
    assert said is not None
    transcript.hear(said, "c", whole=True)
    transcript.hear(said, "cd", whole=True)  # the latest counts
    tail = transcript.heard_before(None)
    assert tail is not None
    assert (tail.whole, tail.size) == (True, 4)
    assert tail.begins("abcd")
    assert not tail.begins("abc")
    assert not tail.begins("abcx")
    transcript.say("next")
    transcript.hear(said, "other", whole=True)  # of an earlier message nothing more is heard
    assert transcript.heard_before(transcript.latest) == tail
    assert transcript.heard_before(None) == NOTHING_HEARD._replace(whole=False)


def test_a_message_behind_an_answer_that_nobody_knows() -> None:
    """A process was killed while it was told the answer to "x"; the next one was, as it sent "y"."""
    transcript = Transcript({key_of("x"): 1})
    said = transcript.say("y")
    for entries, sight in (
        (["u: x", "a: one", "u: y"], Sight.ARRIVED),
        (["u: x", "a: one", "u: y", "a: two"], Sight.ARRIVED),
        (["u: x", "u: y"], Sight.ARRIVED),
        (["u: x", "a: one"], Sight.ABSENT),
        (["u: x"], Sight.ODD),  # it may lag behind the answer, and then behind this message too
        (["u: x", "a: one", "u: z"], Sight.ODD),
        (["u: z", "a: one", "u: y"], Sight.ODD),
        ([], Sight.LAGS),
    ):
        assert transcript.find(chat(*entries), said, "").sight is sight, entries


def test_a_message_that_was_not_accepted_is_forgotten() -> None:
    transcript = Transcript({})
    said = said_after(transcript, "y", ("x", "one"))
    assert transcript.has(said)
    transcript.take_back(said)
    transcript.take_back(said)
    assert not transcript.has(said)
    assert transcript.latest is not said


def test_a_run_of_others_is_read_once_before_anything_is_said() -> None:
    transcript = Transcript(None)
    transcript.saw([])
    assert transcript.heard_before(None) is None
    transcript.saw(chat("u: hi", "a: one"))
    said = transcript.say("x")
    for entries, sight in (
        (["u: hi", "a: one", "u: x"], Sight.ARRIVED),
        (["u: hi", "a: one"], Sight.ABSENT),
        (["u: hi"], Sight.LAGS),
        (["u: ho", "a: one"], Sight.ODD),
    ):
        assert transcript.find(chat(*entries), said, "").sight is sight


def test_what_was_seen_while_the_run_rested_stands_in_every_later_reading() -> None:
    transcript = Transcript({})
    said = said_after(transcript, "x", ("hi", "one"))
    transcript.saw(chat("u: hi", "a: one"))  # our message is not in it: it may lag
    assert transcript.find(chat("u: hi", "a: one"), said, "").sight is Sight.ABSENT
    transcript.saw(chat("u: hi", "a: one", "t: 7", "u: x"))
    assert transcript.find(chat("u: hi", "a: one", "t: 7", "u: x", "a: two"), said, "").sight is Sight.ARRIVED
    assert transcript.find(chat("u: hi", "a: one", "u: x"), said, "").sight is Sight.LAGS
    assert transcript.find(chat("u: hi", "a: one", "t: 8", "u: x"), said, "").sight is Sight.ODD


def test_what_stands_for_entries_is_all_of_them() -> None:
    one, two, three = (Message("user", "x", {"id": number}) for number in range(3))
    assert fingerprint([one, two]) == fingerprint([one, two])
    assert len({fingerprint(entries) for entries in ([one], [two], [one, two], [two, one], [one, two, three])}) == 5


def test_words_stand_for_themselves_in_any_process() -> None:
    assert key_of(None) == key_of("")
    assert key_of("x") != key_of("x\n")
    assert key_of("\ud800") == key_of("?")
    assert squeezed(" a\n b ") == "ab"


def test_what_was_heard_of_a_message_that_is_taken_back_is_forgotten() -> None:
    transcript = Transcript({})
    transcript.hear(transcript.say("x"), "o", whole=False)
    transcript.take_back(transcript.latest or Said(""))
    assert transcript.find(chat(), transcript.say("y"), "").sight is Sight.ABSENT


def test_where_words_belong_behind_a_message_of_unknown_fate_is_not_known() -> None:
    transcript = Transcript({})
    for words in ("x", ""):
        transcript.hear(transcript.say(words), "o", whole=True)
    assert transcript.find(chat("u: x", "a: oo"), transcript.say("y"), "").sight is Sight.ODD


def test_an_answer_to_a_resume_may_stand_in_one_entry_with_what_came_before() -> None:
    transcript = Transcript({})
    said = said_after(transcript, "", ("x", "one"))
    said.is_certain = True
    assert transcript.find(chat("u: x", "a: one two"), said, "") == (Sight.ARRIVED, Reply("two", End.WORDS, 1))
    assert transcript.find(chat("u: x", "a: o n e"), said, "").sight is Sight.ABSENT
