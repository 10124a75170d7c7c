from __future__ import annotations

from pathlib import Path

import pytest

from toolhouse_async import ClosedError
from toolhouse_async._batch.store import WatchedStore
from toolhouse_async.stores import SQLiteSessionStore


async def test_what_no_row_asks_for_is_passed_on(tmp_path: Path) -> None:
    store = WatchedStore(SQLiteSessionStore(tmp_path / "x.db"), lambda: False)
    assert await store.swap("a:1", None, b"x")
    assert await store.swap("b:1", None, b"y")
    assert [entry async for entry in store.entries("a:")] == [("a:1", b"x")]
    await store.aclose()
    with pytest.raises(ClosedError):
        await store.read("a:1")
