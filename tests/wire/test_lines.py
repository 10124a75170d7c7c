from __future__ import annotations

import json
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.wire.strategies import chunkings, json_values
from toolhouse_async._wire.decode import EventDecoder
from toolhouse_async._wire.learned import Stream
from toolhouse_async._wire.lines import LineSplitter
from toolhouse_async.events import Event, TextDelta

BOM = b"\xef\xbb\xbf"
MIB = 1024 * 1024


def split(chunks: list[bytes], max_line: int = MIB) -> tuple[list[bytes], bool]:
    splitter = LineSplitter(max_line)
    lines: list[bytes] = []
    for chunk in chunks:
        lines += splitter.feed(chunk)
        if splitter.too_long:
            break
    lines += splitter.finish()
    assert splitter.lines == len(lines)
    return lines, splitter.too_long


def three_ways(data: bytes, max_line: int = MIB) -> tuple[list[bytes], bool]:
    """Whole, byte by byte, and whole with the last byte late: which must all give the same."""
    whole = split([data], max_line)
    assert split([bytes([byte]) for byte in data], max_line) == whole
    assert split([data[:-1], data[-1:]], max_line) == whole
    return whole


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"a\r\nb\n", [b"a", b"b"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\nb\r", [b"a", b"b"]),
        (b"\n\na\n\n", [b"", b"", b"a", b""]),
        (b"\r\n\r\na", [b"", b"", b"a"]),
        (BOM + b"a\nb\n", [b"a", b"b"]),
        (BOM + b"a", [b"a"]),
        (b"a\n" + BOM + b"b\n", [b"a", BOM + b"b"]),
        (b'"a\rb"\n', [b'"a\rb"']),
        ('"\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e"\n'.encode(), ['"\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e"'.encode()]),
        ("é\U0001f600\n\U0001f600".encode(), ["é\U0001f600".encode(), "\U0001f600".encode()]),
    ],
)
def test_lines_end_at_newlines_alone(data: bytes, lines: list[bytes]) -> None:
    assert three_ways(data) == (lines, False)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"", b"\r"])
@pytest.mark.parametrize("begin", [b"", BOM])
def test_a_line_may_be_as_long_as_the_limit(begin: bytes, end: bytes) -> None:
    assert three_ways(begin + b"x" * 8 + end, 8) == ([b"x" * 8], False)
    assert three_ways(begin + b"x" * 9 + end, 8) == ([], True)


@pytest.mark.parametrize("late", [b"123456789\n", b"123456789", b"123456789\r\nab\n"])
def test_lines_before_one_that_is_too_long_are_given_out(late: bytes) -> None:
    assert three_ways(b"12345678\nb\n" + late, 8) == ([b"12345678", b"b"], True)


def test_the_number_of_a_line_that_is_too_long_can_be_told() -> None:
    splitter = LineSplitter(4)
    assert splitter.feed(b"a\n\nb\n12345\nc\n") == [b"a", b"", b"b"]
    assert splitter.too_long
    assert splitter.lines + 1 == 4
    assert splitter.finish() == []


@pytest.mark.parametrize("size", [128 * 1024 + 1, 512 * 1024 + 1, 8 * MIB])
def test_long_lines_are_whole(size: int) -> None:
    line = b'"' + b"x" * (size - 2) + b'"'
    chunks = [line[at : at + 65536] for at in range(0, size, 65536)]
    assert split([*chunks, b"\n1\n"], 16 * MIB) == ([line, b"1"], False)


class CountingBytes(bytes):
    """Bytes that count how many of them are looked at."""

    looked_at = 0

    def split(self, *args: object) -> list[bytes]:  # type: ignore[override]
        CountingBytes.looked_at += len(self)
        return bytes(self).split(*args)  # type: ignore[arg-type]

    def __contains__(self, value: object) -> bool:
        CountingBytes.looked_at += len(self)
        return bytes(self).__contains__(value)  # type: ignore[operator]


def test_no_byte_is_looked_at_again_when_more_come() -> None:
    CountingBytes.looked_at = 0
    splitter = LineSplitter(MIB)
    for _ in range(100_000):
        assert splitter.feed(CountingBytes(b"x")) == []
    assert splitter.feed(CountingBytes(b"\n")) == [b"x" * 100_000]
    assert CountingBytes.looked_at <= 2 * 100_001


@given(st.data(), st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n", BOM, b'"', b"\xc3\xa9"])))
def test_any_chunking_gives_the_same_lines(data: st.DataObject, parts: list[bytes]) -> None:
    stream = b"".join(parts)
    max_line = data.draw(st.integers(3, 12))
    chunks = data.draw(chunkings(stream))
    assert split(chunks, max_line) == three_ways(stream, max_line)


def decode(chunks: list[bytes]) -> list[Event]:
    splitter, decoder, stream = LineSplitter(MIB), EventDecoder(), Stream()
    events: list[Event] = []
    for step in [*(partial(splitter.feed, chunk) for chunk in chunks), splitter.finish]:
        lines = step()  # one step after the other: the numbers of lines are counted as they come
        decoder.extend(events, lines, splitter.lines - len(lines) + 1, stream)
    return events


texts = st.text().map(lambda text: {"type": "text", "text": text})
calls = st.builds(
    lambda i, value: {"type": "tool_call", "id": i, "name": "f", "arguments": value}, st.text(), json_values
)
results = st.builds(lambda i, value: {"type": "tool_result", "id": i, "content": value}, st.text(), json_values)


@given(
    st.data(),
    st.lists(texts | calls | results | json_values),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
    st.booleans(),
)
def test_any_chunking_gives_the_same_events(
    data: st.DataObject, values: list[object], newline: bytes, plain: bool, ended: bool
) -> None:
    lines = [json.dumps(value, ensure_ascii=plain).encode("utf-8", "surrogatepass") for value in values]
    stream = newline.join(lines) + (newline if ended else b"")
    whole = decode([stream])
    assert [event.line for event in whole] == lines
    for chunks in ([bytes([byte]) for byte in stream], data.draw(chunkings(stream))):
        again = decode(chunks)
        assert again == whole
        assert [event.line for event in again] == lines


@given(st.binary())
@example(b"\xff")
@example(b"\x00\n\n")
@example(b'{"type": "text", "text": "\xf0\x9f')
def test_no_bytes_make_the_decoder_raise(data: bytes) -> None:
    whole = decode([data])
    assert decode([bytes([byte]) for byte in data]) == whole


@given(st.data(), st.text(min_size=1))
def test_characters_are_never_broken(data: st.DataObject, text: str) -> None:
    line = json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert decode(data.draw(chunkings(line))) == [
        TextDelta(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    ]
