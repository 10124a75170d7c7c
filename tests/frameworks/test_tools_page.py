"""What the page on tools shows of each framework runs there, with a model that calls the tool."""

from __future__ import annotations

import ast
import importlib.util
import warnings
from typing import Any

import pytest

from tests.docs.blocks import Block, marked
from tests.docs.setups import says, serving
from tests.docs.test_examples import check_output
from toolhouse_async.tools import as_tool

from .support import DESCRIPTION, NAME

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own
REAL_TIME = True
CALL = {"message": "How many rows has data.csv?"}


def model_of(framework: str) -> Any:
    """The model of the framework's tests."""
    if framework == "pydantic_ai":
        from .test_pydantic_ai import calling

        return calling([], CALL)
    if framework == "langgraph":
        from .test_langgraph import Calling as OfLangGraph

        return OfLangGraph(left=[CALL])
    if framework == "agents":
        import agents

        from .test_openai_agents import Calling as OfOpenAI

        agents.set_tracing_disabled(disabled=True)
        return OfOpenAI(CALL)
    from .test_google_adk import Calling as OfGoogle

    return OfGoogle(model="calling", left=[CALL])


def is_there(framework: str) -> bool:
    """Whether the framework is installed."""
    return importlib.util.find_spec(framework.split(".")[0]) is not None and bool(importlib.util.find_spec(framework))


@pytest.mark.parametrize("block", marked("agents"), ids=lambda block: block.argument)
async def test_a_snippet_runs(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    if not is_there(block.argument):
        pytest.skip(f"needs {block.argument}")
    code = compile(block.code, block.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    with warnings.catch_warnings(action="ignore"):
        model = model_of(block.argument)
        async with serving(says("344 rows.")) as names:
            tool = as_tool(names["toolhouse"], names["AGENT_ID"], name=NAME, description=DESCRIPTION)
            capsys.readouterr()
            await eval(code, {"model": model, NAME: tool})
    check_output(block, capsys.readouterr().out)
