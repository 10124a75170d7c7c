"""What one process hears from the Redis server, for all its readers and turns: two tasks, whatever their number."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from weakref import WeakValueDictionary

from ...errors import ClosedError, StoreError
from .._hub import dropped
from .pauses import Pauses
from .publisher import Publisher
from .server import Standing, TurnServer
from .turn import RedisHubTurn

__all__ = ["Watch"]

MOST: Final = 500
"""How many turns the server is asked about at once."""
AGAIN: Final = 0.05
"""Seconds after which a task is cancelled once more."""


class Watch:
    """Listens for the events of turns elsewhere, and gives signs of life of those that run here.

    Args:
        server: The server.
        owner: This process.
        lease: Seconds for which it is alive without a sign of life.
        grace: Seconds for which it may come back.
        publishers: The turns that run here, by their names.
        max_bytes: How many bytes of a turn's events are kept.
    """

    def __init__(
        self,
        server: TurnServer,
        owner: str,
        *,
        lease: float,
        grace: float,
        publishers: Mapping[str, Publisher],
        max_bytes: int,
    ) -> None:
        self._server = server
        self._owner = owner
        self._beat = lease / 4
        self._patience = lease + grace
        self._publishers = publishers
        self._max_bytes = max_bytes
        self._turns: WeakValueDictionary[str, RedisHubTurn] = WeakValueDictionary()
        self._tasks: list[asyncio.Task[None]] = []
        self._look = asyncio.Event()

    def begin(self) -> None:
        """Begin, if that is not done yet."""
        if not self._tasks:
            self._tasks = [asyncio.ensure_future(each) for each in (self._listen(), self._pulse())]

    def turn(self, name: str, standing: Standing) -> RedisHubTurn:
        """A turn elsewhere: one object for all readers of this process."""
        self.begin()
        known = self._turns.get(standing.id)
        if known is None:
            known = RedisHubTurn(
                name, standing, self._server, self._wake, max_bytes=self._max_bytes, patience=self._patience
            )
            self._turns[standing.id] = known
        elif not known.readers:  # of which nobody has listened
            known.stand(standing)
        return known

    async def _wake(self) -> None:
        """Listen anew: for one more turn."""
        with suppress(StoreError, ClosedError):  # it does that before long, or not any more
            await self._server.wake(self._owner)

    async def _listen(self) -> None:
        asked, pauses = "0", Pauses()
        while True:
            followed = {turn.id: turn for turn in self._followed()}
            had = {turn.id: turn.live.replay.count for turn in followed.values()}
            try:
                asked, stops, found = await self._server.listen(self._owner, asked, had)
            except StoreError:
                await pauses.sleep()
                continue
            pauses = Pauses()
            if stops:
                self._look.set()
            for turn_id, entries in found.items():
                await followed[turn_id].take(entries)

    def _followed(self) -> list[RedisHubTurn]:
        return [turn for turn in list(self._turns.values()) if turn.readers and not turn.is_over]

    async def _pulse(self) -> None:
        while True:
            with suppress(StoreError):
                await self._renew()
                await self._check()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._beat):
                    await self._look.wait()
            self._look.clear()

    async def _renew(self) -> None:
        """Give signs of life, and hear what is to be stopped."""
        running = list(self._publishers.values())
        for begin in range(0, len(running), MOST):
            some = running[begin : begin + MOST]
            told = await self._server.renew([(each.name, each.turn_id) for each in some])
            for publisher, status in zip(some, told, strict=True):
                if not publisher.task.done():
                    publisher.told(status)

    async def _check(self) -> None:
        """Look whether the processes are alive that run what is followed here, and whether the server knows of them."""
        followed, now = self._followed(), asyncio.get_running_loop().time()
        for begin in range(0, len(followed), MOST):
            some = followed[begin : begin + MOST]
            for turn, turn_id in zip(some, await self._server.check([each.name for each in some]), strict=True):
                if turn_id == turn.id:
                    turn.missing_since = None
                elif turn.missing_since is None:
                    turn.missing_since = now
                elif now - turn.missing_since > self._patience:
                    turn.live.end(dropped())

    async def aclose(self) -> None:
        """End. Readers of turns elsewhere get no more."""
        tasks, self._tasks = set(self._tasks), []
        while tasks:
            for task in tasks:
                task.cancel()
            # Before 3.12, redis-py may swallow that while it sends, and notice it with the answer only.
            _, tasks = await asyncio.wait(tasks, timeout=AGAIN)
        for turn in list(self._turns.values()):
            turn.leave()
