"""The endpoint as OpenAI's own package meets it, with the retries that it makes by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
import pytest

from tests.web.gateway.support import MODEL, gateway
from tests.web.support import AGENT, world_and_client
from toolhouse_async import RetryPolicy, SessionManager
from toolhouse_async.web import openai_gateway


@asynccontextmanager
async def openai_client(app: Any, **options: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client of the endpoint, with its own retries."""
    transport = httpx2.ASGITransport(app)
    async with (
        httpx2.AsyncClient(transport=transport) as http,
        openai.AsyncOpenAI(api_key="any", base_url="http://gateway/v1", http_client=http, **options) as client,
    ):
        yield client


def says(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def whole(client: openai.AsyncOpenAI, api: str, text: str) -> str:
    if api == "chat":
        completion = await client.chat.completions.create(model=MODEL, messages=[says(text)])  # type: ignore[list-item]
        return completion.choices[0].message.content or ""
    return (await client.responses.create(model=MODEL, input=text)).output_text


async def streamed(client: openai.AsyncOpenAI, api: str, text: str) -> str:
    found = ""
    if api == "chat":
        chunks = await client.chat.completions.create(model=MODEL, messages=[says(text)], stream=True)  # type: ignore[list-item]
        async for chunk in chunks:
            found += chunk.choices[0].delta.content or ""
    else:
        async for event in await client.responses.create(model=MODEL, input=text, stream=True):
            found += event.delta if event.type == "response.output_text.delta" else ""
    return found


each_api = pytest.mark.parametrize("api", ["chat", "responses"])
each_way = pytest.mark.parametrize("asked", [whole, streamed])


@each_api
@each_way
async def test_an_answer(api: str, asked: Any) -> None:
    async with gateway() as (world, _, app), openai_client(app) as client:
        assert await asked(client, api, "tools here") == "I looked."
        assert world.accepted == ["tools here"]


async def test_models() -> None:
    async with gateway() as (_, _, app), openai_client(app) as client:
        assert [model.id async for model in client.models.list()] == [MODEL]
        assert (await client.models.retrieve(MODEL)).id == MODEL
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("gpt-5")


async def test_a_conversation_by_responses() -> None:
    async with gateway() as (world, _, app), openai_client(app) as client:
        first = await client.responses.create(model=MODEL, input="one", instructions="Be brief.", metadata={"a": "b"})
        assert (first.instructions, first.metadata, first.usage) == ("Be brief.", {"a": "b"}, None)
        async with client.responses.stream(model=MODEL, input="two", previous_response_id=first.id) as stream:
            async for _ in stream:
                pass
            second = await stream.get_final_response()
        assert (second.output_text, second.previous_response_id) == ("two", first.id)
        third = await client.responses.create(model=MODEL, input="three", previous_response_id=second.id)
        assert third.output_text == "three"
        assert [each.method for each in world.server.accepted] == ["POST", "PUT", "PUT"]


async def test_a_conversation_by_chat_completions() -> None:
    async with world_and_client() as (world, toolhouse), SessionManager(toolhouse, AGENT) as manager:
        app = openai_gateway(toolhouse, models={MODEL: AGENT}, manager=manager)
        async with openai_client(app, default_headers={"x-conversation-id": "ada"}) as client:
            messages: list[Any] = []
            for text in ("one", "two"):
                messages.append(says(text))
                completion = await client.chat.completions.create(model=MODEL, messages=messages)
                messages.append(completion.choices[0].message.model_dump())
            assert messages[-1]["content"] == "two"
            assert world.accepted == ["one", "two"]


async def test_the_stream_of_a_chat_by_the_packages_helper() -> None:
    async with gateway() as (_, _, app), openai_client(app) as client:
        messages: Any = [says("words 3")]
        options: Any = {"include_usage": True}
        async with client.chat.completions.stream(model=MODEL, messages=messages, stream_options=options) as stream:
            completion = await stream.get_final_completion()
        assert completion.choices[0].message.content == "word0 word1 word2 "
        assert completion.usage is None


@each_api
@each_way
@pytest.mark.parametrize("status", [408, 500, 502, 503])
async def test_a_message_of_unknown_fate_is_sent_once(api: str, asked: Any, status: int) -> None:
    async with gateway() as (world, _, app), openai_client(app) as client:
        world.emulator.faults.add(method="POST", status=status, accept=True, times=None)
        with pytest.raises(openai.APIStatusError) as caught:
            await asked(client, api, "Book a table")
        assert caught.value.status_code == 424
        assert world.accepted == ["Book a table"]


@each_api
@each_way
async def test_a_message_whose_answer_is_lost_is_sent_once(api: str, asked: Any) -> None:
    async with gateway() as (world, _, app), openai_client(app) as client:
        world.emulator.faults.add(method="POST", cut="rst", accept=True, times=None)
        with pytest.raises(openai.APIStatusError) as caught:
            await asked(client, api, "Book a table")
        assert (caught.value.status_code, caught.value.code) == (424, "outcome_unknown")
        assert world.accepted == ["Book a table"]


@each_api
@each_way
async def test_a_message_that_was_not_accepted_is_sent_again_by_the_package(api: str, asked: Any) -> None:
    async with gateway(retries=RetryPolicy(max_attempts=1)) as (world, _, app), openai_client(app) as client:
        world.emulator.faults.add(method="POST", status=429, retry_after=1, times=2)
        assert await asked(client, api, "Hello") == "Hello"
        world.emulator.faults.add(method="POST", status=429, times=3)
        with pytest.raises(openai.RateLimitError):
            await asked(client, api, "Hello again")
        assert world.accepted == ["Hello"]


@each_api
async def test_a_worker_that_fails_raises_in_the_stream(api: str) -> None:
    async with gateway() as (world, _, app), openai_client(app) as client:
        with pytest.raises(openai.APIError, match="could not finish"):
            await streamed(client, api, "fail")
        with pytest.raises(openai.APIStatusError) as caught:
            await whole(client, api, "fail")
        assert caught.value.body["run_id"]  # type: ignore[index]
        assert world.accepted == ["fail", "fail"]


class Impatient(httpx2.ASGITransport):
    """A connection on which the first attempt arrives, and its answer does not come in time."""

    def __init__(self, app: Any, accepted: list[str | None]) -> None:
        super().__init__(app)
        self.accepted = accepted

    async def handle_async_request(self, request: Any) -> Any:
        if request.headers["x-stainless-retry-count"] == "0":
            self.accepted.append("Book a table")
            raise httpx2.ReadTimeout("nothing came")
        return await super().handle_async_request(request)


async def test_a_message_is_not_sent_again_for_a_client_that_has_lost_patience() -> None:
    async with (
        gateway() as (world, _, app),
        httpx2.AsyncClient(transport=Impatient(app, world.accepted)) as http,
        openai.AsyncOpenAI(api_key="any", base_url="http://gateway/v1", http_client=http) as client,
    ):
        with pytest.raises(openai.APIStatusError) as caught:
            await client.responses.create(model=MODEL, input="Book a table")
        assert (caught.value.status_code, caught.value.code) == (424, "outcome_unknown")
        assert world.accepted == ["Book a table"]
