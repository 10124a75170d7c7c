from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolhouse_async.events import Event, StreamRecovered, TextDelta, ToolCall, UnknownEvent
from toolhouse_async.web._replay import Replay

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
    replay = Replay(50_000)
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
