"""The program with ``anthropic``, by its Messages API, and by batches of messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any

from anthropic import AsyncAnthropic

from tests.support.raw_server import ndjson, response

from .program import Program
from .service import ANSWER, MESSAGE, WORDS, Service, as_json, sse

ASKED: Any = {"model": "model", "max_tokens": 100, "messages": [{"role": "user", "content": MESSAGE}]}


class Messages(Service):
    """As much of the Messages API as the program needs."""

    endings = 3

    def resource(self, text: str | None) -> dict[str, Any]:
        content = [] if text is None else [{"type": "text", "text": text}]
        return {
            "id": "msg",
            "type": "message",
            "role": "assistant",
            "model": "model",
            "content": content,
            "stop_reason": None if text is None else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }

    def events(self, first: int = 0) -> list[bytes]:
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": self.resource(None)},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
                for word in WORDS
            ),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 10}},
            {"type": "message_stop"},
        ]
        return [sse(each["type"], each) for each in events]

    async def message(self, reader: Any, writer: Any, request: Any) -> None:
        if request.path.startswith("/v1/messages/batches"):
            self.start_job()
            writer.write(as_json(self.batch(request)))
        elif request.json().get("stream"):
            await self.stream(reader, writer)
        else:
            writer.write(as_json(self.resource(ANSWER)))

    async def look(self, reader: Any, writer: Any, request: Any) -> None:
        if request.path.endswith("/results"):
            result = {"custom_id": "one", "result": {"type": "succeeded", "message": self.resource(ANSWER)}}
            writer.write(response(headers={"Content-Type": "application/x-jsonl"}, body=ndjson(result)))
        else:
            writer.write(as_json(self.batch(request)))

    def batch(self, request: Any) -> dict[str, Any]:
        status = "in_progress" if self.is_busy else "ended"
        results = f"http://{request.headers['host']}/v1/messages/batches/batch/results"
        return {"id": "batch", "type": "message_batch", "processing_status": status, "results_url": results}


class WithAnthropic(Program):
    """The program."""

    package = "anthropic"
    service = Messages
    waits_by = "messages.batches.retrieve(id)"
    loops = True
    job_again_by = "messages.batches.retrieve(id)"

    def connect(self, url: str) -> AbstractAsyncContextManager[AsyncAnthropic]:
        return AsyncAnthropic(api_key="key", base_url=url, **self.settings)

    async def ask(self, client: AsyncAnthropic) -> str:
        message = await client.messages.create(**ASKED)
        return "".join(block.text for block in message.content if block.type == "text")

    async def speak(self, client: AsyncAnthropic, seen: dict[str, Any]) -> AsyncGenerator[str, None]:
        async with client.messages.stream(**ASKED) as stream:
            async for text in stream.text_stream:
                yield text
            seen["stop_reason"] = (await stream.get_final_message()).stop_reason

    async def wait(self, client: AsyncAnthropic, seen: dict[str, Any]) -> str:
        batch = await client.messages.batches.create(requests=[{"custom_id": "one", "params": ASKED}])
        seen["id"] = batch.id
        return await self.join(client, seen)

    async def join(self, client: AsyncAnthropic, seen: dict[str, Any]) -> str:
        while (await client.messages.batches.retrieve(seen["id"])).processing_status != "ended":
            await asyncio.sleep(2)
        text = ""
        async for each in await client.messages.batches.results(seen["id"]):
            assert each.result.type == "succeeded"
            text += "".join(block.text for block in each.result.message.content if block.type == "text")
        return text
