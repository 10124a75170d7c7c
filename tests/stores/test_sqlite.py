"""The store in a file: who may read it, its versions, other processes, and how it is closed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from toolhouse_async import ClosedError, ConfigurationError, StoreError
from toolhouse_async.stores import SQLiteSessionStore
from toolhouse_async.stores import _sqlite as module

REAL_TIME = True

COUNT = """
import asyncio, sys
from toolhouse_async.stores import SQLiteSessionStore

async def main():
    async with SQLiteSessionStore(sys.argv[1]) as store:
        for _ in range(int(sys.argv[2])):
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


def test_several_processes_at_once(path: Path) -> None:
    """They make the file, and count together without losing one."""
    command = [sys.executable, "-W", "error", "-c", COUNT, str(path), "50"]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait(50) for process in processes] == [0] * 4
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
    with pytest.raises(StoreError, match="No such file") as caught:
        await SQLiteSessionStore(tmp_path / "none" / "sessions.db").read("k")
    assert caught.value.safe_to_retry is True


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


async def test_many_may_open_it_at_once(path: Path) -> None:
    store = SQLiteSessionStore(path)
    assert [reading.value for reading in await asyncio.gather(*(store.read("k") for _ in range(5)))] == [None] * 5
    assert str(path) in repr(store)
    await store.aclose()


@pytest.mark.parametrize("ends", [True, False])
async def test_a_file_that_somebody_has_to_themselves(path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    monkeypatch.setattr(module, "BUSY", 0.1)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    store = SQLiteSessionStore(path)
    reading = asyncio.ensure_future(store.read("k"))
    await asyncio.sleep(0.13)
    if ends:
        db.execute("COMMIT")
        assert (await reading).value is None
    else:
        with pytest.raises(StoreError, match="locked"):
            await reading
    db.close()
    await store.aclose()


async def test_a_connection_that_was_closed_elsewhere(path: Path) -> None:
    store = SQLiteSessionStore(path)
    connection = await store._open()
    await connection.close()
    with pytest.raises(StoreError, match="SQLite"):
        await store.read("k")
    await store.aclose()


def test_without_its_library() -> None:
    code = "import sys; sys.modules['aiosqlite'] = None; from toolhouse_async.stores import SQLiteSessionStore"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigurationError: SQLiteSessionStore needs aiosqlite" in done.stderr
    assert "pip install 'toolhouse-async[sqlite]'" in done.stderr
