"""Turns by the hundred through a network that breaks: nothing is accepted twice, nothing false is reported.

``TOOLHOUSE_SOAK_TURNS=10000`` plays the long version, ``TOOLHOUSE_SOAK_SEED`` another one; ``-s`` shows the figures.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.virtual_time import CoarseTimeLoop

from .drill import Drill

TURNS = int(os.environ.get("TOOLHOUSE_SOAK_TURNS", "1000"))
SEED = int(os.environ.get("TOOLHOUSE_SOAK_SEED", "1"))
AT_ONCE = 200
LAP = 1000
"""Turns between two looks at the memory, behind each of which all that a service knows is forgotten."""
LONG = 10_000
"""Turns from which on memory is measured: a short version is all warming up."""


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": CoarseTimeLoop}


def memory() -> int:
    """Resident bytes, without what the allocator keeps for later use (where it can be told to give that back)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def objects() -> Counter[str]:
    """The library's own objects that are alive, by class; no plain values."""
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    ours = [kind for kind in kinds if str(kind.__module__).startswith("toolhouse_async._")]  # no string for some kinds
    return Counter(kind.__qualname__ for kind in ours)


@pytest.mark.timeout(1200)
async def test_chaos() -> None:
    drill = Drill(SEED, AT_ONCE)
    tasks, files, kept = asyncio.all_tasks(), len(os.listdir("/proc/self/fd")), objects()
    began, started = time.process_time(), asyncio.get_running_loop().time()
    laps = max(TURNS // LAP, 2)
    sizes: list[int] = []
    for _ in range(laps):
        await drill.run(TURNS // laps)
        sizes.append(memory())
    warm = sizes[(laps - 1) // 2]
    growth = sizes[-1] / warm - 1
    print(f"\nseed {SEED}, {drill.tally}")
    virtual, real = asyncio.get_running_loop().time() - started, time.process_time() - began
    print(
        f"{real:.0f} s of processor time for {virtual:.0f} s; "
        f"memory after the first half {warm / 2**20:.1f} MiB, growth in the second {growth:.2%}"
    )
    for _ in range(100):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks
    assert len(os.listdir("/proc/self/fd")) == files
    assert objects() - kept == Counter()
    assert drill.tally.twice == []
    assert drill.tally.wrong == []
    assert drill.tally.avoidable == []
    assert sum(drill.tally.faults.values()) - drill.tally.faults["connections"] > TURNS / 10
    if TURNS >= LONG:
        assert growth < 0.02
