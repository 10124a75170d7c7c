"""Keys of workers in a store, and the command about them."""

import asyncio

import pytest

from tests.support.stores import postgres_server, redis_server
from toolhouse_async import AsyncToolhouse, OutcomeUnknownError, SessionManager
from toolhouse_async._cli.sessions.opening import Named, open_store
from toolhouse_async.stores import SQLiteSessionStore
from toolhouse_async.testing.workers import echo

__all__ = ["postgres_server", "redis_server"]


async def analyst(ctx):
    """Has one background job, which does not end."""
    yield ctx.background(asyncio.sleep, 100_000)
    yield ctx.text("First. ")


@pytest.fixture
def service(toolhouse_emulator):
    toolhouse_emulator.worker("echo")(echo)
    toolhouse_emulator.worker("poet")(echo)
    toolhouse_emulator.worker("analyst")(analyst)
    return toolhouse_emulator


@pytest.fixture
def path(tmp_path):
    """A SQLite store that is empty."""

    async def make():
        async with SQLiteSessionStore(tmp_path / "sessions.db") as store:
            await store.read("")

    asyncio.run(make())
    return tmp_path / "sessions.db"


@pytest.fixture
def use(service, path):
    """Uses keys of a worker: ``use("echo", "a", "b")`` says something for each."""

    def say(worker, *keys, store=None, lost=False, message="Book a table"):
        async def talk():
            async with (
                open_store(store or Named(str(path), None)) as opened,
                AsyncToolhouse("", base_url=service.url) as toolhouse,
                SessionManager(toolhouse, worker, store=opened) as manager,
            ):
                for key in keys:
                    if lost:
                        service.faults.add(method="PUT", cut="fin")
                        with pytest.raises(OutcomeUnknownError):
                            await manager.send(key, message)
                    else:
                        await manager.send(key, "Hello", background="detach")

        asyncio.run(talk())

    return say


@pytest.fixture
def hold(service, path):
    """Leaves a key as a process leaves it that was killed: nobody lets it go."""

    def claim(worker, key):
        from toolhouse_async._wire import records

        async def go():
            async with SQLiteSessionStore(path) as store:
                name = f"{worker}/{key}"
                reading = await store.read(name)
                record = records.claimed(
                    records.loads(reading.value), "1", reading.time, who="box:\x1b[31m7", length=1000.0
                )
                assert await store.swap(name, reading.value, records.dumps(record))

        asyncio.run(go())

    return claim


@pytest.fixture
def sessions(cli, path):
    """Runs ``sessions`` with the SQLite store."""

    def call(*arguments, **options):
        return cli("sessions", "--store", path, *arguments, **options)

    return call
