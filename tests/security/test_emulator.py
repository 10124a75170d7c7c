"""The emulator serves this machine alone unless told otherwise, and its callers get at nothing but its workers."""

from __future__ import annotations

import asyncio
import socket
import sys
from urllib.parse import urlsplit

import pytest

from toolhouse_async.testing import RunningEmulator, WorkersEmulator

REAL_TIME = True


def is_open(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as trying:
        trying.settimeout(5)
        return trying.connect_ex((host, port)) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no second loopback address")
async def test_it_listens_on_one_loopback_address_by_default() -> None:
    """127.0.0.2 is this machine, too: what listens on all addresses would answer there."""
    async with WorkersEmulator().serve() as server:
        port = urlsplit(server.url).port or 0
        assert is_open("127.0.0.1", port)
        assert not is_open("127.0.0.2", port)
    async with WorkersEmulator().serve("0.0.0.0") as server:
        assert is_open("127.0.0.2", urlsplit(server.url).port or 0)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no second loopback address")
def test_the_fixture_listens_on_one_loopback_address(toolhouse_emulator: RunningEmulator) -> None:
    port = urlsplit(toolhouse_emulator.url).port or 0
    assert is_open("127.0.0.1", port)
    assert not is_open("127.0.0.2", port)


@pytest.mark.parametrize(
    "path",
    [
        "/../etc/passwd",
        "/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/ndjson/../../etc/passwd",
        "/echo/../../x",
        "/..%2f",
        "/\\",
    ],
)
async def test_no_path_leads_out_of_its_workers(path: str) -> None:
    async with WorkersEmulator().serve() as server:
        port = urlsplit(server.url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.split()[1] in (b"400", b"404")
    assert b"root:" not in answer
