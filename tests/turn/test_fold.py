from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import pytest

from toolhouse_async._turn.fold import Fold
from toolhouse_async._values.results import JobRecord
from toolhouse_async.events import (
    ErrorEvent,
    Event,
    JobFinished,
    JobStarted,
    MalformedLine,
    TextDelta,
    ToolCall,
    ToolResult,
    TurnStarted,
    UnknownEvent,
)


def add(fold: Fold, events: Iterable[Event]) -> None:
    for event in events:
        if type(event) is TextDelta:
            fold.say(event.text)
        else:
            fold.add(event)


def folded(events: Iterable[Event]) -> Fold:
    fold = Fold()
    add(fold, events)
    return fold


def test_an_empty_turn() -> None:
    result = Fold().result("agent", None)
    assert (result.agent_id, result.run_id, result.text, result.tool_calls) == ("agent", None, "", ())
    assert (result.jobs, result.status, result.token, result.recovered) == ((), "completed", None, False)
    assert (result.unknown, result.malformed, result.rounds) == (0, 0, ("",))


def test_words_of_all_rounds_are_put_together() -> None:
    fold = folded([TurnStarted("agent", "run"), TextDelta("a"), TextDelta("b")])
    assert fold.round_text == "ab"
    fold.next_round()
    assert fold.round_text == ""
    add(fold, [TextDelta("c")])
    add(fold, [TextDelta("d")])
    result = fold.result("agent", "run")
    assert result.text == "abcd"
    assert result.rounds == ("ab", "cd")


def test_history_may_replace_a_rounds_words() -> None:
    fold = folded([TextDelta("a")])
    fold.next_round()
    add(fold, [TextDelta("wrong")])
    fold.heal("right")
    add(fold, [TextDelta("!")])
    assert fold.result("agent", "run").text == "aright!"


def test_many_events_take_no_more_memory_than_their_words() -> None:
    text = [TextDelta("ab")]
    fold = Fold()
    tracemalloc.start()
    try:
        for number in range(50_000):
            text[0].text = f"{number % 100:02d}"
            add(fold, text)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(fold.round_text) == 100_000
    assert size < 250_000


def test_a_result_without_a_call_is_evidence_of_one() -> None:
    assert folded([ToolResult(None, "f", "x")]).round_has_call
    assert not folded([TextDelta("x")]).round_has_call


@pytest.mark.parametrize(
    ("events", "unanswered"),
    [
        ([], False),
        ([ToolCall("1", "f")], True),
        ([ToolCall(None, "f")], True),
        ([ToolCall("1", "f"), ToolResult("1", None, "x")], False),
        ([ToolCall("1", "f"), TextDelta("x")], False),
        ([ToolCall("1", "f"), UnknownEvent(None, 1)], False),
        ([TextDelta("x"), ToolCall("1", "f")], True),
        ([ToolResult("1", None, "x"), ToolCall("1", "f")], False),
        ([ToolCall("1", "f"), ToolResult("1", None, "x"), ToolCall("1", "f")], True),
        ([ToolCall("1", "f"), ToolCall("1", "f", {"a": 1})], True),
    ],
)
def test_a_last_call_without_result_is_noticed(events: list[Event], unanswered: bool) -> None:
    assert folded(events).unanswered_call is unanswered


def test_the_first_error_counts() -> None:
    fold = folded([ErrorEvent("one"), ErrorEvent("two"), TextDelta("x")])
    assert fold.error == ErrorEvent("one")


def test_unknown_and_malformed_are_counted() -> None:
    fold = folded([UnknownEvent("x", {}), MalformedLine(b"{", 1, "why"), UnknownEvent(None, 1), JobStarted("j")])
    add(fold, [JobFinished("j", 1.0, 2)])
    fold.jobs.append(JobRecord("j", 1.0, 2))
    fold.recovered = 1
    result = fold.result("a", "r", status="background")
    assert (result.unknown, result.malformed, result.recovered) == (2, 1, True)
    assert result.jobs == (JobRecord("j", 1.0, 2),)
    assert result.status == "background"


def test_what_came_twice_is_counted_twice() -> None:
    fold = Fold()
    fold.take([], [MalformedLine(b"", 1, "no JSON"), MalformedLine(b"", 2, "no JSON")], 0, ends_in_tools=False)
    for _ in range(2):
        fold.heal("x")
        fold.next_round()
    result = fold.result("a", "r")
    assert (result.malformed, result.recovered) == (2, 2)
