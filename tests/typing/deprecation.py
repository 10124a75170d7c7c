"""Checked by the type checkers, never run: they see what is to go, and its types as they were."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, assert_type

from toolhouse_async._deprecation import deprecated, renamed_argument


@deprecated("old is deprecated since 1.2 and goes in 2.0: use new")
async def old(value: int) -> str:
    return str(value)


@renamed_argument("text", "message", "say(text=) is deprecated since 1.2 and goes in 2.0: use message=")
def say(message: str, *, loud: bool = False) -> int:
    return len(message) * (1 + loud)


async def types_stay() -> None:
    assert_type(await old(1), str)  # pyright: ignore[reportDeprecated]
    coroutine: Coroutine[Any, Any, str] = old(value=1)  # pyright: ignore[reportDeprecated]
    await coroutine
    assert_type(say("a", loud=True), int)
    say("a")
