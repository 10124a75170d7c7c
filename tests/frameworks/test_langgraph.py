"""A worker as a tool of LangChain and LangGraph; it needs ``pip install langchain-core langgraph``."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import pytest

from .support import BOOKING, DESCRIPTION, MESSAGE, NAME, check_told, lose_the_answer, tool_of_a_worker

pytestmark = pytest.mark.filterwarnings("ignore")  # its own
REAL_TIME = True

if not all(map(importlib.util.find_spec, ("langchain_core", "langgraph"))):
    pytest.skip("needs langchain-core and langgraph", allow_module_level=True)

with warnings.catch_warnings(action="ignore"):
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, ToolMessage
    from langchain_core.outputs import ChatGeneration, ChatResult
    from langchain_core.tools import tool as langchain_tool
    from langgraph.prebuilt import create_react_agent


class Calling(BaseChatModel):
    """A model that calls the tool once for each of these arguments, and then says what the tool last returned."""

    left: list[dict[str, Any]]
    tools: list[Any] = []

    @property
    def _llm_type(self) -> str:
        return "calling"

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        self.tools.extend(tools)
        return self

    def _generate(self, messages: list[Any], *args: Any, **options: Any) -> ChatResult:
        if self.left:
            call = {"name": NAME, "args": self.left.pop(0), "id": f"call{len(messages)}"}
            answer = AIMessage("", tool_calls=[call])
        else:
            assert isinstance(messages[-1], ToolMessage)
            answer = AIMessage(messages[-1].content)
        return ChatResult(generations=[ChatGeneration(message=answer)])


async def run(tool: Any, *calls: dict[str, Any]) -> str:
    agent = create_react_agent(Calling(left=list(calls)), [tool])
    result = await agent.ainvoke({"messages": [("user", "go")]})
    return str(result["messages"][-1].content)


async def test_an_agent_calls_it() -> None:
    async with tool_of_a_worker() as (world, tool):
        assert await run(tool, {"message": "one"}) == "one"
        assert world.accepted == ["one"]


async def test_a_conversation() -> None:
    async with tool_of_a_worker(conversation=True) as (world, tool):
        first = await tool("one")
        named = first.splitlines()[0].removeprefix("conversation: ")
        assert await run(tool, {"message": "two", "conversation": named}) == f"conversation: {named}\ntwo"
        assert world.accepted == ["one", "two"]


async def test_a_message_of_unknown_fate_is_sent_once() -> None:
    async with tool_of_a_worker() as (world, tool):
        lose_the_answer(world)
        check_told(world, await run(tool, {"message": BOOKING}))


async def test_the_decorator_takes_it() -> None:
    async with tool_of_a_worker() as (_, tool):
        made = langchain_tool(tool, parse_docstring=True)
        assert (made.name, made.description) == (NAME, DESCRIPTION)
        assert made.args["message"] == {"title": "Message", "type": "string", "description": MESSAGE}
        assert await made.ainvoke({"message": "one"}) == "one"
