"""The page on keyed sessions: what its function answers where the store fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stores import Troubled
from toolhouse_async import ConfigurationError, SessionManager, StoreError
from toolhouse_async.stores import MemorySessionStore, PostgresSessionStore, RedisSessionStore, SessionStore

from .blocks import marked
from .setups import AGENT_ID, SETUPS


class NeverLetGo(MemorySessionStore):
    """A store that fails where a key is let go."""

    async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        if new is not None and b'"holder":""' in new:
            raise StoreError("the store is down")
        return await super().swap(key, old, new)


async def answer(store: SessionStore) -> str:
    """What the page's function answers a message."""
    (block,) = [each for each in marked("example") if "async def answer(sessions, key, message)" in each.code]
    async with SETUPS["setting"]() as names:
        exec(block.code.partition("async with SessionManager")[0], names)
        async with SessionManager(names["toolhouse"], AGENT_ID, store=store) as sessions:
            text: str = await names["answer"](sessions, "telegram:42", "Hello")
            return text


async def test_a_store_that_fails_behind_an_answer_does_not_cost_it() -> None:
    assert await answer(NeverLetGo()) == "Hello"


async def test_a_store_that_fails_before_a_message_is_told() -> None:
    store = Troubled(MemorySessionStore())
    store.down = True
    with pytest.raises(StoreError) as caught:
        await answer(store)
    assert caught.value.safe_to_retry is True


@pytest.mark.parametrize(
    ("store", "refused", "taken"),
    [
        (lambda password: RedisSessionStore(f"redis://u:{password}@localhost/0"), "/?#[]", "@: %+&ü"),
        (lambda password: PostgresSessionStore(f"postgresql://u:{password}@localhost/d"), "/?@ %", ":#[]+&ü"),
    ],
    ids=["redis", "postgres"],
)
def test_which_signs_of_a_password_must_be_encoded(store: Any, refused: str, taken: str) -> None:
    for sign in refused:
        with pytest.raises(ConfigurationError, match="must be encoded"):
            store(f"p{sign}s")
    for sign in taken:
        store(f"p{sign}s")
