"""Faults 38 to 46: the lines of an answer are unusual."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from tests.conversations.support import AGENT, RUN_HEADER, said
from tests.support.raw_server import ndjson, response
from toolhouse_async import (
    Limits,
    LineTooLongError,
    MalformedLine,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnResult,
    UnknownEvent,
)

from .support import Fault

KIB = 1024


async def streams(fault: Fault, *pieces: bytes, **options: Any) -> TurnResult:
    """Read an answer whose chunks are these."""
    answer = response(headers={RUN_HEADER: "run-1"}, body=pieces)
    server = await fault.server(post=[answer])
    return await fault.read(fault.client(server, **options).stream(AGENT, "hi", settle=False))


def of(fault: Fault, kind: Any) -> list[Any]:
    return [event for event in fault.events if type(event) is kind]


def line_of(size: int) -> bytes:
    """An event whose line, without its newline, has this many bytes."""
    return ndjson(said("x" * (size + 1 - len(ndjson(said(""))))))


@pytest.mark.parametrize("size", [128 * KIB + 1, 512 * KIB + 1, 8 * KIB * KIB], ids=["128 KiB+1", "512 KiB+1", "8 MiB"])
async def test_fault_38_long_lines(fault: Fault, size: int) -> None:
    """A line has 128 KiB and a byte, 512 KiB and a byte, or 8 MiB.

    Outcome: parsed; the limits of the HTTP library are not ours.
    """
    line = line_of(size)
    assert len(line) == size + 1
    result = await streams(fault, ndjson(said("a")) + line[:70_000], line[70_000:] + ndjson(said("b")))
    assert len(result.text) == 2 + size + 1 - len(ndjson(said("")))
    await fault.survived("POST hi", delivered=result.text)


@pytest.mark.parametrize("together", [True, False], ids=["in one chunk", "in chunks"])
async def test_fault_39_line_above_the_cap(fault: Fault, together: bool) -> None:
    """A line is longer than ``Limits.max_line``, and may never end.

    Outcome: the events before it are delivered, then ``LineTooLongError``.
    """
    parts = [ndjson(said("a"), said("b")), line_of(1001)[:-1]]
    reading = streams(fault, *([b"".join(parts)] if together else parts), limits=Limits(max_line=1000))
    error = await fault.fails(LineTooLongError, reading)
    assert error.run_id == "run-1"
    assert error.safe_to_retry is False
    await fault.survived("POST hi", delivered="ab")


async def test_fault_39_line_at_the_cap(fault: Fault) -> None:
    """A line is exactly as long as ``Limits.max_line``.

    Outcome: parsed.
    """
    result = await streams(fault, line_of(1000), limits=Limits(max_line=1000))
    await fault.survived("POST hi", delivered=result.text)


async def test_fault_40_line_ends(fault: Fault) -> None:
    """Lines end in CRLF, some are blank, and the last one has no newline at all.

    Outcome: parsed as if they were in order.
    """
    await streams(fault, b'\r\n{"type":"text","text":"a"}\r', b'\n\n  \n{"type":"text","text":"b"}\n\r\n"c"')
    assert of(fault, MalformedLine) == []
    await fault.survived("POST hi", delivered="abc")


async def test_fault_41_unicode_line_separators(fault: Fault) -> None:
    """Text holds U+2028, U+2029, U+0085 and other characters that some take for line ends, unescaped.

    Outcome: one event with the text as it is.
    """
    text = "a\u2028b\u2029c\x85d\x1ce\x7f"
    await streams(fault, json.dumps({"type": "text", "text": text}, ensure_ascii=False).encode() + b"\n")
    assert len(of(fault, TextDelta)) == 1
    await fault.survived("POST hi", delivered=text)


async def test_fault_42_bad_json_in_the_middle(fault: Fault) -> None:
    """A line in the middle of an answer is not JSON.

    Outcome: ``MalformedLine`` with the line's number and bytes, a warning in the log; all other lines arrive.
    """
    bad = b'{"type": "text", "text": "b'
    result = await streams(fault, ndjson(said("a")) + b"\n" + bad + b"\n" + ndjson(said("c")))
    (malformed,) = of(fault, MalformedLine)
    assert (malformed.number, malformed.line) == (3, bad)
    assert result.malformed == 1
    await fault.survived("POST hi", delivered="ac")


async def test_fault_43_json_that_only_some_parsers_read(fault: Fault) -> None:
    """Lines hold half a surrogate pair, ``NaN``, ``1e999``, or begin with a byte order mark.

    Outcome: read all the same; the half character is shown as U+FFFD.
    """
    await streams(
        fault,
        b'\xef\xbb\xbf{"type": "text", "text": "a"}\n'
        b'{"type": "text", "text": "b\\ud83d"}\n'
        b'{"type": "tool_call", "id": "1", "name": "f", "arguments": {"x": NaN, "y": 1e999}}\n',
    )
    assert of(fault, MalformedLine) == []
    (call,) = of(fault, ToolCall)
    assert repr(call.arguments) == "{'x': nan, 'y': inf}"
    await fault.survived("POST hi", delivered="ab\N{REPLACEMENT CHARACTER}")


async def test_fault_44_huge_integers(fault: Fault) -> None:
    """A number does not fit into 64 bits.

    Outcome: an event as ever; the digits stand unchanged in its ``line``.
    """
    number = 2**64 + 12345
    await streams(
        fault, ndjson({"type": "tool_call", "id": "1", "name": "f", "arguments": {"n": number}}, {"n": number})
    )
    (call,), (unknown,) = of(fault, ToolCall), of(fault, UnknownEvent)
    for event in (call, unknown):
        assert str(number).encode() in event.line
        assert json.loads(event.line)
    assert call.arguments["n"] == pytest.approx(number)
    await fault.survived("POST hi")


async def test_fault_45_deep_json(fault: Fault) -> None:
    """JSON is nested a thousand levels deep, and deeper than any parser goes.

    Outcome: no ``RecursionError``, be it in ``repr``, comparison, copying or pickling.
    """
    deep = b"[" * 1000 + b"1" + b"]" * 1000
    await streams(
        fault,
        b'{"type": "tool_call", "id": "1", "name": "f", "arguments": %b}\n{"new": %b}\n' % (deep, deep)
        + b'{"type": "tool_result", "id": "1", "content": %b}\n' % deep
        + b"[" * 100_000
        + b"]" * 100_000
        + b"\n",
    )
    for event in fault.events:
        twin = pickle.loads(pickle.dumps(event))
        assert twin == event
        assert copy.copy(event) == event
        assert len(repr(event)) < 10_000
    assert len(of(fault, ToolCall)) == len(of(fault, UnknownEvent)) == len(of(fault, MalformedLine)) == 1
    await fault.survived("POST hi")


async def test_fault_46_unknown_types_and_fields(fault: Fault) -> None:
    """Events are of types or have fields that nobody has documented.

    Outcome: kept: ``UnknownEvent`` with all its data, and the whole line of the others in ``raw``.
    """
    new = {"type": "hologram", "angle": [1, 2]}
    await streams(fault, ndjson(new, {"no": "type"}, 7, said("a") | {"extra": {"mood": "good"}}))
    unknown = of(fault, UnknownEvent)
    assert [(event.type, event.data) for event in unknown] == [("hologram", new), (None, {"no": "type"}), (None, 7)]
    assert of(fault, TextDelta)[0].raw["extra"] == {"mood": "good"}
    assert fault.events[-1].result.unknown == 3
    assert type(fault.events[-1]) is TurnCompleted
    await fault.survived("POST hi", delivered="a")
