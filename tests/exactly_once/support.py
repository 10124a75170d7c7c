"""Answers that break off, histories that change with time, and what both families have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.conversations.support import JOB_HEADER, RUN, RUN_HEADER, Reply, broken_off, now, said
from tests.support.raw_server import fin, ndjson, response, rst

ENDS: dict[str, Callable[..., None]] = {"fin": fin, "rst": rst}


def answer(family: str, *words: str, job: str | None = None, run: str | None = RUN, **framing: Any) -> bytes:
    """The answer to a message on either endpoint family, a chunk for each of the words."""
    named = {RUN_HEADER: run, JOB_HEADER: job}
    headers = {name: value for name, value in named.items() if value is not None}
    body = [ndjson(said(each)) if family == "ndjson" else each.encode() for each in words]
    return response(200, headers, body, **framing)


def cut(*words: str, family: str = "ndjson", how: str = "fin", **options: Any) -> Reply:
    """An answer that breaks off behind these words."""
    return broken_off(answer(family, *words, ends=False, **options), ENDS[how])


def lost(how: str = "fin") -> Reply:
    """No answer at all: the connection ends once the message is read."""
    return broken_off(b"", ENDS[how])


def over_time(*steps: tuple[float, Reply]) -> Iterator[Reply]:
    """Answers that depend on when they are asked for, in seconds from the first time."""
    started: float | None = None
    while True:
        started = now() if started is None else started
        yield [reply for at, reply in steps if at <= now() - started][-1]
