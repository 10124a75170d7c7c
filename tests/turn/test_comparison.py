from __future__ import annotations

from typing import Any

import pytest

from toolhouse_async._turn.comparison import Ended, Verdict, compare
from toolhouse_async._turn.reading import Reply
from toolhouse_async._wire.entries import End


def ended(text: str = "words", **more: Any) -> Ended:
    usual = {"proven": True, "strict": False, "open_call": False, "has_job": False}
    return Ended(text, **{**usual, **more})


def verdict(
    answer: Ended,
    text: str | None,
    end: End = End.WORDS,
    *,
    lags: bool = False,
    rested: bool = False,
    patient: bool = False,
) -> Any:
    reply = None if text is None else Reply(text, end, 1)
    return compare(answer, reply, lags=lags, rested=rested, patient=patient)


@pytest.mark.parametrize("end", [End.WORDS, End.NOTHING])
def test_a_proven_answer_is_whole_where_the_history_agrees(end: End) -> None:
    assert verdict(ended(), "words", end) is Verdict.SAME
    assert verdict(ended(), "wo rds\n", end) is Verdict.SAME


@pytest.mark.parametrize("answer", [ended(strict=True), ended(strict=True, proven=False)])
def test_where_words_must_be_found_the_history_must_have_rested(answer: Ended) -> None:
    assert verdict(answer, "words") is Verdict.AGAIN
    assert verdict(answer, "words", rested=True) is Verdict.SAME
    assert verdict(answer, "words", End.TOOL) is Verdict.AGAIN
    assert verdict(answer, "words", End.TOOL, rested=True) is Verdict.WAITS
    assert verdict(answer._replace(has_job=True), "words", End.TOOL, rested=True) is Verdict.SAME


def test_a_run_whose_history_ends_in_a_tools_result_waits() -> None:
    assert verdict(ended(), "words", End.TOOL) is Verdict.WAITS
    assert verdict(ended(open_call=True), "words", End.TOOL) is Verdict.WAITS
    assert verdict(ended(""), "", End.TOOL) is Verdict.WAITS


def test_a_call_without_a_result_is_given_time() -> None:
    assert verdict(ended(), "words", End.CALL) is Verdict.AGAIN
    assert verdict(ended(), "words", End.CALL, patient=True) is Verdict.SAME
    assert verdict(ended("", open_call=True), None) is Verdict.AGAIN
    assert verdict(ended("", open_call=True), None, patient=True) is Verdict.SAME
    assert verdict(ended(open_call=True), None) is Verdict.AGAIN
    unproven = ended(strict=True, proven=False)
    assert verdict(unproven, "words", End.CALL, rested=True, patient=True) is Verdict.DIFFERS


def test_a_history_that_lags_is_given_time() -> None:
    assert verdict(ended(), None) is Verdict.SAME
    assert verdict(ended(), "wo") is Verdict.AGAIN
    assert verdict(ended(), "wo", patient=True) is Verdict.SAME
    assert verdict(ended(strict=True), None) is Verdict.AGAIN
    assert verdict(ended(strict=True), None, patient=True) is Verdict.SAME
    assert verdict(ended(strict=True), "wo", patient=True) is Verdict.DIFFERS
    assert verdict(ended(strict=True, proven=False), None, patient=True) is Verdict.DIFFERS


@pytest.mark.parametrize("text", ["words and more", "others", "longer than it"])
@pytest.mark.parametrize("strict", [True, False])
def test_another_text_is_a_difference(text: str, strict: bool) -> None:
    assert verdict(ended(strict=strict), text) is Verdict.DIFFERS


def test_words_that_did_not_come_are_a_difference() -> None:
    assert verdict(ended(""), "words") is Verdict.DIFFERS
