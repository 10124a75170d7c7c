"""What the library costs, as counts and as ratios to aiohttp by itself that no noise can fail.

A ceiling is a little above what was counted when it was written. Lower it when the count has come down; a change that
needs it raised should be worth it.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import aiohttp
import pytest

from toolhouse_async import AsyncToolhouse, JobProgress, JobToken, PollingPolicy
from toolhouse_async.observe import Observer, TurnEnded

from . import memory
from .answers import JOB_ID
from .contestants import HEADERS, Consume, Contestant, floor, our_consume, ours, registered, send, text_stream
from .counts import Counts, count
from .machine import cores, serving
from .measures.lines import split_time
from .plans import Plan

SHORT = Plan("burst", 3)
TURNS = 10
T = TypeVar("T")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server in a process of its own."""
    with serving(cores()[1]) as address:
        yield address


def per_event(
    url: str, contestant: Contestant, how: str, few: Plan, many: Plan, *, in_as_many_passes: bool = False
) -> float:
    """What an event more takes.

    An answer that comes in one piece at times comes in two at others, which takes more for the whole of it. Two answers
    that came alike are the likeliest pair, so the difference that most pairs have is that of the plans themselves.
    Where both plans fit into one piece, it is that of answers ``in_as_many_passes`` of the event loop: the plans take
    turns until there are some.
    """
    less: list[Counts] = []
    more: list[Counts] = []
    pairs: list[tuple[Counts, Counts]] = []
    while len(less) < 9 or not pairs:
        for plan, counts in ((few, less), (many, more)):
            counts.append(count(url, contestant, plan, how, repeats=1))
        pairs = [(a, b) for a in less for b in more if a.passes == b.passes or not in_as_many_passes]
    ((difference, _),) = Counter(getattr(b, how) - getattr(a, how) for a, b in pairs).most_common(1)
    return float(difference / (many.count - few.count))


@pytest.mark.parametrize(("per_chunk", "more"), [(1, 20), (20, 0)])
@pytest.mark.parametrize(
    ("contestant", "calls", "instructions"), [(ours, 1.2, 115), (text_stream, 1.2, 125), (send, 0.2, 95)]
)
def test_an_event_takes_few_calls_and_instructions_more_than_the_floor(
    url: str, contestant: Contestant, calls: float, instructions: float, per_chunk: int, more: int
) -> None:
    # Reading in pieces takes more of aiohttp's instructions for a chunk, and less time than reading all at once.
    for how, ceiling, few in (("calls", calls, 500), ("instructions", instructions + more, 100)):
        plans = Plan("burst", few, per_chunk), Plan("burst", few * 4, per_chunk)
        taken, least = (per_event(url, each, how, *plans) for each in (contestant, floor))
        assert taken - least <= ceiling, how


@pytest.mark.parametrize("per_chunk", [1, 20])
@pytest.mark.parametrize("how", ["calls", "instructions"])
def test_an_event_of_unknown_shape_is_no_dearer_than_words(url: str, how: str, per_chunk: int) -> None:
    unknown, words = (
        per_event(
            url,
            ours,
            how,
            # They are read in one piece, and come when the client waits for them: most take as many passes.
            *(Plan("burst", count, per_chunk, pause=5000, shape=shape) for count in (100, 300)),
            in_as_many_passes=True,
        )
        for shape in ("unknown", "text")
    )
    assert unknown <= words


def test_an_event_of_unknown_shape_that_comes_alone_is_no_dearer_than_words(url: str) -> None:
    unknown, words = (
        per_event(url, ours, "calls", *(Plan("drip", count, 1, 2000, shape=shape) for count in (10, 30)))
        for shape in ("unknown", "text")
    )
    assert unknown <= words


def test_an_event_of_a_registered_shape_takes_its_function(url: str) -> None:
    own, words = (
        per_event(url, contestant, "calls", *(Plan("burst", count, 20, shape=shape) for count in (100, 400)))
        for contestant, shape in ((registered, "registered"), (ours, "text"))
    )
    assert own - words <= 2.1  # the function, and the event that it makes


@asynccontextmanager
async def observed(url: str) -> AsyncIterator[Consume]:
    """``async for event in turn``, with an observer."""
    async with AsyncToolhouse("key", base_url=url, observers=[Counted()]) as toolhouse:
        yield our_consume(toolhouse)


class Counted(Observer):
    """An observer of turns."""

    turns = 0

    def turn_ended(self, record: TurnEnded, /) -> None:
        self.turns += 1


@pytest.mark.parametrize("per_chunk", [1, 20])
def test_an_event_takes_one_call_more_where_somebody_observes(url: str, per_chunk: int) -> None:
    plans = Plan("burst", 500, per_chunk), Plan("burst", 2000, per_chunk)
    taken, least = (per_event(url, each, "calls", *plans) for each in (observed, ours))
    assert taken - least <= 1.2


def test_an_event_that_comes_alone_takes_little_more_than_the_floor(url: str) -> None:
    few, many = Plan("drip", 10, 1, 2000), Plan("drip", 30, 1, 2000)
    taken, least = (per_event(url, contestant, "instructions", few, many) for contestant in (ours, floor))
    assert taken <= least * 1.45


def of_a_short_turn(url: str, how: str) -> tuple[Counts, Counts]:
    """What short turns of ours take, and what those of the floor do."""
    return count(url, ours, SHORT, how, TURNS), count(url, floor, SHORT, how, TURNS)


@pytest.mark.parametrize(("how", "ceiling"), [("calls", 1.6), ("instructions", 1.6)])
def test_a_short_turn_takes_little_more_than_a_bare_request(url: str, how: str, ceiling: float) -> None:
    # What comes in one piece most of the time comes in two at others; the least of some counts is that of one piece.
    taken, least = (min(getattr(count(url, each, SHORT, how, 1), how) for _ in range(40)) for each in (ours, floor))
    assert taken <= least * ceiling


def test_a_short_turn_gives_the_event_loop_no_more_to_do_than_a_bare_request(url: str) -> None:
    taken, least = of_a_short_turn(url, "work")
    assert (taken.callbacks, taken.tasks) == (least.callbacks, least.tasks)
    assert taken.timers <= least.timers


PAUSE = 0.002
"""Seconds between polls."""


@asynccontextmanager
async def our_polls(url: str) -> AsyncIterator[Consume]:
    """A waiter for a job that goes on; the plan's count is that of the polls."""
    policy = PollingPolicy(min_interval=PAUSE, max_interval=PAUSE, jitter=0)
    async with AsyncToolhouse("key", base_url=url, polling=policy) as toolhouse:

        async def consume(plan: Plan) -> int:
            polls = 0
            waiter = toolhouse.wait_for_job(JobToken(str(plan), "run-1", JOB_ID, time.time()))
            async for event in waiter:
                polls += type(event) is JobProgress
                if polls == plan.count:
                    break
            await waiter.aclose()
            return polls

        yield consume


@asynccontextmanager
async def bare_polls(url: str) -> AsyncIterator[Consume]:
    """The same requests by aiohttp itself."""
    async with aiohttp.ClientSession() as session:

        async def consume(plan: Plan) -> int:
            polls = 0
            while polls < plan.count:
                await asyncio.sleep(PAUSE)
                async with session.get(f"{url}/{plan}/run-1", headers=HEADERS) as response:
                    await response.read()
                    polls += "x-toolhouse-job-id" in response.headers
            return polls

        yield consume


@pytest.mark.parametrize(("how", "ceiling"), [("calls", 1.35), ("instructions", 1.3)])
def test_a_poll_takes_little_more_than_a_bare_request(url: str, how: str, ceiling: float) -> None:
    few, many = Plan("job", 3), Plan("job", 13)
    taken, least = (per_event(url, contestant, how, few, many) for contestant in (our_polls, bare_polls))
    assert taken <= least * ceiling


@pytest.mark.skipif("COVERAGE_RUN" in os.environ, reason="what coverage keeps would be counted too")
def test_an_idle_open_turn_takes_little_more_memory_than_a_bare_request(url: str) -> None:
    taken, least = (alone(traced, partial(memory.idle, each, url, 150, "allocated")) for each in (ours, floor))
    assert taken <= least * 1.4


def test_memory_does_not_grow_with_the_events_beyond_their_text(url: str) -> None:
    samples = traced(partial(memory.long, url, 80_000, "allocated"))
    assert memory.growth(samples) < 100_000


def alone(function: Callable[..., T], *args: object) -> T:
    """Call it in a process of its own: how large objects are depends on what was done with their class before."""
    code = "import pickle, sys; f, args = pickle.load(sys.stdin.buffer); pickle.dump(f(*args), sys.stdout.buffer)"
    called = pickle.dumps((function, args))
    done = subprocess.run([sys.executable, "-c", code], input=called, stdout=subprocess.PIPE, check=True)
    result: T = pickle.loads(done.stdout)
    return result


def traced(run: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run it with the allocations of Python being traced."""
    tracemalloc.start()
    try:
        return asyncio.run(run())
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("line", "total", "read"),
    [(64, 1 << 19, 1 << 16), (1 << 18, 1 << 20, 1 << 16), (1 << 16, 1 << 16, 1 << 12), (1 << 13, 1 << 13, 1)],
)
def test_the_time_to_split_lines_is_linear_in_their_bytes(line: int, total: int, read: int) -> None:
    """Doubled three times, so that noise is small beside what is looked for: quadratic time would give 64."""
    ratios: list[float] = []
    for _ in range(20):
        little, much = (split_time(line if line < total else size, size, read) for size in (total, total * 8))
        ratios.append(much / little)
        if ratios[-1] <= 2.2**3:
            return
    pytest.fail(f"eight times the bytes take {min(ratios):.2f} times the time")
