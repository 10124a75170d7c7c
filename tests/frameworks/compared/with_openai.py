"""The program with ``openai``, by its Responses API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from openai import AsyncOpenAI

from .program import Program
from .service import ANSWER, MESSAGE, WORDS, Service, as_json, sse


class Responses(Service):
    """As much of the Responses API as the program needs."""

    def resource(self, status: str) -> dict[str, Any]:
        said = {"type": "output_text", "text": ANSWER, "annotations": []}
        message = {"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": [said]}
        output = [message] if status == "completed" else []
        return {"id": "resp", "object": "response", "status": status, "output": output}

    def events(self, first: int = 0) -> list[bytes]:
        place = {"item_id": "msg", "output_index": 0, "content_index": 0}
        item = {"type": "message", "id": "msg", "role": "assistant", "status": "in_progress", "content": []}
        part = {"type": "output_text", "text": "", "annotations": []}
        opening: list[dict[str, Any]] = [
            {"type": "response.created", "response": self.resource("in_progress")},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {"type": "response.content_part.added", **place, "part": part},
        ]
        words = [{"type": "response.output_text.delta", **place, "delta": word, "logprobs": []} for word in WORDS]
        ending = {"type": "response.completed", "response": self.resource("completed")}
        events = [each | {"sequence_number": number} for number, each in enumerate([*opening, *words, ending])]
        return [sse(each["type"], each) for each in events[first + len(opening) if first else 0 :]]

    async def message(self, reader: Any, writer: Any, request: Any) -> None:
        asked = request.json()
        if asked.get("stream"):
            await self.stream(reader, writer)
        elif asked.get("background"):
            self.start_job()
            writer.write(as_json(self.resource("queued")))
        else:
            writer.write(as_json(self.resource("completed")))

    async def look(self, reader: Any, writer: Any, request: Any) -> None:
        query = parse_qs(urlsplit(request.path).query)
        if "stream" in query:
            opening = len(self.events()) - len(WORDS) - self.endings
            await self.stream(reader, writer, first=int(query["starting_after"][0]) + 1 - opening)
        else:
            writer.write(as_json(self.resource("in_progress" if self.is_busy else "completed")))


class WithOpenAI(Program):
    """The program.

    With ``background=True`` its answers are made in the background, and streamed as well; with ``final=True`` it reads
    them by the library's helper, and asks that for the response in the end.
    """

    package = "openai"
    service = Responses
    waits_by = "responses.retrieve(id)"
    loops = True
    job_again_by = "responses.retrieve(id)"
    otherwise = "not measured without `background=True`"

    def connect(self, url: str) -> AbstractAsyncContextManager[AsyncOpenAI]:
        settings = {name: value for name, value in self.settings.items() if name == "max_retries"}
        return AsyncOpenAI(api_key="key", base_url=url, **settings)

    async def ask(self, client: AsyncOpenAI) -> str:
        return (await client.responses.create(model="model", input=MESSAGE)).output_text

    async def speak(self, client: AsyncOpenAI, seen: dict[str, Any]) -> AsyncGenerator[str, None]:
        if self.settings.get("final"):
            async with client.responses.stream(model="model", input=MESSAGE) as helper:
                async for each in helper:
                    if each.type == "response.output_text.delta":
                        yield each.delta
                await helper.get_final_response()
            return
        background = self.settings.get("background", False)
        stream = await client.responses.create(model="model", input=MESSAGE, stream=True, background=background)
        async for event in stream:
            seen["after"] = event.sequence_number
            if event.type == "response.created":
                seen["id"] = event.response.id
            elif event.type == "response.output_text.delta":
                yield event.delta

    async def wait(self, client: AsyncOpenAI, seen: dict[str, Any]) -> str:
        response = await client.responses.create(model="model", input=MESSAGE, background=True)
        seen["id"] = response.id
        return await self.join(client, seen)

    async def go_on(self, client: AsyncOpenAI, seen: dict[str, Any]) -> str:
        """Only the service can say of which responses it keeps the events: of those in the background."""
        stream = await client.responses.retrieve(seen["id"], stream=True, starting_after=seen["after"])
        return "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])

    async def join(self, client: AsyncOpenAI, seen: dict[str, Any]) -> str:
        response = await client.responses.retrieve(seen["id"])
        while response.status in ("queued", "in_progress"):
            await asyncio.sleep(2)
            response = await client.responses.retrieve(seen["id"])
        return response.output_text
