"""How the cost grows: the curves of the documentation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from statistics import median

from toolhouse_async import AsyncToolhouse, Limits

from ..contestants import Consume, Contestant, floor, our_consume
from ..contestants import ours as our_client
from ..plans import Plan
from ..report import Curve
from ..rounds import cpu_per_event
from . import waiting
from .lines import LENGTHS, MIB
from .measure import Setting

CONTESTANTS: dict[str, Contestant] = {"aiohttp and orjson": floor, "ours": our_client}


@asynccontextmanager
async def unlimited(url: str) -> AsyncIterator[Consume]:
    """Ours with as many connections as are asked for."""
    async with AsyncToolhouse("key", base_url=url, limits=Limits(max_connections=100_000)) as toolhouse:
        yield our_consume(toolhouse)


def rate(setting: Setting) -> list[Curve]:
    """One turn, its events coming ever faster."""
    rates = (100, 300, 1000, 3000, 10_000, 30_000)
    return [
        _curve(
            "rate",
            ("events per second", "share of one core, %"),
            rates,
            lambda name, rate: _share(setting, CONTESTANTS[name], rate),
        )
    ]


def _share(setting: Setting, contestant: Contestant, rate: int) -> float:
    plan = Plan("paced", max(rate, 200), 1, 1_000_000 // rate)
    figures = asyncio.run(cpu_per_event(setting.url, {"it": contestant}, plan, max(1, setting.rounds // 3)))
    return median(figures["it"]) * rate / 1e4


def turns(setting: Setting) -> list[Curve]:
    """Ever more turns that are open at once, each with five events a second."""
    numbers = (1, 10, 100, 1000, 2000, 5000) if setting.full else (1, 10, 100, 1000)
    open_ = {"aiohttp and orjson": floor, "ours": unlimited}

    async def measure(contestant: Contestant, number: int) -> float:
        plan = Plan("drip", 20, 1, 200_000)
        async with contestant(setting.url) as consume:
            await asyncio.gather(*(consume(Plan("burst", 1)) for _ in range(number)))
            began, cpu_began = time.perf_counter(), time.process_time()
            counts = await asyncio.gather(*(consume(plan) for _ in range(number)))
            assert counts == [plan.count] * number
            return (time.process_time() - cpu_began) / (time.perf_counter() - began) * 100

    return [
        _curve(
            "turns",
            ("open turns, each with 5 events per second", "share of one core, %"),
            numbers,
            lambda name, number: asyncio.run(measure(open_[name], number)),
        )
    ]


def waiters(setting: Setting) -> list[Curve]:
    """Ever more background jobs that are waited for, each polled every ten seconds."""
    numbers = (1, 10, 100, 1000, 5000, 10_000, 20_000) if setting.full else (1, 10, 100, 1000)
    window = 20.0 if setting.full else 10.0
    who = {"aiohttp": waiting.bare, "ours": waiting.ours}
    watched = {
        name: [
            asyncio.run(
                waiting.watch(
                    setting.url, wait, waiting.run_ids(number), elapsed=100.0, spread=10.0, settle=15.0, window=window
                )
            )
            for number in numbers
        ]
        for name, wait in who.items()
    }
    x_label = "background jobs waited for"
    share = {name: [each.cpu * len(each.seen.arrivals) / window / 1e4 for each in of] for name, of in watched.items()}
    late = {name: [each.late for each in of] for name, of in watched.items()}
    return [
        Curve("waiters", x_label, "share of one core, %", list(numbers), share),
        Curve("waiters-lag", x_label, "lateness of the event loop, 99th percentile, ms", list(numbers), late),
    ]


def lines(setting: Setting) -> list[Curve]:
    """Ever longer lines, the bytes being as many."""
    lengths = [length for length in LENGTHS if length >= 1 << 7][:: 1 if setting.full else 3]

    def measure(name: str, length: int) -> float:
        plan = Plan("burst", max(1, 16 * MIB // length), 1, 0, length - 50)
        rounds = max(1, setting.rounds // 3)
        figures = asyncio.run(cpu_per_event(setting.url, {"it": CONTESTANTS[name]}, plan, rounds))
        return median(figures["it"]) / length * MIB / 1000

    return [_curve("lines", ("bytes of a line", "CPU time for one MiB, ms"), lengths, measure)]


def _curve(name: str, labels: tuple[str, str], xs: Iterable[int], measure: Callable[[str, int], float]) -> Curve:
    """Measure the contestants in turn, point by point."""
    points = list(xs)
    lines: dict[str, list[float]] = {contestant: [] for contestant in CONTESTANTS}
    for x in points:
        for contestant, line in lines.items():
            line.append(measure(contestant, x))
    return Curve(name, *labels, points, lines)
