"""The endpoint of the example, as a front end of AG-UI calls it."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn

from tests.support.answers import KEY
from toolhouse_async import AsyncToolhouse, ConfigurationError, PollingPolicy

from .rules import read_ag_ui
from .support import AGENT, World

REAL_TIME = True

JSON = {"Content-Type": "application/json"}

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "ag_ui_server.py"


def load() -> Any:
    spec: Any = importlib.util.spec_from_file_location("ag_ui_server", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def served() -> AsyncIterator[tuple[World, str]]:
    world = World()
    polling = PollingPolicy(min_interval=0.05, max_interval=0.1, jitter=0)
    async with world.emulator.serve() as world.server:
        app = load().create_app(lambda: AsyncToolhouse(KEY, base_url=world.server.url, polling=polling), AGENT)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=2))
        server.capture_signals = nullcontext  # type: ignore[method-assign, assignment] # they belong to the tests
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield world, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/agent"
        finally:
            server.should_exit = True
            await serving


def run(thread: str, number: int, *said: Any) -> dict[str, Any]:
    """The input of a run: all that was said in the thread, as the front end has it."""
    messages = [{"id": f"m{index}", "role": "user", "content": content} for index, content in enumerate(said)]
    return {
        "threadId": thread,
        "runId": f"run-{number}",
        "state": {},
        "messages": messages,
        "tools": [],
        "context": [],
        "forwardedProps": {},
    }


async def ask(url: str, body: dict[str, Any]) -> list[Any]:
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        return read_ag_ui(await response.read())


async def refused(url: str, body: Any, kind: str = "application/json") -> int:
    """The status by which a request is refused, in a few words."""
    data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    async with aiohttp.ClientSession() as http, http.post(url, data=data, headers={"Content-Type": kind}) as response:
        assert len(await response.read()) < 200
        return response.status


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", ""])
async def test_another_site_cannot_make_a_browser_say_anything(kind: str) -> None:
    """What a browser sends for other sites without asking the server first."""
    async with served() as (world, url):
        assert await refused(url, run("thread", 1, "Hello"), kind) == 415
        assert await refused(url, run("thread", 1, "Hello"), "text/plain; charset=application/json") == 415
        async with aiohttp.ClientSession() as http, http.options(url) as response:
            assert response.status == 405
        assert world.accepted == []


async def test_requests_and_ids_are_bounded() -> None:
    async with served() as (world, url):
        for name in ("x" * 201, "x" * 5_000_000, "", "a b", "a\nb", "\u00e4", "\x00"):
            for body in (run(name, 1, "Hello"), {**run("thread", 1, "Hello"), "runId": name}):
                assert await refused(url, body) == (413 if len(name) > 1_000_000 else 422)
        for body in (b"", b"{", b"[" * 100_000, b'{"threadId":"\\ud800"}', b"\xff", b" " * (4 << 20)):
            assert await refused(url, body) == 422
        assert world.accepted == []
        await ask(url, run("x" * 200, 1, "Hello"))


async def test_a_thread_is_a_conversation() -> None:
    async with served() as (world, url):
        one = await ask(url, run("thread", 1, "tools here"))
        assert (one[0].thread_id, one[0].run_id) == ("thread", "run-1")
        two = await ask(url, run("thread", 2, "tools here", [{"type": "text", "text": "Hello"}]))
        assert [event.delta for event in two if event.type.value == "TEXT_MESSAGE_CONTENT"] == ["Hello"]
        await ask(url, run("another", 1, "Hello"))
        assert [request.method for request in world.server.accepted] == ["POST", "PUT", "POST"]
        assert world.accepted == ["tools here", "Hello", "Hello"]


async def test_a_thread_whose_conversation_is_lost_goes_on_with_a_new_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with served() as (world, url):
        await ask(url, run("thread", 1, "Hello"))
        world.emulator._runs.clear()
        events = await ask(url, run("thread", 2, "Hello", "Again"))
        assert events[-1].type.value == "RUN_FINISHED"
        assert [request.method for request in world.server.accepted] == ["POST", "POST"]
        assert "its conversation begins anew" in caplog.text


async def test_a_job_and_a_failure() -> None:
    async with served() as (world, url):
        asyncio.get_running_loop().call_later(0.3, world.go_on.set)
        events = await ask(url, run("thread", 1, "job"))
        assert {"ACTIVITY_SNAPSHOT", "RUN_FINISHED"} <= {event.type.value for event in events}
        events = await ask(url, run("thread", 2, "fail"))
        assert events[-1].type.value == "RUN_ERROR"


async def test_what_was_said_before_is_not_said_again() -> None:
    async with served() as (world, url):
        await ask(url, run("thread", 1, "Hello"))
        answered = run("thread", 2, "Hello")
        answered["messages"].append({"id": "a", "role": "assistant", "content": "Hello"})
        for body in (answered, run("thread", 3)):
            async with aiohttp.ClientSession() as http, http.post(url, json=body) as response:
                assert response.status == 422
        assert world.accepted == ["Hello"]


IMAGE = {"type": "image", "source": {"type": "url", "value": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    "content",
    ["", " \n", [], [{"type": "text", "text": ""}], [IMAGE], [{"type": "text", "text": "What is it?"}, IMAGE]],
)
async def test_what_is_more_than_text_or_nothing_is_refused(content: Any) -> None:
    """An empty message would resume the conversation, and words without their image mean something else."""
    async with served() as (world, url):
        await ask(url, run("thread", 1, "Hello"))
        assert await refused(url, run("thread", 2, "Hello", content)) == 400
        assert world.accepted == ["Hello"]


async def test_two_threads_at_once() -> None:
    async with served() as (world, url):
        waiting = asyncio.ensure_future(ask(url, run("one", 1, "wait")))
        await ask(url, run("two", 1, "Hello"))
        world.go_on.set()
        assert (await waiting)[-1].type.value == "RUN_FINISHED"


async def test_a_front_end_that_leaves_ends_its_turn() -> None:
    async with served() as (world, url):
        async with aiohttp.ClientSession() as http, http.post(url, json=run("thread", 1, "wait")) as response:
            while b"first" not in await response.content.readline():
                pass
        while world.server.connections:
            await asyncio.sleep(0.01)
        world.go_on.set()  # the worker went on all the same, and the next message waits for it
        assert [event.type.value for event in await ask(url, run("thread", 2, "wait", "Hello"))][-1] == "RUN_FINISHED"


@pytest.mark.parametrize("body", ["", "{", json.dumps({"threadId": "x"})])
async def test_what_is_no_input_is_refused(body: str) -> None:
    async with served() as (world, url):
        async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=JSON) as response:
            assert response.status == 422
        assert world.accepted == []


@pytest.mark.parametrize("agent_id", ["", " "])
def test_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch, agent_id: str) -> None:
    monkeypatch.setenv("AGENT_ID", agent_id)
    with pytest.raises(ConfigurationError, match="AGENT_ID is not set; set it to the id of your worker"):
        load().from_environment()


def test_it_is_made_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_ID", AGENT)
    assert load().from_environment().routes
