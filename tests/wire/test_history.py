from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given

from tests.wire.strategies import json_values
from toolhouse_async._results import Message
from toolhouse_async._wire.entries import End
from toolhouse_async._wire.history import (
    Place,
    Reply,
    goes_on_from,
    has_arrived,
    is_same_text,
    is_shorter,
    parse_history,
)
from toolhouse_async._wire.history import find_reply as find
from toolhouse_async.errors import UnexpectedContentError


def find_reply(entries: Sequence[Message], place: Place, partial: str, *, open_end: bool = False) -> str | None:
    """The text of an answer that may be whole."""
    found = find(entries, place, partial)
    if found is None or not found.text:
        return None
    is_whole = goes_on_from(found.text, partial) if open_end else found.end is End.WORDS
    return found.text if is_whole else None


def history(*entries: str) -> tuple[Message, ...]:
    """Entries written as ``"user: words"``; ``a`` is short for assistant."""
    roles = {"u": "user", "a": "assistant", "t": "tool"}
    pairs = [entry.partition(": ")[::2] for entry in entries]
    return parse_history(json.dumps([{"role": roles[role], "content": words} for role, words in pairs]).encode())


def after(words: str | None, before: tuple[Message, ...]) -> Place:
    """The place of a message that is sent right after the history was read."""
    return Place(words, len(before), before[-1] if before else None)


def test_a_history_is_read() -> None:
    entries = parse_history(b'[{"role": "user", "content": "hi", "id": 7}, {"role": "assistant", "content": []}]')
    assert [(entry.role, entry.content) for entry in entries] == [("user", "hi"), ("assistant", [])]
    assert entries[0].raw == {"role": "user", "content": "hi", "id": 7}
    assert parse_history(b"[]") == ()
    assert parse_history(b"\xef\xbb\xbf[]") == ()


def test_odd_entries_are_kept() -> None:
    entries = parse_history(b'["words", {"role": 5}, null, {"role": "tool", "content": {"x": 1}}]')
    assert [(entry.role, entry.content) for entry in entries] == [
        ("", "words"),
        ("", None),
        ("", None),
        ("tool", {"x": 1}),
    ]
    assert entries[1].raw == {"role": 5}


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error": "x"}', b"null", b'"[]"', b"[", b"5"])
def test_what_is_not_a_json_array_is_refused(body: bytes) -> None:
    with pytest.raises(UnexpectedContentError, match="history is not") as caught:
        parse_history(body)
    assert caught.value.safe_to_retry is True


@given(json_values)
def test_any_array_is_read(value: Any) -> None:
    entries = parse_history(json.dumps([value]).encode())
    assert len(entries) == 1
    assert isinstance(entries[0].text, str)
    assert entries[0].raw == value


# --- where the length before the message is known


def test_the_reply_is_what_stands_after_the_known_length() -> None:
    before = history("u: hi", "a: hello")
    now = history("u: hi", "a: hello", "u: more", "a: one", "t: x", "a: two")
    place = after("more", before)
    assert find(now, place, "") == Reply("onetwo", End.WORDS, 3)
    assert find_reply(now, place, "") == "onetwo"


def test_words_said_before_are_told_apart_by_the_length() -> None:
    before = history("u: hi", "a: old")
    place = after("hi", before)
    assert find_reply(before, place, "") is None
    assert find_reply(before, place, "o") is None
    assert find_reply(history("u: hi", "a: old", "u: hi"), place, "") is None
    assert find_reply(history("u: hi", "a: old", "u: hi", "a: new"), place, "") == "new"


def test_the_first_message_of_a_run() -> None:
    place = Place("hi", length=0, repeated=False)
    assert find_reply((), place, "") is None
    assert find_reply(history("u: hi"), place, "") is None
    assert find_reply(history("u: hi", "a: hello"), place, "") == "hello"
    assert find_reply(history("u: hi", "a: hello", "u: hi", "a: again"), place, "") == "hello"


@pytest.mark.parametrize("words", [None, ""])
def test_an_empty_message_may_be_recorded_or_not(words: str | None) -> None:
    before = history("u: hi", "a: wait")
    place = after(words, before)
    assert find_reply(history("u: hi", "a: wait", "a: done"), place, "") == "done"
    assert find_reply(history("u: hi", "a: wait", "u: ", "a: done"), place, "") == "done"
    assert find_reply(history("u: hi", "a: wait"), place, "") is None


@pytest.mark.parametrize("words", [None, ""])
def test_an_empty_message_may_be_recorded_in_words_of_the_services_own(words: str | None) -> None:
    """A sample of the documents has a history that begins with a user entry that nobody sent."""
    place = Place(words, length=0, repeated=False)
    assert find_reply(history("u: Start the workflow.", "a: hello"), place, "") == "hello"
    assert find_reply(history("u: Start.", "a: hello", "u: next", "a: later"), place, "") == "hello"
    assert find_reply(history("u: Start."), place, "") is None


def test_somebody_elses_message_is_not_ours() -> None:
    place = after("mine", history("u: hi", "a: hello"))
    theirs = history("u: hi", "a: hello", "u: theirs", "a: for them")
    assert find_reply(theirs, place, "") is None
    assert find_reply((*theirs, *history("u: mine", "a: for me")), place, "") == "for me"


def test_the_reply_ends_where_the_next_message_begins() -> None:
    place = after("mine", ())
    assert find_reply(history("u: mine", "a: one", "u: other", "a: two"), place, "") == "one"


def test_an_answer_that_already_stands_before_the_known_length_is_never_ours() -> None:
    before = history("u: hi", "a: old")
    place = after("hi", before)
    assert find_reply(before, place, "old", open_end=True) in (None, "")


# --- where it is not known, or no longer fits


def test_without_a_length_the_last_equal_message_counts() -> None:
    entries = history("u: hi", "a: old", "u: hi", "a: new")
    assert find_reply(entries, Place("hi"), "n") == "new"
    assert find_reply(entries, Place("absent"), "n") is None
    assert find(entries, Place("absent"), "n") is None


def test_an_empty_message_is_no_end_of_an_answer() -> None:
    place = Place("hi", length=0)
    resumed = history("u: hi", "a: one", "t: x", "u: ", "a: two", "u: next", "a: three")
    assert find(resumed, place, "") == Reply("onetwo", End.WORDS, 4)
    assert find(resumed[:4], place, "") == Reply("one", End.NOTHING, 3)


def test_a_tools_result_stands_last_only_where_nobody_has_gone_on() -> None:
    place = Place("hi", length=0)
    entries = history("u: hi", "a: one", "t: x", "u: next")
    assert find(entries[:3], place, "") == Reply("one", End.TOOL, 2)
    assert find(entries, place, "") == Reply("one", End.NOTHING, 2)


@pytest.mark.parametrize(
    ("text", "partial", "goes_on", "is_same", "shorter"),
    [
        ("one two", "one", True, False, False),
        ("one\ntwo", "one t", True, False, False),
        ("one", "one ", True, True, False),
        ("on", "one", False, False, True),
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


@pytest.mark.parametrize(
    ("partial", "found"), [("", None), ("x", None), ("ol", "old"), ("old", "old"), ("older", None)]
)
def test_where_words_may_be_repeated_the_partial_text_must_be_a_prefix(partial: str, found: str | None) -> None:
    entries = history("u: hi", "a: old")
    assert find_reply(entries, Place("hi"), partial) == found
    assert find_reply(entries, Place("hi", repeated=False), partial) == "old"


def test_a_history_that_was_shortened_is_not_counted_in() -> None:
    before = history("u: 1", "a: one", "u: 2", "a: two")
    place = after("3", before)
    shortened = history("u: 2", "a: two", "u: 3", "a: three")
    assert find_reply(shortened, place, "th") == "three"
    assert find_reply(shortened, place, "") is None
    assert find_reply(history("u: 3", "a: three"), place, "three") == "three"
    assert find_reply(history("a: two"), place, "") is None


def test_repeated_words_in_a_shortened_history() -> None:
    before = history("u: 1", "a: one", "u: again", "a: two")
    place = after("again", before)
    assert find_reply(history("u: again", "a: two"), place, "") is None
    assert find_reply(history("u: again", "a: two"), place, "", open_end=True) is None
    assert find_reply(history("u: again", "a: two"), place, "x", open_end=True) is None


# --- what is accepted as an answer


@pytest.mark.parametrize(
    "entries",
    [
        ["u: hi"],
        ["u: hi", "t: x"],
        ["u: hi", "a: "],
        ["u: hi", "a: said", "t: x"],
        ["u: hi", "a: said", "a: "],
    ],
)
def test_an_answer_ends_in_the_workers_words(entries: list[str]) -> None:
    assert find_reply(history(*entries), after("hi", ()), "") is None


def test_an_open_end_is_accepted_where_a_job_followed() -> None:
    place = after("hi", ())
    entries = history("u: hi", "a: starting", "t: job output")
    assert find_reply(entries, place, "start", open_end=True) == "starting"
    assert find_reply(history("u: hi", "t: job output"), place, "", open_end=True) is None
    assert find_reply(entries, place, "else", open_end=True) is None


def test_content_blocks_are_matched_by_their_text() -> None:
    entries = parse_history(
        json.dumps(
            [
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {"role": "assistant", "content": [{"type": "thinking", "text": "hm"}, {"type": "text", "text": "yes"}]},
            ]
        ).encode()
    )
    assert find_reply(entries, Place("hi", repeated=False), "") == "yes"


# --- whether a message of unknown fate arrived


@pytest.mark.parametrize(
    ("now", "arrived"), [([], False), (["u: hi"], True), (["u: other", "a: x"], False), (["a: x"], False)]
)
def test_after_a_known_length_a_message_is_there_or_not(now: list[str], arrived: bool) -> None:
    before = history("u: hi", "a: old")
    assert has_arrived((*before, *history(*now)), after("hi", before)) is arrived


@pytest.mark.parametrize(("now", "arrived"), [([], False), (["u: "], True), (["a: x"], True), (["u: Start."], True)])
def test_any_new_entry_shows_that_an_empty_message_arrived(now: list[str], arrived: bool) -> None:
    before = history("u: hi", "a: old")
    assert has_arrived((*before, *history(*now)), after(None, before)) is arrived


@pytest.mark.parametrize(("said_before", "arrived"), [(None, None), (0, True), (1, True), (2, False)])
def test_without_a_length_equal_words_are_counted(said_before: int | None, arrived: bool | None) -> None:
    entries = history("u: hi", "a: old", "u: hi")
    assert has_arrived(entries, Place("hi", said_before=said_before)) is arrived
    assert has_arrived(entries, Place("absent", said_before=said_before)) is False
    assert has_arrived(entries, Place("", said_before=said_before)) is None
