from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterable

import pytest

from toolhouse_async._turn.fold import Fold
from toolhouse_async._values.results import JobRecord, ToolExchange
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
            fold.take([event.text], (), ends_in_words=True)
        else:
            fold.take([], [event], ends_in_words=False)


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


def test_a_million_events_take_no_more_memory_than_their_words() -> None:
    text = [TextDelta("ab")]
    fold = Fold()
    tracemalloc.start()
    try:
        for number in range(200_000):
            text[0].text = f"{number % 100:02d}"
            add(fold, text)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(fold.round_text) == 400_000
    assert size < 1_000_000


def test_calls_and_results_are_paired_by_id() -> None:
    first, second = ToolCall("1", "f", {}), ToolCall("2", "g", {})
    late, early = ToolResult("1", None, "x"), ToolResult("2", None, "y")
    fold = folded([first, second, early, late])
    assert fold.result("a", "r").tool_calls == (ToolExchange(first, late), ToolExchange(second, early))


def test_a_call_without_result_has_none() -> None:
    call = ToolCall("1", "f", {})
    assert folded([call]).result("a", "r").tool_calls == (ToolExchange(call, None),)


def test_results_without_id_answer_the_oldest_open_call() -> None:
    calls = [ToolCall(None, "f", 1), ToolCall(None, "g", 2), ToolCall("3", "f", 3)]
    unnamed, named, later = ToolResult(None, None, "x"), ToolResult(None, "f", "y"), ToolResult(None, "g", "z")
    fold = folded([*calls, unnamed, named, later])
    assert [exchange.result for exchange in fold.result("a", "r").tool_calls] == [unnamed, later, named]


def test_a_result_without_a_call_is_kept() -> None:
    by_id, by_name, bare = ToolResult("9", "f", "x"), ToolResult(None, "g", "y"), ToolResult(None, None, "z")
    exchanges = folded([by_id, by_name, bare]).result("a", "r").tool_calls
    assert exchanges == (
        ToolExchange(ToolCall("9", "f"), by_id),
        ToolExchange(ToolCall(None, "g"), by_name),
        ToolExchange(ToolCall(None, ""), bare),
    )


def test_a_call_that_is_repeated_with_its_arguments_is_one_call() -> None:
    result = ToolResult("1", None, "x")
    announced, complete = ToolCall("1", "f", None), ToolCall("1", "f", {"a": 1})
    assert folded([announced, complete]).result("a", "r").tool_calls == (ToolExchange(complete),)
    assert folded([result, complete]).result("a", "r").tool_calls == (ToolExchange(complete, result),)


def calls_of(fold: Fold) -> list[tuple[object, object]]:
    exchanges = fold.result("a", "r").tool_calls
    return [(each.call.arguments, each.result and each.result.content) for each in exchanges]


def test_an_id_that_comes_again_after_its_result_means_a_new_call() -> None:
    again = [ToolCall("0", "f", 1), ToolResult("0", None, "x"), ToolCall("0", "f", 2), ToolResult("0", "f", "y")]
    assert calls_of(folded(again)) == [(1, "x"), (2, "y")]
    assert calls_of(folded(again[:3])) == [(1, "x"), (2, None)]
    assert folded(again[:3]).unanswered_call


def test_an_id_that_comes_again_in_the_next_round_means_a_new_call() -> None:
    fold = folded([ToolCall("0", "f", 1)])
    fold.next_round()
    assert not fold.round_has_call
    add(fold, [ToolCall("0", "f", 2), ToolResult("0", None, "y")])
    assert fold.round_has_call
    assert calls_of(fold) == [(1, None), (2, "y")]
    add(fold, [ToolResult("0", None, "late")])
    assert calls_of(fold) == [(1, "late"), (2, "y")]


def test_one_id_for_tools_of_two_names_means_two_calls() -> None:
    fold = folded([ToolCall("0", "f", 1), ToolCall("0", "g", 2), ToolResult("0", "f", "x"), ToolResult("0", None, "y")])
    assert calls_of(fold) == [(1, "x"), (2, "y")]
    fold = folded([ToolCall("0", "f", 1), ToolCall("0", "g", 2), ToolResult("0", "other", "y")])
    assert calls_of(fold) == [(1, None), (2, "y")]


def test_a_further_result_of_a_call_replaces_the_one_before() -> None:
    fold = folded([ToolCall("0", "f", 1), ToolResult("0", None, "begun")])
    fold.next_round()
    add(fold, [ToolResult("0", None, "done")])
    assert calls_of(fold) == [(1, "done")]
    assert calls_of(folded([ToolResult("9", "f", 1), ToolResult("9", "f", 2)])) == [(None, 2)]


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


def test_time_is_linear_in_the_number_of_calls() -> None:
    def seconds(count: int) -> float:
        calls: list[Event] = [ToolCall(None, "f") for _ in range(count)]
        results: list[Event] = [ToolResult(None, "f", 1) for _ in range(count)]
        strangers: list[Event] = [ToolResult(None, "g", 1) for _ in range(count)]
        started = time.process_time()
        exchanges = folded([*calls, *strangers, *results]).result("a", "r").tool_calls
        spent = time.process_time() - started
        assert len(exchanges) == 2 * count
        assert all(exchange.result is not None for exchange in exchanges)
        return spent

    small = min(seconds(1_000) for _ in range(3))
    assert any(seconds(16_000) < 16 * 6 * max(small, 0.001) for _ in range(3))  # quadratic: 256 times


def test_results_without_an_id_answer_calls_that_come_later_too() -> None:
    one, two, three = ToolCall("1", "f"), ToolCall("2", "f"), ToolCall(None, "g")
    results = [ToolResult(None, "f", "a"), ToolResult(None, None, "c"), ToolResult(None, "f", "b")]
    fold = folded([one, results[0], three, two, results[1], results[2]])
    assert fold.result("a", "r").tool_calls == (
        ToolExchange(one, results[0]),
        ToolExchange(three, results[1]),
        ToolExchange(two, results[2]),
    )
