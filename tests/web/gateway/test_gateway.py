from __future__ import annotations

from typing import Any

import pytest

from tests.web.support import AGENT, world_and_client
from toolhouse_async import ConfigurationError, SessionManager
from toolhouse_async.web import openai_gateway

from .support import MODEL, ask, chat


async def test_the_client_is_one() -> None:
    wrong: Any = AGENT
    with pytest.raises(ConfigurationError, match="must be an AsyncToolhouse, not str"):
        openai_gateway(wrong, models={MODEL: AGENT})


@pytest.mark.parametrize(
    "models", [{}, {"": AGENT}, {1: AGENT}, {"a": "no/id"}, {"a": "https://example.org/x"}, [AGENT], AGENT, None]
)
async def test_models_are_checked(models: Any) -> None:
    async with world_and_client() as (_, client):
        with pytest.raises(ConfigurationError):
            openai_gateway(client, models=models)


@pytest.mark.parametrize("api_key", ["", b"key", 1])
async def test_a_key_is_a_string(api_key: Any) -> None:
    async with world_and_client() as (_, client):
        with pytest.raises(ConfigurationError, match="api_key"):
            openai_gateway(client, models={MODEL: AGENT}, api_key=api_key)


async def test_a_manager_serves_the_models_of_its_worker() -> None:
    async with world_and_client() as (world, client), SessionManager(client, AGENT) as manager:
        models = {MODEL: AGENT, "other": "other"}
        for given in (manager, {MODEL: manager}):
            app = openai_gateway(client, models=models, manager=given)
            await ask(app, "/v1/chat/completions", chat("a", {"role": "assistant", "content": "b"}, "c", user="ada"))
        assert world.accepted == ["c", "c"]
        answer = await ask(app, "/v1/responses", {"model": "other", "input": "x", "conversation": "ada"})
        assert answer.error["param"] == "conversation"
        for wrong in ({"other": manager}, {"none": manager}, {MODEL: AGENT}, AGENT, [manager]):
            with pytest.raises(ConfigurationError, match="manager"):
                openai_gateway(client, models=models, manager=wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="manager"):
            openai_gateway(client, models={"other": "other"}, manager=manager)


async def test_what_is_changed_later_changes_nothing() -> None:
    async with world_and_client() as (_, client):
        models = {MODEL: AGENT}
        app = openai_gateway(client, models=models)
        models.clear()
        assert (await ask(app, "/v1/chat/completions", chat("Hello"))).status == 200
        assert repr(app) == f"<OpenAI gateway to {MODEL}>"
