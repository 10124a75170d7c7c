"""What the ways in which a worker of the emulator fails make of a row, as the page about the emulator says."""

import pytest

from toolhouse_async import AsyncToolhouse, ErrorEvent
from toolhouse_async.stores import MemorySessionStore
from toolhouse_async.testing import WorkersEmulator


async def reports(ctx):
    yield ErrorEvent("no such city")


async def raises_later(ctx):
    yield ctx.text("It is ")
    raise ValueError("no such city")


async def raises_at_once(ctx):
    raise ValueError("no such city")
    yield


async def answers(ctx):
    yield ctx.text("It is old.")


@pytest.mark.parametrize(
    ("worker", "status", "row"),
    [
        (reports, None, ("failed", "WorkerError")),
        (raises_later, None, ("failed", "WorkerError")),
        (raises_at_once, None, ("unknown", "ServerError")),
        (answers, 400, ("failed", "BadRequestError")),
        (answers, 503, ("unknown", "ServerError")),
        (answers, 429, ("done", "NoneType")),
    ],
)
async def test_a_row_whose_worker_fails(worker, status, row):
    emulator = WorkersEmulator()
    emulator.worker("guide")(worker)
    if status is not None:
        emulator.faults.add(status=status)
    async with (
        emulator.serve() as server,
        AsyncToolhouse("", base_url=server.url) as toolhouse,
        toolhouse.batch("guide", ["How old?"], store=MemorySessionStore(), name="ages") as batch,
    ):
        assert [(item.status, type(item.error).__name__) async for item in batch] == [row]
