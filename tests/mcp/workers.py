"""The worker of these tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

AGENT = "worker"


async def worker(ctx: Any) -> AsyncIterator[Any]:
    """Says back what it is told, but knows ``tool``, ``job N`` and ``slow N`` (seconds), ``fail`` and ``nothing``."""
    what, _, rest = (ctx.message or "").partition(" ")
    if ctx.job_result is not None:
        yield ctx.text(f"The job says {ctx.job_result}.")
    elif what == "tool":
        call = ctx.tool_call("look", {})
        yield call
        yield ctx.tool_result(call, "seen")
        yield ctx.text("I looked.")
    elif what == "job":
        yield ctx.background(asyncio.sleep, float(rest), 42)
        yield ctx.text("Computing. ")
    elif what == "slow":
        yield ctx.text("At last")
        await asyncio.sleep(float(rest))
        yield ctx.text(".")
    elif what == "fail":
        yield ctx.text("half ")
        raise RuntimeError("broken")
    elif what == "nothing":
        yield ctx.tool_call("look", {})
        yield ctx.tool_result(ctx.tool_call("look", {}), "seen")
    else:
        yield ctx.text(ctx.message or "(silence)")
