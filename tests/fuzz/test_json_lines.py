"""Lines of every kind that JSON parsers stumble over: what is JSON is read, what is not is told of, nothing is lost.

The kinds are those by which JSON test suites sort their cases: must be read, must be refused, may be either.
"""

from __future__ import annotations

import json
import math
from functools import reduce
from typing import Any

import pytest

from tests.conversations.support import AGENT, Scripted, connect, said, streamed
from tests.support.raw_server import LAST_CHUNK, chunk, ndjson
from toolhouse_async import Event, MalformedLine, TextDelta, TurnCompleted, TurnStarted, UnknownEvent

DEEP = 1000

READ: dict[str, bytes] = {
    "array, empty": b"[]",
    "array, blanks in it": b"[  ]",
    "array, ends in a blank": b'["a"] ',
    "array, mixed": b'[null, 1, "1", {}]',
    "array, several nulls": b"[1,null,null,null,2]",
    "number, 0e+1": b"[0e+1]",
    "number, minus zero": b"[-0]",
    "number, exponent": b"[1E-2, 1e2, 123.456e78]",
    "number, long fraction": b"[-0.000000000000000000000000000000000000000000000000000000000000000000000000000000001]",
    "object, empty key": b'{"":0}',
    "object, key twice": b'{"a":"b","a":"c"}',
    "object, NUL escape in a key": rb'{"foo\u0000bar": 42}',
    "object, extreme numbers": b'{"min": -1.0e+28, "max": 1.0e+28}',
    "string, all escapes": rb'["\"\\\/\b\f\n\r\t"]',
    "string, escaped NUL": rb'["\u0000"]',
    "string, surrogate pair": rb'["\ud801\udc37"]',
    "string, noncharacter": rb'["\uffff"]',
    "string, DEL": b'["a\x7fa"]',
    "string, line separators": '["\u2028\u2029\u0085"]'.encode(),
    "string, astral": '["\U0001d11e"]'.encode(),
    "string, comment in it": b'["a/*b*/c/*d//e"]',
    "lonely false": b"false",
    "lonely null": b"null",
    "lonely number": b"-0.1",
    "blanks before it": b" [] ",
}
REFUSED: dict[str, bytes] = {
    "array, comma after the end": b'[""],',
    "array, double comma": b"[1,,2]",
    "array, only a comma": b"[,]",
    "array, colon": b'["": 1]',
    "array, not closed": b'["a"',
    "array, closed twice": b"[1]]",
    "array, spread": b"[1 true]",
    "number, plus": b"[+1]",
    "number, leading zero": b"[012]",
    "number, ends in a point": b"[1.]",
    "number, begins with a point": b"[.5]",
    "number, hexadecimal": b"[0x1F]",
    "number, exponent missing": b"[1e+]",
    "number, minus alone": b"[-]",
    "number, full-width digit": "[１]".encode(),
    "object, no quotes": b"{a: 1}",
    "object, single quotes": b"{'a':0}",
    "object, colon missing": b'{"a" "b"}',
    "object, trailing comma": b'{"id":0,}',
    "object, comment": b'{"a":"b"}/**/',
    "object, garbage behind": b'{"a": true} "x"',
    "object, not closed": b'{"a": "b"',
    "string, bad escape": rb'["\x00"]',
    "string, half an escape": rb'["\u00A"]',
    "string, raw tab": b'["\t"]',
    "string, raw NUL": b'["a\x00a"]',
    "string, not closed": b'["a',
    "string, bytes that are no UTF-8": b'["\xff"]',
    "literal, capitals": b"[True]",
    "literal, half": b"[nul]",
    "two values": b"[] []",
    "an open bracket": b"[",
    "a form feed": b"[\x0c]",
    "an angle bracket": b"<.>",
    "a UTF-16 BOM": b"\xff\xfe[\x00]\x00",
    "very deep and open": b"[" * 100_000,
}
EITHER: dict[str, tuple[bytes, str | None, Any]] = {
    "number, huge exponent": (b"[1e400]", None, [math.inf]),
    "number, tiny exponent": (b"[123e-10000000]", None, [0.0]),
    "number, big integer": (b"[100000000000000000000]", None, [1e20]),
    "NaN": (b'{"type":"x","n":-Infinity}', "x", {"type": "x", "n": -math.inf}),
    "string, first half of a pair": (rb'["\uDADA"]', None, ["\ufffd"]),
    "string, second half alone": (rb'["\uDFAA"]', None, ["\ufffd"]),
    "string, halves in the wrong order": (rb'["\uDd1e\uD834"]', None, ["\ufffd\ufffd"]),
    "a BOM before it": (b"\xef\xbb\xbf{}", None, {}),
    "nested deeply": (b"[" * DEEP + b"]" * DEEP, None, reduce(lambda inner, _: [inner], range(DEEP - 1), [])),
}


async def read(line: bytes) -> list[Event]:
    """The events of an answer in which ``line`` stands between two others."""
    body = ndjson(said("before")) + line + b"\n" + ndjson(said("behind"))
    answer = streamed(ends=False) + chunk(body) + LAST_CHUNK
    async with Scripted(post=[answer]) as server, connect(server) as toolhouse:
        events = [event async for event in toolhouse.stream(AGENT, "hi")]
    assert isinstance(events[0], TurnStarted)
    assert isinstance(events[-1], TurnCompleted)
    assert (events[1], events[-2]) == (TextDelta("before"), TextDelta("behind"))
    return events[2:-2]


def data_of(events: list[Event]) -> Any:
    """The value of the one event that a line of no known shape gives."""
    [event] = events
    assert isinstance(event, UnknownEvent)
    return event.data


@pytest.mark.parametrize("line", READ.values(), ids=READ)
async def test_what_is_json_is_read(line: bytes) -> None:
    assert data_of(await read(line)) == json.loads(line)


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
async def test_what_is_not_json_is_told_of_with_its_bytes(line: bytes) -> None:
    [event] = await read(line)
    assert isinstance(event, MalformedLine)
    assert (event.line, event.number) == (line, 2)
    assert event.reason


@pytest.mark.parametrize(("line", "kind", "value"), EITHER.values(), ids=EITHER)
async def test_what_parsers_disagree_about_is_read_as_far_as_it_can_be(
    line: bytes, kind: str | None, value: Any
) -> None:
    assert await read(line) == [UnknownEvent(kind, value)]
