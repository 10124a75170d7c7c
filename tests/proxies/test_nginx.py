"""The nginx of these tests: it serves, ends, keeps its port, and is never left out unnoticed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.conversations.support import AGENT

from .conftest import need
from .nginx import Nginx, Site
from .support import Proxied


def test_without_nginx_the_tests_fail_in_ci() -> None:
    with pytest.raises(pytest.fail.Exception, match="apt-get install nginx-light"):
        need(None, {"CI": "true"})


def test_without_nginx_the_tests_are_skipped_elsewhere_and_say_how_to_get_it() -> None:
    with pytest.raises(pytest.skip.Exception, match="apt-get install nginx-light"):
        need(None, {})


def test_nginx_is_used_where_it_is() -> None:
    assert need("/somewhere/nginx", {"CI": "true"}) == need("/somewhere/nginx", {}) == "/somewhere/nginx"


async def test_its_processes_end_with_it(proxied: Proxied) -> None:
    nginx = await proxied.nginx()
    toolhouse = await proxied.client(nginx)
    assert (await toolhouse.run(AGENT, "hi")).text == "hi"
    workers = nginx.workers
    assert workers
    await nginx.stop()
    assert not any(worker.is_running() for worker in workers)
    proxied.accepted("POST hi")


async def test_a_killed_one_refuses_connections_and_gets_its_port_back(proxied: Proxied) -> None:
    nginx = await proxied.nginx()
    await nginx.kill()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", nginx.port)
    await nginx.start()
    _, writer = await asyncio.open_connection("127.0.0.1", nginx.port)
    writer.close()
    await writer.wait_closed()
    assert proxied.server.requests == []
    proxied.accepted()


async def test_a_wrong_configuration_says_why(nginx_program: str, tmp_path: Path) -> None:
    async with Nginx(nginx_program, tmp_path, "http://127.0.0.1:1") as nginx:
        with pytest.raises(AssertionError, match='unknown directive "proxy_bufering"'):
            await nginx.start(Site("proxy_bufering off;"))


async def test_its_files_are_in_its_folder(nginx_program: str, tmp_path: Path) -> None:
    async with Nginx(nginx_program, tmp_path, "http://127.0.0.1:1") as nginx:
        await nginx.start()
        written = set(os.listdir(tmp_path))
    assert {"nginx.conf", "error.log", "nginx.pid", "client_body", "proxy"} <= written
