"""A worker as a tool of PydanticAI; it needs ``pip install pydantic-ai-slim``."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import pytest

from .support import BOOKING, DESCRIPTION, MESSAGE, NAME, check_told, lose_the_answer, tool_of_a_worker

pytestmark = pytest.mark.filterwarnings("ignore")  # its own

if importlib.util.find_spec("pydantic_ai") is None:
    pytest.skip("needs pydantic-ai-slim", allow_module_level=True)

with warnings.catch_warnings(action="ignore"):
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
    from pydantic_ai.models.function import AgentInfo, FunctionModel
    from pydantic_ai.models.test import TestModel


def calling(seen: list[Any], *messages: dict[str, Any]) -> FunctionModel:
    """A model that calls the tool once for each of these arguments, and then says what the tool last returned."""
    left = list(messages)

    def model(history: list[Any], info: AgentInfo) -> ModelResponse:
        seen.append(info.function_tools)
        if left:
            return ModelResponse([ToolCallPart(NAME, left.pop(0))])
        (returned,) = (part for part in history[-1].parts if isinstance(part, ToolReturnPart))
        return ModelResponse([TextPart(str(returned.content))])

    return FunctionModel(model)


async def test_the_model_sees_it_as_described() -> None:
    seen: list[Any] = []
    async with tool_of_a_worker() as (world, tool):
        result = await Agent(calling(seen, {"message": "one"}), tools=[tool]).run("go")
        assert result.output == "one"
        assert world.accepted == ["one"]
    (definition,) = seen[0]
    assert (definition.name, definition.description) == (NAME, DESCRIPTION)
    schema = definition.parameters_json_schema
    assert schema["properties"] == {"message": {"type": "string", "description": MESSAGE}}
    assert schema["required"] == ["message"]


async def test_its_test_model_calls_it() -> None:
    async with tool_of_a_worker(conversation=True) as (world, tool):
        await Agent(TestModel(), tools=[tool]).run("go")
        assert len(world.server.requests) == 1


async def test_a_message_of_unknown_fate_is_sent_once() -> None:
    async with tool_of_a_worker() as (world, tool):
        lose_the_answer(world)
        result = await Agent(calling([], {"message": BOOKING}), tools=[tool]).run("go")
        check_told(world, result.output)
