"""Very many who wait for background jobs."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from statistics import median, quantiles
from typing import TypeAlias

import aiohttp
from attrs import frozen

from toolhouse_async import AsyncToolhouse, JobToken, PollingPolicy

from ..answers import JOB_ID
from ..plans import Plan
from ..report import Row
from ..seen import Seen, ask
from ..steps import lateness
from .measure import Setting

ANSWER = Plan("job", pause=20_000)
"""A job that goes on for ever; each poll is answered after 20 ms."""
POLICY = PollingPolicy()
SECOND = 1_000_000_000
"""Nanoseconds in which arrivals are counted together to find bursts; in less, a hitch of the machine would be one."""

Wait: TypeAlias = Callable[[str, float], Coroutine[object, object, object]]
"""Waits for the job of a run that has been running for some seconds."""
Waiting: TypeAlias = Callable[[str], AbstractAsyncContextManager[Wait]]


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Wait]:
    """``await toolhouse.wait_for_job(token).wait()``."""
    async with AsyncToolhouse("key", base_url=url) as toolhouse:

        async def wait(run_id: str, elapsed: float) -> object:
            return await toolhouse.wait_for_job(JobToken(str(ANSWER), run_id, JOB_ID, time.time() - elapsed)).wait()

        yield wait


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Wait]:
    """aiohttp by itself, at the same times: a sleep and a GET, again and again."""
    connector = aiohttp.TCPConnector(limit=POLICY.max_in_flight)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def wait(run_id: str, elapsed: float) -> object:
            started = time.monotonic() - elapsed
            pause = POLICY.min_interval * random.uniform(0.5, 1.5)
            while True:
                await asyncio.sleep(pause)
                async with session.get(f"{url}/{ANSWER}/{run_id}", headers={"Authorization": "Bearer key"}) as answer:
                    await answer.read()
                    if "x-toolhouse-job-id" not in answer.headers:
                        return None
                pause = POLICY.growth * (time.monotonic() - started)
                pause = min(max(pause, POLICY.min_interval), POLICY.max_interval)
                pause *= random.uniform(1 - POLICY.jitter, 1 + POLICY.jitter)

        yield wait


@frozen
class Watched:
    """What was seen of many waiters.

    Attributes:
        cpu: Microseconds of CPU time for each poll.
        late: The 99th percentile of the event loop's lateness, in milliseconds.
        seen: What the server saw.
    """

    cpu: float
    late: float
    seen: Seen

    @property
    def burst(self) -> float:
        """The fullest second against the mean one."""
        bins = Counter(arrival // SECOND for arrival in self.seen.arrivals)
        whole = [bins[number] for number in range(min(bins) + 1, max(bins))]
        return max(whole) * len(whole) / sum(whole)


async def watch(
    url: str, waiting: Waiting, runs: Sequence[str], *, elapsed: float, spread: float, settle: float, window: float
) -> Watched:
    """Have one waiter for each of ``runs`` and watch them.

    Args:
        url: The server.
        waiting: Who waits.
        runs: Run ids.
        elapsed: Seconds for which the jobs have been running when their waiters begin.
        spread: Seconds over which the waiters begin.
        settle: Seconds before it counts.
        window: Seconds that count.
    """
    late: list[float] = []
    async with aiohttp.ClientSession() as session, waiting(url) as wait:

        async def begin(number: int, run_id: str) -> None:
            await asyncio.sleep(spread * number / len(runs))
            await wait(run_id, elapsed)

        tasks = [asyncio.create_task(begin(number, run_id)) for number, run_id in enumerate(runs)]
        await asyncio.sleep(settle)
        tasks.append(asyncio.create_task(lateness(late)))
        await ask(session, url)
        began = time.process_time()
        await asyncio.sleep(window)
        cpu = time.process_time() - began
        seen = await ask(session, url)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    strays = [outcome for outcome in outcomes if not isinstance(outcome, asyncio.CancelledError)]
    assert not strays, strays[0]
    return Watched(cpu / len(seen.arrivals) * 1e6, quantiles(late, n=100)[-1] * 1000, seen)


def run_ids(runs: int) -> list[str]:
    """As many run ids."""
    return [f"run-{number}" for number in range(runs)]


def many_runs(setting: Setting) -> list[Row]:
    """Ten thousand waiters on as many runs: the first minute, and once all are polled every ten seconds."""
    runs = 10_000 if setting.full else 5000
    phases = {
        "first minute": {"elapsed": 0.0, "spread": 0.0, "settle": 0.0, "window": 60.0 if setting.full else 8.0},
        "steady": {"elapsed": 100.0, "spread": 10.0, "settle": 15.0, "window": 20.0 if setting.full else 8.0},
    }
    rows: list[Row] = []
    for phase, times in phases.items():
        watched: dict[str, list[Watched]] = {"bare": [], "ours": []}
        for _ in range(max(1, setting.rounds // 3) if setting.full else 1):
            for name, waiting in (("bare", bare), ("ours", ours)):
                watched[name].append(asyncio.run(watch(setting.url, waiting, run_ids(runs), **times)))
        rows += _rows(f"{runs:,} waiters, {phase}", watched, steady=phase == "steady")
    return rows


def _rows(measure: str, watched: dict[str, list[Watched]], *, steady: bool) -> list[Row]:
    def middle(name: str, figure: Callable[[Watched], float]) -> float:
        return median(figure(each) for each in watched[name])

    pairs = zip(watched["ours"], watched["bare"], strict=True)
    cpu = median(mine.cpu / theirs.cpu for mine, theirs in pairs)
    return [
        Row(
            f"{measure}: CPU per poll", "ours", middle("ours", lambda each: each.cpu), "µs", "bare aiohttp",
            middle("bare", lambda each: each.cpu), cpu, 1.5,
        ),
        Row(f"{measure}: loop lag p99", "ours", middle("ours", lambda each: each.late), "ms", bar=50.0),
        Row(f"{measure}: loop lag p99", "bare aiohttp", middle("bare", lambda each: each.late), "ms"),
        Row(f"{measure}: polls", "ours", middle("ours", lambda each: len(each.seen.arrivals)), "polls"),
        Row(f"{measure}: polls", "bare aiohttp", middle("bare", lambda each: len(each.seen.arrivals)), "polls"),
        Row(
            f"{measure}: most in flight", "ours", max(each.seen.most_in_flight for each in watched["ours"]), "polls",
            bar=POLICY.max_in_flight,
        ),
        Row(
            f"{measure}: fullest second by the mean", "ours", middle("ours", lambda each: each.burst), "×",
            bar=1.5 if steady else None,
        ),
        Row(f"{measure}: fullest second by the mean", "bare aiohttp", middle("bare", lambda each: each.burst), "×"),
    ]  # fmt: skip


def one_run(setting: Setting) -> list[Row]:
    """Ten thousand waiters on one run share one stream of polls."""
    times = {"elapsed": 0.0, "spread": 0.0, "settle": 0.0, "window": 10.0}
    many = asyncio.run(watch(setting.url, ours, ["run-1"] * 10_000, **times)).seen
    alone = asyncio.run(watch(setting.url, ours, ["run-1"], **times)).seen
    name = "10,000 waiters on one run"
    return [
        # The pauses vary by a fifth, so that two streams of polls of the same length may differ by some polls.
        Row(
            f"{name}: polls in 10 s", "ours", len(many.arrivals), "polls", "one waiter", len(alone.arrivals),
            len(many.arrivals) / len(alone.arrivals), 1.5,
        ),
        Row(f"{name}: most in flight", "ours", many.most_in_flight, "polls", bar=1),
    ]  # fmt: skip
