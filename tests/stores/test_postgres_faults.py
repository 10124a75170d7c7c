"""A PostgreSQL server that restarts, hangs, is full or hands over, and callers who give up."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from tests.support.postgres_server import PostgresServer
from tests.support.stores import running_postgres
from toolhouse_async import ClosedError, StoreError
from toolhouse_async.stores import PostgresSessionStore, _connections
from toolhouse_async.stores import _postgres as module

from .postgres import hanging, locked, pids, stopped, until, waiting

REAL_TIME = True


@pytest.fixture
def server(postgres_server: PostgresServer) -> PostgresServer:
    return postgres_server


@pytest.fixture
def store(postgres_store: PostgresSessionStore) -> PostgresSessionStore:
    return postgres_store


# A server that is killed, or ends connections


async def test_what_was_answered_outlives_the_server(store: PostgresSessionStore, server: PostgresServer) -> None:
    assert await store.swap("k", None, b"x")
    with stopped(server):
        for call in (lambda: store.read("k"), lambda: store.swap("k", b"x", b"y"), lambda: anext(store.entries(""))):
            with pytest.raises(StoreError, match="PostgreSQL") as caught:
                await call()
            assert not caught.value.is_lasting
    assert (await store.read("k")).value == b"x"


async def test_a_restart_is_not_noticed(store: PostgresSessionStore, server: PostgresServer) -> None:
    """Where nothing was under way: connections that the server has closed are replaced."""
    await asyncio.gather(*(store.swap(f"k{number}", None, b"x") for number in range(20)))
    before = pids(store)
    assert len(before) == _connections.CONNECTIONS
    with stopped(server):
        pass
    assert all(await asyncio.gather(*(store.swap(f"k{number}", b"x", b"y") for number in range(20))))
    assert not set(before) & set(pids(store))


async def test_connections_that_are_terminated_are_replaced(
    store: PostgresSessionStore, server: PostgresServer
) -> None:
    assert await store.swap("k", None, b"x")
    (pid,) = pids(store)
    server.sql(f"SELECT pg_terminate_backend({pid}, 20000)")
    assert await store.swap("k", b"x", b"y")
    assert pids(store) != [pid]


async def test_a_connection_that_is_terminated_at_work(
    store: PostgresSessionStore, dsn: str, server: PostgresServer
) -> None:
    assert await store.swap("k", None, b"x")
    with locked(dsn):
        changing = asyncio.ensure_future(store.swap("k", b"x", b"y"))
        await until(lambda: waiting(dsn))
        server.sql(f"SELECT pg_terminate_backend({waiting(dsn)[0][0]})")
        with pytest.raises(StoreError, match="AdminShutdown"):
            await changing
    assert pids(store) == []
    assert await store.swap("k", b"x", b"z")


async def test_a_server_that_is_killed_at_work(store: PostgresSessionStore, dsn: str, server: PostgresServer) -> None:
    assert await store.swap("k", None, b"x")
    with suppress(psycopg.OperationalError), locked(dsn):
        changing = asyncio.ensure_future(store.swap("k", b"x", b"y"))
        await until(lambda: waiting(dsn))
        with stopped(server), pytest.raises(StoreError, match="PostgreSQL"):
            await changing
    assert await store.swap("k", b"x", b"z")


async def test_a_server_that_does_not_answer(
    store: PostgresSessionStore, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.read("k")
    with monkeypatch.context() as brief, hanging(server), pytest.raises(StoreError, match="no answer"):
        brief.setattr(_connections, "PATIENCE", 0.1)
        brief.setattr(_connections, "GRACE", 0.1)
        await store.read("k")
    assert pids(store) == []
    assert await store.swap("k", None, b"x")


async def test_a_statement_that_takes_too_long_there(store: PostgresSessionStore, dsn: str) -> None:
    impatient = PostgresSessionStore(dsn.replace("search_path", "statement_timeout=100 -c search_path"))
    assert await store.swap("k", None, b"x")
    with locked(dsn), pytest.raises(StoreError, match="statement timeout") as caught:
        await impatient.swap("k", b"x", b"y")
    assert not caught.value.is_lasting
    assert await impatient.swap("k", b"x", b"y")
    await impatient.aclose()


async def test_a_statement_that_takes_too_long_here(
    store: PostgresSessionStore, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await store.swap("k", None, b"x")
    before = pids(store)
    with monkeypatch.context() as brief, locked(dsn), pytest.raises(StoreError, match="no answer"):
        brief.setattr(_connections, "PATIENCE", 0.1)
        await store.swap("k", b"x", b"y")
    assert pids(store) == before
    assert (await store.read("k")).value == b"x"


FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100', DETAIL = 'secret';
END $$"""


async def test_a_disk_that_is_full(store: PostgresSessionStore, dsn: str, server: PostgresServer) -> None:
    assert await store.swap("k", None, b"x")
    trigger = "CREATE TRIGGER full_disk BEFORE UPDATE ON toolhouse_sessions EXECUTE FUNCTION full_disk()"
    server.sql(FULL, trigger, dsn=dsn)
    with pytest.raises(StoreError, match=r"DiskFull.*No space left") as caught:
        await store.swap("k", b"x", b"y")
    assert not caught.value.is_lasting
    assert "secret" not in str(caught.value)
    assert (await store.read("k")).value == b"x"
    server.sql("DROP TRIGGER full_disk ON toolhouse_sessions", dsn=dsn)
    assert await store.swap("k", b"x", b"y")


async def test_a_disk_that_is_really_full(dsn: str, server: PostgresServer) -> None:
    folder = server.folder / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("needs the right to mount")
    try:
        shutil.chown(folder, server.data.owner())
        server.sql(f"CREATE TABLESPACE tiny LOCATION '{folder}'")
        async with PostgresSessionStore(dsn.replace("search_path", "default_tablespace=tiny -c search_path")) as store:
            data, kept = os.urandom(20_000), 0
            with pytest.raises(StoreError, match="DiskFull") as caught:
                while await store.swap(f"k{kept}", None, data):
                    kept += 1
            assert not caught.value.is_lasting
            assert kept
            assert [key async for key, _ in store.entries("k")] == sorted(f"k{number}" for number in range(kept))
            subprocess.run(["mount", "-o", "remount,size=4m", str(folder)], check=True)
            assert await store.swap("k", None, data)
    finally:
        server.sql("DROP TABLE IF EXISTS toolhouse_sessions", "CHECKPOINT", dsn=dsn)
        server.sql("DROP TABLESPACE IF EXISTS tiny")
        # At once, though a process of the server may still hold a file that is gone.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


# Fail-overs


@pytest.fixture
def pair() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary of a test's own, and its standby."""
    with running_postgres() as primary:
        primary.sql(module.TABLE)
        with running_postgres(primary) as standby:
            yield primary, standby


def of_both(one: PostgresServer, two: PostgresServer) -> str:
    return f"host={one.folder},{two.folder} user=bot dbname=postgres"


async def test_a_standby_is_used_once_it_takes_over(pair: tuple[PostgresServer, PostgresServer]) -> None:
    primary, standby = pair
    async with PostgresSessionStore(standby.dsn) as store:
        with pytest.raises(StoreError, match="read-only"):
            await store.read("k")
    async with PostgresSessionStore(f"{standby.dsn} target_session_attrs=any") as store:
        with pytest.raises(StoreError, match="ReadOnly"):
            await store.swap("k", None, b"x")
    async with (
        PostgresSessionStore(of_both(primary, standby)) as one,
        PostgresSessionStore(of_both(standby, primary)) as two,
    ):
        assert await one.swap("k", None, b"1")
        assert await two.swap("k", b"1", b"2")
        (here,) = primary.sql("SELECT pg_current_wal_flush_lsn()::text")[0]
        while not standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{here}'::pg_lsn")[0][0]:
            await asyncio.sleep(0.01)
        primary.stop()
        for store in (one, two):
            with pytest.raises(StoreError, match="read-only"):
                await store.swap("k", b"2", b"3")
            assert pids(store) == []
        standby.sql("SELECT pg_promote()")
        assert await one.swap("k", b"2", b"3")
        assert await two.swap("k", b"3", b"4")
        assert (await one.read("k")).value == b"4"


async def test_a_server_that_turns_to_reading_is_left(store: PostgresSessionStore, server: PostgresServer) -> None:
    assert await store.swap("k", None, b"x")
    (pid,) = pids(store)
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    try:
        with pytest.raises(StoreError, match=r"ReadOnly|read-only"):
            while True:  # it hears of it when it comes to it
                assert await store.swap("k", b"x", b"x")
    finally:
        server.sql(
            "SET default_transaction_read_only = off",
            "ALTER SYSTEM RESET default_transaction_read_only",
            "SELECT pg_reload_conf()",
        )
    while True:
        with suppress(StoreError):
            assert await store.swap("k", b"x", b"y")
            break
    assert pids(store) != [pid]
    while server.sql("SHOW default_transaction_read_only") != [("off",)]:
        await asyncio.sleep(0.01)


# Cancelling and closing


async def test_what_is_cancelled_has_ended_there(store: PostgresSessionStore, dsn: str) -> None:
    """It changes nothing any more, once it is left; its connection is as good as before."""
    assert await store.swap("k", None, b"x")
    before = pids(store)
    with locked(dsn):
        for _ in range(3):
            changing = asyncio.ensure_future(store.swap("k", b"x", b"y"))
            await until(lambda: waiting(dsn))
            changing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await changing
            assert waiting(dsn) == []
    assert (await store.read("k")).value == b"x"
    assert pids(store) == before


async def test_what_is_cancelled_before_the_server_has_begun_with_it_has_ended_too(
    store: PostgresSessionStore, dsn: str
) -> None:
    """A request to end what runs says nothing to a server that is idle."""
    assert await store.swap("k", None, b"x")
    (pid,) = pids(store)
    with locked(dsn):
        os.kill(pid, signal.SIGSTOP)
        changing = asyncio.ensure_future(store.swap("k", b"x", b"y"))
        await asyncio.sleep(0.02)
        changing.cancel()
        await asyncio.sleep(0.02)
        os.kill(pid, signal.SIGCONT)
        with pytest.raises(asyncio.CancelledError):
            await changing
        assert waiting(dsn) == []
    assert pids(store) == [pid]
    assert (await store.read("k")).value == b"x"


async def test_cancelling_at_every_moment_leaves_nothing_checked_out(store: PostgresSessionStore) -> None:
    for spins in range(40):
        asking = [asyncio.ensure_future(store.swap(f"k{number}", None, b"x")) for number in range(12)]
        for _ in range(spins):
            await asyncio.sleep(0)
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        await store.read("k")  # once the server has taken all whom it was told of: few may wait for that
    assert len(pids(store)) <= _connections.CONNECTIONS
    assert store._connections._places._value == _connections.CONNECTIONS
    for number in range(12):
        assert (await store.read(f"k{number}")).value in (None, b"x")


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_cancelling_does_not_wait_for_a_server_that_hangs(
    store: PostgresSessionStore, server: PostgresServer, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    await store.read("k")
    monkeypatch.setattr(_connections, "PATIENCE", 1000)
    monkeypatch.setattr(_connections, "GRACE", 0.1 if times == 1 else 1000)
    with hanging(server):
        reading = asyncio.ensure_future(store.read("k"))
        await asyncio.sleep(0.02)
        for _ in range(times):
            reading.cancel()
            await asyncio.sleep(0.02)
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert pids(store) == []
    assert (await store.read("k")).value is None


@pytest.mark.parametrize("spins", range(8))
async def test_a_connection_that_breaks_just_when_it_is_cancelled(
    store: PostgresSessionStore, monkeypatch: pytest.MonkeyPatch, spins: int
) -> None:
    """And nobody is told of an error that nobody asks for."""
    await store.read("k")

    async def broken(*_: object) -> Any:
        raise psycopg.OperationalError("broken")

    monkeypatch.setattr(_connections, "_fetch", broken)
    reading = asyncio.ensure_future(store.read("k"))
    for _ in range(spins):
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises((asyncio.CancelledError, StoreError)):
        await reading


async def test_more_callers_than_connections(store: PostgresSessionStore, server: PostgresServer) -> None:
    done = await asyncio.gather(*(store.swap(f"k{number}", None, b"x") for number in range(200)))
    assert all(done)
    ((count,),) = server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'toolhouse-async'")
    assert count <= _connections.CONNECTIONS


async def test_a_closed_one_is_not_used(store: PostgresSessionStore) -> None:
    await store.read("k")
    await store.aclose()
    with pytest.raises(ClosedError):
        await store.read("k")
    with pytest.raises(ClosedError):
        await anext(store.entries(""))
    await store.aclose()


async def test_closing_waits_for_what_is_under_way(store: PostgresSessionStore, dsn: str) -> None:
    assert await store.swap("k", None, b"x")
    with locked(dsn) as other:
        changing = [asyncio.ensure_future(store.swap("k", b"x", b"%d" % number)) for number in range(9)]
        await until(lambda: len(waiting(dsn)) == _connections.CONNECTIONS)
        closing = [asyncio.ensure_future(store.aclose()) for _ in range(2)]
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in (*changing, *closing))
        other.rollback()
        done = await asyncio.gather(*changing, return_exceptions=True)
        await asyncio.gather(*closing)
    assert done.count(True) == 1
    assert [type(each) for each in done].count(ClosedError) == len(changing) - _connections.CONNECTIONS
    assert pids(store) == []


CONFLICT = """
CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('conflicts') % 2 = 1 THEN RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END IF;
    RETURN NULL;
END $$"""


async def test_a_conflict_that_passes_is_not_seen(
    store: PostgresSessionStore, dsn: str, server: PostgresServer
) -> None:
    assert await store.swap("k", None, b"x")
    trigger = "CREATE TRIGGER conflict BEFORE UPDATE ON toolhouse_sessions EXECUTE FUNCTION conflict()"
    server.sql("CREATE SEQUENCE conflicts", CONFLICT, trigger, dsn=dsn)
    assert await store.swap("k", b"x", b"y")
    assert server.sql("SELECT last_value FROM conflicts", dsn=dsn) == [(2,)]
    assert (await store.read("k")).value == b"y"
