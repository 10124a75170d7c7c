"""The command on its pipes."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import stdio_client

from tests.cli.support import COMMAND
from tests.mcp.client.support import MODES, TOOL, Desk, Told, conversation, fields
from tests.support.answers import KEY
from toolhouse_async.testing import WorkersEmulator

from . import support
from .support import HANDSHAKE, Lines, arguments, parameters, piped, until_nobody_talks, workers

REAL_TIME = True


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_starts_it_and_talks_to_a_worker(mode: str) -> None:
    async with workers() as running, Client(stdio_client(parameters(running.url)), mode=mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == [TOOL]
        it = Desk(client, WorkersEmulator(), running)
        told = Told()
        first = await it.call("job 0.2", told=told)
        assert fields(first)["answer"] == "Computing. The job says 42."
        assert "A background job runs" in told.words
        second = await it.call("And again", conversation(first))
        assert fields(second)["answer"] == "And again"


async def test_a_call_is_cancelled_by_a_notification_and_not_answered() -> None:
    async with workers() as running, piped(running.url) as it:
        await it.shake_hands()
        number = await it.call("slow 1000")
        assert "The worker has the message" in (await it.read())["params"]["message"]
        assert running.connections == 1
        params = {"requestId": number, "reason": "no more patience"}
        await it.write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
        assert (await it.request("ping"))["result"] == {}
        await until_nobody_talks(running)


async def test_what_is_no_message_is_passed_over() -> None:
    async with workers() as running, piped(running.url) as it:
        await it.shake_hands()
        for line in (b"\n", b"no JSON\n", b"\xff\xfe\n", b"[1]\n", b'{"jsonrpc": "2.0", "method": 1}\n'):
            await it.write(line)
        assert (await it.request("ping"))["result"] == {}


async def test_what_is_printed_is_not_between_the_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = (
        "import os, subprocess, toolhouse_async._cli.mcp_server.tools as tools\n"
        "def call(*given, called=tools._call):\n"
        "    print('by print', flush=True); os.write(1, b'by write'); subprocess.run(['echo', 'by another'])\n"
        "    return called(*given)\n"
        "tools._call = call\n"
    )
    monkeypatch.setattr(support, "COMMAND", [*COMMAND[:2], f"{noisy}{COMMAND[2]}"])
    async with workers() as running, piped(running.url) as it:
        await it.shake_hands()
        answer = await it.request("tools/call", name=TOOL, arguments={"message": "Hello"})
        assert answer["result"]["structuredContent"]["answer"] == "Hello"
        status, out, errors = await it.end()
        assert (status, out) == (0, b"")
        assert [errors.count(each) for each in (b"by print", b"by write", b"by another")] == [1, 1, 1]


@pytest.mark.parametrize("is_calling", [False, True])
async def test_it_ends_when_stdin_does(is_calling: bool) -> None:
    async with workers() as running, piped(running.url) as it:
        await it.shake_hands()
        if is_calling:
            await it.call("slow 1000")
            await it.read()
        status, _, errors = await it.end()
        assert (status, errors) == (0, b"")
        await until_nobody_talks(running)


@pytest.mark.parametrize("is_calling", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_when_it_is_told_to(number: signal.Signals, is_calling: bool) -> None:
    async with workers() as running, piped(running.url) as it:
        await it.shake_hands()
        if is_calling:
            await it.call("slow 1000")
            await it.read()
        it.process.send_signal(number)
        async with asyncio.timeout(50):
            assert await it.process.wait() == 0
        assert it.process.stderr is not None
        assert await it.process.stderr.read() == b""
        await until_nobody_talks(running)


@asynccontextmanager
async def unread(url: str) -> AsyncIterator[tuple[Lines, int, int]]:
    """The command with a stdout that nobody reads, and the two ends of it."""
    reading, writing = os.pipe()
    try:
        async with piped(url, stdout=writing) as it:
            yield it, reading, writing
    finally:
        os.close(writing)
        with suppress(OSError):
            os.close(reading)


async def until_full(writing: int) -> None:
    """Wait until a pipe takes no more."""
    async with asyncio.timeout(50):
        while select.select([], [writing], [], 0)[1]:
            await asyncio.sleep(0.02)


async def test_it_ends_though_nobody_reads_its_answers() -> None:
    async with workers() as running, unread(running.url) as (it, _, writing):
        await it.begin("initialize", **HANDSHAKE)
        await it.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        for _ in range(20):
            await it.call("x" * 10_000)
        await until_full(writing)
        it.process.send_signal(signal.SIGTERM)
        status, _, errors = await it.end()
        assert status == 128 + signal.SIGPIPE
        assert b"Traceback" not in errors


async def test_it_ends_when_nobody_can_read_its_answers() -> None:
    async with workers() as running, unread(running.url) as (it, reading, _):
        os.close(reading)
        await it.begin("ping")
        async with asyncio.timeout(50):
            assert await it.process.wait() == 128 + signal.SIGPIPE
        assert it.process.stderr is not None
        assert await it.process.stderr.read() == b""


async def test_people_are_told_what_it_waits_for() -> None:
    main, terminal = pty.openpty()
    try:
        async with workers() as running, piped(running.url, stdin=terminal) as it:
            assert it.process.stderr is not None
            async with asyncio.timeout(50):
                assert await it.process.stderr.readline() == b"Waiting for an MCP client on stdin (Ctrl-C stops)\n"
            it.process.send_signal(signal.SIGINT)
            async with asyncio.timeout(50):
                assert await it.process.wait() == 0
    finally:
        os.close(main)
        os.close(terminal)


@pytest.mark.parametrize("redirection", ["<&-", "</dev/null", "<setup.cfg"])
def test_stdin_may_be_closed_or_nothing_or_a_file(redirection: str, tmp_path: Path) -> None:
    (tmp_path / "setup.cfg").write_text("[no message]\n" * 1000)
    command = ["bash", "-c", f'exec "$@" {redirection}', "bash", *arguments("--api-key", KEY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_the_key_is_nowhere() -> None:
    async with workers(status=500, body=f"the key is {KEY}") as running, piped(running.url) as it:
        await it.shake_hands()
        failed = await it.request("tools/call", name=TOOL, arguments={"message": "Hello"})
        assert failed["result"]["isError"] is True
        status, _, errors = await it.end()
        assert (status, errors) == (0, b"")
        assert KEY not in str(failed)
