"""The store on a PostgreSQL server: its table, its place among loops and processes, and what a DSN may be."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import uvloop

from tests.loops.support import eager_loop
from tests.support.postgres_server import PostgresServer
from tests.support.programs import Done, run_programs
from toolhouse_async import ConfigurationError, StoreError
from toolhouse_async.stores import PostgresSessionStore
from toolhouse_async.stores import _postgres as module

from .postgres import locked, pids, stopped, until, waiting

REAL_TIME = True

BEGIN = "import asyncio; from toolhouse_async.stores import PostgresSessionStore"
COUNT = """
async def main():
    async with PostgresSessionStore({place!r}) as store:
        for _ in range(50):
            while True:
                old = (await store.read("count")).value
                if await store.swap("count", old, b"%d" % (int(old or b"0") + 1)):
                    break

asyncio.run(main())
"""


@pytest.fixture
def server(postgres_server: PostgresServer) -> PostgresServer:
    return postgres_server


@pytest.fixture
def store(postgres_store: PostgresSessionStore) -> PostgresSessionStore:
    return postgres_store


# The table


def test_several_processes_at_once(dsn: str, server: PostgresServer, tmp_path: Path) -> None:
    """They make the table, and count together without losing one: of two who change an entry one does."""
    programs = [COUNT.format(place=dsn)] * 2
    assert run_programs(BEGIN, programs, tmp_path, "-W", "error") == [Done(0, "", "")] * 2
    assert server.sql("SELECT convert_from(head, 'UTF8'), value FROM toolhouse_sessions", dsn=dsn) == [
        ("count", b"100")
    ]


async def test_many_make_the_table_at_once(dsn: str) -> None:
    stores = [PostgresSessionStore(dsn) for _ in range(8)]
    done = await asyncio.gather(*(store.swap("k", None, b"%d" % number) for number, store in enumerate(stores)))
    assert sum(done) == 1
    for store in stores:
        await store.aclose()


async def test_a_table_that_is_taken_away_is_made_again(store: PostgresSessionStore, server: PostgresServer) -> None:
    assert await store.swap("k", None, b"x")
    await store._connections.ask("DROP TABLE toolhouse_sessions")
    assert [entry async for entry in store.entries("")] == []
    assert await store.swap("k", None, b"x")


async def test_without_the_right_to_make_it(dsn: str, server: PostgresServer) -> None:
    (schema,) = server.sql("SELECT current_schema()", dsn=dsn)[0]
    with suppress(psycopg.errors.DuplicateObject):
        server.sql("CREATE ROLE clerk LOGIN")
    server.sql(f"GRANT USAGE ON SCHEMA {schema} TO clerk")
    async with PostgresSessionStore(dsn.replace("user=bot", "user=clerk")) as store:
        with pytest.raises(StoreError, match="permission denied for schema") as caught:
            await store.read("k")
        assert caught.value.is_lasting
        server.sql(module.TABLE, "GRANT SELECT, INSERT, UPDATE, DELETE ON toolhouse_sessions TO clerk", dsn=dsn)
        assert await store.swap("k", None, b"x")


async def test_without_a_schema(server: PostgresServer) -> None:
    async with PostgresSessionStore(f"{server.dsn} options='-c search_path=none'") as store:
        with pytest.raises(StoreError, match="no schema") as caught:
            await store.read("k")
        assert caught.value.is_lasting


async def test_a_table_of_something_else(dsn: str, server: PostgresServer) -> None:
    server.sql("CREATE TABLE toolhouse_sessions (chat text)", dsn=dsn)
    async with PostgresSessionStore(dsn) as store:
        with pytest.raises(StoreError, match="column") as caught:
            await store.read("k")
        assert caught.value.is_lasting


async def test_long_keys_that_begin_alike(store: PostgresSessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what an index can hold, and so many that several pages begin alike."""
    monkeypatch.setattr(module, "PAGE", 3)
    head = "é" * (module.HEAD // 2)
    keys = [head[:-1], head, *(f"{head}{letter * 3000}{number}" for letter in "ab" for number in range(5)), f"{head}é"]
    keys += ["a", "z", "\U0010ffff" * 3000, head[:-1] + "z"]
    for key in keys:
        assert await store.swap(key, None, key.encode())
    for key in keys:
        assert (await store.read(key)).value == key.encode()
    for prefix in ("", head[:-1], head, head + "a", head + "b" * 3000, head + "c", "\U0010ffff" * 2999, "z"):
        found = [entry async for entry in store.entries(prefix)]
        assert sorted(found) == sorted((key, key.encode()) for key in keys if key.startswith(prefix))


async def test_what_is_sent_leaves_nothing_on_a_connection(store: PostgresSessionStore) -> None:
    """A pooler may give the next transaction another connection."""
    for number in range(20):
        await store.swap("k", b"%d" % (number - 1) if number else None, b"%d" % number)
    assert len(pids(store)) == 1
    assert await store._connections.ask("SELECT name FROM pg_prepared_statements") == []
    changed = await store._connections.ask("SELECT name FROM pg_settings WHERE source = 'session'")
    assert changed == []
    assert await store._connections.ask("SHOW synchronous_commit") == [("on",)]


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
async def test_another_isolation_by_default(dsn: str, isolation: str) -> None:
    setting = " -c default_transaction_isolation=" + isolation.replace(" ", r"\\ ")
    other = dsn.replace("search_path", f"lock_timeout=0{setting} -c search_path")
    async with PostgresSessionStore(other) as one, PostgresSessionStore(other) as two:
        assert await one._connections.ask("SHOW transaction_isolation") == [(isolation,)]
        assert await one.swap("k", None, b"0")
        for number in range(1, 10):
            old, new = b"%d" % (number - 1), b"%d" % number
            done = await asyncio.gather(*(store.swap("k", old, new) for store in (one, two) * 4))
            assert sum(done) == 1


# Other event loops, other processes


@pytest.fixture(scope="session")
def warm_uvloop() -> None:
    """Let it open what it keeps for the life of the process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.sleep(0))


@pytest.mark.parametrize("kind", ["uvloop", *(["eager"] if sys.version_info >= (3, 12) else [])])
def test_on_other_loops(warm_uvloop: None, kind: str, dsn: str, server: PostgresServer) -> None:
    async def use() -> None:
        async with PostgresSessionStore(dsn) as store:
            assert all(await asyncio.gather(*(store.swap(f"k{number}", None, b"x") for number in range(20))))
            with locked(dsn):
                changing = asyncio.ensure_future(store.swap("k1", b"x", b"y"))
                await until(lambda: waiting(dsn))
                changing.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await changing
                assert waiting(dsn) == []
            with stopped(server):
                pass
            assert (await store.read("k1")).value == b"x"
            assert len([key async for key, _ in store.entries("k")]) == 20

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if kind == "uvloop" else eager_loop) as runner:
        runner.run(use())


def test_one_event_loop_uses_it(dsn: str) -> None:
    store = PostgresSessionStore(dsn)

    async def use() -> None:
        await store.swap("k", None, b"x")

    async def use_elsewhere() -> None:
        with pytest.raises(ConfigurationError, match="event loop"):
            await store.read("k")
        with pytest.raises(ConfigurationError, match="event loop"):
            await anext(store.entries(""))

    with asyncio.Runner() as one, asyncio.Runner() as two:
        one.run(use())
        two.run(use_elsewhere())
        with pytest.raises(ConfigurationError, match="event loop"):
            two.run(store.aclose())
    assert len(pids(store)) == 1
    asyncio.run(store.aclose())  # which needs no event loop of its own for that
    assert pids(store) == []
    asyncio.run(store.aclose())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_child_process_is_told(dsn: str) -> None:
    code = f"""
import asyncio, gc, os, sys
from toolhouse_async import ConfigurationError
from toolhouse_async.stores import PostgresSessionStore

store = PostgresSessionStore({dsn!r})

async def child():
    for call in (lambda: store.read("k"), lambda: anext(store.entries(""))):
        try:
            await call()
        except ConfigurationError as error:
            print(error)
    await store.aclose()
    async with PostgresSessionStore({dsn!r}) as own:
        assert await own.swap("k", b"x", b"y")

async def parent():
    assert await store.swap("k", None, b"x")
    if os.fork() == 0:
        return True
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    assert len(store._connections._free) == 1
    before = store._connections._free[0].info.backend_pid
    assert (await store.read("k")).value == b"y"
    assert store._connections._free[0].info.backend_pid == before
    await store.aclose()

runner = asyncio.Runner()
if runner.run(parent()):
    runner = None
    asyncio.run(child())
    store = None
    gc.collect()  # which says nothing to the server on the parent's connection
    sys.stdout.flush()
    os._exit(0)
runner.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("after the fork") == 2


async def test_what_a_child_process_inherits_is_let_alone(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PostgresSessionStore(dsn)
    assert await store.swap("k", None, b"x")
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(ConfigurationError, match="fork"):
            await store.read("k")
        await store.aclose()
    assert await store._connections.ask("SELECT value FROM toolhouse_sessions") == [(b"x",)]
    await store._connections.aclose()


@pytest.mark.usefixtures("traced")
def test_without_its_library() -> None:
    code = "import sys; sys.modules['psycopg'] = None; from toolhouse_async.stores import PostgresSessionStore"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigurationError: PostgresSessionStore needs psycopg" in done.stderr
    assert "pip install 'toolhouse-async[postgres]'" in done.stderr


def test_its_library_is_loaded_when_it_is_asked_for() -> None:
    code = "import sys, toolhouse_async.stores; print('psycopg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# What a DSN may be


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "localhost",
        "mysql://user:hunter2@host/",
        "postgresql+asyncpg://user:hunter2@host/",
        "postgresql://user:hunter2",
        "postgresql://user:hunter2%@host",
        "postgresql://host/db?hunter2=1",
        "postgresql://[host",
        "host=h port=hunter2",
        "host=h password='hunter2",
        "host=h password=zq hunter2",
        "host=h password=hunter2\0",
        "host=h password=hunter2\ud800",
        "host=h connect_timeout=hunter2",
        "user=u hunter2=p",
        7,
        None,
    ],
)
def test_what_is_no_dsn(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match="DSN") as caught:
        PostgresSessionStore(bad)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (7, "must be a string, not int"),
        ("host=h\0", "contains NUL"),
        ("mysql://h/db?a=b", "must begin with postgresql://"),
        ("h", "of the form host="),
        ("host=h connect_timeout=x", "connect_timeout must be a whole number"),
        ("host=h port=x", "port must be a number"),
        ("host=h nothing=x", "does not understand"),
    ],
)
def test_why_it_is_no_dsn(bad: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        PostgresSessionStore(bad)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
@pytest.mark.parametrize(
    "password", ["zq/xw", "zq?xw", "zq@xw", "zq/", "?zq", "12/34", "1/2?3@4", "zq?a=xw", "zq@xw/12"]
)
def test_a_password_that_is_not_encoded(scheme: str, password: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PostgresSessionStore(f"{scheme}://user:{password}@host.example:6379/2")
    told = str(caught.value)
    assert "urllib.parse.quote(password, safe='')" in told
    told = told.replace("quote(password", "")
    for part in ("zq", "xw", "12", "34"):
        assert part not in told
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("password", ["zq/xw", "zq#?[]@:%", "50%", " \n", "p@ss", "zq'\\"])
def test_a_password_that_is_encoded(password: str) -> None:
    store = PostgresSessionStore(f"postgresql://user:{quote(password, safe='')}@host.example:5433/db")
    settings = module.conninfo_to_dict(store._connections._conninfo)
    wanted = {"host": "host.example", "port": "5433", "dbname": "db", "user": "user", "password": password}
    assert {name: settings[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://",
        "postgres://host",
        "postgresql://[::1]:5433/db",
        "postgresql://u:p#ss:word@one:1,two:2/db?target_session_attrs=any&connect_timeout=9",
        "postgresql:///db?host=/run/postgresql",
        "host=one,two port=1,2 password='a b' dbname=x",
        "service=sessions",
        "password=a://b user=x@y",
    ],
)
def test_what_is_a_dsn(dsn: str) -> None:
    settings = module.conninfo_to_dict(PostgresSessionStore(dsn)._connections._conninfo)
    assert settings == {**module.DEFAULTS, **module.conninfo_to_dict(dsn)}


@pytest.mark.parametrize("host", ["127.0.0.1", "a..b", "none.invalid", "/nowhere"])
async def test_nobody_listens(host: str) -> None:
    async with PostgresSessionStore(f"host={host} port=1 password=hunter2") as store:
        with pytest.raises(StoreError, match="PostgreSQL") as caught:
            await store.read("k")
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_password_that_is_wrong(
    server: PostgresServer, caplog: pytest.LogCaptureFixture, is_known: bool
) -> None:
    """It is in no error, no log, no warning, and not in what shows the store."""
    caplog.set_level(logging.DEBUG)
    with suppress(psycopg.errors.DuplicateObject):
        server.sql("CREATE ROLE guarded LOGIN PASSWORD 'right-sesame'")
    password = "right-sesame" if is_known else "wrong-sesame"
    store = PostgresSessionStore(f"host={server.folder} user=guarded password={password} dbname=postgres")
    if is_known:
        with pytest.raises(StoreError, match=r"permission denied|no schema"):
            await store.read("k")
    else:
        with pytest.raises(StoreError, match="password authentication failed") as caught:
            await store.read("k")
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert "sesame" not in f"{caught.value!r} {caught.value}"
    assert "sesame" not in repr(store)
    assert "sesame" not in caplog.text
    await store.aclose()
