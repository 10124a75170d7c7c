"""How late an event reaches its consumer, and how late a cancelled turn's connection is closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from statistics import median
from typing import TypeAlias

import aiohttp
import orjson

from toolhouse_async import AsyncToolhouse, TextDelta

from ..contestants import Contestant, floor, ours
from ..plans import Plan
from ..report import Row
from ..rounds import Figures, ratio
from ..seen import ask
from .measure import Setting

Texts: TypeAlias = Callable[[str, Plan], AsyncIterator[str]]


async def _bare_texts(url: str, plan: Plan) -> AsyncIterator[str]:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/ndjson/{plan}") as response:
        tail = b""
        async for data in response.content.iter_any():
            lines = (tail + data).split(b"\n")
            tail = lines.pop()
            for line in lines:
                yield orjson.loads(line)["text"]


async def _our_texts(url: str, plan: Plan) -> AsyncIterator[str]:
    async with AsyncToolhouse("key", base_url=url) as toolhouse, toolhouse.stream(str(plan), "x") as turn:
        async for event in turn:
            if type(event) is TextDelta:
                yield event.text


async def _delay(url: str, texts: Texts, plan: Plan) -> float:
    """The median time from the server's write of an event to its consumer, in microseconds."""
    delays: list[int] = []
    async with aclosing(texts(url, plan)) as stream:
        async for text in stream:
            now = time.monotonic_ns()
            delays.append(now - int(text))
    assert len(delays) == plan.count
    return median(delays) / 1000


def to_consumer(setting: Setting) -> list[Row]:
    """From the last byte of an event to its consumer."""
    plan = Plan("stamped", 500, 1, 1000)
    figures: Figures = {"floor": [], "ours": []}
    for _ in range(setting.rounds):
        figures["floor"].append(asyncio.run(_delay(setting.url, _bare_texts, plan)))
        figures["ours"].append(asyncio.run(_delay(setting.url, _our_texts, plan)))
    return [
        Row(
            "last byte of an event to its consumer", "ours", median(figures["ours"]), "µs", "floor",
            median(figures["floor"]), ratio(figures, "ours", "floor"), 1.2,
        )
    ]  # fmt: skip


async def _closings(url: str, contestant: Contestant, turns: int) -> list[float]:
    """Milliseconds from cancelling a turn's reader to the server's seeing the connection closed."""
    taken: list[float] = []
    async with aiohttp.ClientSession() as session, contestant(url) as consume:
        for _ in range(turns):
            await ask(session, url)
            reader = asyncio.create_task(consume(Plan("idle")))
            while not (await ask(session, url)).messages:
                pass
            await asyncio.sleep(0.01)  # for the first event to be consumed
            cancelled = time.monotonic_ns()
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            while not (closed := (await ask(session, url)).closed):
                pass
            taken.append((closed[0] - cancelled) / 1e6)
    return taken


def to_closed(setting: Setting) -> list[Row]:
    """From cancelling a turn to its socket being closed."""
    rows: list[Row] = []
    of_floor = asyncio.run(_closings(setting.url, floor, setting.rounds * 5))
    of_ours = asyncio.run(_closings(setting.url, ours, setting.rounds * 5))
    for words, figure in (("median", median), ("slowest", max)):
        name = f"cancelling to the socket closed, {words}"
        rows.append(Row(name, "ours", figure(of_ours), "ms", bar=5.0))
        rows.append(Row(name, "floor", figure(of_floor), "ms"))
    return rows
