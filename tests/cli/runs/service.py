"""Workers on the test's own event loop, in virtual time, and a client for a command."""

import asyncio
from contextlib import asynccontextmanager

from toolhouse_async import AsyncToolhouse
from toolhouse_async._cli.runs.target import Target
from toolhouse_async._cli.runs.waiting import PATIENT
from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo

JOB = 40.0
"""Seconds that a job takes."""


async def analyst(ctx):
    """Has one background job."""
    if ctx.job_result is not None:
        yield ctx.text(f"Then {ctx.job_result}.")
    else:
        yield ctx.text("First. ")
        yield ctx.tool_call("code", {})
        yield ctx.background(asyncio.sleep, JOB, 42)


class Service:
    """An emulator that is served; ``begin`` says something and leaves the job that it starts."""

    def __init__(self, emulator, server):
        self.emulator = emulator
        self.server = server

    def client(self):
        """What a command makes of its options, which it closes."""
        return AsyncToolhouse("", base_url=self.server.url, polling=PATIENT)

    async def begin(self, worker, *messages):
        async with self.client() as toolhouse:
            session = toolhouse.session(worker)
            for message in messages:
                result = await session.send(message, background="detach")
        return result

    def target(self, result):
        return Target(result.agent_id, result.run_id, result.token)

    @property
    def sent(self):
        """The messages that the service has accepted."""
        return [(each.method, each.json()["message"]) for each in self.server.accepted if each.method != "GET"]


@asynccontextmanager
async def serving(**switches):
    """Serve ``echo`` and ``analyst``."""
    emulator = WorkersEmulator(**{"history_tools": True, **switches})
    emulator.worker("echo")(echo)
    emulator.worker("analyst")(analyst)
    async with emulator.serve() as server:
        yield Service(emulator, server)
