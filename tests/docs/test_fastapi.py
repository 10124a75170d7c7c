"""The application of the page on FastAPI, served by uvicorn, with clients that stay and clients that leave."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import aiohttp
import pytest
import uvicorn
from attrs import define
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder

from tests.web.support import read_sse, words
from toolhouse_async import AsyncToolhouse, ErrorEvent, TurnStarted
from toolhouse_async.testing import RunningEmulator, WorkersEmulator
from toolhouse_async.testing._faults import Faults
from toolhouse_async.testing.workers import echo
from toolhouse_async.web import EVENT_STREAM_HEADERS, TurnHub, sse

from .blocks import ROOT, Block, marked
from .setups import AGENT_ID
from .test_examples import check_output, environment

(BLOCK,) = [block for block in marked("framework") if block.argument == "fastapi"]
(SERVED,) = [block for block in marked("served") if block.place.startswith("docs/how-to/fastapi.md")]
(ASKED,) = marked("asked")
(WEBSOCKET,) = marked("websocket")
TESTS = marked("fastapi-test")
PAGE = (ROOT / "docs/how-to/fastapi.md").read_text("utf-8")
LONG = 100.0
both = pytest.mark.parametrize("path", ["/answer", "/stream"])


@define
class Site:
    """The application as it is served, and the service behind it."""

    app: Any
    url: str
    port: int
    uvicorn: uvicorn.Server
    service: Any

    async def open(self, path: str) -> asyncio.StreamWriter:
        """Ask as a client does that can leave at any moment."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = json.dumps({"question": "one two"}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        while not self.service.accepted:
            await asyncio.sleep(0.01)
        return writer


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The application, made anew as in a process of its own."""
    module = ModuleType("application")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(BLOCK.code, BLOCK.place, "exec", dont_inherit=True), vars(module))
    return module.app  # type: ignore[no-any-return]


@asynccontextmanager
async def site(app: Any, worker: Any, **options: Any) -> AsyncIterator[Site]:
    """Serve the application until the block ends; a client that is still there is waited for."""
    emulator = WorkersEmulator(on_disconnect="stop")
    emulator.worker(AGENT_ID)(worker)
    # A body may come as late behind its head as a kernel delays acknowledgements, and the loop's clock runs on then.
    options = {"timeout_keep_alive": 600, "ws": "none", "access_log": False, **options}
    config = uvicorn.Config(app, log_config=None, lifespan="on", **options)
    server = uvicorn.Server(config)
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as listener:
        async with emulator.serve() as service:
            patch.setenv("TOOLHOUSE_BASE_URL", service.url)
            patch.setenv("TOOLHOUSE_API_KEY", "key-of-the-example")
            serving = asyncio.create_task(server.serve([listener]))
            while not server.started:
                await asyncio.sleep(0.01)
            port = listener.getsockname()[1]
            try:
                yield Site(app, f"http://127.0.0.1:{port}", port, server, service)
            finally:
                server.should_exit = True
                await serving
            assert service.connections == 0  # the client was closed with the application


async def settle() -> None:
    """Let both servers hear of the connections that were closed."""
    await asyncio.sleep(0.2)


class Slow:
    """A worker that says something, works for a long time, and knows how it was ended."""

    def __init__(self, text: str = "one ") -> None:
        self.text = text
        self.ended = ""

    async def worker(self, ctx: Any) -> AsyncIterator[Any]:
        try:
            yield ctx.text(self.text)
            await asyncio.sleep(LONG)
            self.ended = "finished"
        except asyncio.CancelledError:
            self.ended = "stopped"
            raise


@both
async def test_who_stays_gets_the_answer(app: FastAPI, path: str) -> None:
    async with site(app, echo) as it, aiohttp.ClientSession(it.url) as client:
        for _ in range(3):
            async with client.post(path, json={"question": "one two"}) as answer:
                assert answer.status == 200
                body = await answer.text()
        if path == "/stream":
            assert words(read_sse(body.encode())) == "one two"
        else:
            assert json.loads(body) == {"answer": "one two"}
        assert len(it.service.accepted) == 3
        assert it.service.connections == 1  # one client, whose connection is used again


WRONG = ["", "\ud800", "\ud800" * 20_001, "x" * 20_001, ["\ud800"], {"\ud800": 1}]


@both
@pytest.mark.parametrize("question", WRONG, ids=["empty", "half", "long halves", "long", "list", "object"])
async def test_what_is_no_question_is_refused_and_sent_nowhere(app: FastAPI, path: str, question: Any) -> None:
    async with site(app, echo) as it, aiohttp.ClientSession(it.url) as client:
        async with client.post(path, json={"question": question}) as answer:
            assert answer.status == 422
        assert it.service.requests == []


@both
async def test_the_turn_of_a_client_that_leaves_is_cancelled_at_once(app: FastAPI, path: str) -> None:
    slow = Slow()
    async with site(app, slow.worker) as it:
        writer = await it.open(path)
        await settle()
        assert it.service.connections == 1
        writer.close()
        await settle()
        assert it.service.connections == 0
        assert slow.ended == "stopped"
        assert len(it.service.accepted) == 1  # it stays sent


async def test_a_client_that_left_is_in_the_librarys_log_and_not_in_the_servers(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with site(app, Slow().worker, access_log=True) as it:
        for path in ("/answer", "/stream"):
            caplog.clear()
            writer = await it.open(path)
            await settle()
            writer.close()
            await settle()
            assert re.search(r"turn \d+: failed by ClosedError after [\d.]+ s, run \S+", caplog.text)
            assert ("POST" in caplog.text) is (path == "/stream")
    assert "`turn 7: failed by ClosedError after 3.2 s, run …`" in PAGE


@both
async def test_it_is_cancelled_while_it_waits_for_a_job_too(app: FastAPI, path: str) -> None:
    async def busy(ctx: Any) -> AsyncIterator[Any]:
        yield ctx.background(asyncio.sleep, LONG)

    async with site(app, busy) as it:
        writer = await it.open(path)
        await asyncio.sleep(LONG / 2)
        writer.close()
        await settle()
        polls = len(it.service.requests)
        assert polls > 2
        await asyncio.sleep(LONG)
        assert len(it.service.requests) == polls


async def test_one_who_leaves_does_not_disturb_the_others(app: FastAPI) -> None:
    slow = Slow()
    async with site(app, slow.worker) as it:
        leaving, staying = await it.open("/answer"), await it.open("/answer")
        await settle()
        leaving.close()
        await settle()
        assert it.service.connections == 1
        staying.close()
        await settle()


async def test_fastapi_does_not_cancel_an_endpoint_by_itself(app: FastAPI) -> None:
    """What the page says is needed is needed: without it the turn goes on to its end."""
    slow = Slow()

    @app.post("/unwatched")
    async def unwatched(request: Request) -> str:
        return (await request.state.toolhouse.run(AGENT_ID, "one")).text  # type: ignore[no-any-return]

    async with site(app, slow.worker) as it:
        (await it.open("/unwatched")).close()
        await asyncio.sleep(LONG - 10)
        assert it.service.connections == 1
        await asyncio.sleep(20)
        assert slow.ended == "finished"
    assert "FastAPI does not do it" in PAGE


async def test_whether_the_client_has_left_can_be_asked_too(app: FastAPI) -> None:
    said: list[bool] = []

    @app.post("/asking")
    async def asking(request: Request) -> None:
        for _ in range(2):
            said.append(await request.is_disconnected())
            await request.state.toolhouse.run(AGENT_ID, "one")

    async with site(app, Slow().worker) as it:
        writer = await it.open("/asking")
        await settle()
        writer.close()
    assert said == [False, True]


@both
async def test_a_middleware_does_not_hide_that_the_client_left(app: FastAPI, path: str) -> None:
    @app.middleware("http")
    async def passing(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    slow = Slow()
    async with site(app, slow.worker) as it:
        writer = await it.open(path)
        await settle()
        writer.close()
        await settle()
        assert (slow.ended, it.service.connections) == ("stopped", 0)


@pytest.mark.parametrize("announced", ["2.3", "2.4"])
async def test_a_server_may_leave_a_silent_stream_alone(app: FastAPI, announced: str) -> None:
    """As the page says: with ASGI 2.4 a stream is not cancelled before its next word or heartbeat."""

    async def served(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["asgi"]["spec_version"] = announced
        await app(scope, receive, send)

    slow = Slow()
    async with site(served, slow.worker) as it:
        writer = await it.open("/stream")
        await settle()
        writer.close()
        await settle()
        assert it.service.connections == (0 if announced == "2.3" else 1)
        await asyncio.sleep(LONG)
    assert "announces 2.4" in PAGE


async def test_a_stream_that_nobody_reads_is_closed_with_its_client(app: FastAPI) -> None:
    """Then the cancellation meets the sending, not the reading of the turn."""

    async def endless(ctx: Any) -> AsyncIterator[Any]:
        while True:
            yield ctx.text("o" * 60_000)
            await asyncio.sleep(0)

    async with site(app, endless) as it:
        writer = await it.open("/stream")
        await asyncio.sleep(2)
        assert it.service.connections == 1
        writer.transport.abort()
        await settle()
        assert it.service.connections == 0


async def failing(ctx: Any) -> AsyncIterator[Any]:
    yield ctx.text("one ")
    yield ErrorEvent("out of order")


async def test_an_error_is_told_in_safe_words(app: FastAPI) -> None:
    async with site(app, failing) as it:
        async with aiohttp.request("POST", f"{it.url}/answer", json={"question": "one"}) as answer:
            assert answer.status == 502
            told = await answer.json()
        async with aiohttp.request("POST", f"{it.url}/stream", json={"question": "one"}) as answer:
            assert answer.status == 200
            events = read_sse(await answer.read())
    assert told["error"] == "WorkerError"
    assert events[-1].name == "TurnFailed"
    assert told.items() <= events[-1].data.items()
    assert "out of order" not in f"{told}{events}"


async def test_a_server_that_stops_waits_for_the_answers_under_way(app: FastAPI) -> None:
    async with site(app, Slow().worker) as it, aiohttp.ClientSession(it.url) as client:
        asking = asyncio.create_task(client.post("/answer", json={"question": "one"}))
        await settle()
        it.uvicorn.should_exit = True
        async with await asking as answer:
            assert await answer.json() == {"answer": "one "}


async def test_a_server_that_stops_waits_no_longer_than_it_is_told(app: FastAPI) -> None:
    slow = Slow()
    async with site(app, slow.worker, timeout_graceful_shutdown=30) as it:
        began = asyncio.get_running_loop().time()
        writer = await it.open("/answer")
        it.uvicorn.should_exit = True
        while it.service.connections:
            await asyncio.sleep(1)
        assert 29 < asyncio.get_running_loop().time() - began < 33
        assert slow.ended == "stopped"
        writer.close()
    assert "--timeout-graceful-shutdown 30" in PAGE


async def test_a_server_that_stops_in_the_middle_of_an_answer_tells_so_in_plain_text(app: FastAPI) -> None:
    async with (
        site(app, Slow().worker, timeout_graceful_shutdown=30) as it,
        aiohttp.ClientSession(it.url) as client,
    ):
        asking = asyncio.create_task(client.post("/answer", json={"question": "one"}))
        await settle()
        it.uvicorn.should_exit = True
        async with await asking as answer:
            assert answer.status == 500
            assert answer.content_type == "text/plain"
        while it.service.connections:
            await asyncio.sleep(0.1)
    assert "`/answer` becomes a 500 in plain text" in PAGE


@pytest.mark.skipif(find_spec("websockets") is None, reason="needs websockets, by which uvicorn speaks")
async def test_a_server_that_stops_closes_websockets_at_once(app: FastAPI) -> None:
    exec(compile(WEBSOCKET.code, WEBSOCKET.place, "exec", dont_inherit=True), vars(sys.modules["application"]))
    slow = Slow()
    async with (
        site(app, slow.worker, timeout_graceful_shutdown=30, ws="websockets-sansio") as it,
        aiohttp.ClientSession(it.url) as client,
        client.ws_connect("/chat") as socket,
    ):
        await socket.send_str("one")
        while (await socket.receive_json())["event"] != "TextDelta":
            pass
        began = asyncio.get_running_loop().time()
        it.uvicorn.should_exit = True
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1012
        await settle()
        assert slow.ended == "stopped"
        assert asyncio.get_running_loop().time() - began < 5
    assert "with code 1012" in PAGE


def test_the_application_is_served_as_the_page_says(toolhouse_emulator: RunningEmulator, tmp_path: Path) -> None:
    toolhouse_emulator.worker(AGENT_ID)(echo)
    command = SERVED.code.split()
    (tmp_path / "app.py").write_text(BLOCK.code, "utf-8")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", *command, "--port", "0"],
        cwd=tmp_path,
        env=environment(TOOLHOUSE_BASE_URL=toolhouse_emulator.url, TOOLHOUSE_API_KEY="key-of-the-example"),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stderr is not None
        url = next(found[0] for line in process.stderr if (found := re.search(r"http://[\d.:]+", line)))
        asking = ["bash", "-euc", ASKED.code.replace("http://127.0.0.1:8000", url)]
        if shutil.which("curl"):
            asked = subprocess.run(asking, capture_output=True, encoding="utf-8", timeout=50, check=True)
            check_output(ASKED, asked.stdout)
        process.terminate()
        assert "Application shutdown complete" in process.stderr.read()


class Browser:
    """Speaks to the application over a WebSocket, as a server passes that on."""

    def __init__(self, app: FastAPI, state: Any, faults: Faults) -> None:
        self.faults = faults  # of the service
        scope = {"type": "websocket", "path": "/chat", "query_string": b"", "headers": [], "state": dict(state or {})}
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.has_left = False
        self.serving = asyncio.create_task(app(scope, self._told.get, self._hear))  # type: ignore[arg-type]
        self._told.put_nowait({"type": "websocket.connect"})

    async def _hear(self, message: Any) -> None:
        if self.has_left:
            raise OSError("it has left")
        self._heard.put_nowait(message)

    def say(self, text: str) -> None:
        self._told.put_nowait({"type": "websocket.receive", "text": text})

    def send(self, data: bytes) -> None:
        self._told.put_nowait({"type": "websocket.receive", "bytes": data})

    async def close_code(self) -> Any:
        while (message := await self._heard.get())["type"] != "websocket.close":
            pass
        return message["code"]

    def leave(self) -> None:
        self.has_left = True
        self._told.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def hear(self, until: str) -> list[Any]:
        events: list[Any] = []
        while not events or events[-1]["event"] != until:
            message = await self._heard.get()
            if message["type"] == "websocket.send":
                events.append(json.loads(message["text"]))
        return events


@asynccontextmanager
async def browser(
    app: FastAPI,
    worker: Any,
    monkeypatch: pytest.MonkeyPatch,
    on_disconnect: Literal["continue", "stop"] = "stop",
) -> AsyncIterator[tuple[Browser, Any]]:
    module = sys.modules["application"]
    exec(compile(WEBSOCKET.code, WEBSOCKET.place, "exec", dont_inherit=True), vars(module))
    emulator = WorkersEmulator(on_disconnect=on_disconnect)
    emulator.worker(AGENT_ID)(worker)
    async with emulator.serve() as service:
        monkeypatch.setenv("TOOLHOUSE_BASE_URL", service.url)
        monkeypatch.setenv("TOOLHOUSE_API_KEY", "")
        async with app.router.lifespan_context(app) as state:
            yield Browser(app, state, emulator.faults), service


async def test_a_conversation_over_a_websocket(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    async with browser(app, echo, monkeypatch) as (it, service):
        it.say("one two")
        it.say("")  # which would resume the worker
        it.say("three")
        said = "".join(event.get("text", "") for event in await it.hear("TurnCompleted"))
        said += "".join(event.get("text", "") for event in await it.hear("TurnCompleted"))
        assert said == "one twothree"
        it.leave()
        await it.serving
        assert [request.method for request in service.accepted] == ["POST", "PUT"]


@pytest.mark.parametrize("accepted", [True, False], ids=["had arrived", "had not"])
async def test_a_websocket_goes_on_behind_a_lost_answer(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, accepted: bool
) -> None:
    async with browser(app, echo, monkeypatch, "continue") as (it, _):
        it.say("one two")
        await it.hear("TurnCompleted")
        it.faults.add(method="PUT", cut="fin", accept=accepted)
        it.say("three")
        assert (await it.hear("TurnFailed"))[-1]["error"] == "OutcomeUnknownError"
        (found,) = await it.hear("FoundOut")
        assert found["text"] == ("three" if accepted else "Please say that again.")
        it.say("four")
        assert "".join(event.get("text", "") for event in await it.hear("TurnCompleted")) == "four"
        it.leave()
        await it.serving


async def test_a_websocket_begins_again_where_its_first_answer_is_lost(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with browser(app, echo, monkeypatch, "continue") as (it, _):
        it.faults.add(method="POST", cut="fin", accept=True)
        it.say("one")
        await it.hear("TurnFailed")
        (found,) = await it.hear("FoundOut")
        assert found["text"].startswith("Nobody knows whether that has arrived.")
        it.say("one")
        assert "".join(event.get("text", "") for event in await it.hear("TurnCompleted")) == "one"
        it.leave()
        await it.serving


async def test_a_websocket_tells_what_was_lost_once_the_service_is_there_again(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with browser(app, echo, monkeypatch, "continue") as (it, _):
        it.say("one two")
        await it.hear("TurnCompleted")
        it.faults.add(method="PUT", cut="fin", accept=True)
        away = it.faults.add(method="GET", status=401, times=None)
        it.say("three")
        await it.hear("TurnFailed")
        (found,) = await it.hear("FoundOut")
        assert "Nobody knows" in found["text"]
        it.faults.clear()
        assert away.hits
        it.say("four")
        assert (await it.hear("TurnFailed"))[-1]["error"] == "UncertainSessionError"
        assert (await it.hear("FoundOut"))[-1]["text"] == "three"
        it.leave()
        await it.serving


@pytest.mark.parametrize("closes", [True, False], ids=["silent", "speaking"])
async def test_a_websocket_that_leaves_ends_its_turn(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, closes: bool
) -> None:
    slow = Slow()

    async def talkative(ctx: Any) -> AsyncIterator[Any]:
        while True:
            yield ctx.text("word ")
            await asyncio.sleep(0.01)

    async with browser(app, slow.worker if closes else talkative, monkeypatch) as (it, service):
        it.say("one two")
        await it.hear("TextDelta")
        it.leave()
        await it.serving
        await settle()
        assert service.connections == 0


async def test_bytes_over_a_websocket_end_it_with_a_code_that_says_so(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with browser(app, Slow().worker, monkeypatch) as (it, service):
        it.say("one two")
        await it.hear("TextDelta")
        it.send(b"bytes")
        assert await it.close_code() == 1003
        await it.serving
        await settle()
        assert service.connections == 0
    assert "with code 1003" in PAGE


@pytest.mark.parametrize("test", TESTS, ids=["answered", "broken off"])
def test_the_applications_own_tests_pass(pytester: pytest.Pytester, test: Block) -> None:
    pytester.makepyfile(app=BLOCK.code, test_app=test.code)
    pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider", timeout=50).assert_outcomes(passed=1)


@both
async def test_what_went_wrong_is_in_the_log_alone(
    app: FastAPI, path: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["application"], "AGENT_ID", "nobody")
    async with (
        site(app, echo) as it,
        aiohttp.ClientSession(it.url) as client,
        client.post(path, json={"question": "one two"}) as answer,
    ):
        told = await answer.text()
    assert "NotFoundError" in told
    assert "base_url" not in told
    assert "check base_url and the agent id" in caplog.text


@pytest.mark.parametrize("what", ["event", "run", "stream", "start"])
async def test_what_an_endpoint_cannot_return_is_refused_in_the_words_of_the_other_page(what: str) -> None:
    heading = "## FastAPI: “vars() argument must have __dict__ attribute”"
    section = (ROOT / "docs/how-to/troubleshooting.md").read_text("utf-8").partition(f"{heading}\n")[2]
    async with AsyncToolhouse("", base_url="http://127.0.0.1:1") as toolhouse:
        match what:
            case "event":
                returned: Any = TurnStarted("a", "r")
            case "run":
                returned = toolhouse.run(AGENT_ID, "one")
            case "start":
                hub = TurnHub()
                returned = hub.start("ada", toolhouse.stream(AGENT_ID, "one"))
                await hub.aclose()
            case _:
                returned = toolhouse.stream(AGENT_ID, "one")
        with pytest.raises(ValueError, match=re.escape(heading.partition("“")[2].rstrip("”"))):
            jsonable_encoder(returned)
        if what == "run":
            returned.close()
    assert what in section.partition("\n## ")[0]


async def test_the_response_of_fastapis_own_has_all_headers_as_the_page_writes_it(app: FastAPI) -> None:
    (written,) = re.findall(r"`(EventSourceResponse\([^`]+)`", PAGE)
    names = {"sse": sse, "EVENT_STREAM_HEADERS": EVENT_STREAM_HEADERS}
    sse_module = pytest.importorskip("fastapi.sse", reason="came with a later FastAPI")
    names["EventSourceResponse"] = sse_module.EventSourceResponse

    @app.post("/own")
    async def own(request: Request) -> Any:
        return eval(written, names, {"turn": request.state.toolhouse.stream(AGENT_ID, "one")})

    async with site(app, echo) as it, aiohttp.ClientSession() as client, client.post(f"{it.url}/own") as answer:
        for header, value in EVENT_STREAM_HEADERS.items():
            assert answer.headers.getall(header, []) == [value]
        assert words(read_sse(await answer.read())) == "one"


def test_a_state_without_its_lifespan_is_told_in_the_words_of_the_other_page(app: FastAPI) -> None:
    heading = "## FastAPI: “'State' object has no attribute 'toolhouse'”"
    assert heading in (ROOT / "docs/how-to/troubleshooting.md").read_text("utf-8")
    with pytest.raises(AttributeError, match=heading.partition("“")[2].rstrip("”")):
        _ = Request({"type": "http"}).state.toolhouse


async def test_the_state_of_the_application_has_not_what_its_lifespan_yields(app: FastAPI) -> None:
    assert "`request.app.state.toolhouse`" in (ROOT / "docs/how-to/troubleshooting.md").read_text("utf-8")

    @app.get("/state")
    async def state(request: Request) -> list[bool]:
        return [hasattr(each, "toolhouse") for each in (request.app.state, request.state)]

    async with site(app, echo) as it, aiohttp.ClientSession() as client, client.get(f"{it.url}/state") as answer:
        assert await answer.json() == [False, True]
