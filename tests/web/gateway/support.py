"""Requests to the endpoint as an ASGI server makes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.web.support import AGENT, World, world_and_client
from toolhouse_async import AsyncToolhouse
from toolhouse_async.web import openai_gateway

MODEL = "analyst"
JSON = ("content-type", "application/json")


class Answer:
    """What the application has sent to a client, and the client's end of the connection."""

    def __init__(self, app: Any, path: str, body: Any, **scope: Any) -> None:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        headers = [JSON, *scope.pop("headers", ())]
        scope = {"method": "GET" if body is None else "POST", "root_path": "", **scope}
        self.scope: dict[str, Any] = {
            "type": "http",
            "path": path,
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            **scope,
        }
        self.received: list[dict[str, Any]] = [
            {"type": "http.request", "body": raw[:10], "more_body": True},
            {"type": "http.request", "body": raw[10:]},
        ]
        self.sent: list[Any] = []
        self.news = asyncio.Event()
        self.gone = asyncio.Event()
        self.is_deaf = False
        self.task = asyncio.ensure_future(app(self.scope, self._receive, self._send))

    async def _receive(self) -> Any:
        if self.received:
            return self.received.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.is_deaf:
            raise OSError("the client has left")
        self.sent.append(message)
        self.news.set()

    @property
    def status(self) -> int:
        return self.sent[0]["status"]  # type: ignore[no-any-return]

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.sent[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return self.json["error"]

    @property
    def data(self) -> list[Any]:
        """The data of Server-Sent Events."""
        assert self.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = [line.removeprefix(b"data: ") for line in self.body.splitlines() if line.startswith(b"data: ")]
        return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]

    @property
    def words(self) -> str:
        """The words of a stream."""
        found = ""
        for each in self.data:
            if isinstance(each, dict) and each.get("type") == "response.output_text.delta":
                found += each["delta"]
            elif isinstance(each, dict) and each.get("choices"):
                found += each["choices"][0]["delta"].get("content", "")
        return found

    async def until(self, part: bytes) -> None:
        """Wait until it has said this."""
        while part not in self.body:
            self.news.clear()
            await self.news.wait()

    async def leave(self) -> None:
        """Close the connection, and wait until the application has seen to it."""
        self.gone.set()
        await self.task


async def ask(app: Any, path: str, body: Any = None, **scope: Any) -> Answer:
    """A request and its whole answer."""
    answer = Answer(app, path, body, **scope)
    await answer.task
    return answer


def chat(*said: Any, **fields: Any) -> dict[str, Any]:
    """The body of a request for a chat completion: the user's messages, or those that are given whole."""
    messages = [each if isinstance(each, dict) else {"role": "user", "content": each} for each in said]
    return {"model": MODEL, "messages": messages, **fields}


def response(said: Any, **fields: Any) -> dict[str, Any]:
    """The body of a request for a response."""
    return {"model": MODEL, "input": said, **fields}


@asynccontextmanager
async def gateway(**options: Any) -> AsyncIterator[tuple[World, AsyncToolhouse, Any]]:
    """A world, a client, and the endpoint with one model."""
    async with world_and_client(**options) as (world, client):
        yield world, client, openai_gateway(client, models={MODEL: AGENT})
