"""A turn that runs in another process, for those who follow it in this one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final
from weakref import WeakSet

from ..._values.nested import half_made
from ..._values.results import TurnResult
from ...errors import ClosedError, StoreError
from ...events import Event, TurnCompleted, TurnStarted
from .._hub import dropped
from .._live import BehindError, HubReader, Live, had_of
from .._replay import Replay
from .pauses import Pauses
from .records import End, Entry, unpack
from .server import Standing, TurnServer

__all__ = ["RedisHubTurn"]

CACHE: Final = 256 * 1024
"""Bytes of the latest events that a process holds at most of a turn elsewhere that its readers follow."""
UNBOUNDED: Final = 1 << 62


class RedisHubTurn:
    """A turn in a :class:`RedisTurnHub` that another process runs or ran, with the interface of :class:`HubTurn`.

    Attributes:
        name: What it can be found by.
        id: What names it among all turns; part of its events' ids.
        note: What :meth:`RedisTurnHub.start` was given with it.
        agent_id: The worker.
        run_id: The conversation, as far as it was known when the turn was found, or has become known to its readers.
        turn: ``None``: the turn itself is in the other process.
    """

    turn: None = None

    def __init__(
        self,
        name: str,
        standing: Standing,
        server: TurnServer,
        wake: Callable[[], Awaitable[None]],
        *,
        max_bytes: int,
        patience: float,
    ) -> None:
        """A turn as it stands; made by :meth:`RedisTurnHub.get`."""
        self.name: str = name
        self.id: str = standing.id
        self.note: str = standing.note
        self.agent_id: str = standing.agent_id
        self.run_id: str | None = standing.run_id or None
        self.live: Live = Live(min(CACHE, max_bytes), standing.count)
        self.server: TurnServer = server
        self.wake: Callable[[], Awaitable[None]] = wake
        self.patience: float = patience
        self.readers: WeakSet[Follower] = WeakSet()
        self.missing_since: float | None = None
        self.is_left: bool = False  # the turn goes on, and this process hears nothing more of it
        self.stand(standing)

    def stand(self, standing: Standing) -> None:
        """Take note of how it stands."""
        self.run_id = standing.run_id or self.run_id
        if standing.end is not None and not self.is_over:
            self.live.replay.skip(standing.count)
            self.live.end(standing.end.error)

    def leave(self) -> None:
        """Hear nothing more of it."""
        if not self.is_over:
            self.is_left = True
            self.live.end(ClosedError("the hub is closed; the turn goes on in another process"))

    @half_made
    def __repr__(self) -> str:
        return f"<RedisHubTurn {self.name!r:.80}: {'over' if self.is_over else 'running'} in another process>"

    @property
    def is_over(self) -> bool:
        """Whether it had ended when it was found, or its readers have seen that it has."""
        return self.live.is_over

    @property
    def error(self) -> Exception | None:
        """Why it ended, if it failed."""
        return self.live.error

    def follow(self, after: str | None = None) -> HubReader:
        """Read the turn's events; as :meth:`HubTurn.follow`."""
        return HubReader(Follower(self), self.id, had_of(after, self.id))

    async def result(self) -> TurnResult:
        """Wait for the end, and return the result; as :meth:`HubTurn.result`.

        Raises:
            ToolhouseError: The turn failed, or was stopped (``ClosedError``).
            EventsDroppedError: It went well, and the server does not have its result any more.
            StoreError: The server cannot be reached when the turn is over.
            ClosedError: The hub was closed meanwhile.

        Cancelling leaves the turn running.
        """
        follower = Follower(self)
        while not self.is_over:
            await follower.join()
            await self.live.wait(self.live.replay.count)
        self.live.raise_error()
        for entry in await self.server.last(self.id):
            if isinstance(entry, Entry) and isinstance(entry.held[-1], TurnCompleted):
                return entry.held[-1].result
        raise dropped()

    async def stop(self) -> None:
        """Stop it, wherever it runs, and wait until it has ended; as :meth:`HubTurn.stop`.

        Where its process has died, that is seen half as long again as the hub's ``lease`` after its last sign of life,
        so after 15 seconds as a rule: put ``asyncio.timeout`` around it where somebody waits. A wait that is cancelled
        takes nothing back.

        Raises:
            StoreError: The server cannot be reached.
        """
        follower = Follower(self)
        while not self.is_over:
            await follower.join()
            await self.server.stop(self.name, self.id)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.patience):  # it may be lost with the server's memory
                    while not self.is_over:
                        await self.live.wait(self.live.replay.count)

    async def take(self, entries: list[tuple[bytes, Any]]) -> None:
        """Give entries, as the server has them, to those who follow."""
        live = self.live
        for name, fields in entries:
            try:
                entry = unpack(name, fields)
            except ValueError:
                live.replay.skip(int(name.partition(b"-")[0]))
                live.wake()
                continue
            if isinstance(entry, End):
                live.end(entry.error)
                return
            if entry.before > live.replay.count:
                live.replay.skip(entry.before)
                live.wake()
            for event in entry.events(live.replay.count):
                if isinstance(event, TurnStarted):
                    self.run_id = event.run_id
                await live.add(event)


class Follower:
    """Where one reader has the events from: this process's memory, or the server where they are behind that."""

    def __init__(self, turn: RedisHubTurn) -> None:
        self._turn = turn
        self._page = Replay(UNBOUNDED)

    async def join(self) -> None:
        """Let this process listen for the turn's events."""
        readers = self._turn.readers
        is_first = not readers
        readers.add(self)
        if is_first:
            await self._turn.wake()

    async def next(self, had: int) -> tuple[int, Event]:
        """What follows an event."""
        live = self._turn.live
        if not live.is_over:
            await self.join()
        while True:
            if self._page.first <= had + 1 <= self._page.count:
                return self._page.after(had)
            try:
                return await live.next(had)
            except ClosedError:
                if self._turn.is_left:
                    raise StopAsyncIteration from None
                raise
            except BehindError:
                self._page = await self._read(had)

    async def _read(self, had: int) -> Replay:
        """The next page behind an event.

        Raises:
            EventsDroppedError: It is not kept any more.
        """
        turn, loop, pauses = self._turn, asyncio.get_running_loop(), Pauses()
        ends = loop.time() + turn.patience
        has_all = False  # whether the server has been seen to have all: only what it does not give then is dropped
        while True:
            has_all = has_all or turn.is_over or loop.time() > ends
            try:
                page = _page_of(await turn.server.page(turn.id, had), had)
                if page.count > had:
                    return page
                if has_all:
                    raise dropped()
                has_all = not await self._is_coming(had)
            except StoreError:
                ends, has_all = loop.time() + turn.patience, False
            except ClosedError:
                raise StopAsyncIteration from None
            await pauses.sleep()

    async def _is_coming(self, had: int) -> bool:
        """Whether the process that runs the turn is about to write again what the server has lost."""
        standing = await self._turn.server.get(self._turn.name)
        return standing is None or standing.id != self._turn.id or standing.count <= had


def _page_of(entries: list[Entry | End], had: int) -> Replay:
    """Events that follow one another; none where there is a gap."""
    page = Replay(UNBOUNDED, had)
    for entry in entries:
        if isinstance(entry, End) or entry.before > page.count:
            break
        for event in entry.events(page.count):
            page.add(event)
    return page
