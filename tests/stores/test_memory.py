from __future__ import annotations

import pytest

from toolhouse_async import stores
from toolhouse_async.stores import MemorySessionStore


async def test_it_keeps_what_it_has_as_long_as_it_is_there() -> None:
    async with MemorySessionStore() as store:
        await store.swap("k", None, b"x")
    assert (await store.read("k")).value == b"x"
    assert (await MemorySessionStore().read("k")).value is None


def test_the_names_of_the_stores() -> None:
    assert all(getattr(stores, name) for name in stores.__all__)
    with pytest.raises(AttributeError, match="MongoSessionStore"):
        stores.MongoSessionStore  # noqa: B018
