"""Long texts are cut so that people can read the pieces, and so that the pieces of a growing text stay."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_bot import SlackChat, escaped
from splitting import is_visible, split, utf16

LIMIT = 100
WRITTEN = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
        st.sampled_from(["```python\n", "\n```\n", "\n\n", "\n", "x = 1\n", "word " * 10, "\N{GRINNING FACE}" * 40]),
    ),
    max_size=20,
).map("".join)


def size(text: str) -> int:
    return sum(map(utf16, text))


@settings(max_examples=50)
@given(WRITTEN)
def test_every_piece_has_room_and_says_something(text: str) -> None:
    pieces = split(text, LIMIT)
    assert all(size(piece) <= LIMIT and is_visible(piece) for piece in pieces)


@settings(max_examples=50)
@given(WRITTEN)
def test_nothing_is_lost(text: str) -> None:
    def letters_of(text: str) -> list[str]:
        return [character for character in text if character.isalnum() and character != "p" and is_visible(character)]

    letters, found = letters_of(text), letters_of("".join(split(text, LIMIT)))
    if "`" not in text:
        assert found == letters
    else:
        assert len(found) >= len(letters)  # the first line of a block of code is said again


@settings(max_examples=50)
@given(WRITTEN, st.integers(0, 500))
def test_the_pieces_of_a_growing_text_stay(text: str, length: int) -> None:
    earlier, later = split(text[:length], LIMIT), split(text, LIMIT)
    stays = earlier[:-1]
    assert later[: len(stays)] == stays


@settings(max_examples=50)
@given(st.text(st.sampled_from("\N{GRINNING FACE}\N{GREEK SMALL LETTER ALPHA}\u0301x"), min_size=200))
def test_characters_stay_whole(text: str) -> None:
    for piece in split(text, LIMIT):
        piece.encode("utf-16")  # which half a character could not
        assert piece == text[: len(piece)]
        text = text[len(piece) :]


@pytest.mark.parametrize(
    "character",
    ["e\u0301", "\N{THUMBS UP SIGN}\U0001f3fd", "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}", "\N{HEAVY BLACK HEART}\ufe0f"],
    ids=["accent", "skin", "joined", "variant"],
)
def test_characters_of_several_stay_together(character: str) -> None:
    for start in range(len(character) + 1):
        pieces = split("x" * start + character * 200, LIMIT)
        assert all(piece.lstrip("x").replace(character, "") == "" for piece in pieces)


@pytest.mark.parametrize(
    ("between", "cut"), [("\n\n", "\n\n"), ("\n", "\n"), (" ", " ")], ids=["paragraphs", "lines", "words"]
)
def test_where_a_text_is_cut(between: str, cut: str) -> None:
    text = between.join(["a" * 30] * 10)
    pieces = split(text, LIMIT)
    assert len(pieces) > 1
    assert all(set(piece.split(cut)) == {"a" * 30} for piece in pieces)


def test_code_stays_whole_where_it_can() -> None:
    code = "```python\n" + "x = 1\n" * 10 + "```"
    first, second, *_ = split("word " * 8 + "\n" + code + "\nand so on " * 5, LIMIT)
    assert first == ("word " * 8).rstrip()
    assert second.startswith(code)


def test_code_that_is_too_long_is_fenced_in_every_piece() -> None:
    pieces = split("```python\n" + "".join(f"line{number}\n\n" for number in range(40)) + "```\nDone.", LIMIT)
    assert len(pieces) > 3
    assert all(piece.startswith("```python\nline") for piece in pieces[:-1])
    assert all(piece.count("```") == 2 for piece in pieces)
    assert pieces[-1].endswith("Done.")


def test_a_fence_that_is_still_open_is_closed() -> None:
    assert split("```\nx", LIMIT) == ["```\nx\n```"]
    assert split("text", LIMIT) == ["text"]
    assert split("", LIMIT) == split(" \n", LIMIT) == []


@settings(max_examples=50)
@given(st.text("&<>x\N{GRINNING FACE} ", min_size=200, max_size=500))
def test_what_slack_escapes_counts_as_it_is_sent(text: str) -> None:
    chat = SlackChat(None, "slack:C1:1.1")  # type: ignore[arg-type]
    assert all(size(escaped(piece)) <= LIMIT for piece in split(text, LIMIT, chat.cost))


@pytest.mark.parametrize("text", ["", " \n", "\u200b", "\ufeff \u200e", "\u2800", "\u3164\n"])
def test_what_nobody_sees_is_no_piece(text: str) -> None:
    assert split(text, LIMIT) == []
    assert split(f"{text}x", LIMIT) == [f"{text}x"]
