from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from multidict import CIMultiDict
from toolhouse_async._stream import EventStream
from toolhouse_async._wire.fold import Fold

from tests.support.answers import text
from tests.support.raw_server import ndjson
from toolhouse_async import (
    BodyTooLargeError,
    EventDecoder,
    LineTooLongError,
    MalformedEventError,
    MalformedLine,
    TextDelta,
    ToolCall,
    UnknownEvent,
)
from toolhouse_async._answer import Cut
from toolhouse_async._wire.answers import Headers, job_id_of, run_id_of
from toolhouse_async.events import Event

LIMIT = 60


class Pieces:
    """A body in pieces, ended in order or by an error; what an answer is to a stream."""

    def __init__(self, *pieces: bytes, end: Exception | None = None, framed: bool = True, **headers: str) -> None:
        self._lookup = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
        self.run_id = run_id_of(self._lookup)
        self.job_id = job_id_of(self._lookup)
        self.redact = str
        self.framed = framed
        self.waiting_since: float | None = None
        self._pieces = deque(pieces)
        self._end = end

    @property
    def headers(self) -> Mapping[str, str]:
        return Headers(self._lookup.items())

    @property
    def at_end(self) -> bool:
        return False

    async def read(self) -> bytes:
        if self._pieces:
            return self._pieces.popleft()
        if self._end is not None:
            raise self._end
        return b""

    def rest(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data

    def fail(self, reason: str) -> None:
        self._end = Cut(reason)

    def close(self) -> None:
        self._pieces.clear()


def stream_of(
    body: Pieces,
    format_: Literal["ndjson", "text"] = "ndjson",
    decoder: EventDecoder | None = None,
    limit: int = LIMIT,
) -> tuple[EventStream, Fold]:
    fold = Fold()
    return EventStream(body, format_, decoder or EventDecoder(), limit, fold), fold


async def read_once(stream: EventStream, events: deque[Event]) -> bool:
    """Read as an exchange does; whether there may be more."""
    try:
        data = await stream.answer.read()
    except Cut:
        stream.cut(events)
        raise
    if data:
        stream.feed(data, events)
    else:
        stream.end(events)
    return bool(data)


async def read(stream: EventStream) -> list[Event]:
    events: deque[Event] = deque()
    while await read_once(stream, events):
        pass
    return list(events)


async def read_until(error: type[Exception], stream: EventStream) -> tuple[list[Event], Any]:
    events: deque[Event] = deque()
    with pytest.raises(error) as caught:
        while await read_once(stream, events):
            pass
    return list(events), caught.value


async def test_lines_across_pieces() -> None:
    stream, fold = stream_of(Pieces(b'{"type": "te', b'xt", "text": "a"}\n{"type"', b': "text", "text": "b"}\n'))
    assert await read(stream) == [TextDelta("a"), TextDelta("b")]
    assert fold.round_text == "ab"
    assert stream.is_proven


async def test_characters_across_pieces() -> None:
    data = "aé€😀".encode()
    stream, fold = stream_of(Pieces(*(data[n : n + 1] for n in range(len(data)))), "text")
    assert await read(stream) == [TextDelta(c) for c in "aé€😀"]
    assert fold.round_text == "aé€😀"
    assert stream.is_proven


@pytest.mark.parametrize("framed", [True, False])
async def test_an_end_within_a_character_is_odd(framed: bool) -> None:
    stream, fold = stream_of(Pieces(b"a\xe2\x82", framed=framed), "text")
    await read(stream)
    assert stream.odd_end
    assert not stream.is_proven
    assert fold.round_text == "a"


async def test_bytes_that_are_no_characters_within_a_text_are_shown_as_such() -> None:
    stream, _ = stream_of(Pieces(b"a\xffb"), "text")
    assert await read(stream) == [TextDelta("a\N{REPLACEMENT CHARACTER}b")]
    assert stream.is_proven


@pytest.mark.parametrize(
    ("last", "odd"),
    [(b"", False), (b"\n\n", False), (b'{"type": "text", "text": "b"}', False), (b'{"type": "te', True), (b'"b', True)],
)
async def test_an_end_within_a_line_is_odd_unless_it_is_whole(last: bytes, odd: bool) -> None:
    stream, fold = stream_of(Pieces(ndjson(text("a")) + last))
    events = await read(stream)
    assert events[0] == TextDelta("a")
    assert stream.odd_end is odd
    assert fold.malformed == odd
    assert [type(event) for event in events[1:]] in ([], [TextDelta], [MalformedLine])


async def test_a_bad_line_amid_others_is_not_an_odd_end() -> None:
    stream, fold = stream_of(Pieces(b"nonsense\n" + ndjson(text("a"))))
    events = await read(stream)
    assert [type(event) for event in events] == [MalformedLine, TextDelta]
    assert isinstance(events[0], MalformedLine)
    assert events[0].number == 1
    assert stream.is_proven
    assert fold.malformed == 1


async def test_bad_lines_are_logged_without_what_they_say(caplog: pytest.LogCaptureFixture) -> None:
    stream, _ = stream_of(Pieces(b"private\nwords\n", X_Toolhouse_Run_ID="r1"))
    await read(stream)
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "toolhouse_async")
    assert "r1" in record.getMessage()
    assert "2 lines" in record.getMessage()
    assert "private" not in caplog.text


async def test_a_cut_comes_after_what_was_whole() -> None:
    body = Pieces(ndjson(text("a")), b'{"type": "text", "text": "b"}', end=Cut("rst"))
    events, _ = await read_until(Cut, stream_of(body)[0])
    assert events == [TextDelta("a"), TextDelta("b")]


@pytest.mark.parametrize("half", [b'{"type": "te', b'"b"', b"12", b"nonsense"])
async def test_half_a_line_before_a_cut_is_no_event(half: bytes) -> None:
    stream, fold = stream_of(Pieces(ndjson(text("a")), half, end=Cut("rst")))
    events, _ = await read_until(Cut, stream)
    assert events == [TextDelta("a")]
    assert fold.malformed == 0


async def test_half_a_character_before_a_cut_is_no_event() -> None:
    stream, _ = stream_of(Pieces(b"a\xe2\x82", end=Cut("rst")), "text")
    assert (await read_until(Cut, stream))[0] == [TextDelta("a")]


@pytest.mark.parametrize("tail", [b"", b"\n", b"\n" + ndjson(text("c"))])
async def test_a_line_above_the_limit_comes_after_what_stood_before_it(tail: bytes) -> None:
    stream, fold = stream_of(Pieces(ndjson(text("a")) + b'"' + b"x" * LIMIT + b'"' + tail, X_Toolhouse_Run_ID="r1"))
    events, error = await read_until(LineTooLongError, stream)
    assert events == [TextDelta("a")]
    assert fold.round_text == "a"
    assert "line 2" in str(error)
    assert error.run_id == "r1"


async def test_text_has_no_lines_to_be_too_long() -> None:
    stream, fold = stream_of(Pieces(b"x" * 1000), "text")
    await read(stream)
    assert len(fold.round_text) == 1000


async def test_a_strict_decoder_raises_after_what_stood_before() -> None:
    stream, fold = stream_of(Pieces(ndjson(text("a")) + b"nonsense\n"), decoder=EventDecoder(strict=True))
    events, _ = await read_until(MalformedEventError, stream)
    assert events == [TextDelta("a")]
    assert fold.round_text == "a"


async def test_a_shape_of_the_users_own_that_raises() -> None:
    def broken(obj: Any, line: bytes) -> None:
        raise LookupError("theirs")

    decoder = EventDecoder()
    decoder.register("mine", broken)
    stream, fold = stream_of(Pieces(ndjson(text("a"), {"type": "mine"})), decoder=decoder)
    events, _ = await read_until(LookupError, stream)
    assert events == [TextDelta("a")]
    assert fold.round_text == "a"


async def test_a_body_above_its_limit_passes_through() -> None:
    stream, _ = stream_of(Pieces(ndjson(text("a")), end=BodyTooLargeError()))
    assert (await read_until(BodyTooLargeError, stream))[0] == [TextDelta("a")]


@pytest.mark.parametrize("format_", ["ndjson", "text"])
async def test_the_rest_for_a_reader_who_stops(format_: Literal["ndjson", "text"]) -> None:
    whole = ndjson(text("a"), text("b"))
    stream, fold = stream_of(Pieces(whole, b'{"type": "heartbeat"}'), format_)
    events: deque[Event] = deque()
    stream.feed_rest(events)
    if format_ == "ndjson":
        assert list(events) == [TextDelta("a"), TextDelta("b"), UnknownEvent("heartbeat", {"type": "heartbeat"})]
        assert fold.round_text == "ab"
    else:
        assert fold.round_text == whole.decode() + '{"type": "heartbeat"}'
    events.clear()
    stream.feed_rest(events)
    assert not events


async def test_a_rest_that_cannot_be_read_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "toolhouse_async")
    stream, _ = stream_of(Pieces(ndjson(text("a")) + b"x" * (LIMIT + 1), X_Toolhouse_Run_ID="r1"))
    events: deque[Event] = deque()
    stream.feed_rest(events)
    assert list(events) == [TextDelta("a")]
    assert "the rest was not read" in caplog.text


BEGUN = ndjson({"choices": [{"delta": {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{"}}]}}]})


async def test_a_call_in_pieces_is_whole_at_the_end() -> None:
    rest = b'{"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "}"}}]}}]}'
    stream, fold = stream_of(Pieces(BEGUN, rest), limit=1000)
    assert (await read(stream))[-1] == ToolCall("c", "f", {})
    assert [exchange.call for exchange in fold.result("a", "r").tool_calls] == [ToolCall("c", "f", {})]


async def test_half_a_call_of_a_cut_stream_is_none() -> None:
    stream, fold = stream_of(Pieces(BEGUN, end=Cut("cut")), limit=1000)
    events, _ = await read_until(Cut, stream)
    assert [type(event) for event in events] == [UnknownEvent]
    assert fold.result("a", "r").tool_calls == ()


@pytest.mark.parametrize("line", [b'data: {"type":"text","text":"b"}', b'0:"b"'])
async def test_a_last_line_behind_a_prefix_is_delivered_before_a_cut(line: bytes) -> None:
    for size, events in ((len(line), [TextDelta("a"), TextDelta("b")]), (len(line) - 1, [TextDelta("a")])):
        stream, _ = stream_of(Pieces(ndjson(text("a")) + line[:size], end=Cut("cut")))
        assert (await read_until(Cut, stream))[0] == events
