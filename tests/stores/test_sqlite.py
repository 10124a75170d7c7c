"""The store in a file: who may read it, its versions, other processes, and how it is closed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.programs import Done, run_programs
from toolhouse_async import AsyncToolhouse, ClosedError, ConfigurationError, SessionManager, StoreError
from toolhouse_async.stores import SQLiteSessionStore
from toolhouse_async.stores import _sqlite as module
from toolhouse_async.testing import WorkerContext, WorkersEmulator

REAL_TIME = True

BEGIN = "import asyncio; from toolhouse_async.stores import SQLiteSessionStore"
COUNT = """
async def main():
    async with SQLiteSessionStore({place!r}) as store:
        for _ in range(50):
            while True:
                value = (await store.read("count")).value
                if await store.swap("count", value, b"%d" % (int(value or 0) + 1)):
                    break

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("is_relative", [False, True])
async def test_a_file_behind_a_link_that_dangles_is_its_owners_alone(
    tmp_path: Path, depth: int, is_relative: bool
) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    target = folder / "sessions.db"
    for number in range(depth):
        link = tmp_path / f"link{number}"
        link.symlink_to(os.path.relpath(target, tmp_path) if is_relative else target)
        target = link
    before = os.umask(0)
    try:
        async with SQLiteSessionStore(target) as store:
            assert await store.swap("k", None, b"x")
            assert modes(folder) == {0o600}
    finally:
        os.umask(before)
    assert [file.name for file in folder.iterdir()] == ["sessions.db"]


@pytest.mark.skipif(os.name != "posix", reason="links are those of POSIX")
async def test_links_that_lead_in_a_circle_are_no_file(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(StoreError):
        await SQLiteSessionStore(tmp_path / "a").read("k")


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
async def test_only_its_owner_may_read_it(path: Path) -> None:
    before = os.umask(0)
    try:
        async with SQLiteSessionStore(path) as store:
            await store.swap("k", None, b"x")
            assert {file.name for file in path.parent.iterdir()} > {path.name}
            assert modes(path.parent) == {0o600}
    finally:
        os.umask(before)
    assert modes(path.parent) == {0o600}


async def test_it_writes_ahead_and_to_the_disk(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        assert await store._execute("PRAGMA journal_mode") == [("wal",)]
        assert await store._execute("PRAGMA synchronous") == [(2,)]


def test_several_processes_at_once(path: Path, tmp_path: Path) -> None:
    """They make the file, and count together without losing one."""
    programs = [COUNT.format(place=str(path))] * 4
    assert run_programs(BEGIN, programs, tmp_path, "-W", "error") == [Done(0, "", "")] * 4
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT key, value FROM sessions").fetchall() == [(b"count", b"200")]
    db.close()


async def test_a_writer_is_waited_for(path: Path) -> None:
    async with SQLiteSessionStore(path) as store:
        await store.swap("k", None, b"1")
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        writing = asyncio.ensure_future(store.swap("k", b"1", b"2"))
        await asyncio.sleep(0.1)
        assert not writing.done()
        db.execute("COMMIT")
        db.close()
        assert await writing


async def test_a_writer_that_does_not_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY", 0.05)
    async with SQLiteSessionStore(path) as store:
        await store.swap("k", None, b"1")
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            await store.swap("k", b"1", b"2")
        db.close()
        assert await store.swap("k", b"1", b"2")


async def test_a_file_of_an_earlier_version_is_brought_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with SQLiteSessionStore(path) as store:
        await store.swap("k", None, b"x")
    monkeypatch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, "ALTER TABLE sessions ADD COLUMN more TEXT"))
    for _ in range(2):
        async with SQLiteSessionStore(path) as store:
            assert await store._execute("SELECT key, value, more FROM sessions") == [(b"k", b"x", None)]
            assert await store._execute("PRAGMA user_version") == [(len(module.MIGRATIONS),)]


async def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with SQLiteSessionStore(path) as store:
        await store.swap("k", None, b"x")
    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, "ALTER TABLE sessions ADD COLUMN more TEXT", "wrong"))
        with pytest.raises(StoreError, match="syntax"):
            await SQLiteSessionStore(path).read("k")
    async with SQLiteSessionStore(path) as store:
        assert (await store.read("k")).value == b"x"


async def test_a_file_of_a_later_version_is_refused(path: Path) -> None:
    async with SQLiteSessionStore(path):
        pass
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="version 99"):
        await SQLiteSessionStore(path).read("k")


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a file that is open is not removed")
@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_file_that_is_removed_while_it_is_open_fails_each_use(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    monkeypatch.chdir(path.parent)
    async with SQLiteSessionStore(path.name) as store:
        await store.swap("a", None, b"1")
        monkeypatch.chdir("/")
        await store.swap("a", b"1", b"2")
        moved = path.rename(path.with_suffix(".moved"))
        if is_replaced:
            path.touch()
        for use in (store.read("a"), store.swap("b", None, b"1"), anext(aiter(store.entries("")))):
            with pytest.raises(StoreError, match="was removed or replaced while it was open") as caught:
                await use
            assert caught.value.is_lasting
        moved.replace(path)
        assert (await store.read("a")).value == b"2"


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a file that is open is not removed")
async def test_a_batch_whose_file_is_removed_ends_by_that(path: Path) -> None:
    emulator = WorkersEmulator()

    @emulator.worker("upper")
    async def upper(ctx: WorkerContext) -> AsyncIterator[object]:
        yield ctx.text(ctx.message.upper())

    async with (
        emulator.serve() as server,
        AsyncToolhouse("key", base_url=server.url) as client,
        SQLiteSessionStore(path) as store,
        client.batch("upper", map(str, range(20)), store=store, name="b", concurrency=2) as batch,
    ):
        await anext(batch)
        path.unlink()
        with pytest.raises(StoreError, match="removed"):
            _ = [item async for item in batch]
        assert batch.progress.done < 20


async def test_a_database_of_something_else_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE chats (user TEXT)")
    db.close()
    with pytest.raises(StoreError, match="something else"):
        await SQLiteSessionStore(path).read("k")


async def test_what_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"x" * 10_000)
    with pytest.raises(StoreError):
        await SQLiteSessionStore(path).read("k")


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    store = SQLiteSessionStore(tmp_path / "none" / "sessions.db")
    with pytest.raises(StoreError, match="No such file") as caught:
        await store.read("k")
    assert caught.value.safe_to_retry is True
    (tmp_path / "none").mkdir()
    assert (await store.read("k")).value is None  # the next use tries again
    await store.aclose()


@pytest.mark.parametrize("bad", ["", ":memory:", "a\0b", b"x"])
def test_what_is_no_path(bad: str) -> None:
    with pytest.raises(ConfigurationError, match="path"):
        SQLiteSessionStore(bad)


async def test_a_closed_one_is_not_used(path: Path) -> None:
    store = SQLiteSessionStore(path)
    await store.aclose()
    with pytest.raises(ClosedError):
        await store.read("k")


def test_it_ends_with_its_event_loop(path: Path) -> None:
    """Whoever does not close it keeps neither its file nor its thread."""
    threads = set(threading.enumerate())
    store = SQLiteSessionStore(path)

    async def use() -> None:
        await store.swap("k", None, b"x")

    asyncio.run(use())
    for thread in set(threading.enumerate()) - threads:
        thread.join(5)
    assert set(threading.enumerate()) <= threads

    async def use_again() -> bytes | None:
        return (await store.read("k")).value

    assert asyncio.run(use_again()) == b"x"


@pytest.mark.parametrize("spins", range(0, 40, 3))
async def test_opening_may_be_cancelled(path: Path, spins: int) -> None:
    if spins % 2:  # the file is there already
        async with SQLiteSessionStore(path):
            pass
    store = SQLiteSessionStore(path)
    task = asyncio.ensure_future(store.read("k"))
    for _ in range(spins):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert (await store.read("k")).value is None
    await store.aclose()


@pytest.mark.parametrize("spins", range(0, 40, 3))
async def test_it_may_be_closed_while_it_is_opened(path: Path, spins: int) -> None:
    store = SQLiteSessionStore(path)
    task = asyncio.ensure_future(store.read("k"))
    for _ in range(spins):
        await asyncio.sleep(0)
    await store.aclose()
    await asyncio.wait([task])
    assert task.exception() is None or isinstance(task.exception(), ClosedError | StoreError)


async def test_keys_that_go_on_from_the_last_of_a_page(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 1)
    keys = ["k", "k\0", "k\x01", "k ", "kA", "kAA", "kz"]
    async with SQLiteSessionStore(path) as store:
        for key in keys:
            assert await store.swap(key, None, b"x")
        assert sorted([key async for key, _ in store.entries("k")]) == sorted(keys)


async def test_many_may_open_it_at_once(path: Path) -> None:
    store = SQLiteSessionStore(path)
    assert [reading.value for reading in await asyncio.gather(*(store.read("k") for _ in range(5)))] == [None] * 5
    assert str(path) in repr(store)
    await store.aclose()


@pytest.mark.parametrize("ends", [True, False])
async def test_a_file_that_somebody_has_to_themselves(path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    if not ends:
        monkeypatch.setattr(module, "BUSY", 0.1)  # else it is long enough for any machine
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    store = SQLiteSessionStore(path)
    reading = asyncio.ensure_future(store.read("k"))
    await asyncio.sleep(0.13)
    if ends:
        db.execute("COMMIT")
        assert (await reading).value is None
    else:
        with pytest.raises(StoreError, match="OperationalError: database is locked"):
            await reading
    db.close()
    await store.aclose()


async def test_a_connection_that_was_closed_elsewhere(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SQLiteSessionStore(path)
    connection = await store._open()
    await connection.close()
    with monkeypatch.context() as patch:
        patch.setattr(module, "_thread_of", lambda _: threading.main_thread())  # as before its own has ended
        with pytest.raises(StoreError, match=r"SQLite: .*(closed|no active)"):
            await store.read("k")
    await store.aclose()


@pytest.mark.usefixtures("traced")
def test_without_its_library() -> None:
    code = "import sys; sys.modules['aiosqlite'] = None; from toolhouse_async.stores import SQLiteSessionStore"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigurationError: SQLiteSessionStore needs aiosqlite" in done.stderr
    assert "pip install 'toolhouse-async[sqlite]'" in done.stderr


# What does not pass by itself is told at once


def refusing(code: int) -> type[sqlite3.Connection]:
    """Connections to a file that may be read and not written, or worse."""

    class Refusing(sqlite3.Connection):
        def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
            error = sqlite3.OperationalError("attempt to write a readonly database")
            error.sqlite_errorcode = code
            raise error

    return Refusing


@pytest.mark.parametrize("code", [sqlite3.SQLITE_READONLY, sqlite3.SQLITE_READONLY | 7 << 8, sqlite3.SQLITE_CANTOPEN])
async def test_a_file_that_may_not_be_written(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, factory=refusing(code), **options))
    started = time.monotonic()
    with pytest.raises(StoreError, match="readonly") as caught:
        await SQLiteSessionStore(path).read("k")
    assert time.monotonic() - started < 5
    assert caught.value.is_lasting


@pytest.mark.parametrize("what", ["folder", "link", "not a folder", "something else", "later", "no database"])
async def test_a_key_is_not_waited_for_where_that_is_in_vain(tmp_path: Path, what: str) -> None:
    path = tmp_path / "sessions.db"
    match what:
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(path)
        case "not a folder":
            path.write_bytes(b"")
            path = path / "sessions.db"
        case "no database":
            path.write_bytes(b"x" * 10_000)
        case _:
            db = sqlite3.connect(path)
            db.execute("CREATE TABLE chats (user TEXT)")
            if what == "later":
                db.execute(f"PRAGMA application_id = {module.APPLICATION}")
                db.execute("PRAGMA user_version = 99")
            db.close()
    async with AsyncToolhouse("", base_url="http://127.0.0.1:1") as toolhouse:
        manager = SessionManager(toolhouse, "worker", store=SQLiteSessionStore(path))
        started = time.monotonic()
        with pytest.raises(StoreError) as caught:
            await manager.send("k", "Hello")
        assert time.monotonic() - started < 5
        assert caught.value.safe_to_retry is True
        assert str(path) in str(caught.value)
        await manager.aclose()


# Programs that fork, and that end their event loop in their own way


IMPORTS = """
import asyncio, os, sys, threading
from toolhouse_async import ConfigurationError
from toolhouse_async.stores import SQLiteSessionStore
"""
USE = """
store = SQLiteSessionStore({path!r})

async def use(old=None, new=b"x"):
    assert await store.swap("k", old, new)
"""
ENDS = [
    "loop.call_soon(lambda: asyncio.ensure_future(use()).add_done_callback(lambda _: loop.stop())); "
    "loop.run_forever(); print(store)",
    "loop.run_until_complete(use())",
    "loop.run_until_complete(use()); loop.close()",
    "loop.create_task(use()); loop.call_later(0.001, loop.stop); loop.run_forever()",
    "loop.run_until_complete(use()); sys.exit(0)",
    "thread = threading.Thread(target=lambda: loop.run_until_complete(use())); thread.start(); thread.join()",
]


def test_a_program_ends_that_stops_its_event_loop(tmp_path: Path) -> None:
    programs = [
        f"{USE.format(path=str(tmp_path / f'{number}.db'))}\nloop = asyncio.new_event_loop()\n{end}\n"
        for number, end in enumerate(ENDS)
    ]
    for end, done in zip(ENDS, run_programs(IMPORTS, programs, tmp_path), strict=True):
        assert done.returncode == 0, end
        assert "Error" not in done.stderr.replace("RuntimeError: Event loop is closed", ""), end


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_child_process_is_told(path: Path) -> None:
    code = (
        IMPORTS
        + USE.format(path=str(path))
        + """
async def child():
    for call in (lambda: store.read("k"), lambda: store.swap("k", b"x", b"z"), lambda: anext(store.entries(""))):
        try:
            await call()
        except ConfigurationError as error:
            print(error)
    await store.aclose()
    async with SQLiteSessionStore(sys.argv[1]) as own:
        assert await own.swap("k", b"x", b"y")

async def parent():
    await use()
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (await store.read("k")).value == b"y"
        await store.aclose()
    return child

runner = asyncio.Runner()
if not runner.run(parent()):
    runner = None
    asyncio.run(child())
    sys.stdout.flush()
    os._exit(0)
runner.close()
"""
    )
    about_forks = "ignore:This process:DeprecationWarning"  # from Python 3.12 on, of every fork beside a thread
    command = [sys.executable, "-W", about_forks, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("after the fork") == 3


def test_it_is_opened_again_where_its_thread_has_ended(path: Path) -> None:
    """As where its event loop was closed while it was at work."""
    store = SQLiteSessionStore(path)

    async def use() -> None:
        assert await store.swap("k", None, b"x")
        connection = store._connection
        assert connection is not None
        await connection.close()
        module._thread_of(connection).join()
        assert (await store.read("k")).value == b"x"

    asyncio.run(use())

    async def use_again() -> None:
        assert (await store.read("k")).value == b"x"
        await store.aclose()

    asyncio.run(use_again())


def test_opening_that_was_given_up_by_its_event_loop_begins_anew(path: Path) -> None:
    store = SQLiteSessionStore(path)
    stopped = asyncio.new_event_loop()
    task = stopped.create_task(store.read("k"))
    stopped.call_soon(stopped.stop)
    stopped.run_forever()  # which has begun to open it

    async def use() -> None:
        assert (await store.read("k")).value is None
        await store.aclose()

    asyncio.run(use())
    stopped.run_until_complete(asyncio.wait({task}, timeout=5))
    stopped.run_until_complete(stopped.shutdown_asyncgens())
    stopped.close()


async def test_what_a_child_process_inherits_is_let_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SQLiteSessionStore(path)
    assert await store.swap("k", None, b"x")
    life, connection = store._life, store._connection
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(ConfigurationError, match="fork"):
            await store.read("k")
        await store.aclose()
    assert module.INHERITED.pop() is life
    assert connection is not None
    assert await connection.execute_fetchall("SELECT value FROM sessions") == [(b"x",)]
    assert life is not None
    await life.aclose()


def test_closing_on_another_event_loop(path: Path) -> None:
    store = SQLiteSessionStore(path)
    one = asyncio.new_event_loop()
    one.run_until_complete(store.swap("k", None, b"x"))
    asyncio.run(store.aclose())
    one.run_until_complete(one.shutdown_asyncgens())
    one.close()
