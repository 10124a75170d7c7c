"""The program with ``langgraph-sdk``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any

from langgraph_sdk import get_client

from tests.support.raw_server import fin, response

from .program import Program
from .service import ANSWER, JSON, MESSAGE, MISSED, SENT, WORDS, Service, as_json, sse

RUN = "/threads/11111111-1111-1111-1111-111111111111/runs/22222222-2222-2222-2222-222222222222"
THREAD, RUN_ID = RUN.split("/")[2::2]
INPUT = {"messages": [{"role": "user", "content": MESSAGE}]}


class Runs(Service):
    """As much of the API of LangGraph's servers as the program needs.

    A stream tells where it can be taken up again (``Location``). Its events have ids where the run was created with
    ``stream_resumable=True``; without, nothing is sent again that was said meanwhile.
    """

    def events(self, first: int = 0) -> list[bytes]:
        resumable = bool(self.accepted[0].json().get("stream_resumable"))
        words = [sse("custom", word, number if resumable else None) for number, word in enumerate(WORDS)]
        return [*words[first:], sse("end", None)]

    async def message(self, reader: Any, writer: Any, request: Any) -> None:
        if request.path.endswith("/runs/stream"):
            await self.stream(reader, writer, {"Location": f"{RUN}/stream", "Content-Location": RUN})
        elif request.json()["assistant_id"] == "job":
            self.start_job()
            head = response(headers=JSON | {"Location": f"{RUN}/join", "Content-Location": RUN}, ends=False)
            await self.finish(writer, head)
        else:
            writer.write(as_json(self.state()))

    async def look(self, reader: Any, writer: Any, request: Any) -> None:
        if request.path.partition("?")[0].endswith("/stream"):
            last = request.headers.get("last-event-id")
            await self.stream(reader, writer, first=SENT + MISSED if last is None else int(last) + 1)
        elif request.path.endswith("/join"):
            await self.finish(writer, response(headers=JSON, ends=False))
        else:
            writer.write(as_json({"run_id": RUN_ID, "status": "running"}))

    def state(self) -> dict[str, Any]:
        return {"messages": [*INPUT["messages"], {"role": "assistant", "content": ANSWER}]}

    async def finish(self, writer: Any, head: bytes) -> None:
        """Answer at once, and bring the state when the job is over."""
        writer.write(head)
        await writer.drain()
        if self.troubled and len(self.accepted) == 1 and not self._cut:
            self._cut = True
            await asyncio.sleep(1)
            fin(writer)
            return
        if self.is_busy:
            await self.job()
        whole = as_json(self.state()).partition(b"\r\n\r\n")[2]
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(whole), whole))

    _cut = False


class WithLangGraph(Program):
    """The program; ``stream_resumable`` is a setting of its streams."""

    package = "langgraph-sdk"
    service = Runs
    waits_by = "runs.wait(…)"
    job_again_by = "runs.join(thread_id, run_id)"
    answer_again_by = "runs.join(thread_id, run_id)"

    def connect(self, url: str) -> AbstractAsyncContextManager[Any]:
        return get_client(url=url, api_key="key")

    async def ask(self, client: Any) -> str:
        return self.answer(await client.runs.wait(THREAD, "agent", input=INPUT))

    async def speak(self, client: Any, seen: dict[str, Any]) -> AsyncGenerator[str, None]:
        created = lambda run: seen.update(run)  # noqa: E731
        async for part in client.runs.stream(
            THREAD, "agent", input=INPUT, stream_mode="custom", on_run_created=created, **self.settings
        ):
            seen["last"] = part.id
            if part.event == "custom":
                yield part.data

    async def wait(self, client: Any, seen: dict[str, Any]) -> str:
        return self.answer(await client.runs.wait(THREAD, "job", input=INPUT, on_run_created=seen.update))

    async def go_on(self, client: Any, seen: dict[str, Any]) -> str:
        if seen["last"] is None:
            return await self.join(client, seen)
        parts = client.runs.join_stream(seen["thread_id"], seen["run_id"], last_event_id=seen["last"])
        return "".join([part.data async for part in parts if part.event == "custom"])

    async def join(self, client: Any, seen: dict[str, Any]) -> str:
        return self.answer(await client.runs.join(seen["thread_id"], seen["run_id"]))

    @staticmethod
    def answer(state: Any) -> str:
        return str(state["messages"][-1]["content"])
