from __future__ import annotations

import itertools
import json
import pickle
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolhouse_async import EventDecoder
from toolhouse_async.events import Event, StreamRecovered, TextDelta, ToolCall, UnknownEvent
from toolhouse_async.web._replay import Replay, _Other

events = st.lists(st.text(max_size=5).map(TextDelta) | st.text(max_size=3).map(lambda name: ToolCall("1", name)))


def read(replay: Replay, number: int) -> list[tuple[int, Event]]:
    """All that follows an event."""
    found = []
    while number < replay.count:
        number, event = replay.after(number)
        found.append((number, event))
    return found


def spelled(told: list[Event]) -> list[str]:
    """Events one by one, words letter by letter: what must not depend on how words were put together."""
    return [
        part
        for each in told
        for part in (each.text if isinstance(each, TextDelta) else [f"call {each.name}"])  # type: ignore[union-attr]
    ]


@given(events, st.data())
def test_whoever_comes_back_gets_exactly_what_they_missed(told: list[Event], data: st.DataObject) -> None:
    replay = Replay(1 << 20)
    for event in told:
        replay.add(event)
    number = data.draw(st.integers(0, len(told)))
    found = read(replay, number)
    assert spelled([event for _, event in found]) == spelled(told[number:])
    assert [number for number, _ in found] == sorted({number for number, _ in found})
    assert not found or found[-1][0] == len(told)
    for earlier, later in itertools.pairwise(found):
        assert not (isinstance(earlier[1], TextDelta) and isinstance(later[1], TextDelta))


@given(events, st.integers(0, 6000))
def test_a_bound_drops_the_oldest_and_nothing_else(told: list[Event], max_bytes: int) -> None:
    replay = Replay(max_bytes)
    for event in told:
        replay.add(event)
    gone = 0
    while gone < len(told):
        try:
            replay.after(gone)
        except LookupError:
            gone += 1
        else:
            break
    assert gone < len(told) or not told  # the latest are there whatever their size
    assert spelled([event for _, event in read(replay, gone)]) == spelled(told[gone:])


def test_words_come_together_in_pieces_of_a_bounded_length() -> None:
    replay = Replay(1 << 20)
    for _ in range(2000):
        replay.add(TextDelta("x"))
    found = read(replay, 0)
    assert [number for number, _ in found] == [512, 1024, 1536, 2000]


def test_memory_is_bounded() -> None:
    replay = Replay(100_000)
    for number in range(100_000):
        replay.add(TextDelta(f"{number}"))
        replay.add(ToolCall("1", "x", line=b"x" * 100)) if not number % 10 else None
    assert sum(entry.size for entry in replay._entries) <= 100_000
    with pytest.raises(LookupError):
        replay.after(0)
    *_, last = read(replay, replay.count - 3)
    assert last[0] == replay.count


def test_what_an_event_holds_is_counted() -> None:
    replay = Replay(100_000)
    for number in range(100):
        replay.add(StreamRecovered("x" * 10_000, ""))
        replay.add(TextDelta("\N{GRINNING FACE}" * 1000 + str(number)))
        replay.add(UnknownEvent(None, [[]] * 1000, line=b"[" + b"[]," * 999 + b"[]]"))
    assert len(read(replay, replay.count - 1)) == 1
    with pytest.raises(LookupError):
        replay.after(replay.count - 6)


def test_one_large_event_is_kept() -> None:
    replay = Replay(100)
    replay.add(TextDelta("x" * 10_000))
    assert replay.after(0) == (1, TextDelta("x" * 10_000))
    replay.add(ToolCall("1", "look"))
    assert replay.after(1) == (2, ToolCall("1", "look"))
    with pytest.raises(LookupError):
        replay.after(0)


def test_an_event_beyond_the_bound_is_not_held() -> None:
    """Text, and JSON that takes fifty times its length. What came before is gone as well, what follows is there."""
    for large in (
        TextDelta("x" * 200_000),
        TextDelta("\N{GRINNING FACE}" * 40_000),
        UnknownEvent(None, json.loads("[" + "{}," * 2000 + "{}]"), line=b"x"),
        UnknownEvent(None, "", line=b"x" * 200_000),
        ToolCall("1", "x", {str(number): [number] for number in range(1500)}),
        StreamRecovered("x" * 100_000, "y" * 100_000),
    ):
        replay = Replay(100)
        replay.add(ToolCall("1", "before"))
        assert replay.can_hold(ToolCall("1", "before"))
        assert not replay.can_hold(large)
        replay.add(large)
        assert (replay.count, replay._entries, replay._size) == (2, [], 0)
        for number in (0, 1):
            with pytest.raises(LookupError):
                replay.after(number)
        replay.add(ToolCall("1", "after"))
        assert read(replay, 2) == [(3, ToolCall("1", "after"))]


def test_a_line_that_many_share_is_counted_once() -> None:
    """Also with words between them; and until the last of them is dropped."""
    line = b"x" * 27_000
    replay = Replay(64_000)
    for number in range(40):
        replay.add(ToolCall(str(number), "look", line=line))
        replay.add(TextDelta("x", line=line))
    assert len(read(replay, 0)) == 80
    assert 27_000 < replay._size < 54_000
    for number in range(150):
        replay.add(ToolCall(str(number), "look"))
        held = {id(entry.event.line): len(entry.event.line) for entry in replay._entries if isinstance(entry, _Other)}
        assert replay._size >= sum(held.values())
    assert replay._size == sum(entry.size for entry in replay._entries)
    assert not any(held.values())


def test_a_line_is_counted_again_where_it_comes_again() -> None:
    line = b"x" * 90_000
    replay = Replay(100_000)
    replay.add(ToolCall("1", "look", line=line))
    replay.add(StreamRecovered("y" * 50_000, ""))
    assert replay._entries[0].first == 2
    replay.add(ToolCall("2", "look", line=line))
    assert replay._size > 90_000


def test_what_is_held_is_below_twice_its_bound() -> None:
    """Lines that take many times their length as Python has them, a large one that comes alone, many of one line."""
    most = 1 << 18
    blocks = [{"type": "x", "a": [{}, {}, {}, [], [], [1.5]]}] * 10
    lines = [
        *[{"type": "x", "data": [{} for _ in range(1250)]}] * 30,
        {"type": "x", "data": [{} for _ in range(25_000)]},
        {"type": "x", "data": [[[1]] for _ in range(750)]},
        *[{"role": "assistant", "content": blocks}] * 20,
        *[{"type": "text", "text": "\N{GRINNING FACE}"}] * 750,
        {"type": "text", "text": "x" * 3 * most},
        *[{"type": "x", "data": {str(number): number for number in range(75)}}] * 150,
    ]
    events = [event for line in lines for event in EventDecoder().decode([json.dumps(line).encode()])]
    del lines, blocks
    tracemalloc.start()
    try:
        replay, before = Replay(most), tracemalloc.get_traced_memory()[0]
        for event in events:
            replay.add(pickle.loads(pickle.dumps(event)) if type(event) is not UnknownEvent else _again(event))
            held = tracemalloc.get_traced_memory()[0] - before
            assert held < 2 * most, event
    finally:
        tracemalloc.stop()


def _again(event: UnknownEvent) -> UnknownEvent:
    """The same as another line gives it."""
    return UnknownEvent(event.type, json.loads(json.dumps(event.data)), line=bytes(bytearray(event.line)))
