"""What stands in a stream of Redis, and how it is read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.answers import KEY
from toolhouse_async import errors
from toolhouse_async._values.eventread import error_json, read_error, read_event
from toolhouse_async._values.results import JobRecord, JobToken, ToolExchange, TurnResult
from toolhouse_async._wire.jsontext import loads
from toolhouse_async.errors import APIStatusError, RateLimitError, StreamInterruptedError, ToolhouseError, WorkerError
from toolhouse_async.events import (
    ErrorEvent,
    Event,
    JobFinished,
    JobProgress,
    JobStarted,
    MalformedLine,
    StreamRecovered,
    TextDelta,
    ToolCall,
    ToolResult,
    TurnCompleted,
    TurnResumed,
    TurnStarted,
    UnknownEvent,
)
from toolhouse_async.web._redis.records import BATCH, END, MOST, End, Entry, entries_of, pack, unpack
from toolhouse_async.web._replay import Replay

CALL = ToolCall("1", "look", {"at": ["here", None, 1.5]}, line=b"{}")
RESULT = TurnResult(
    "a",
    "r",
    "words",
    (ToolExchange(CALL, ToolResult("1", "look", [1], is_error=True)), ToolExchange(CALL)),
    (JobRecord("j", 1.5, 2),),
    "background",
    JobToken("a", "r", "j", 5.0),
    1,
    2,
    3,
    ("words",),
)
EVENTS: list[Event] = [
    TurnStarted("a", "r"),
    CALL,
    ToolResult("1", None, {"x": 2**60}),
    ErrorEvent("no", 7),
    UnknownEvent("thought", {"deep": [[[]]]}, line=b'{"type": "thought"}'),
    MalformedLine(b"\xff no JSON", 3, "why"),
    JobStarted("j"),
    JobProgress("j", 1.5, 2, 3.0),
    JobFinished("j", 1.5, 2),
    TurnResumed("r", 1),
    StreamRecovered("all of it", "it"),
    TurnCompleted(RESULT),
]


def read(entry: Entry) -> Any:
    """An entry, after its way to the server and back."""
    name, kind, data, line = pack(entry)
    return unpack(name, {kind: data, b"l": line} if line else {kind: data})  # type: ignore[arg-type,dict-item]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_are_read_as_they_were(event: Event) -> None:
    (again,) = read(Entry(9, [event])).events(0)
    assert again == event
    assert again.line == event.line
    assert repr(again) == repr(event)


def test_words_are_read_piece_by_piece() -> None:
    entry = read(Entry(9, ["a", "", "ü\n"]))
    assert entry.before == 6
    assert entry.events(0) == [TextDelta("a"), TextDelta(""), TextDelta("ü\n")]
    assert entry.events(7) == [TextDelta(""), TextDelta("ü\n")]
    assert entry.events(9) == []


def test_half_a_character_is_shown_as_such() -> None:
    assert read(Entry(1, ["\ud83d"])).events(0) == [TextDelta("\ufffd")]


@pytest.mark.parametrize(
    "fields",
    [
        {b"w": b"no JSON"},
        {b"w": b"[7]"},
        {b"w": b'["a", "b"]'},
        {b"w": b"7"},
        {b"e": b'[{"event": "Nothing"}]'},
        {b"e": b'[{"event": "TextDelta", "other": 1}]'},
        {b"e": b"[7]"},
        {b"e": b'{"event": 7}'},
        {b"e": b'[{"event": []}]'},
        {b"r": b'[{"event": "TurnCompleted", "result": {"agent_id": "a"}}]'},
        {b"r": b'[{"event": "TurnCompleted", "result": 7}]'},
        {b"x": b"y"},
        {},
    ],
)
def test_what_is_no_entry(fields: dict[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        unpack(b"1-1", fields)


def test_events_of_one_line_stand_together() -> None:
    replay = Replay(1 << 20)
    line = b"x" * 100
    events: list[Event] = [
        TurnStarted("a", "r"),
        TextDelta("one "),
        TextDelta("two"),
        ToolCall("1", "a", line=line),
        ToolCall("2", "b", line=line),
        TextDelta("three"),
        ToolCall("3", "c", line=line),
        TurnCompleted(RESULT, line=line),
    ]
    for event in events:
        replay.add(event)
    entries = entries_of(replay, 0)
    assert [(each.last, len(each.held)) for each in entries] == [(1, 1), (3, 2), (5, 2), (6, 1), (7, 1), (8, 1)]
    assert [event for each in entries for event in read(each).events(0)] == events
    assert entries_of(replay, 2)[0] == Entry(3, ["two"])
    assert entries_of(replay, 8) == []


def test_so_much_is_written_at_once() -> None:
    replay = Replay(1 << 24)
    for number in range(3 * MOST):
        replay.add(ToolCall(str(number), "a"))
    assert len(entries_of(replay, 0)) == MOST
    replay = Replay(1 << 24)
    for _ in range(10):
        replay.add(ToolCall("1", "a", line=b"x" * (BATCH // 4)))
        replay.add(TextDelta("x" * (BATCH // 4)))
    assert 2 <= len(entries_of(replay, 0)) <= 5


def test_what_was_dropped_is_a_gap() -> None:
    replay = Replay(2000)
    for _ in range(1000):
        replay.add(TextDelta("word"))
    first = entries_of(replay, 3)[0]
    assert first.before == replay.first - 1 > 3


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name != "ToolhouseError"])
def test_every_error_is_read_as_it_was(name: str) -> None:
    error: Any = getattr(errors, name)("what went wrong: \u202e")
    again: Any = unpack(f"{END}-0".encode(), {b"end": error_json(error)})
    assert type(again.error) is type(error)
    assert str(again.error) == str(error)
    assert all(getattr(error, key) == value for key, value in vars(again.error).items())


def test_what_an_error_says_is_kept_but_not_what_the_server_answered() -> None:
    error = RateLimitError(
        "slow down", run_id="r", headers={"x-secret": KEY}, safe_to_retry=True, status=429, body=KEY, retry_after=7.0
    )
    written = error_json(error)
    assert KEY.encode() not in written
    again = read_error(loads(written))
    assert isinstance(again, APIStatusError)
    assert (again.run_id, again.safe_to_retry, again.status, again.retry_after) == ("r", True, 429, 7.0)
    assert (again.body, again.headers) == ("", {})
    failed = read_error(loads(error_json(WorkerError("no", partial=RESULT, code="x"))))
    assert isinstance(failed, WorkerError)
    assert (failed.partial, failed.code) == (RESULT, "x")
    with_token = read_error(loads(error_json(StreamInterruptedError("cut", token=RESULT.token))))
    assert isinstance(with_token, ToolhouseError)
    assert with_token.token == RESULT.token


def test_an_error_of_others_is_one_of_another_process() -> None:
    again = unpack(f"{END}-0".encode(), {b"end": error_json(ZeroDivisionError("by zero"))})
    assert isinstance(again, End)
    assert type(again.error) is RuntimeError
    assert "ZeroDivisionError" in str(again.error)


def test_a_turn_that_ended_well() -> None:
    assert unpack(f"{END}-0".encode(), {b"end": b""}) == End(None)


@pytest.mark.parametrize("written", [7, {}, {"error": "WorkerError"}, {"error": [], "message": ""}, None])
def test_what_is_no_error(written: Any) -> None:
    with pytest.raises(ValueError, match="no error"):
        read_error(written)


@pytest.mark.parametrize("written", [7, {}, [], None, {"event": "TurnStarted", "agent_id": "a"}])
def test_what_is_no_event(written: Any) -> None:
    with pytest.raises(ValueError, match="no event"):
        read_event(written)


@pytest.mark.parametrize(
    ("lost", "kind", "run_id"),
    [
        (b"0 ", errors.OutcomeUnknownError, None),
        (b"0 r1", errors.OutcomeUnknownError, "r1"),
        (b"5 r1", StreamInterruptedError, "r1"),
        (b"5 \xff no id", StreamInterruptedError, None),
    ],
)
def test_a_process_that_is_gone(lost: bytes, kind: type[ToolhouseError], run_id: str | None) -> None:
    end: Any = unpack(f"{END}-0".encode(), {b"lost": lost})
    assert type(end.error) is kind
    assert end.error.run_id == run_id
