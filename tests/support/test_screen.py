"""The terminal of the tests shows what a real one would, and knows what nobody should send it."""

from __future__ import annotations

import os
import sys

import pytest

from .screen import Screen, Terminal


def shown(*pieces: bytes, columns: int = 20) -> str:
    screen = Screen(columns)
    for piece in pieces:
        screen.feed(piece)
    return screen.text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\r\nb", "a\nb"),
        (b"abc\rx", "xbc"),
        (b"abc\x1b[2Dx", "axc"),
        (b"a\x1b[3Cb", "a   b"),
        (b"one\r\ntwo\x1b[A\rx", "xne\ntwo"),
        (b"one\r\ntwo\x1b[A\r\x1b[J", ""),
        (b"one\r\ntwo\x1b[A\x1b[Bx", "one\ntwox"),
        (b"abc\x1b[2D\x1b[Kx", "ax"),
        (b"abc\x1b[2Kx", "   x"),
        (b"\x1b[1;31mred\x1b[0m\x1b[?25l\x07", "red"),
        (b"ab\bx", "ax"),
        (b"x" * 21, "x" * 20 + "\nx"),
    ],
)
def test_it_shows_what_a_terminal_shows(data: bytes, expected: str) -> None:
    assert shown(data) == expected
    assert shown(*(bytes([each]) for each in data)) == expected


def test_characters_in_pieces_are_put_together() -> None:
    assert shown(*(bytes([each]) for each in "kůň ⧗".encode())) == "kůň ⧗"


@pytest.mark.parametrize(
    "data", [b"\x1b[2;5r", b"\x1b[?1049h", b"\x1b]0;title\x07", b"\x1bc", b"\x9b31m", b"\x00", "\u202e".encode()]
)
def test_what_nobody_should_send_is_an_error(data: bytes) -> None:
    with pytest.raises((AssertionError, UnicodeDecodeError)):
        shown(data + b"after")


def test_a_program_talks_to_it() -> None:
    code = "name = input('Name? '); print(f'Hello, {name}'); raise SystemExit(3)"
    with Terminal([sys.executable, "-c", code], dict(os.environ)) as terminal:
        terminal.until("Name?")
        assert terminal.is_cooked
        terminal.type("Ada\r")
        assert terminal.ended() == 3
        assert terminal.screen.text == "Name? Ada\nHello, Ada"


def test_a_program_that_ends_before_it_is_an_error() -> None:
    with (
        Terminal([sys.executable, "-c", "print('Bye')"], dict(os.environ)) as terminal,
        pytest.raises(AssertionError, match="the program ended"),
    ):
        terminal.until("Hello")
