"""The clients that are compared, each reading the same words to the end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.util import find_spec
from typing import TypeAlias

import aiohttp
import orjson

from toolhouse_async import AsyncToolhouse, EventDecoder, TextDelta, TurnOptions

from .answers import word
from .plans import Plan
from .shapes import NOT_OF_THE_TABLE

Consume: TypeAlias = Callable[[Plan], Awaitable[int]]
"""Makes one turn, consumes every event of it, and returns how many there were."""
Contestant: TypeAlias = Callable[[str], AbstractAsyncContextManager[Consume]]
"""Opens a client of the server at a URL."""

MESSAGE = {"message": "x"}
HEADERS = {"Authorization": "Bearer key"}


@asynccontextmanager
async def floor(url: str) -> AsyncIterator[Consume]:
    """aiohttp and orjson by themselves: no types, no end that is checked, nothing kept."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def consume(plan: Plan) -> int:
            count = 0
            tail = b""
            async with session.post(f"{url}/ndjson/{plan}", json=MESSAGE, headers=HEADERS) as response:
                async for data in response.content.iter_any():
                    lines = (tail + data).split(b"\n")
                    tail = lines.pop()
                    for line in lines:
                        orjson.loads(line)
                        count += 1
            return count

        yield consume


@asynccontextmanager
async def aiohttp_lines(url: str) -> AsyncIterator[Consume]:
    """aiohttp's own iteration over lines."""
    async with aiohttp.ClientSession() as session:

        async def consume(plan: Plan) -> int:
            count = 0
            async with session.post(f"{url}/ndjson/{plan}", json=MESSAGE, headers=HEADERS) as response:
                async for line in response.content:
                    orjson.loads(line)
                    count += 1
            return count

        yield consume


@asynccontextmanager
async def httpx_lines(url: str) -> AsyncIterator[Consume]:
    """httpx's iteration over lines."""
    import httpx

    async with httpx.AsyncClient(trust_env=False, timeout=None) as client:

        async def consume(plan: Plan) -> int:
            count = 0
            async with client.stream("POST", f"{url}/ndjson/{plan}", json=MESSAGE, headers=HEADERS) as response:
                async for line in response.aiter_lines():
                    json.loads(line)
                    count += 1
            return count

        yield consume


@asynccontextmanager
async def langgraph(url: str) -> AsyncIterator[Consume]:
    """langgraph-sdk's stream of a run."""
    from langgraph_sdk import get_client

    clients = {}

    async def consume(plan: Plan) -> int:
        if plan not in clients:
            clients[plan] = get_client(url=f"{url}/langgraph/{plan}", api_key="key")
        count = 0
        async for _ in clients[plan].runs.stream(None, "agent", input=MESSAGE, stream_mode="messages"):
            count += 1
        return count

    yield consume
    for client in clients.values():
        await client.aclose()


@asynccontextmanager
async def openai(url: str) -> AsyncIterator[Consume]:
    """openai's stream of a chat completion."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key="key", base_url=url, max_retries=0) as client:

        async def consume(plan: Plan) -> int:
            count = 0
            here = client.copy(base_url=f"{url}/openai/{plan}")
            messages = [{"role": "user", "content": "x"}]
            async for _ in await here.chat.completions.create(model="m", messages=messages, stream=True):
                count += 1
            return count

        yield consume


@asynccontextmanager
async def anthropic(url: str) -> AsyncIterator[Consume]:
    """anthropic's stream of a message."""
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(api_key="key", base_url=url, max_retries=0) as client:

        async def consume(plan: Plan) -> int:
            count = 0
            here = client.copy(base_url=f"{url}/anthropic/{plan}")
            messages = [{"role": "user", "content": "x"}]
            async for _ in await here.messages.create(model="m", max_tokens=1, messages=messages, stream=True):
                count += 1
            return count

        yield consume


def our_consume(toolhouse: AsyncToolhouse) -> Consume:
    """``async for event in turn``, by this client."""

    async def consume(plan: Plan) -> int:
        count = -2  # TurnStarted and TurnCompleted are ours, not the server's
        # The server has no history that an answer with tools, or without words, could be compared with.
        options: TurnOptions = {"settle": False} if plan.tools or plan.shape in NOT_OF_THE_TABLE else {}
        async with toolhouse.stream(str(plan), "x", **options) as turn:
            async for _ in turn:
                count += 1
        return count

    return consume


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Consume]:
    """``async for event in turn``."""
    async with AsyncToolhouse("key", base_url=url) as toolhouse:
        yield our_consume(toolhouse)


@asynccontextmanager
async def registered(url: str) -> AsyncIterator[Consume]:
    """The same, with words in a shape of the user's own."""
    decoder = EventDecoder()
    decoder.register("mine", lambda obj, line: TextDelta(obj["words"], line=line))
    async with AsyncToolhouse("key", base_url=url, decoder=decoder) as toolhouse:
        yield our_consume(toolhouse)


@asynccontextmanager
async def text_stream(url: str) -> AsyncIterator[Consume]:
    """``async for text in turn.text_stream``."""
    async with AsyncToolhouse("key", base_url=url) as toolhouse:

        async def consume(plan: Plan) -> int:
            count = 0
            async with toolhouse.stream(str(plan), "x") as turn:
                async for _ in turn.text_stream:
                    count += 1
            return count

        yield consume


@asynccontextmanager
async def send(url: str) -> AsyncIterator[Consume]:
    """``await session.send()``."""
    async with AsyncToolhouse("key", base_url=url) as toolhouse:

        async def consume(plan: Plan) -> int:
            result = await toolhouse.session(str(plan)).send("x")
            return plan.count if result.text.endswith(word(plan.count - 1)) else 0

        yield consume


OURS: dict[str, Contestant] = {"ours": ours, "text_stream": text_stream, "send()": send}
OTHERS: dict[str, tuple[str, Contestant]] = {
    "aiohttp lines": ("aiohttp", aiohttp_lines),
    "httpx": ("httpx", httpx_lines),
    "langgraph-sdk": ("langgraph_sdk", langgraph),
    "openai": ("openai", openai),
    "anthropic": ("anthropic", anthropic),
}


def others() -> dict[str, Contestant]:
    """The other clients that are installed."""
    return {name: contestant for name, (module, contestant) in OTHERS.items() if find_spec(module)}


def absent() -> list[str]:
    """The other clients that are not installed."""
    return [name for name, (module, _) in OTHERS.items() if not find_spec(module)]
