"""The page on the endpoint for OpenAI's clients: its server, its clients, its command and its tables."""

from __future__ import annotations

import ast
import asyncio
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import openai
import pytest
import uvicorn

from tests.cli.support import COMMAND
from toolhouse_async import errors
from toolhouse_async._cli.app import commands
from toolhouse_async.testing import RunningEmulator
from toolhouse_async.testing.workers import echo
from toolhouse_async.web import openai_gateway
from toolhouse_async.web._openai.refusals import refusal_of

from .blocks import ROOT, Block, marked
from .setups import AGENT_ID, JOB_SECONDS, analyst, serving
from .test_examples import check_output, environment

REAL_TIME = True  # a server, and a client with an event loop's helpers of its own
BLOCKS = {block.argument: block for block in marked("gateway")}
ADDRESS, KEY = "127.0.0.1:8000", "a-key-for-your-clients"


@pytest.fixture
def service(toolhouse_emulator: RunningEmulator) -> dict[str, str]:
    """A worker for programs of their own, and the environment that leads to it."""
    toolhouse_emulator.worker(AGENT_ID)(echo)
    return environment(TOOLHOUSE_BASE_URL=toolhouse_emulator.url, TOOLHOUSE_API_KEY="any")


@contextmanager
def running(*command: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **pipes, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve an application; the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="auto"))
        server.capture_signals = nullcontext  # type: ignore[method-assign, assignment] # they belong to the tests
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield "{}:{}".format(*listener.getsockname())
        finally:
            server.should_exit = True
            await task


async def asked(block: Block, address: str, printed: pytest.CaptureFixture[str]) -> None:
    """Run a client of the page."""
    code = block.code.replace(ADDRESS, address)
    compiled = compile(code, block.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    printed.readouterr()
    await eval(compiled, vars(ModuleType("client")))
    check_output(block, printed.readouterr().out)


@pytest.mark.parametrize("client", ["responses", "chat"])
async def test_a_client_gets_what_the_page_says(client: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert JOB_SECONDS > 1  # the page's worker is too slow for real time
    async with serving(analyst(0.1)) as names:
        app = openai_gateway(names["toolhouse"], models={"analyst": AGENT_ID}, api_key=KEY)
        async with served(app) as address:
            await asked(BLOCKS[client], address, capsys)


def test_the_server_serves(service: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    program = tmp_path / "app.py"
    program.write_text(BLOCKS["server"].code.replace("port=8000", f"port={port}"), "utf-8")
    with running(sys.executable, "-W", "error", str(program), env=service) as process:
        assert process.stdout is not None
        while "Uvicorn running" not in (line := process.stdout.readline()):
            assert line
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY) as client:
            assert client.responses.create(model="analyst", input="Analyze").output_text == "Analyze"
        process.terminate()
        rest = process.communicate(timeout=50)[0]
        assert "Traceback" not in rest


async def test_it_is_mounted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("application")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(BLOCKS["mounted"].code, BLOCKS["mounted"].place, "exec", dont_inherit=True), vars(module))
    async with serving(analyst(0.1)), served(vars(module)["app"]) as address:
        options: Any = {"base_url": f"http://{address}/openai/v1", "api_key": "a-key"}
        messages: list[Any] = []
        async with openai.AsyncOpenAI(**options, default_headers={"x-conversation-id": "ada"}) as client:
            for text in ("Analyze this CSV", "Only the outliers, as JSON"):
                messages.append({"role": "user", "content": text})
                answer = await client.chat.completions.create(model="analyst", messages=messages)
                messages.append(answer.choices[0].message.model_dump())
    assert "Here they are" in messages[-1]["content"]
    assert (tmp_path / "conversations.db").exists()


def test_the_commands_are_right(service: dict[str, str]) -> None:
    blocks = marked("gateway-serve")
    assert len(blocks) == 2
    for block in blocks:
        _, name, *words = shlex.split(block.code)
        context = commands.commands[name].make_context(name, words)
        assert context.params["models"][0] == f"analyst={AGENT_ID}"
    words = shlex.split(blocks[0].code.replace("8000", "0"))[1:]
    with running(*COMMAND, *words, env=service) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        with openai.OpenAI(base_url=found[0], api_key="any") as client:
            assert client.responses.create(model="analyst", input="Analyze").output_text == "Analyze"


def test_the_table_of_errors_has_every_status() -> None:
    page = (ROOT / "docs/how-to/openai-gateway.md").read_text("utf-8")
    table = re.findall(r"^\| (\d{3}[\d, ]*) \|.*\| ([^|]+) \|$", page, re.MULTILINE)
    written = {status: then for statuses, then in table for status in statuses.split(", ")}
    for name in errors.__all__:
        for safe in (True, False, None):
            error = getattr(errors, name)("x")
            error.safe_to_retry = safe
            refusal = refusal_of(error)
            assert written[str(refusal.status)].startswith(
                "raises" if refusal.retry_after is None else "sends it again"
            )
