"""What the tests of the web share: workers, clients, and readers of what is sent to browsers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tests.support.answers import KEY
from toolhouse_async import AsyncToolhouse, PollingPolicy, RecoveryPolicy
from toolhouse_async.testing import EmulatorServer, WorkersEmulator

AGENT = "worker"


class World:
    """An emulator with a worker that says what its message asks for.

    ``words N`` gives so many words; ``wait`` says one word, waits for :attr:`go_on` and says another; ``job`` runs a
    job that ends with :attr:`go_on`; ``tools`` calls a tool, ``looks N`` so many times with words between; ``fail``
    fails after a word; anything else is said back.
    """

    def __init__(self) -> None:
        self.emulator = WorkersEmulator(api_key=KEY)
        self.emulator.worker(AGENT)(self._worker)
        self.go_on = asyncio.Event()
        self.accepted: list[str | None] = []
        self.server: EmulatorServer

    async def _worker(self, ctx: Any) -> Any:
        self.accepted.append(ctx.message)
        if ctx.job_result is not None:
            yield ctx.text(f"The job says {ctx.job_result}.")
            return
        what, _, rest = (ctx.message or "").partition(" ")
        if what == "words":
            for number in range(int(rest)):
                yield ctx.text(f"word{number} ")
        elif what == "wait":
            yield ctx.text("first ")
            await self.go_on.wait()
            yield ctx.text("second")
        elif what == "job":
            yield ctx.background(self._job)
            yield ctx.text("Computing. ")
            call = ctx.tool_call("code_interpreter", {"code": "6 * 7"})
            yield call
            yield ctx.tool_result(call, "started")
        elif what == "tools":
            call = ctx.tool_call("look", {"at": rest})
            yield call
            yield ctx.tool_result(call, {"seen": rest})
            yield ctx.text("I looked.")
        elif what == "looks":
            for number in range(int(rest)):
                call = ctx.tool_call("look", {"at": number})
                yield call
                yield ctx.tool_result(call, "seen")
                yield ctx.text(f"word{number} ")
        elif what == "fail":
            yield ctx.text("half ")
            raise RuntimeError(f"the password of 10.0.0.7 is hunter2; the key is {KEY}")
        else:
            yield ctx.text(f"{rest or what}")

    async def _job(self) -> str:
        await self.go_on.wait()
        return "42"


@asynccontextmanager
async def world_and_client(**options: Any) -> AsyncIterator[tuple[World, AsyncToolhouse]]:
    """A world that is served, and a client that polls it often."""
    world = World()
    polling = PollingPolicy(min_interval=1, max_interval=2, jitter=0)
    options = {"polling": polling, "recovery": RecoveryPolicy(quiet=1, deadline=20, absence=1), **options}
    async with (
        world.emulator.serve() as world.server,
        AsyncToolhouse(KEY, base_url=world.server.url, **options) as client,
    ):
        yield world, client


class Sent(NamedTuple):
    """A Server-Sent Event."""

    id: str | None
    name: str
    data: Any


def read_sse(stream: bytes) -> list[Sent]:
    """Read Server-Sent Events as their specification says; comments are passed over."""
    sent: list[Sent] = []
    assert stream.endswith(b"\n\n") or not stream
    for block in stream.decode().split("\n\n")[:-1]:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            if name:
                assert name not in fields
                fields[name] = value.removeprefix(" ")
        if fields:
            sent.append(Sent(fields.get("id"), fields.get("event", "message"), json.loads(fields["data"])))
    return sent


async def whole(stream: AsyncIterator[bytes]) -> bytes:
    """All that a stream gives."""
    return b"".join([piece async for piece in stream])


def words(sent: list[Sent]) -> str:
    """The words among events."""
    return "".join(each.data["text"] for each in sent if each.name == "TextDelta")


async def no_connections(world: World) -> None:
    """Wait until the emulator has no answer under way; a test that waits for ever is stopped by its timeout."""
    while world.server.connections:
        await asyncio.sleep(0.01)
