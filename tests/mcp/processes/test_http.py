"""The command on a port."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.cli.support import environment
from tests.mcp.client.support import MODES, TOOL, Desk, Told, conversation, fields, texts
from tests.support.answers import KEY
from toolhouse_async.testing import WorkersEmulator

from .support import arguments, serving, stop, until_accepted, until_nobody_talks, workers

REAL_TIME = True


@pytest.mark.parametrize("mode", MODES)
async def test_several_clients_talk_to_a_worker(mode: str) -> None:
    async with workers() as running:
        with serving(running.url) as (process, address):
            async with Client(address, mode=mode) as one, Client(address, mode=mode) as two:
                assert [tool.name for tool in (await one.list_tools()).tools] == [TOOL]
                told = Told()
                first = await Desk(one, WorkersEmulator(), running).call("job 0.2", told=told)
                assert fields(first)["answer"] == "Computing. The job says 42."
                assert "A background job runs" in told.words
                second = await Desk(two, WorkersEmulator(), running).call("And again", conversation(first))
                assert fields(second)["answer"] == "And again"
            assert stop(process) == (0, "")


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_that_is_cancelled_ends_its_turn(mode: str) -> None:
    async with workers() as running:
        with serving(running.url) as (process, address):
            async with Client(address, mode=mode) as client:
                calling = asyncio.create_task(Desk(client, WorkersEmulator(), running).call("slow 1000"))
                await until_accepted(running)
                calling.cancel()
                await asyncio.wait({calling})
                await until_nobody_talks(running)
            assert stop(process)[0] == 0


@pytest.mark.parametrize(("mode", "number"), [("auto", signal.SIGINT), ("legacy", signal.SIGTERM)])
async def test_it_ends_when_it_is_told_to_and_so_do_its_calls(mode: str, number: signal.Signals) -> None:
    async with workers() as running:
        with serving(running.url) as (process, address):
            async with Client(address, mode=mode) as client:
                calling = asyncio.create_task(Desk(client, WorkersEmulator(), running).call("slow 1000", told=Told()))
                await until_accepted(running)
                status, errors = await asyncio.to_thread(stop, process, number)
                ended = await calling
                assert ended.is_error
                assert fields(ended)["safe_to_retry"] is False
                assert texts(ended)[0].startswith("This server was stopped.")
            assert status == 0
            assert "Traceback" not in errors
            assert KEY not in errors


def post(address: str, **headers: str) -> int:
    """The status of a message with these headers."""
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}'
    accepted = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    request = urllib.request.Request(address, body, {**accepted, **headers})
    try:
        with urllib.request.urlopen(request, timeout=50) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_pages_of_others_are_refused(host: str) -> None:
    with serving("http://127.0.0.1:1", "--host", host) as (process, address):
        port = address.rpartition(":")[2].partition("/")[0]
        assert post(address) == 400  # which is about the message
        assert post(address, Host="rebound.example") == 421
        assert post(address, Host=f"rebound.example:{port}") == 421
        assert post(address, Origin="https://elsewhere.example") == 403
        assert post(address, **{"Content-Type": "text/plain"}) == 400
        status, errors = stop(process)
        assert status == 0
        assert "Warning" not in errors


@pytest.mark.parametrize("mode", MODES)
async def test_who_lacks_the_token_is_refused(mode: str) -> None:
    async with workers() as running:
        with serving(running.url, TOOLHOUSE_MCP_TOKEN="no guess") as (process, address):
            assert [post(address), post(address, Authorization="Bearer other")] == [401, 401]
            assert post(address, Authorization="Bearer no guess") == 400  # which is about the message
            headers = {"Authorization": "Bearer no guess"}
            async with (
                httpx2.AsyncClient(headers=headers) as http,
                Client(streamable_http_client(address, http_client=http), mode=mode) as client,
            ):
                assert fields(await Desk(client, WorkersEmulator(), running).call("Hello"))["answer"] == "Hello"
            assert stop(process) == (0, "")


@pytest.mark.parametrize(("token", "who"), [("", "without a token"), ("no guess", "who has the token")])
def test_it_warns_where_other_machines_can_call(token: str, who: str) -> None:
    with serving("http://127.0.0.1:1", "--host", "0.0.0.0", TOOLHOUSE_MCP_TOKEN=token) as (process, address):
        assert address.startswith("http://0.0.0.0:")
        status, errors = stop(process)
        assert status == 0
        assert f"Warning: 0.0.0.0 is not this machine alone: everybody on its networks {who}" in errors


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = arguments("--http", "--port", str(port), "--api-key", "")
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, env=environment(), check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(f"Error: cannot listen on 127.0.0.1:{port}: ")
