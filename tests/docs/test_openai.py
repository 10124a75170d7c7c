"""The page for those who come from openai-python: what stands there runs too, and both libraries have those names."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import openai
import pytest
from aiohttp import web
from attrs import define, field

import toolhouse_async
from toolhouse_async import AsyncToolhouse, ServerError

from .blocks import Block, marked
from .setups import AGENT_ID, SETUPS
from .test_examples import check_output
from .test_pages import rows

REAL_TIME = True  # httpx brings an event loop's helpers of its own
UNAVAILABLE = "Book a table for two"


@define
class Responses:
    """A service that speaks as much of the Responses API as the page needs, and says back what it is told."""

    asked: list[dict[str, Any]] = field(factory=list)

    async def create(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.asked.append(asked)
        if asked["input"] == UNAVAILABLE:
            return web.json_response({"error": {"message": "away"}}, status=503, headers={"Retry-After-Ms": "1"})
        if asked.get("stream"):
            return await self._stream(request, asked["input"])
        return web.json_response(self._response("queued" if asked.get("background") else "completed"))

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        assert request.match_info["id"] == f"resp_{len(self.asked)}"
        return web.json_response(self._response("completed"))

    def _response(self, status: str) -> dict[str, Any]:
        said = {"type": "output_text", "text": self.asked[-1]["input"], "annotations": []}
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": status, "content": [said]}
        output = [message] if status == "completed" else []
        return {"id": f"resp_{len(self.asked)}", "object": "response", "status": status, "output": output}

    async def _stream(self, request: web.Request, text: str) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        events = [{"type": "response.output_text.delta", "delta": f"{word} "} for word in text.split()]
        for event in [*events, {"type": "response.completed", "response": self._response("completed")}]:
            await answer.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        return answer


@asynccontextmanager
async def responses(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Responses]:
    """The service, and the environment that leads to it."""
    service = Responses()
    app = web.Application()
    app.add_routes([web.post("/responses", service.create), web.get("/responses/{id}", service.retrieve)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-example")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://{}:{}".format(*runner.addresses[0][:2]))
    try:
        yield service
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("block", marked("openai"), ids=lambda block: block.argument)
async def test_what_is_written_there_runs(
    block: Block, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = block.code.replace("asyncio.sleep(2)", "asyncio.sleep(0.002)")
    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    async with responses(monkeypatch), openai.AsyncOpenAI() as client:
        vars(module)["client"] = client
        await eval(compile(code, block.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True), vars(module))
    assert block.output is not None
    check_output(block, capsys.readouterr().out)


async def test_a_message_is_sent_again_there_and_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    async with responses(monkeypatch) as service, openai.AsyncOpenAI() as client:
        with pytest.raises(openai.InternalServerError):
            await client.responses.create(model="gpt-5", input=UNAVAILABLE)
        assert len(service.asked) == 1 + openai.DEFAULT_MAX_RETRIES > 1
    async with SETUPS["unavailable"]() as names:
        toolhouse: AsyncToolhouse = names["toolhouse"]
        with pytest.raises(ServerError) as caught:
            await toolhouse.run(AGENT_ID, UNAVAILABLE)
        assert caught.value.safe_to_retry is None


def test_the_table_of_errors_has_names_of_both() -> None:
    table = rows("how-to/openai.md", "openai")
    theirs = [name for (name,), _ in table]
    assert [name for name in theirs if not issubclass(getattr(openai, name), Exception)] == []
    statuses = {each.__name__ for each in openai.APIStatusError.__subclasses__()}
    assert statuses - set(theirs) <= {"OAuthError"}
    named = {name for _, names in table for name in names if name.endswith("Error")} - {"TimeoutError"}
    assert named <= set(toolhouse_async.errors.__all__)


def test_all_that_are_time_errors_are_time_errors() -> None:
    for name in ("ConnectTimeoutError", "ResponseTimeoutError", "IdleTimeoutError", "TurnTimeoutError"):
        assert issubclass(getattr(toolhouse_async, name), TimeoutError)
    for name in ("NotSentError", "OutcomeUnknownError", "StreamInterruptedError"):
        assert issubclass(getattr(toolhouse_async, name), toolhouse_async.TransportError)
