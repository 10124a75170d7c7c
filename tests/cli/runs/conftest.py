"""Workers, and the commands about their runs."""

import asyncio
import threading

import pytest

from toolhouse_async.testing.workers import echo


async def analyst(ctx):
    """Has one background job, which ends when the test lets it."""
    if ctx.job_result is not None:
        yield ctx.text(f"Then {ctx.job_result}.")
    else:
        yield ctx.text("First. ")
        yield ctx.tool_call("code", {"x": "\x1b[31mred"})
        yield ctx.background(analyst.work)


async def rude(ctx):
    """Says what a terminal would obey."""
    yield ctx.text("\x1b]0;owned\x07\x9b31mred\u202e")


@pytest.fixture
def finish():
    """Ends the job of the worker ``analyst``."""
    over = threading.Event()

    async def work():
        while not over.is_set():
            await asyncio.sleep(0.01)
        return 42

    analyst.work = work
    yield over.set
    over.set()


@pytest.fixture
def service(toolhouse_emulator, finish):
    """The emulator with its workers; ``begin`` says something to one of them and returns the run's id."""
    toolhouse_emulator.history_tools = True
    for function in (analyst, echo, rude):
        toolhouse_emulator.worker(function.__name__)(function)
    return toolhouse_emulator


@pytest.fixture
def command(service, cli):
    """Runs a command against the emulator."""

    def call(name, *arguments, **options):
        return cli(name, *arguments, "--base-url", service.url, "--api-key", service.api_key or "", **options)

    return call


@pytest.fixture
def begin(command, service):
    """Says something to a worker, without waiting for its job, and returns the id of the run."""
    from toolhouse_async import AsyncToolhouse

    def say(worker, *messages):
        async def talk():
            async with AsyncToolhouse(service.api_key or "", base_url=service.url) as toolhouse:
                session = toolhouse.session(worker)
                for message in messages:
                    result = await session.send(message, background="detach")
                return result

        return asyncio.run(talk())

    return say
