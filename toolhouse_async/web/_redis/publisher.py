"""Writes what a turn says to the Redis server, beside those who follow it in its own process."""

from __future__ import annotations

import asyncio
from typing import Final

from ..._log import log
from ..._values.eventread import error_json
from ...errors import ClosedError, LeaseLostError, OutcomeUnknownError, StoreError, StreamInterruptedError
from ...events import Event
from .._hub import HubTurn
from .pauses import Pauses
from .records import Entry, entries_of
from .server import TurnServer

__all__ = ["Publisher"]

MOMENT: Final = 0.5
"""Seconds for which an event can be read that is larger than all that is kept, and what came before it."""
UNBOUNDED: Final = 1 << 53
UNKNOWN: Final = -1
"""What the server answers where it does not know the turn."""
TAKEN: Final = -2
"""What it answers where the turn is not this process's any more."""


class Publisher:
    """Writes the events of one turn, in order, each once.

    What the server has lost is written again, as far as the turn still holds it. While it cannot be reached, the turn
    goes on and holds what its bound allows; what it had to drop is missing between two entries, so readers notice.

    Attributes:
        name: The turn's name.
        turn_id: Its id.
        running: The turn, once it was begun.
    """

    def __init__(
        self, server: TurnServer, *, name: str, turn_id: str, owner: str, note: str, agent_id: str, max_bytes: int
    ) -> None:
        self.name = name
        self.turn_id = turn_id
        self.running: HubTurn
        self.task: asyncio.Task[None]
        self._server = server
        self._owner = owner
        self._note = note
        self._agent_id = agent_id
        self._max_bytes = max_bytes
        self._is_claimed = False
        self._is_failing = False
        self._is_left = False
        self._is_at_large_event = False
        self._written = 0
        self._came = 0  # bytes of memory that the events took which are written
        self._in_hand: list[Entry] = []
        self._moved = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None

    async def claim(self) -> bool:
        """Take the name, unless a turn of that name is running.

        Raises:
            StoreError: Nobody knows.
        """
        self._is_claimed = await self._server.claim(
            self.name, self.turn_id, owner=self._owner, note=self._note, agent_id=self._agent_id
        )
        return self._is_claimed

    def begin(self, running: HubTurn, keep: float) -> None:
        """Begin to write.

        Args:
            running: The turn.
            keep: Seconds for which a server is waited for that is away when the turn is over.
        """
        self.running = running
        self.task = asyncio.ensure_future(self._run(keep))

    async def leave(self) -> None:
        """Stop the turn because its process stops: whoever reads it elsewhere is told that, as if it had died."""
        self._is_left = not self.running.is_over
        await self.running.stop()

    async def keep_up(self, event: Event) -> None:
        """Hold a turn back that says much at once: what the server has not yet had would be dropped."""
        while self._is_behind(event) and not self._is_failing and not self.task.done():
            self._moved.clear()
            await self._moved.wait()

    def _is_behind(self, event: Event) -> bool:
        replay = self.running.live.replay
        is_much = replay.came - self._came > self._max_bytes // 2
        is_busy = self._passed < replay.count or self._is_at_large_event
        return is_busy and (is_much or not replay.can_hold(event))

    @property
    def _passed(self) -> int:
        """The number of the event behind which something is left to write: those before it are written or dropped."""
        return max(self._written, self.running.live.replay.first - 1)

    async def _run(self, keep: float) -> None:
        pauses = Pauses()
        ends: float | None = None
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    if await self._step():
                        return
                    self._is_failing = False
                    pauses = Pauses()
                except StoreError as error:
                    if not self._is_failing:
                        log.warning("a turn goes on whose events cannot be written at the moment: %s", error)
                    self._is_failing = True
                    self._moved.set()
                    if self.running.is_over:
                        ends = ends or loop.time() + keep
                        if loop.time() > ends:
                            log.error("the last events of a turn could not be written: %s", error)
                            return
                    await pauses.sleep()
        finally:
            self._moved.set()

    async def _step(self) -> bool:
        """Write what there is, or wait for it; whether all is written."""
        if not self._is_claimed:
            if not await self.claim():
                return await self._give_up()
            self._written, self._in_hand = 0, []
        live = self.running.live
        if not self._in_hand:
            self._in_hand = entries_of(live.replay, self._written)
        if self._in_hand:
            return await self._write(self._in_hand)
        if live.is_over:
            error = _left(live.error) if self._is_left else live.error
            return await self._heed(
                await self._server.finish(self.name, self.turn_id, error_json(error) if error else b"")
            )
        passed = self._passed
        event = await live.wait(passed, once=True)
        return event is not None and await self._write_large(Entry(passed + 1, [event]))

    async def _write(self, entries: list[Entry]) -> bool:
        replay = self.running.live.replay
        came = replay.came if entries[-1].last == replay.count else self._came
        status = await self._append(entries, self._max_bytes)
        if status > 0:
            self._came = came
        self._moved.set()
        return await self._heed(min(status, 0))

    async def _write_large(self, entry: Entry) -> bool:
        """Write an event that is larger than all that is kept. The turn goes on meanwhile, up to the next such one."""
        self._in_hand, self._is_at_large_event = [entry], True
        try:
            came = self.running.live.replay.came
            status = await self._append([entry], UNBOUNDED)
            if status > 0:
                self._came = came
                self._moved.set()
                await asyncio.sleep(MOMENT)
                await self._append([], self._max_bytes, all_of=True)
        finally:
            self._is_at_large_event = False
            self._moved.set()
        return await self._heed(min(status, 0))

    async def _append(self, entries: list[Entry], bound: int, *, all_of: bool = False) -> int:
        status, count = await self._server.append(
            self.name,
            self.turn_id,
            self._written,
            entries,
            run_id=self.running.run_id,
            bound=bound,
            all_of=all_of,
        )
        self._in_hand = []
        if status >= 0:
            self._written = count
        return status

    async def _heed(self, status: int) -> bool:
        """Do what the server's answer asks for; whether there is nothing more to write."""
        if status == UNKNOWN:
            self._is_claimed = False
        elif status == TAKEN:
            return await self._give_up()
        return status > 0

    def told(self, status: int) -> None:
        """Hear the answer to a sign of life."""
        if status == UNKNOWN:
            log.warning("the Redis server has lost a turn that runs; it is written again")
            self._is_claimed = False
            self.running.live.wake()
        elif status != 1 and self._stopping is None:
            self._stopping = asyncio.ensure_future(self.running.stop(_taken() if status == TAKEN else None))

    async def _give_up(self) -> bool:
        """Stop the turn: its readers elsewhere were told that its process is gone, and another may go on with it."""
        self._is_failing = True
        self._moved.set()
        await self.running.stop(_taken())
        return True


def _left(error: Exception | None) -> Exception | None:
    """What a turn that a process has left in its middle came to, for the others: not what a user has stopped."""
    if not isinstance(error, ClosedError) or error.safe_to_retry:
        return error
    if error.safe_to_retry is None:
        return OutcomeUnknownError(
            "the process that ran the turn has stopped, and nobody knows whether its message was accepted",
            run_id=error.run_id,
        )
    return StreamInterruptedError(
        "the process that ran the turn has stopped; its message was accepted, and the history has what came of it",
        run_id=error.run_id,
        safe_to_retry=False,
        token=error.token,
    )


def _taken() -> LeaseLostError:
    return LeaseLostError(
        "this process gave no sign of life for so long that the readers of its turn were told that it is gone",
        safe_to_retry=False,
    )
