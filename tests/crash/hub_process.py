"""A process that runs a turn in a hub until it is killed: ``python -m tests.crash.hub_process SETTINGS``, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from toolhouse_async import AsyncToolhouse
from toolhouse_async.web import RedisTurnHub

LEASE = 0.5


async def main() -> None:
    """Run it, and stay."""
    settings = json.loads(sys.argv[1])
    async with (
        AsyncToolhouse("", base_url=settings["workers"]) as client,
        RedisTurnHub(settings["redis"], prefix=settings["prefix"], lease=LEASE) as hub,
    ):
        message = settings["message"]
        await hub.start(settings["name"], client.stream(settings["agent"], message), note=message)
        print("started", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
