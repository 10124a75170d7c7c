"""``map``: many messages, each a conversation of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conversations.support import AGENT, assert_accepted
from toolhouse_async import AsyncToolhouse, PermissionDeniedError, WorkerError
from toolhouse_async.testing import EmulatorServer, WorkersEmulator


class Load:
    """How many answers are under way, and the most there ever were."""

    now = most = 0


@pytest.fixture
def load(emulator: WorkersEmulator) -> Load:
    """Answers ``message`` after that many seconds; ``bad`` fails."""
    load = Load()

    @emulator.worker(AGENT)
    async def worker(ctx):
        load.now += 1
        load.most = max(load.most, load.now)
        if ctx.message == "bad":
            load.now -= 1
            raise RuntimeError("bad message")
        await asyncio.sleep(float(ctx.message))
        load.now -= 1
        yield ctx.text(f"<{ctx.message}>")

    return load


async def test_every_message_gets_a_conversation_of_its_own(
    load: Load, server: EmulatorServer, toolhouse: AsyncToolhouse
) -> None:
    items = [item async for item in toolhouse.map(AGENT, ["1", "2", "3"])]
    assert [(item.index, item.message) for item in items] == [(0, "1"), (1, "2"), (2, "3")]
    assert [item.result.text for item in items if item.result] == ["<1>", "<2>", "<3>"]
    assert len({item.result.run_id for item in items if item.result}) == 3
    assert [item.error for item in items] == [None] * 3
    assert_accepted(server, "POST 1", "POST 2", "POST 3")


async def test_items_come_as_they_are_done(load: Load, toolhouse: AsyncToolhouse) -> None:
    assert [item.index async for item in toolhouse.map(AGENT, ["30", "10", "20"])] == [1, 2, 0]


async def test_ordered_items_come_in_the_order_of_the_messages(load: Load, toolhouse: AsyncToolhouse) -> None:
    items = [item async for item in toolhouse.map(AGENT, ["30", "10", "20"], ordered=True)]
    assert [item.index for item in items] == [0, 1, 2]


@pytest.mark.parametrize("ordered", [False, True])
async def test_concurrency_is_bounded(load: Load, toolhouse: AsyncToolhouse, ordered: bool) -> None:
    messages = [str(1 + number % 3) for number in range(20)]
    items = [item async for item in toolhouse.map(AGENT, messages, concurrency=4, ordered=ordered)]
    assert len(items) == 20
    assert load.most == 4


async def test_the_default_concurrency_is_ten(load: Load, toolhouse: AsyncToolhouse) -> None:
    assert len([item async for item in toolhouse.map(AGENT, ["1"] * 30)]) == 30
    assert load.most == 10


@pytest.mark.parametrize("ordered", [False, True])
async def test_one_failure_never_ends_the_batch(load: Load, toolhouse: AsyncToolhouse, ordered: bool) -> None:
    items = [item async for item in toolhouse.map(AGENT, ["1", "bad", "2", "bad"], ordered=ordered)]
    by_index = {item.index: item for item in items}
    assert {index for index, item in by_index.items() if item.error is not None} == {1, 3}
    assert {index for index, item in by_index.items() if item.result is not None} == {0, 2}


async def test_an_error_is_the_turns_own(emulator: WorkersEmulator, toolhouse: AsyncToolhouse) -> None:
    @emulator.worker(AGENT)
    async def worker(ctx):
        yield ctx.text("half")
        raise RuntimeError("no memory")

    emulator.faults.add(status=403)
    first, second = [item async for item in toolhouse.map(AGENT, ["a", "b"], concurrency=1)]
    assert isinstance(first.error, PermissionDeniedError)
    assert isinstance(second.error, WorkerError)
    assert second.error.partial.text == "half"


async def test_messages_are_pulled_lazily(load: Load, toolhouse: AsyncToolhouse) -> None:
    pulled: list[int] = []

    def endless() -> Iterator[str]:
        number = 0
        while True:
            pulled.append(number)
            number += 1
            yield "1"

    items = toolhouse.map(AGENT, endless(), concurrency=3)
    assert pulled == []
    done = 0
    async for _ in items:
        done += 1
        assert len(pulled) <= done + 2 * 3
        if done == 12:
            break
    await items.aclose()


async def test_messages_may_be_an_async_iterable(load: Load, toolhouse: AsyncToolhouse) -> None:
    async def messages() -> AsyncIterator[str]:
        for message in ("3", "2", "1"):
            await asyncio.sleep(10)
            yield message

    items = [item async for item in toolhouse.map(AGENT, messages())]
    assert [item.message for item in items] == ["3", "2", "1"]


async def test_a_slow_source_does_not_hold_back_what_is_done(load: Load, toolhouse: AsyncToolhouse) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()

    async def messages() -> AsyncIterator[str]:
        yield "1"
        await asyncio.sleep(1000)
        yield "2"

    async for item in toolhouse.map(AGENT, messages()):
        if item.index == 0:
            assert loop.time() - started < 10


async def test_no_message_is_a_message(
    emulator: WorkersEmulator, server: EmulatorServer, toolhouse: AsyncToolhouse
) -> None:
    @emulator.worker(AGENT)
    async def worker(ctx):
        yield ctx.text("Hola")

    items = [item async for item in toolhouse.map(AGENT, [None, None])]
    assert [item.result.text for item in items if item.result] == ["Hola", "Hola"]
    assert_accepted(server, "POST", "POST")


async def test_nothing_gives_nothing(toolhouse: AsyncToolhouse, server: EmulatorServer) -> None:
    assert [item async for item in toolhouse.map(AGENT, [])] == []
    assert server.requests == []


async def test_turn_options_go_to_every_turn(
    emulator: WorkersEmulator, server: EmulatorServer, toolhouse: AsyncToolhouse
) -> None:
    @emulator.worker(AGENT)
    async def worker(ctx):
        if ctx.message != "go on":
            yield ctx.background(asyncio.sleep, 10)
        yield ctx.text(f"[{ctx.message}]")

    options = {"format": "text", "resume_message": "go on"}
    items = [item async for item in toolhouse.map(AGENT, ["a"], **options)]
    assert [item.result.text for item in items if item.result] == ["[a][go on]"]
    assert [request.path.startswith("/ndjson") for request in server.accepted] == [False, False]
    assert_accepted(server, "POST a", "PUT go on")


async def test_leaving_early_ends_the_turns_that_are_under_way(
    load: Load, emulator: WorkersEmulator, server: EmulatorServer, toolhouse: AsyncToolhouse
) -> None:
    emulator.on_disconnect = "stop"
    items = toolhouse.map(AGENT, ["1", "1000", "1000"])
    assert (await anext(items)).index == 0
    await items.aclose()
    while server.connections > 1:
        await asyncio.sleep(0.01)
    assert len(server.requests) == 3


async def test_a_source_that_fails_raises_its_error(load: Load, toolhouse: AsyncToolhouse) -> None:
    """The contract is silent here: the error is the caller's own, not that of a turn."""

    def messages() -> Iterator[str]:
        yield "1"
        raise KeyError("source")

    with pytest.raises(KeyError, match="source"):
        async for _ in toolhouse.map(AGENT, messages()):
            pass
