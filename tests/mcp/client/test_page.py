"""The page on MCP says what is so."""

from __future__ import annotations

import json
import re

from tests.docs.blocks import ROOT, read_blocks
from toolhouse_async._cli.mcp_server.conversations import REMEMBERED
from toolhouse_async._cli.mcp_server.tools import HEARTBEAT
from toolhouse_async._cli.mcp_server.wording import INPUT, OUTPUT, failed
from toolhouse_async._cli.mcp_server.workers import read_workers
from toolhouse_async.errors import ToolhouseError

PAGE = (ROOT / "docs/how-to/mcp.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose head begins so."""
    lines = PAGE.partition(f"| {heading} |")[2].splitlines()[2:]
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_the_settings_of_a_client_start_it() -> None:
    (block,) = [block for block in read_blocks(PAGE, "mcp.md") if block.language == "json"]
    server = json.loads(block.code)["mcpServers"]["toolhouse"]
    assert server["command"].endswith("/toolhouse-async")
    assert server["args"][:2] == ["mcp", "--worker"]
    assert list(read_workers(server["args"][2:])) == ["analyst"]
    assert server["env"].keys() == {"TOOLHOUSE_API_KEY"}


def test_the_arguments_and_the_fields_are_those_of_the_tools() -> None:
    assert [name.strip("`") for name, _ in rows("argument")] == list(INPUT["properties"])
    named = [name for names, _ in rows("field") for name in re.findall("`(.+?)`", names)]
    assert sorted(named) == sorted(OUTPUT["properties"])


def test_the_words_of_failures_are_those_that_are_said() -> None:
    for value, words, _ in rows("`safe_to_retry`"):
        error = ToolhouseError("")
        error.safe_to_retry = json.loads(value.strip("`"))
        assert words.strip("“”") in failed(error, "run").texts[0]


def test_the_numbers_are_so() -> None:
    assert f"about the {REMEMBERED} conversations" in PAGE
    assert f"after {HEARTBEAT:.0f} seconds\n" in PAGE or f"after {HEARTBEAT:.0f} seconds " in PAGE
