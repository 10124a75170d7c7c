"""What the server has seen, as the client asks for it."""

from __future__ import annotations

import aiohttp
import orjson
from attrs import frozen


@frozen
class Seen:
    """What the server has seen since it was last asked; times are nanoseconds of ``time.monotonic_ns``.

    Attributes:
        arrivals: When polls came.
        most_in_flight: The most polls that were unanswered at once.
        messages: Messages that came.
        closed: When connections were closed.
    """

    arrivals: list[int]
    most_in_flight: int
    messages: int
    closed: list[int]


async def ask(session: aiohttp.ClientSession, url: str) -> Seen:
    """Ask the server, which then begins anew."""
    async with session.get(f"{url}/figures") as response:
        return Seen(**orjson.loads(await response.read()))
