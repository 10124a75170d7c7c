"""LiteLLM as a client of the endpoint for OpenAI's clients, served by uvicorn; it needs ``pip install litellm``."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest
import uvicorn

from tests.web.support import AGENT, World, world_and_client
from toolhouse_async.web import openai_gateway

pytestmark = pytest.mark.filterwarnings("ignore")  # its own
REAL_TIME = True
MODEL = "analyst"

if importlib.util.find_spec("litellm") is None:
    pytest.skip("needs litellm", allow_module_level=True)

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network as it is imported
with warnings.catch_warnings(action="ignore"):
    import litellm
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER


@pytest.fixture(autouse=True)
async def close_what_it_keeps() -> AsyncIterator[None]:
    """LiteLLM keeps clients, and a task for its logs."""
    yield
    await GLOBAL_LOGGING_WORKER.stop()
    await litellm.close_litellm_async_clients()
    litellm.in_memory_llm_clients_cache.flush_cache()


@asynccontextmanager
async def served() -> AsyncIterator[tuple[World, dict[str, Any]]]:
    """The endpoint, and the arguments that lead to it."""
    async with world_and_client() as (world, client):
        app = openai_gateway(client, models={MODEL: AGENT}, api_key="key")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
            server.capture_signals = nullcontext  # type: ignore[method-assign, assignment] # they belong to the tests
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                yield world, {"api_key": "key", "api_base": f"http://127.0.0.1:{listener.getsockname()[1]}/v1"}
            finally:
                server.should_exit = True
                await serving


def says(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


async def test_a_completion() -> None:
    async with served() as (world, options):
        answer: Any = await litellm.acompletion(f"openai/{MODEL}", says("tools here"), **options)
        assert answer.choices[0].message.content == "I looked."
        assert not answer.choices[0].message.tool_calls
        assert world.accepted == ["tools here"]


async def test_a_completion_in_a_stream() -> None:
    async with served() as (_, options):
        stream: Any = await litellm.acompletion(f"openai/{MODEL}", says("words 3"), stream=True, **options)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "word0 word1 word2 "


async def test_responses() -> None:
    async with served() as (world, options):
        first: Any = await litellm.aresponses(model=f"openai/{MODEL}", input="one", **options)
        options["previous_response_id"] = first.id
        stream: Any = await litellm.aresponses(model=f"openai/{MODEL}", input="two", stream=True, **options)
        events = [event async for event in stream]
        assert (first.output_text, events[-1].response.output_text) == ("one", "two")
        assert [each.method for each in world.server.accepted] == ["POST", "PUT"]


async def test_a_message_of_unknown_fate_is_sent_once() -> None:
    async with served() as (world, options):
        world.emulator.faults.add(method="POST", status=502, accept=True, times=None)
        with pytest.raises(litellm.APIError) as caught:
            await litellm.acompletion(f"openai/{MODEL}", says("Book a table"), **options)
        assert caught.value.status_code == 424
        with pytest.raises(litellm.APIError):
            await litellm.aresponses(model=f"openai/{MODEL}", input="Book two", **options)
        assert world.accepted == ["Book a table", "Book two"]
