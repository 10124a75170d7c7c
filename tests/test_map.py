from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import pytest

from tests.support.answers import client_of, said
from tests.support.raw_server import RawServer, Request, silence
from toolhouse_async import (
    AsyncToolhouse,
    ClosedError,
    ConfigurationError,
    MapItem,
    MapIterator,
    NotFoundError,
    TurnResult,
)
from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo


class Bench:
    """Answers "5 words" after five seconds and "never" not at all; counts what is under way at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.seen: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        message = request.json()["message"]
        self.seen.append(message)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if message.startswith("never"):
                await silence(reader)
            else:
                await asyncio.sleep(float(message.split()[0]))
        finally:
            self.now -= 1
        writer.write(said(message))


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
async def server(bench: Bench) -> AsyncIterator[RawServer]:
    async with RawServer(bench) as server:
        yield server


@pytest.fixture
async def toolhouse(server: RawServer) -> AsyncIterator[AsyncToolhouse]:
    async with client_of(server) as toolhouse:
        yield toolhouse


async def endless(pulled: list[int], delay: float = 0.0) -> AsyncIterator[str]:
    while True:
        await asyncio.sleep(delay)
        pulled.append(len(pulled))
        yield f"1 number {len(pulled) - 1}"


async def test_every_message_gets_an_item(toolhouse: AsyncToolhouse) -> None:
    items = [item async for item in toolhouse.map("a", ["3 x", "1 y", "2 z"])]
    assert [(item.index, item.message) for item in items] == [(1, "1 y"), (2, "2 z"), (0, "3 x")]  # as they are done
    assert [item.result.text for item in items if item.result] == ["1 y", "2 z", "3 x"]
    assert all(item.error is None for item in items)
    assert isinstance(items[0], MapItem)


async def test_in_the_order_of_the_messages(toolhouse: AsyncToolhouse) -> None:
    items = [item async for item in toolhouse.map("a", ("3 x", "1 y", "2 z"), ordered=True)]
    assert [(item.index, item.message) for item in items] == [(0, "3 x"), (1, "1 y"), (2, "2 z")]


@pytest.mark.parametrize("ordered", [False, True])
async def test_no_messages(toolhouse: AsyncToolhouse, ordered: bool) -> None:
    assert [item async for item in toolhouse.map("a", [], ordered=ordered)] == []
    assert [item async for item in toolhouse.map("a", iter(()), ordered=ordered)] == []


async def test_each_message_is_a_conversation_of_its_own_with_the_turn_options() -> None:
    emulator = WorkersEmulator()
    emulator.worker("a")(echo)
    async with emulator.serve() as server, AsyncToolhouse("", base_url=server.url) as toolhouse:
        options: Any = {"format": "text", "extra_body": {"mode": "fast"}}
        items = [item async for item in toolhouse.map("a", [f"m{n}" for n in range(20)], ordered=True, **options)]
        assert len({item.result.run_id for item in items if item.result}) == 20
        assert {request.path for request in server.requests if request.method == "POST"} == {"/a"}


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_so_many_turns_at_once(toolhouse: AsyncToolhouse, bench: Bench, concurrency: int, ordered: bool) -> None:
    began = asyncio.get_running_loop().time()
    iterator = toolhouse.map("a", [f"1 {n}" for n in range(12)], concurrency=concurrency, ordered=ordered)
    items = [item async for item in iterator]
    assert sorted(item.index for item in items) == list(range(12))
    assert bench.most == concurrency
    assert asyncio.get_running_loop().time() - began == pytest.approx(12 / concurrency, abs=0.5)


async def test_ten_turns_at_once_by_default(toolhouse: AsyncToolhouse, bench: Bench) -> None:
    async for _ in toolhouse.map("a", ["1 x"] * 25):
        pass
    assert bench.most == 10


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_messages_are_pulled_as_there_is_room(
    toolhouse: AsyncToolhouse, asynchronous: bool, ordered: bool
) -> None:
    pulled: list[int] = []

    def sync_endless() -> Iterator[str]:
        while True:
            pulled.append(len(pulled))
            yield f"1 number {len(pulled) - 1}"

    messages: Any = endless(pulled) if asynchronous else sync_endless()
    async with toolhouse.map("a", messages, concurrency=3, ordered=ordered) as items:
        assert pulled == []  # nothing before the first step
        taken = 0
        async for _ in items:
            taken += 1
            assert len(pulled) <= taken + 2 * 3
            if taken == 20:
                break
    if asynchronous:
        await messages.aclose()


async def test_a_reader_who_is_slow_bounds_what_is_done_ahead(toolhouse: AsyncToolhouse, bench: Bench) -> None:
    async with toolhouse.map("a", (f"1 {n}" for n in range(1000)), concurrency=2) as items:
        for _ in range(3):
            await anext(items)
            await asyncio.sleep(500)
        assert len(bench.seen) <= 3 + 4


async def test_a_slow_first_message_bounds_what_waits_behind_it(toolhouse: AsyncToolhouse, bench: Bench) -> None:
    messages = ["100 x", *(f"1 {n}" for n in range(100))]
    async with toolhouse.map("a", messages, concurrency=2, ordered=True) as items:
        assert (await anext(items)).index == 0
        assert len(bench.seen) <= 4


async def test_a_slow_source_does_not_hold_back_what_is_done(toolhouse: AsyncToolhouse) -> None:
    pulled: list[int] = []
    loop = asyncio.get_running_loop()
    messages = endless(pulled, delay=60)
    async with toolhouse.map("a", messages) as items:
        began = loop.time()
        for n in range(3):
            assert (await anext(items)).index == n
            assert loop.time() - began == pytest.approx(60 * (n + 1) + 1, abs=0.5)
    await messages.aclose()


async def test_one_failure_never_ends_the_batch() -> None:
    emulator = WorkersEmulator()
    emulator.worker("a")(echo)
    emulator.faults.add(skip=1, status=404)
    async with emulator.serve() as server, AsyncToolhouse("", base_url=server.url) as toolhouse:
        items = [item async for item in toolhouse.map("a", ["x", "y", "z"], concurrency=1)]
    assert [type(item.error) for item in items] == [type(None), NotFoundError, type(None)]
    assert [type(item.result) for item in items] == [TurnResult, type(None), TurnResult]
    assert items[1].message == "y"


async def test_a_message_that_is_none_is_a_failure_of_its_own(toolhouse: AsyncToolhouse) -> None:
    messages: Any = ["1 x", 7, "1 y"]
    items = [item async for item in toolhouse.map("a", messages, ordered=True)]
    assert [item.message for item in items] == messages
    assert [item.error is None for item in items] == [True, False, True]


class Table:
    """Like a DataFrame of pandas: its iterator gives the names of its columns."""

    def __iter__(self) -> Iterator[str]:
        return iter(("id", "question"))

    def itertuples(self) -> Iterator[tuple[str, str]]:
        return iter([("q1", "What is 2 + 2?")])


class Columns:
    """Like a DataFrame of polars: its iterator gives its columns."""

    def __iter__(self) -> Iterator[list[str]]:
        return iter((["q1"], ["What is 2 + 2?"]))

    def to_dicts(self) -> list[dict[str, str]]:
        return [{"id": "q1", "question": "What is 2 + 2?"}]


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ("text", "messages must be an iterable or async iterable of strings"),
        (
            {"q1": "What is 2 + 2?"},
            "messages must be an iterable or async iterable of strings, not dict; of a table pass",
        ),
        (5, "messages must be an iterable"),
        (Table(), r"messages is a table, .* frame\['question'\]"),
        (Columns(), r"messages is a table, .* frame\['question'\]"),
    ],
    ids=["text", "mapping", "number", "pandas", "polars"],
)
async def test_what_are_no_messages_is_refused(
    toolhouse: AsyncToolhouse, server: RawServer, messages: Any, why: str
) -> None:
    with pytest.raises(ConfigurationError, match=why):
        toolhouse.map("a", messages)
    assert server.requests == []


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_what_the_source_raises_comes_when_the_rest_is_done(
    toolhouse: AsyncToolhouse, asynchronous: bool
) -> None:
    def breaking() -> Iterator[str]:
        yield "2 x"
        yield "1 y"
        raise LookupError("no more")

    async def async_breaking() -> AsyncIterator[str]:
        for message in breaking():
            yield message

    taken: list[str] = []
    items = toolhouse.map("a", async_breaking() if asynchronous else breaking())
    with pytest.raises(LookupError, match="no more"):
        async for item in items:
            taken.append(item.message)
    assert taken == ["1 y", "2 x"]
    with pytest.raises(StopAsyncIteration):
        await anext(items)


async def test_leaving_early_ends_what_is_under_way(toolhouse: AsyncToolhouse, server: RawServer) -> None:
    async with toolhouse.map("a", ["1 x", "never y", "never z"]) as items:
        await anext(items)
    assert await _quiet(server) == 1  # the idle one of the first
    with pytest.raises(ClosedError):
        await anext(items)
    await items.aclose()


async def _quiet(server: RawServer) -> int:
    await asyncio.sleep(1)
    return server.open_connections


async def test_leaving_early_stops_an_async_source(toolhouse: AsyncToolhouse) -> None:
    async def never() -> AsyncIterator[str]:
        try:
            await asyncio.Event().wait()
            yield "x"
        finally:
            stopped.append(True)

    stopped: list[bool] = []
    async with toolhouse.map("a", never()) as items:
        waiting = asyncio.ensure_future(anext(items))
        await asyncio.sleep(5)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
    assert stopped == [True]


async def test_cancelling_the_reader_ends_what_is_under_way(toolhouse: AsyncToolhouse, server: RawServer) -> None:
    async def read() -> None:
        async for _ in toolhouse.map("a", ["never x", "never y"]):
            pass

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10):
            await read()
    assert len(server.requests) == 2
    assert await _quiet(server) == 0


async def test_a_map_that_is_abandoned_warns_and_ends(toolhouse: AsyncToolhouse, server: RawServer) -> None:
    items = toolhouse.map("a", ["1 x", "never y"])
    await anext(items)
    abandoned = [items]
    del items
    with pytest.warns(ResourceWarning, match="a map was abandoned"):
        abandoned.clear()
    assert await _quiet(server) == 1
    assert len(server.requests) == 2


def test_a_map_abandoned_with_its_loop() -> None:
    async def never(message: str | None) -> TurnResult:
        return await asyncio.get_running_loop().create_future()

    loop = asyncio.new_event_loop()
    held = [MapIterator(never, ["x", "y"], check=lambda: None, concurrency=2, ordered=False)]
    loop.run_until_complete(_fill(held[0]))
    loop.close()
    with pytest.warns(ResourceWarning, match="a map was abandoned"):
        held.clear()


async def _fill(items: MapIterator) -> None:
    """Take the first step, without waiting for what it gives."""
    reading = anext(items).__await__()
    next(reading)
    reading.close()


async def test_a_map_that_was_never_stepped_or_has_ended_does_not_warn(toolhouse: AsyncToolhouse) -> None:
    toolhouse.map("a", ["1 x"])
    async for _ in toolhouse.map("a", ["1 x"]):
        pass


async def test_closing_the_client_fails_what_is_under_way() -> None:
    async def script(reader: asyncio.StreamReader, *_: object) -> None:
        await silence(reader)

    async with RawServer(script) as server:
        toolhouse = client_of(server)
        reading = asyncio.ensure_future(_all(toolhouse.map("a", ["x", "y"])))
        await asyncio.sleep(5)
        await toolhouse.aclose()
        items = await reading
    assert [type(item.error) for item in items] == [ClosedError, ClosedError]


async def _all(items: Any) -> list[MapItem]:
    return [item async for item in items]


async def test_hundreds_of_messages(toolhouse: AsyncToolhouse, bench: Bench) -> None:
    messages: Iterable[str] = (f"0 {n}" for n in range(300))
    items = await _all(toolhouse.map("a", messages, concurrency=50))
    assert sorted(item.index for item in items) == list(range(300))
    assert all(item.result is not None and item.result.text == item.message for item in items)
