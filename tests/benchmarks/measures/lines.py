"""Whether the time to split lines grows with the bytes, and no faster."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from itertools import pairwise

from toolhouse_async._wire.lines import LineSplitter

from ..report import Row
from .measure import Setting

MIB = 1 << 20
READ = 1 << 16
"""Bytes that come at once."""
LENGTHS = tuple(1 << power for power in range(6, 24))
"""64 bytes to 8 MiB."""


def pieces(line: int, total: int, read: int) -> Iterator[bytes]:
    """``total`` bytes of lines, ``read`` at once."""
    data = (b"x" * (line - 1) + b"\n") * (total // line)
    for start in range(0, len(data), read):
        yield data[start : start + read]


def split_time(line: int, total: int, read: int = READ, repeats: int = 5) -> float:
    """Seconds to split ``total`` bytes into lines: the best of some repeats."""
    given = list(pieces(line, total, read))
    best = float("inf")
    gc.disable()
    for _ in range(repeats):
        splitter = LineSplitter(16 * MIB)
        began = time.process_time()
        for data in given:
            splitter.feed(data)
        best = min(best, time.process_time() - began)
        assert splitter.lines == total // line
    gc.enable()
    return best


def linear(setting: Setting) -> list[Row]:
    """Twice the bytes, at most 2.2 times the time: for lines of each length, and byte by byte."""
    rows = [_doubled(f"lines of {length:,} B", length, 16 * MIB, READ, setting) for length in LENGTHS]
    rows.append(_growing(setting))
    rows += [_doubled(f"a line of {size:,} B, byte by byte", size, size, 1, setting) for size in (1 << 16, 1 << 18)]
    return rows


def _doubled(words: str, line: int, total: int, read: int, setting: Setting) -> Row:
    """``total`` bytes and twice as many; a single line is made twice as long."""
    one = split_time(line, total, read, setting.rounds)
    two = split_time(line if line < total else line * 2, total * 2, read, setting.rounds)
    return Row(f"splitting {words}", "double", two * 1e3, "ms", "single", one * 1e3, two / one, 2.2)


def _growing(setting: Setting) -> Row:
    """The worst step between lines of 256 KiB to 8 MiB, each twice as long as the one before, one at a time."""
    times = [split_time(1 << power, 1 << power, READ, setting.rounds * 20) for power in range(18, 24)]
    one, two = max(pairwise(times), key=lambda pair: pair[1] / pair[0])
    return Row("splitting one line, 256 KiB to 8 MiB", "double", two * 1e3, "ms", "single", one * 1e3, two / one, 2.2)
