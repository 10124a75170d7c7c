"""Turns of a process that is killed, however far it had come."""

from __future__ import annotations

import asyncio
from typing import Any

from toolhouse_async import JobStarted

from .support import World

ROUNDS = {"job": ("1:job", "[computed]2:"), "twice": ("1:twice", "[computed]2:", "[computed]3:")}

KILLED: dict[str, tuple[str, dict[str, Any] | None]] = {
    "in the answer": ("job", {"method": "POST", "cut_after": 1}),
    "in the job": ("job", None),
    "before the resume arrives": ("job", {"method": "PUT", "accept": False}),
    "before the answer to the resume": ("job", {"method": "PUT", "accept": True}),
    "in the answer to the resume": ("job", {"method": "PUT", "cut_after": 1}),
    "in the second job": ("twice", None),
    "before the second resume arrives": ("twice", {"method": "PUT", "skip": 1, "accept": False}),
    "in the answer to the second resume": ("twice", {"method": "PUT", "skip": 1, "cut_after": 1}),
}
"""When a process is killed: the message that it sends, and the fault that it has then."""


async def kill(world: World, process: Any, when: str) -> str:
    """Kill a process in its turn; the message is returned."""
    message, fault = KILLED[when]
    hit = None if fault is None else world.emulator.faults.add(cut="silence", **fault)
    jobs = []
    turn = process.manager.stream("k", message)

    async def read() -> None:
        async for event in turn:
            if isinstance(event, JobStarted):
                jobs.append(event.job_id)
                if hit is not None or (message, len(jobs)) == ("twice", 1):
                    world.go_on.set()

    reading = asyncio.ensure_future(read())
    while not (hit.hits if hit is not None else len(jobs) == len(ROUNDS[message]) - 1):
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    await process.stop()
    await asyncio.gather(reading, return_exceptions=True)
    return message
