"""Workers to talk to, and the chat against them."""

import asyncio
import json
import threading

import pytest

from toolhouse_async.testing.workers import echo


async def slow(ctx):
    """Speaks until its reader leaves, and goes on then."""
    for number in range(1000):
        yield ctx.text(f"word{number} ")
        await asyncio.sleep(0.01 if number < 20 or slow.over.is_set() else 0.2)
        if number > 20 and slow.over.is_set():
            break


async def analyst(ctx):
    """Has one background job, which ends when the test lets it."""
    if ctx.job_result is not None:
        yield ctx.text(f"Then {ctx.job_result}.")
    elif ctx.message == "again":
        yield ctx.text("Nothing left.")
    else:
        yield ctx.text("First. ")
        yield ctx.tool_call("code", {"x": "\x1b[31mred"})
        yield ctx.background(analyst.work)


async def rude(ctx):
    """Says what a terminal would obey."""
    yield ctx.text("\x1b]0;owned\x07 \x9b31m \x1b[2J\x1b[?1049h red\u202e\n")


@pytest.fixture
def finish():
    """Ends what ``analyst`` and ``slow`` do."""
    over = slow.over = threading.Event()

    async def work():
        while not over.is_set():
            await asyncio.sleep(0.01)
        return 42

    analyst.work = work
    yield over.set
    over.set()


@pytest.fixture
def service(toolhouse_emulator, finish):
    toolhouse_emulator.history_tools = True
    for function in (slow, analyst, echo, rude):
        toolhouse_emulator.worker(function.__name__)(function)
    return toolhouse_emulator


@pytest.fixture
def kept(tmp_path):
    """What was remembered of the only conversation."""

    def read():
        (file,) = (tmp_path / ".local/state/toolhouse-async/conversations").glob("*.json")
        return json.loads(file.read_bytes())

    return read
