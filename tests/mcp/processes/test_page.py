"""The command of the page on MCP works."""

from __future__ import annotations

import shlex

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.docs.blocks import marked
from tests.mcp.workers import AGENT

from .support import COMMAND, surroundings, workers

REAL_TIME = True


@pytest.mark.parametrize("block", marked("mcp-server"), ids=str)
async def test_the_command_of_the_page_offers_its_workers(block: object) -> None:
    program, *words = shlex.split(block.code.replace("\\\n", " "))  # type: ignore[attr-defined]
    assert program == "toolhouse-async"
    arguments = [each.replace("=echo=", f"={AGENT}=") for each in words]
    async with workers() as running:
        server = StdioServerParameters(
            command=COMMAND[0], args=[*COMMAND[1:], *arguments], env=surroundings(running.url)
        )
        async with Client(stdio_client(server)) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["analyst", "echo"]
            said = await client.call_tool("echo", {"message": "Hello"})
            assert said.structured_content is not None
            assert said.structured_content["answer"] == "Hello"
