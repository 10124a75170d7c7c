from __future__ import annotations

from toolhouse_async.web._openai.attempts import KEPT, Attempts

ONE, OTHER = Attempts.name(b"a", b"bc"), Attempts.name(b"ab", b"c")


def test_requests_are_told_apart() -> None:
    assert ONE != OTHER
    assert Attempts.name(b"a", b"bc") == ONE


def test_a_first_attempt_is_let_in() -> None:
    attempts = Attempts()
    assert attempts.admits(ONE, None)
    assert attempts.admits(ONE, "0")


def test_a_repetition_is_let_in_once_behind_a_refusal() -> None:
    attempts = Attempts()
    assert not attempts.admits(ONE, "1")
    attempts.refused(ONE)
    assert not attempts.admits(OTHER, "1")
    assert attempts.admits(ONE, "1")
    assert not attempts.admits(ONE, "2")


def test_the_same_from_another_client_takes_the_refusal_back() -> None:
    attempts = Attempts()
    attempts.refused(ONE)
    assert attempts.admits(ONE, "0")
    assert not attempts.admits(ONE, "1")


def test_what_is_remembered_is_bounded() -> None:
    attempts = Attempts()
    names = [Attempts.name(b"%d" % number) for number in range(KEPT + 1)]
    for name in names:
        attempts.refused(name)
    assert not attempts.admits(names[0], "1")
    assert all(attempts.admits(name, "1") for name in names[1:])
