"""A worker as a tool of Google's Agent Development Kit; it needs ``pip install google-adk``."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import pytest

from .support import BOOKING, DESCRIPTION, NAME, check_told, lose_the_answer, tool_of_a_worker

pytestmark = pytest.mark.filterwarnings("ignore")  # its own
REAL_TIME = True

if importlib.util.find_spec("google") is None or importlib.util.find_spec("google.adk") is None:
    pytest.skip("needs google-adk", allow_module_level=True)

with warnings.catch_warnings(action="ignore"):
    from google.adk.agents import LlmAgent
    from google.adk.models import BaseLlm, LlmRequest, LlmResponse
    from google.adk.runners import InMemoryRunner
    from google.genai import types


class Calling(BaseLlm):
    """A model that calls the tool once for each of these arguments, and then says what the tool last returned."""

    left: list[dict[str, Any]]
    seen: list[Any] = []

    async def generate_content_async(self, llm_request: LlmRequest, stream: bool = False) -> Any:
        self.seen.append(llm_request.config.tools)
        if self.left:
            part = types.Part.from_function_call(name=NAME, args=self.left.pop(0))
        else:
            response = llm_request.contents[-1].parts[-1].function_response.response
            part = types.Part(text=response["result"])
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


async def run(model: Calling, tool: Any) -> str:
    agent = LlmAgent(name="helper", model=model, tools=[tool])
    runner = InMemoryRunner(agent, app_name="app")
    session = await runner.session_service.create_session(app_name="app", user_id="user")
    message = types.Content(role="user", parts=[types.Part(text="go")])
    said = ""
    async for event in runner.run_async(user_id="user", session_id=session.id, new_message=message):
        if event.content and event.content.parts and event.content.parts[-1].text:
            said = event.content.parts[-1].text
    await runner.close()
    return said


async def test_the_model_sees_it_as_described() -> None:
    model = Calling(model="calling", left=[{"message": "one"}])
    async with tool_of_a_worker() as (world, tool):
        assert await run(model, tool) == "one"
        assert world.accepted == ["one"]
    (declared,) = model.seen[0][0].function_declarations
    assert declared.name == NAME
    assert declared.description.startswith(DESCRIPTION)
    assert "message" in str(declared)


async def test_a_conversation() -> None:
    async with tool_of_a_worker(conversation=True) as (world, tool):
        first = await run(Calling(model="calling", left=[{"message": "one"}]), tool)
        named = first.splitlines()[0].removeprefix("conversation: ")
        again = await run(Calling(model="calling", left=[{"message": "two", "conversation": named}]), tool)
        assert again == f"conversation: {named}\ntwo"
        assert world.accepted == ["one", "two"]


async def test_a_message_of_unknown_fate_is_sent_once() -> None:
    async with tool_of_a_worker() as (world, tool):
        lose_the_answer(world)
        check_told(world, await run(Calling(model="calling", left=[{"message": BOOKING}]), tool))
