"""The program with ``azure-core``: a client of the kind that Azure's own are made of."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any

from azure.core import AsyncPipelineClient
from azure.core.pipeline.policies import AsyncRetryPolicy, RequestIdPolicy
from azure.core.polling import AsyncLROPoller
from azure.core.polling.async_base_polling import AsyncLROBasePolling
from azure.core.rest import HttpRequest

from tests.support.raw_server import ndjson

from .program import Program
from .service import ANSWER, MESSAGE, WORDS, Service, as_json


class Operations(Service):
    """A service by Azure's guidelines: long-running operations have an address to ask at (``Operation-Location``)."""

    content_type = "application/x-ndjson"
    endings = 0

    def events(self, first: int = 0) -> list[bytes]:
        return [ndjson({"text": word}) for word in WORDS[first:]]

    async def message(self, reader: Any, writer: Any, request: Any) -> None:
        if request.path == "/stream":
            await self.stream(reader, writer)
        elif request.path == "/job":
            self.start_job()
            operation = f"http://{request.headers['host']}/operations/one"
            writer.write(as_json({"status": "Running"}, 202, {"Operation-Location": operation}))
        else:
            writer.write(as_json({"text": ANSWER}))

    async def look(self, reader: Any, writer: Any, request: Any) -> None:
        writer.write(as_json({"status": "Running"} if self.is_busy else {"status": "Succeeded", "text": ANSWER}))


class WithAzure(Program):
    """The program; ``method`` is that of its messages, and ``retry_policy=None`` leaves that policy out."""

    package = "azure-core"
    service = Operations
    waits_by = "AsyncLROPoller"
    job_again_by = "continuation_token()"

    def connect(self, url: str) -> AbstractAsyncContextManager[AsyncPipelineClient[Any, Any]]:
        retry = self.settings.get("retry_policy", AsyncRetryPolicy())
        return AsyncPipelineClient(url, policies=[RequestIdPolicy(), *([retry] if retry else [])])

    async def ask(self, client: AsyncPipelineClient[Any, Any]) -> str:
        request = HttpRequest(self.settings.get("method", "POST"), f"{client._base_url}/say", json={"text": MESSAGE})
        response = await client.send_request(request)
        response.raise_for_status()
        return str(response.json()["text"])

    async def speak(self, client: AsyncPipelineClient[Any, Any], seen: dict[str, Any]) -> AsyncGenerator[str, None]:
        request = HttpRequest("POST", f"{client._base_url}/stream", json={"text": MESSAGE})
        async with await client.send_request(request, stream=True) as response:
            response.raise_for_status()
            rest = b""
            async for piece in response.iter_bytes():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    yield json.loads(line)["text"]

    async def wait(self, client: AsyncPipelineClient[Any, Any], seen: dict[str, Any]) -> str:
        request = HttpRequest("POST", f"{client._base_url}/job", json={"text": MESSAGE})
        begun = await client.send_request(request, _return_pipeline_response=True)
        poller = AsyncLROPoller(client, begun, self.outcome, AsyncLROBasePolling())
        seen["token"] = poller.continuation_token()
        return await poller.result()

    async def join(self, client: AsyncPipelineClient[Any, Any], seen: dict[str, Any]) -> str:
        poller: AsyncLROPoller[str] = AsyncLROPoller.from_continuation_token(
            AsyncLROBasePolling(), seen["token"], client=client, deserialization_callback=self.outcome
        )
        return await poller.result()

    @staticmethod
    def outcome(answered: Any) -> str:
        return str(answered.http_response.json()["text"])
