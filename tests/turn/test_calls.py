from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import product

from toolhouse_async._turn.calls import Calls
from toolhouse_async._values.results import ToolExchange
from toolhouse_async.events import ToolCall, ToolResult


def taken(events: Iterable[ToolCall | ToolResult]) -> Calls:
    calls = Calls()
    calls.take(events)
    return calls


def test_calls_and_results_are_paired_by_id() -> None:
    first, second = ToolCall("1", "f", {}), ToolCall("2", "g", {})
    late, early = ToolResult("1", None, "x"), ToolResult("2", None, "y")
    calls = taken([first, second, early, late])
    assert calls.exchanges() == (ToolExchange(first, late), ToolExchange(second, early))


def test_a_call_without_result_has_none() -> None:
    call = ToolCall("1", "f", {})
    assert taken([call]).exchanges() == (ToolExchange(call, None),)


def test_results_without_id_answer_the_oldest_open_call() -> None:
    three = [ToolCall(None, "f", 1), ToolCall(None, "g", 2), ToolCall("3", "f", 3)]
    unnamed, named, later = ToolResult(None, None, "x"), ToolResult(None, "f", "y"), ToolResult(None, "g", "z")
    calls = taken([*three, unnamed, named, later])
    assert [exchange.result for exchange in calls.exchanges()] == [unnamed, later, named]


def test_a_result_without_a_call_is_kept() -> None:
    by_id, by_name, bare = ToolResult("9", "f", "x"), ToolResult(None, "g", "y"), ToolResult(None, None, "z")
    exchanges = taken([by_id, by_name, bare]).exchanges()
    assert exchanges == (
        ToolExchange(ToolCall("9", "f"), by_id),
        ToolExchange(ToolCall(None, "g"), by_name),
        ToolExchange(ToolCall(None, ""), bare),
    )


def test_a_call_that_is_repeated_with_its_arguments_is_one_call() -> None:
    result = ToolResult("1", None, "x")
    announced, complete = ToolCall("1", "f", None), ToolCall("1", "f", {"a": 1})
    assert taken([announced, complete]).exchanges() == (ToolExchange(complete),)
    assert taken([result, complete]).exchanges() == (ToolExchange(complete, result),)


def told(calls: Calls) -> list[tuple[object, object]]:
    exchanges = calls.exchanges()
    return [(each.call.arguments, each.result and each.result.content) for each in exchanges]


def test_an_id_that_comes_again_after_its_result_means_a_new_call() -> None:
    again = [ToolCall("0", "f", 1), ToolResult("0", None, "x"), ToolCall("0", "f", 2), ToolResult("0", "f", "y")]
    assert told(taken(again)) == [(1, "x"), (2, "y")]
    assert told(taken(again[:3])) == [(1, "x"), (2, None)]


def test_an_id_that_comes_again_in_the_next_round_means_a_new_call() -> None:
    calls = taken([ToolCall("0", "f", 1)])
    calls.next_round()
    assert not calls.has_new
    calls.take([ToolCall("0", "f", 2), ToolResult("0", None, "y")])
    assert calls.has_new
    assert told(calls) == [(1, None), (2, "y")]
    calls.take([ToolResult("0", None, "late")])
    assert told(calls) == [(1, "late"), (2, "y")]


def test_one_id_for_tools_of_two_names_means_two_calls() -> None:
    calls = taken([ToolCall("0", "f", 1), ToolCall("0", "g", 2), ToolResult("0", "f", "x"), ToolResult("0", None, "y")])
    assert told(calls) == [(1, "x"), (2, "y")]
    calls = taken([ToolCall("0", "f", 1), ToolCall("0", "g", 2), ToolResult("0", "other", "y")])
    assert told(calls) == [(1, None), (2, "y")]


def test_a_further_result_of_a_call_replaces_the_one_before() -> None:
    calls = taken([ToolCall("0", "f", 1), ToolResult("0", None, "begun")])
    calls.next_round()
    calls.take([ToolResult("0", None, "done")])
    assert told(calls) == [(1, "done")]
    assert told(taken([ToolResult("9", "f", 1), ToolResult("9", "f", 2)])) == [(None, 2)]


def test_time_is_linear_in_the_number_of_calls() -> None:
    def seconds(count: int) -> float:
        calls = [ToolCall(None, "f") for _ in range(count)]
        results = [ToolResult(None, "f", 1) for _ in range(count)]
        strangers = [ToolResult(None, "g", 1) for _ in range(count)]
        started = time.process_time()
        exchanges = taken([*calls, *strangers, *results]).exchanges()
        spent = time.process_time() - started
        assert len(exchanges) == 2 * count
        assert all(exchange.result is not None for exchange in exchanges)
        return spent

    small = min(seconds(1_000) for _ in range(3))
    assert any(seconds(16_000) < 16 * 6 * max(small, 0.001) for _ in range(3))  # quadratic: 256 times


def test_results_without_an_id_answer_calls_that_come_later_too() -> None:
    one, two, three = ToolCall("1", "f"), ToolCall("2", "f"), ToolCall(None, "g")
    results = [ToolResult(None, "f", "a"), ToolResult(None, None, "c"), ToolResult(None, "f", "b")]
    calls = taken([one, results[0], three, two, results[1], results[2]])
    assert calls.exchanges() == (
        ToolExchange(one, results[0]),
        ToolExchange(three, results[1]),
        ToolExchange(two, results[2]),
    )


def test_whatever_comes_together_is_taken_as_one_by_one() -> None:
    each = [
        *(ToolCall(id_, name, {}) for id_ in ("1", None) for name in ("f", "g")),
        *(ToolResult(id_, name, "x") for id_ in ("1", None) for name in ("f", None)),
    ]
    for events in product(each, repeat=4):
        singly, together = Calls(), Calls()
        waits = [singly.take([event]) for event in events]
        assert together.take(events) == waits[-1]
        assert together.exchanges() == singly.exchanges(), events
