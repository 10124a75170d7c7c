"""Workers, and clients of the protocol that talk to them through the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jsonschema
from attrs import define, field
from mcp import Client
from mcp.types import CallToolResult

from tests.mcp.workers import AGENT, worker
from tests.support.answers import KEY
from toolhouse_async import AsyncToolhouse
from toolhouse_async._cli.mcp_server.conversations import Conversations
from toolhouse_async._cli.mcp_server.tools import make_server
from toolhouse_async._cli.mcp_server.wording import OUTPUT
from toolhouse_async._cli.mcp_server.workers import Worker
from toolhouse_async.testing import WorkersEmulator

MODES = ("auto", "legacy")
"""The protocol without a handshake, and the one before it."""
TOOL = "assistant"


@define
class Told:
    """What the server tells of a call while it goes on: progress, in seconds since its begin, and words."""

    progress: list[float] = field(factory=list)
    words: list[str] = field(factory=list)

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        assert total is None
        assert message is not None
        self.progress.append(progress)
        self.words.append(message)


@define
class Desk:
    """A client of the protocol, and what stands behind its server."""

    client: Client
    emulator: WorkersEmulator
    workers: Any
    """The emulator while it serves."""

    async def call(
        self, message: str, conversation: str | None = None, told: Told | None = None, tool: str = TOOL
    ) -> CallToolResult:
        """Call a tool; what it gives back is what its schema promises, of a failure too."""
        given = {} if conversation is None else {"conversation": conversation}
        result = await self.client.call_tool(tool, {"message": message, **given}, progress_callback=told)
        jsonschema.validate(result.structured_content, OUTPUT)
        return result

    @property
    def sent(self) -> list[tuple[str, str]]:
        """The messages that the workers have accepted: how, and which."""
        return [(request.method, request.json()["message"]) for request in self.workers.accepted]


@asynccontextmanager
async def desk(mode: str = "auto", *, key: str = KEY, **switches: Any) -> AsyncIterator[Desk]:
    """A client within this process.

    Args:
        mode: The protocol's era.
        key: The key that the server has.
        switches: Of the emulator.
    """
    emulator = WorkersEmulator(api_key=KEY, **switches)
    emulator.worker(AGENT)(worker)
    offered = {
        TOOL: Worker(TOOL, AGENT, "Does what it is told."),
        "nobody": Worker("nobody", "nobody", "Is not there."),
    }
    async with (
        emulator.serve() as running,
        AsyncToolhouse(key, base_url=running.url) as toolhouse,
        Client(make_server(Conversations(toolhouse), offered), mode=mode) as client,
    ):
        yield Desk(client, emulator, running)


def texts(result: CallToolResult) -> list[str]:
    """The paragraphs of a call's result."""
    return [block.text for block in result.content if block.type == "text"]


def fields(result: CallToolResult) -> dict[str, Any]:
    """A call's result as structured content."""
    assert result.structured_content is not None
    return result.structured_content


def conversation(result: CallToolResult) -> str:
    """The conversation that a result names, in both of its forms."""
    named: str = fields(result)["conversation"]
    assert texts(result)[-1].startswith(f"Conversation: {named} ")
    return named
