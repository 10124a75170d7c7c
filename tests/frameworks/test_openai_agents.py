"""A worker as a tool of OpenAI's Agents SDK; it needs ``pip install openai-agents``."""

from __future__ import annotations

import importlib.util
import json
import warnings
from typing import Any

import pytest

from .support import BOOKING, DESCRIPTION, MESSAGE, NAME, check_told, lose_the_answer, tool_of_a_worker

pytestmark = pytest.mark.filterwarnings("ignore")  # its own
REAL_TIME = True

if importlib.util.find_spec("agents") is None:
    pytest.skip("needs openai-agents", allow_module_level=True)

with warnings.catch_warnings(action="ignore"):
    import agents
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText


class Calling(agents.Model):
    """A model that calls the tool once for each of these arguments, and then says what the tool last returned."""

    def __init__(self, *calls: dict[str, Any]) -> None:
        self.left = list(calls)
        self.tools: list[Any] = []

    async def get_response(self, *args: Any, **options: Any) -> agents.ModelResponse:
        given = {**dict(zip(("instructions", "input", "settings", "tools"), args, strict=False)), **options}
        self.tools = given["tools"]
        if self.left:
            arguments = json.dumps(self.left.pop(0))
            item: Any = ResponseFunctionToolCall(
                type="function_call", name=NAME, arguments=arguments, call_id=f"call{len(self.left)}"
            )
        else:
            said = ResponseOutputText(type="output_text", text=str(given["input"][-1]["output"]), annotations=[])
            item = ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[said])
        return agents.ModelResponse(output=[item], usage=agents.Usage(), response_id=None)

    def stream_response(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError


async def run(model: Calling, tool: Any) -> str:
    agent = agents.Agent("helper", model=model, tools=[agents.function_tool(tool)])
    result = await agents.Runner.run(agent, "go", run_config=agents.RunConfig(tracing_disabled=True))
    return str(result.final_output)


async def test_the_model_sees_it_as_described() -> None:
    async with tool_of_a_worker() as (world, tool):
        model = Calling({"message": "one"})
        assert await run(model, tool) == "one"
        assert world.accepted == ["one"]
    (seen,) = model.tools
    assert (seen.name, seen.description) == (NAME, DESCRIPTION)
    assert seen.params_json_schema["properties"]["message"]["description"] == MESSAGE
    assert seen.params_json_schema["required"] == ["message"]


async def test_a_conversation() -> None:
    async with tool_of_a_worker(conversation=True) as (world, tool):
        first = await run(Calling({"message": "one", "conversation": None}), tool)
        named = first.splitlines()[0].removeprefix("conversation: ")
        again = await run(Calling({"message": "two", "conversation": named}), tool)
        assert again == f"conversation: {named}\ntwo"
        assert world.accepted == ["one", "two"]


async def test_a_message_of_unknown_fate_is_sent_once() -> None:
    async with tool_of_a_worker() as (world, tool):
        lose_the_answer(world)
        check_told(world, await run(Calling({"message": BOOKING}), tool))
