"""Guards against what a test may leave behind: tasks, threads, open files and sockets."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_DESCRIPTORS = "/proc/self/fd"
_SPINS = 10
"""Passes of the loop in which cancelled tasks and closed connections may finish."""
_KEPT = 25
"""Tests behind which what is in use still is kept out of the next looks, which would take ever longer."""
_AFRESH = 1000
"""Tests behind which all objects are looked at, whatever their age: that takes as long as twenty tests."""
_tests = itertools.count(1)
is_last = False
"""Whether no test follows in this process, as ``conftest.py`` says: then, too, all objects are looked at."""
_JOIN = 20.0
"""Seconds that a stopping thread may take."""


def _open_files() -> dict[str, str]:
    """Every open file descriptor and what it refers to; empty where the system has no list of them."""
    try:
        numbers = os.listdir(_DESCRIPTORS)
    except FileNotFoundError:
        return {}
    found: dict[str, str] = {}
    for number in numbers:
        try:
            found[number] = os.readlink(f"{_DESCRIPTORS}/{number}")
        except FileNotFoundError:  # the descriptor that the listing itself used
            continue
    return found


@contextmanager
def no_leftover_tasks(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Fail if tasks of a stopped ``loop`` are left that were not there before."""
    before = asyncio.all_tasks(loop)
    yield
    for _ in range(_SPINS):
        if not asyncio.all_tasks(loop) - before:
            return
        loop.run_until_complete(asyncio.sleep(0))
    left = asyncio.all_tasks(loop) - before
    if left:
        pytest.fail("tasks left behind:\n" + "\n".join(map(repr, left)), pytrace=False)


@contextmanager
def no_leftover_resources() -> Iterator[None]:
    """Fail if threads or open files are left, and finalise unreachable objects, so that they warn here."""
    files, threads = _open_files(), set(threading.enumerate())
    yield
    number = next(_tests)
    if is_last or number % _AFRESH == 0:
        gc.unfreeze()
    gc.collect()
    if number % _KEPT == 0:
        gc.freeze()
    started = set(threading.enumerate()) - threads
    left = [f"thread {thread.name!r}" for thread in started if not _joined(thread)]
    left += [f"{number} → {target}" for number, target in (_open_files().items() - files.items())]
    if left:
        pytest.fail("left open: " + ", ".join(sorted(left)), pytrace=False)


def _joined(thread: threading.Thread) -> bool:
    thread.join(_JOIN)
    return not thread.is_alive()
