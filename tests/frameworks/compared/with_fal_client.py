"""The program with ``fal-client``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import fal_client
from fal_client import client as module

from .program import Program
from .service import ANSWER, MESSAGE, WORDS, Service, as_json, sse

APP, INPUT = "owner/app", {"prompt": MESSAGE}


class Queue(Service):
    """As much of fal's API as the program needs."""

    endings = 0

    def events(self, first: int = 0) -> list[bytes]:
        return [sse(None, {"text": word}) for word in WORDS[first:]]

    async def message(self, reader: Any, writer: Any, request: Any) -> None:
        if request.path.endswith("/stream"):
            await self.stream(reader, writer)
        elif request.path.startswith("/queue"):
            self.start_job()
            base = f"http://{request.headers['host']}/queue/{APP}/requests/one"
            urls = {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}
            writer.write(as_json({"request_id": "one", **urls}))
        else:
            writer.write(as_json({"text": ANSWER}))

    async def look(self, reader: Any, writer: Any, request: Any) -> None:
        if request.path.partition("?")[0].endswith("/status"):
            status = "IN_PROGRESS" if self.is_busy else "COMPLETED"
            writer.write(as_json({"status": status, "logs": []}))
        else:
            writer.write(as_json({"text": ANSWER}))


class WithFal(Program):
    """The program.

    The client's addresses are constants that begin with ``https``: here they are those of the service on the loopback
    interface, and nothing else of the client is changed.
    """

    package = "fal-client"
    service = Queue
    waits_by = "subscribe(app, …)"
    job_again_by = "result(app, request_id)"

    @asynccontextmanager
    async def connect(self, url: str) -> AsyncIterator[fal_client.AsyncClient]:
        with patch.multiple(module, RUN_URL_FORMAT=f"{url}/", QUEUE_URL_FORMAT=f"{url}/queue/"):
            client = fal_client.AsyncClient(key="key")
            yield client
            await (await client._client).aclose()  # there is no public way

    async def ask(self, client: fal_client.AsyncClient) -> str:
        if self.settings.get("stream"):
            return "".join([word async for word in self.speak(client, {})])
        return str((await client.run(APP, INPUT))["text"])

    async def speak(self, client: fal_client.AsyncClient, seen: dict[str, Any]) -> AsyncGenerator[str, None]:
        async for event in client.stream(APP, INPUT):
            yield event["text"]

    async def wait(self, client: fal_client.AsyncClient, seen: dict[str, Any]) -> str:
        noted = lambda request_id: seen.update(id=request_id)  # noqa: E731
        return str((await client.subscribe(APP, INPUT, on_enqueue=noted))["text"])

    async def join(self, client: fal_client.AsyncClient, seen: dict[str, Any]) -> str:
        return str((await client.result(APP, seen["id"]))["text"])
