"""The files behind a real nginx: words come one by one, heartbeats keep silent streams alive."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.docs.blocks import read_blocks
from tests.proxies.conftest import nginx_program  # noqa: F401 - a fixture
from tests.proxies.nginx import Nginx
from tests.proxies.nginx import Site as Config
from tests.web.support import words
from toolhouse_async.web import EVENT_STREAM_HEADERS, sse

from .support import HEARTBEAT, PAGE, TEXT, Site, each_framework, module, site, soon

REAL_TIME = True  # nginx has a clock of its own

PATIENCE = 50.0
SILENCE = "proxy_read_timeout 1s;"
BLOCKS = {block.kind: block.code for block in read_blocks(TEXT, PAGE) if block.language == "nginx"}


@asynccontextmanager
async def behind(
    program: str, folder: Path, name: str, location: str = "", *, heartbeat: float | None = 15
) -> AsyncIterator[tuple[Site, Nginx]]:
    """Serve a file behind an nginx that is as it comes, but for these lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module(name), "sse", partial(sse, heartbeat=heartbeat))
        # pytest-timeout's signal does not interrupt a loop in real time.
        async with asyncio.timeout(PATIENCE), site(name) as it, Nginx(program, folder, it.url) as nginx:
            await nginx.start(Config(location))
            yield it, nginx


@each_framework
async def test_words_come_one_by_one_though_nginx_buffers(nginx_program: str, tmp_path: Path, name: str) -> None:  # noqa: F811
    async with behind(nginx_program, tmp_path, name) as (it, nginx):
        reading = await it.read("steps", nginx.url)
        assert reading.answer.headers["Content-Type"] == EVENT_STREAM_HEADERS["Content-Type"]
        assert "X-Accel-Buffering" not in reading.answer.headers  # it was for nginx, and was understood
        assert (await reading.event()).name == "TurnStarted"
        for number in range(5):
            assert (await reading.event()).data["text"] == f"word{number} "
            it.worker.go_on.set()
        (last,) = await reading.rest()
        assert last.name == "TurnCompleted"


async def test_without_the_header_nginx_holds_the_words_back(nginx_program: str, tmp_path: Path) -> None:  # noqa: F811
    """Nothing comes before the end, and the end does not come before something is heard."""
    ignoring = "proxy_http_version 1.0; proxy_ignore_headers X-Accel-Buffering;"
    async with behind(nginx_program, tmp_path, "fastapi", ignoring) as (it, nginx):
        reading = asyncio.create_task(it.read("steps", nginx.url))
        await it.accepted()
        await asyncio.wait([reading], timeout=0.3)
        assert not reading.done()
        for _ in range(5):
            it.worker.go_on.set()
            await soon(lambda: not it.worker.go_on.is_set())
        assert words(await (await reading).rest()) == "word0 word1 word2 word3 word4 "
    assert "unless `proxy_ignore_headers`\nnames the header" in TEXT


@each_framework
async def test_heartbeats_keep_a_silent_stream_alive(nginx_program: str, tmp_path: Path, name: str) -> None:  # noqa: F811
    async with behind(nginx_program, tmp_path, name, SILENCE, heartbeat=0.3) as (it, nginx):
        reading = await it.read("steps", nginx.url)
        assert (await reading.event()).name == "TurnStarted"
        assert (await reading.event()).data["text"] == "word0 "
        for _ in range(5):  # a second and a half without a word
            assert await reading.piece() == HEARTBEAT
        for number in range(1, 5):
            it.worker.go_on.set()
            assert (await reading.event()).data["text"] == f"word{number} "
        it.worker.go_on.set()
        assert (await reading.rest())[-1].name == "TurnCompleted"


@each_framework
async def test_without_heartbeats_nginx_cuts_a_silent_stream(nginx_program: str, tmp_path: Path, name: str) -> None:  # noqa: F811
    """And the turn is closed then, as for any client that leaves."""
    async with behind(nginx_program, tmp_path, name, SILENCE, heartbeat=None) as (it, nginx):
        reading = await it.read("steps", nginx.url)
        assert (await reading.event()).name == "TurnStarted"
        assert (await reading.event()).data["text"] == "word0 "
        with pytest.raises(aiohttp.ClientPayloadError):
            await reading.rest()
        await soon(lambda: it.service.connections == 0)
        await soon(lambda: it.worker.ended == "stopped")
        assert "upstream timed out" in nginx.log


@each_framework
async def test_a_client_that_leaves_nginx_leaves_the_server(nginx_program: str, tmp_path: Path, name: str) -> None:  # noqa: F811
    async with behind(nginx_program, tmp_path, name) as (it, nginx):
        reading = await it.read("silent", nginx.url)
        while (await reading.event()).name != "TextDelta":
            pass
        reading.leave()
        await soon(lambda: it.service.connections == 0)
        await soon(lambda: it.worker.ended == "stopped")


# The page's own settings


def settings(kind: str, *ports: str) -> str:
    """A configuration of the page, with these ports in place of its own."""
    text = BLOCKS[kind]
    for written, port in zip(re.findall(r"127\.0\.0\.1:(\d+)", text), ports, strict=True):
        text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{port}", 1)
    return text


async def test_the_settings_for_one_server_serve_it(nginx_program: str, tmp_path: Path) -> None:  # noqa: F811
    """Both locations, at the place of the tests' own."""
    async with behind(nginx_program, tmp_path, "fastapi") as (it, nginx):
        port = it.url.rpartition(":")[2]
        written = settings("default-nginx", port, port)
        first, second = re.fullmatch(
            r"location / \{\n(.*?)\}\n(location /answer \{.*\})\n", written, re.DOTALL
        ).groups()  # type: ignore[union-attr]
        await nginx.reload(Config(location=first, server=second))
        assert words(await (await it.read("hello", nginx.url)).rest()) == "hello"
        async with it.client.post(f"{nginx.url}/answer", json={"question": "hello"}) as answer:
            assert await answer.json() == {"answer": "hello"}
        (allowed,) = re.findall(r"proxy_read_timeout (\d+)s;", second)
        (timeout,) = set(re.findall(r"\.run\(.*timeout=(\d+)\)", TEXT))
        assert int(allowed) > int(timeout)


@asynccontextmanager
async def two_processes() -> AsyncIterator[list[str]]:
    """The ports of two servers that say which they are."""
    async with AsyncExitStack() as stack:
        ports = []
        for _ in range(2):
            app = web.Application()
            runner = web.AppRunner(app, access_log=None)

            async def tell(request: web.Request, runner: Any = runner) -> web.Response:
                return web.Response(text=str(runner.addresses[0][1]))

            app.router.add_get("/", tell)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            ports.append(str(runner.addresses[0][1]))
        yield ports


async def test_the_settings_for_several_processes_bring_a_cookie_to_the_same(
    nginx_program: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(PATIENCE), two_processes() as ports, AsyncExitStack() as stack:
        written = settings("sticky-nginx", *ports)
        upstream, location = re.fullmatch(
            r"(upstream app \{\n.*?\n\})\nserver \{\n    listen 80;\n    location / \{\n(.*?)    \}\n\}\n",
            written,
            re.DOTALL,
        ).groups()  # type: ignore[union-attr]
        nginx = await stack.enter_async_context(Nginx(nginx_program, tmp_path, ""))
        await nginx.start(Config(location=location, http=upstream))
        client = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))

        async def reached(cookie: str | None) -> str:
            headers = {} if cookie is None else {"Cookie": f"session={cookie}"}
            async with client.get(nginx.url, headers=headers) as answer:
                assert answer.status == 200
                return await answer.text()

        browsers = [f"browser{number}" for number in range(20)]
        first = {browser: await reached(browser) for browser in browsers}
        assert set(first.values()) == set(ports)  # they are spread …
        assert {browser: await reached(browser) for browser in reversed(browsers)} == first  # … and come back
        assert {await reached(None) for _ in range(4)} == set(ports)
