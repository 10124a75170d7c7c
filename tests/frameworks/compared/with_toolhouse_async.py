"""The program with ``toolhouse_async``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any

from tests.support.raw_server import ndjson, response
from toolhouse_async import AsyncToolhouse, TextDelta, TurnStarted

from .program import Program
from .service import ANSWER, MESSAGE, WORDS, Service, as_json

AGENT, RUN = "agent", {"X-Toolhouse-Run-ID": "run"}


class Workers(Service):
    """As much of the Workers API as the program needs."""

    content_type = "application/x-ndjson"
    endings = 0

    def events(self, first: int = 0) -> list[bytes]:
        return [ndjson({"type": "text", "text": word}) for word in WORDS[first:]]

    async def message(self, reader: Any, writer: Any, request: Any) -> None:
        if request.json()["message"] != "job":
            await self.stream(reader, writer, RUN)
            return
        self.start_job()
        head = RUN | {"X-Toolhouse-Job-ID": "job", "Content-Type": self.content_type}
        writer.write(response(headers=head, body=ndjson({"type": "text", "text": "Computing. "})))

    async def look(self, reader: Any, writer: Any, request: Any) -> None:
        said = self.accepted[0].json()["message"]
        answered = "Computing. " if said == "job" else ANSWER
        history = [{"role": "user", "content": said}, {"role": "assistant", "content": answered}]
        writer.write(as_json(history, headers={"X-Toolhouse-Job-ID": "job"} if self.is_busy else {}))


class WithToolhouse(Program):
    """The program with ``toolhouse_async``."""

    package = "toolhouse-async"
    service = Workers
    waits_by = "async for event in turn"
    job_again_by = "recover(agent, run_id, message)"
    answer_again_by = "recover(agent, run_id, message)"

    def connect(self, url: str) -> AbstractAsyncContextManager[AsyncToolhouse]:
        return AsyncToolhouse("key", base_url=url)

    async def ask(self, client: AsyncToolhouse) -> str:
        return (await client.run(AGENT, MESSAGE)).text

    async def speak(self, client: AsyncToolhouse, seen: dict[str, Any]) -> AsyncGenerator[str, None]:
        async with client.stream(AGENT, MESSAGE, **self.settings) as turn:
            async for event in turn:
                match event:
                    case TurnStarted(run_id=run_id):
                        seen["run"] = run_id
                    case TextDelta(text):
                        yield text

    async def wait(self, client: AsyncToolhouse, seen: dict[str, Any]) -> str:
        async with client.stream(AGENT, "job") as turn:
            async for event in turn:
                if isinstance(event, TurnStarted):
                    seen["run"] = event.run_id
            return (await turn.result()).text.removeprefix("Computing. ")

    async def go_on(self, client: AsyncToolhouse, seen: dict[str, Any]) -> str:
        return (await client.recover(AGENT, seen["run"], MESSAGE)).text

    async def join(self, client: AsyncToolhouse, seen: dict[str, Any]) -> str:
        return (await client.recover(AGENT, seen["run"], "job")).text.removeprefix("Computing. ")
