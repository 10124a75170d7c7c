"""LangChain and OpenAI's Agents SDK as clients of the endpoint for OpenAI's clients.

They need ``pip install langchain-openai openai-agents``.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.web.support import AGENT, World, world_and_client
from toolhouse_async import SessionManager
from toolhouse_async.web import openai_gateway

if not all(map(importlib.util.find_spec, ("agents", "langchain_openai"))):
    pytest.skip("needs langchain-openai and openai-agents", allow_module_level=True)

with warnings.catch_warnings(action="ignore"):
    import agents
    import httpx2
    import openai
    from langchain_core.messages import HumanMessage
    from langchain_openai import ChatOpenAI

pytestmark = pytest.mark.filterwarnings("ignore")  # their own
REAL_TIME = True
MODEL = "analyst"
each_api = pytest.mark.parametrize("use_responses_api", [True, False])


@asynccontextmanager
async def served() -> AsyncIterator[tuple[World, openai.AsyncOpenAI]]:
    """The endpoint, and a client of it for others to use."""
    async with world_and_client() as (world, client), SessionManager(client, AGENT) as manager:
        app = openai_gateway(client, models={MODEL: AGENT}, manager=manager)
        async with (
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as http,
            openai.AsyncOpenAI(api_key="any", base_url="http://gateway/v1", http_client=http) as made,
        ):
            yield world, made


def langchain(client: openai.AsyncOpenAI, **options: Any) -> Any:
    parts = {"root_async_client": client, "async_client": client.chat.completions}
    return ChatOpenAI(model=MODEL, api_key="any", **parts, **options)  # type: ignore[arg-type]


@each_api
async def test_langchain(use_responses_api: bool) -> None:
    async with served() as (world, client):
        model = langchain(client, use_responses_api=use_responses_api, stream_usage=True)
        assert (await model.ainvoke("tools here")).text == "I looked."
        pieces = [chunk.text async for chunk in model.astream("words 3")]
        assert "".join(pieces) == "word0 word1 word2 "
        assert world.accepted == ["tools here", "words 3"]


@pytest.mark.parametrize(
    "options",
    [
        {"use_responses_api": True, "use_previous_response_id": True},
        {"use_responses_api": False, "model_kwargs": {"extra_headers": {"x-conversation-id": "ada"}}},
    ],
)
async def test_a_conversation_of_langchain(options: dict[str, Any]) -> None:
    async with served() as (world, client):
        model = langchain(client, **options)
        messages: list[Any] = []
        for text in ("one", "two"):
            messages.append(HumanMessage(text))
            messages.append(await model.ainvoke(messages))
        assert messages[-1].text == "two"
        assert world.accepted == ["one", "two"]
        assert [each.method for each in world.server.accepted] == ["POST", "PUT"]


@pytest.mark.parametrize("kind", [agents.OpenAIResponsesModel, agents.OpenAIChatCompletionsModel])
async def test_the_agents_sdk(kind: Any) -> None:
    async with served() as (world, client):
        config = agents.RunConfig(tracing_disabled=True)
        agent = agents.Agent("Analyst", model=kind(MODEL, client))
        first = await agents.Runner.run(agent, "tools here", run_config=config)
        assert first.final_output == "I looked."
        streamed = agents.Runner.run_streamed(agent, "words 3", run_config=config)
        async for _ in streamed.stream_events():
            pass
        assert streamed.final_output == "word0 word1 word2 "
        if kind is agents.OpenAIResponsesModel:
            previous = first.last_response_id
            await agents.Runner.run(agent, "two", previous_response_id=previous, run_config=config)
            assert world.server.accepted[-1].method == "PUT"
