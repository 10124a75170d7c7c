"""The messages of the page about what does not work are those that people see, and what stands beside them works."""

from __future__ import annotations

import ast
import asyncio
import gc
import json
import re
import sys
import warnings
from typing import Any

import pytest

from tests.web.support import read_sse, whole, words
from toolhouse_async import AsyncToolhouse, ConfigurationError, RetryPolicy, SessionManager, StoreError, Timeouts
from toolhouse_async.stores import MemorySessionStore, RedisSessionStore
from toolhouse_async.web import RedisTurnHub, TurnHub, sse

from .blocks import ROOT
from .setups import SETUPS

PAGE = (ROOT / "docs/how-to/troubleshooting.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(\w+): (.+)` \| `(.+)` \| `(.+)` \|$", PAGE, re.MULTILINE)
NAMES: dict[str, Any] = {
    "AsyncToolhouse": AsyncToolhouse,
    "MemorySessionStore": MemorySessionStore,
    "RetryPolicy": RetryPolicy,
    "SessionManager": SessionManager,
    "Timeouts": Timeouts,
    "asyncio": asyncio,
    "json": json,
}
REWORDED = sys.version_info >= (3, 14)
"""Whether Python has other words for some of them."""


async def tried(code: str) -> None:
    """Run a line, or the head of a block, as a notebook would."""
    whole = f"{code} pass" if code.endswith(":") else code
    compiled = compile(whole, "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    async with SETUPS["setting"]() as names:
        done = eval(compiled, {**NAMES, **names})
        if done is not None:
            await done


def test_no_row_of_the_table_is_missed() -> None:
    table = PAGE[PAGE.index("| message |") :].partition("\n\n")[0]
    assert len(ROWS) == len(table.splitlines()) - 2


@pytest.mark.parametrize(("kind", "message", "wrong", "right"), ROWS, ids=[row[2] for row in ROWS])
async def test_a_message_is_the_one_that_people_see(kind: str, message: str, wrong: str, right: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what was not awaited, as the page says
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the page says which
            await tried(wrong)
        seen = str(caught.value)
        assert type(caught.value).__name__ == kind
        del caught
        gc.collect()
    if not REWORDED:
        assert seen == message
    await tried(right)


async def test_a_start_that_was_not_awaited_is_told_in_these_words() -> None:
    hub: Any = RedisTurnHub("redis://127.0.0.1:1")
    async with SETUPS["setting"]() as names:
        turn = names["toolhouse"].stream(names["AGENT_ID"], "Hello")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            with pytest.raises(AttributeError) as caught:
                hub.start("ada", turn).follow()
            seen = f"`AttributeError: {caught.value}`"
            del caught
            gc.collect()
    assert seen in PAGE
    await hub.aclose()


async def test_a_start_that_was_not_awaited_and_is_not_used_is_told_in_these_words() -> None:
    hub: Any = RedisTurnHub("redis://127.0.0.1:1")
    async with SETUPS["setting"]() as names:
        turn = names["toolhouse"].stream(names["AGENT_ID"], "Hello")
        with pytest.warns(RuntimeWarning) as warned:
            hub.start("ada", turn)
    assert f"`RuntimeWarning: {warned[0].message}`" in " ".join(PAGE.split())
    await hub.aclose()


@pytest.mark.parametrize("what", ["hub", "store"])
def test_what_has_connections_on_a_second_loop_is_told_in_these_words(what: str) -> None:
    url = "redis://127.0.0.1:1"
    hub, store = RedisTurnHub(url), RedisSessionStore(url)

    async def ask() -> None:
        await (hub.get("ada") if what == "hub" else store.read("ada"))

    with pytest.raises(StoreError):
        asyncio.run(ask())
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(ask())
    assert f"`{caught.value}`".partition(":")[0] in PAGE


@pytest.mark.skipif(REWORDED, reason="Python has other words for it")
async def test_a_start_that_must_not_be_awaited_is_told_in_these_words() -> None:
    async with SETUPS["setting"]() as names, TurnHub() as hub:
        awaited: Any = hub.start("ada", names["toolhouse"].stream(names["AGENT_ID"], "Hello"))
        with pytest.raises(TypeError) as caught:
            await awaited
    assert f"`TypeError: {caught.value}`" in " ".join(PAGE.split())


async def test_a_turn_that_a_hub_has_read_is_followed_by_its_name() -> None:
    assert "`sse(hub.get(name).follow())`" in PAGE
    async with SETUPS["setting"]() as names, TurnHub() as hub:
        turn = names["toolhouse"].stream(names["AGENT_ID"], "Hello")
        await hub.start("ada", turn).result()
        assert [each.name for each in read_sse(await whole(sse(turn)))] == ["TurnCompleted"]
        running: Any = hub.get("ada")
        assert words(read_sse(await whole(sse(running.follow())))) == "Hello"


async def test_an_unclosed_client_is_told_in_these_words() -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["message"]))
    async with SETUPS["setting"]() as names:
        toolhouse = AsyncToolhouse()
        await toolhouse.run(names["AGENT_ID"], "Hello")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del toolhouse
            gc.collect()
    assert "Unclosed client session" in told
    assert "## “Unclosed client session”" in PAGE
