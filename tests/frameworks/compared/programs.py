"""The programs, by the names of their clients' packages."""

from __future__ import annotations

from .program import Program
from .with_anthropic import WithAnthropic
from .with_azure_core import WithAzure
from .with_fal_client import WithFal
from .with_langgraph_sdk import WithLangGraph
from .with_openai import WithOpenAI
from .with_toolhouse_async import WithToolhouse

PROGRAMS: dict[str, type[Program]] = {
    each.package: each for each in (WithToolhouse, WithOpenAI, WithAnthropic, WithLangGraph, WithFal, WithAzure)
}
"""In the order of the page."""
