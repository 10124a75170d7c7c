"""What a reading of a history proves of a message, held to what is true in every small world."""

from __future__ import annotations

import pytest

from .histories import (
    ALIKE,
    COURSES,
    FIRST,
    SHORT,
    THEIRS,
    WORDS,
    Turn,
    View,
    check_elsewhere,
    check_known,
    check_own,
    check_read,
    check_unread,
)


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("ours", ["x", ""])
def test_a_run_of_ones_own(ours: str, first: Turn) -> None:
    proofs = [check_own(course, ours) for course in COURSES if course[0] == first]
    assert any(arrived for arrived, _ in proofs)
    assert any(absent for _, absent in proofs)


@pytest.mark.parametrize("ours", ["x", ""])
def test_a_run_that_another_process_began_with_a_message_of_unknown_fate(ours: str) -> None:
    courses = [course for course in COURSES if course[0] == Turn("x", "ok", "unsure") and len(course) > 1]
    proofs = [check_elsewhere(course, ours) for course in courses]
    assert any(arrived for arrived, _ in proofs)
    assert any(absent for _, absent in proofs)


@pytest.mark.parametrize("prefix", [THEIRS, ALIKE])
@pytest.mark.parametrize("ours", WORDS)
def test_a_run_of_others_that_was_read_before(ours: str, prefix: View) -> None:
    for course in SHORT:
        check_read(course, ours, prefix)


@pytest.mark.parametrize("ours", WORDS)
def test_a_run_of_others_that_was_not_read(ours: str) -> None:
    for course in SHORT:
        check_unread(course, ours)


@pytest.mark.parametrize("tail", ["ok", "ko", None])
@pytest.mark.parametrize("ours", WORDS)
def test_a_run_that_another_process_knew(ours: str, tail: str | None) -> None:
    for course in SHORT:
        check_known(course, ours, tail)
