"""A client, and the workers that examples of the how-to pages meet in tests that let something go wrong."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
from attrs import define, field

from toolhouse_async import AsyncToolhouse, ErrorEvent
from toolhouse_async.testing import WorkersEmulator

from .blocks import marked
from .setups import AGENT_ID

PAGES = ("docs/how-to/many-messages.md", "docs/how-to/pipelines.md")
BLOCKS = [block for block in (*marked("example"), *marked("program")) if block.place.startswith(PAGES)]
QUESTION = "Will tulips be dear?"
LONG = 100_000.0
"""Seconds that no example waits."""


async def failing(ctx: Any) -> AsyncIterator[Any]:
    """A worker that reports an error after a second."""
    await asyncio.sleep(1)
    yield ErrorEvent("out of order")


def code_with(words: str) -> str:
    """The code of the one example that has these words."""
    (block,) = [block for block in BLOCKS if words in block.code]
    return block.code


def block_with(words: str) -> ast.Module:
    """The one example that has these words."""
    return ast.parse(code_with(words))


@define
class Scene:
    """A client and the server that it talks to."""

    server: Any
    toolhouse: AsyncToolhouse
    names: dict[str, Any] = field(factory=dict[str, Any])

    async def run(self, tree: ast.Module) -> None:
        """Run an example."""
        code = compile(tree, "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        module = ModuleType("example")
        self.names = vars(module)
        self.names.update(toolhouse=self.toolhouse, AGENT_ID=AGENT_ID)
        if (running := eval(code, self.names)) is not None:
            await running

    async def function(self, name: str) -> Callable[..., Any]:
        """The function of that name as the page defines it, without what the page does with it."""
        tree = block_with(f"def {name}(")
        kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef)
        tree.body = [each for each in tree.body if isinstance(each, kept)]
        await self.run(tree)
        return self.names[name]  # type: ignore[no-any-return]

    async def connections(self) -> int:
        """How many connections there are, once the server has heard of those that were closed."""
        await asyncio.sleep(0.1)
        return self.server.connections  # type: ignore[no-any-return]

    @property
    def asked(self) -> list[str]:
        """The workers whose messages were accepted, in order."""
        return [request.path.split("/")[2] for request in self.server.accepted]


@asynccontextmanager
async def scene(
    workers: dict[str, Any], emulator: WorkersEmulator | None = None, **settings: Any
) -> AsyncIterator[Scene]:
    """Serve the workers by their ids."""
    emulator = emulator or WorkersEmulator()
    for agent_id, worker in workers.items():
        emulator.worker(agent_id)(worker)
    async with emulator.serve() as server, AsyncToolhouse("", base_url=server.url, **settings) as toolhouse:
        yield Scene(server, toolhouse)


def now() -> float:
    return asyncio.get_running_loop().time()


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def causes(error: BaseException) -> list[type[BaseException]]:
    """The types of the errors in a group, or of the one that is none."""
    return [type(each) for each in error.exceptions] if isinstance(error, ExceptionGroup) else [type(error)]
