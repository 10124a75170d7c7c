"""The right to one key: asked for, renewed, written through, let go."""

from __future__ import annotations

import asyncio
import math
import os
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from .._log import log
from .._wire import records
from .._wire.records import Record
from ..errors import ClosedError, LeaseLostError, StoreError, ToolhouseError
from .patience import RETRY, patiently

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ..stores import SessionStore

LOOK: Final = 0.02
"""Seconds between the first looks at a key that somebody else has."""
LAZY_LOOK: Final = 0.5
"""Seconds between looks when it lasts."""
PATIENCE: Final = 10.0
"""Seconds for which a store that fails is asked again, where the lease is not shorter."""


def _who() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


class Lease:
    """One claim to one key. Its number is what fences: every change needs the entry to bear it.

    Attributes:
        found: The entry, as it was read last by somebody who does not have the key.
        record: Where the conversation stands, as this process knows it; written by :meth:`save`.
        idle: Seconds for which the key had been free when it was taken.
        error: Why it was lost, if it was.
        is_saved: Whether all had been written down before it was.
    """

    def __init__(
        self,
        store: SessionStore,
        key: str,
        length: float,
        *,
        patience: float,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        on_lost: Callable[[LeaseLostError], None],
    ) -> None:
        """Prepare to ask for a key.

        Args:
            store: Where its entry stands.
            key: Its whole name there.
            length: Seconds for which the lease lasts unless it is renewed.
            patience: Seconds for which a store that fails is asked again.
            spawn: Runs a task in the background.
            on_lost: Called once if it is lost.
        """
        self._store = store
        self._key = key
        self._length = length
        self._patience = patience
        self._spawn = spawn
        self._on_lost = on_lost
        self._number = uuid4().hex
        self._known: bytes | None = None  # the entry as it stands, for all that is known
        self._sight: tuple[str, float] | None = None  # who had the key then, and until when
        self._since = 0.0  # since when that has not changed
        self._ahead = 0.0  # by how much the store's clock is ahead of the loop's
        self._renewed_at = 0.0
        self._writing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._is_leaving = False
        self._is_told = False  # that the store fails, since it last took something
        self.record = self._saved = self.found = Record()
        self.idle = 0.0
        self.error: LeaseLostError | None = None
        self.is_saved = False

    @property
    def until(self) -> float:
        """Until when the key was ours, by the store's clock, as it was written down last."""
        return self._saved.until

    async def acquire(self, *, unless_alive: bool = False) -> bool:
        """Wait until the key is ours.

        Args:
            unless_alive: Give up once it is certain that its holder lives: who has renewed it is at work.

        Returns:
            Whether it is.

        Raises:
            StoreError: The store failed for longer than it was given.

        A cancelled call gives up its place, in the background.
        """
        try:
            return await self._acquire(unless_alive=unless_alive)
        except BaseException:
            self._spawn(self._abandon())
            raise

    async def _acquire(self, *, unless_alive: bool) -> bool:
        pause = LOOK
        while True:
            before = self._sight
            found = await self.look()
            is_alive = self._sight != before and before is not None and found.holder == before[0] != ""
            if unless_alive and is_alive:
                await self._abandon()
                return False
            is_ours = await self._claim_or_queue()
            if is_ours:
                return True
            if is_ours is None:
                continue  # somebody else was quicker: look again at once
            if pause == LOOK and found.holder:
                left = max(0.0, found.until - self._now())
                log.info(
                    "%s is held by %s: waiting until it lets go, or its lease ends (%.0f s)", self._key, found.who, left
                )
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the looks, nothing secret
            pause = min(pause * 1.5, LAZY_LOOK, self._length / 10)

    async def look(self) -> Record:
        """Read the entry, and take nothing.

        Raises:
            StoreError: The store failed for longer than it was given.
        """
        self._known = await patiently(self._read, self._patience)
        found = self.found = records.loads(self._known)
        sight = (found.holder, found.until)
        if sight != self._sight:
            self._sight, self._since = sight, asyncio.get_running_loop().time()
        return found

    @property
    def is_free(self) -> bool:
        """Whether nobody had the key at the last look, or whoever has it has failed."""
        return records.is_free(self.found, self._now(), is_stale=self._is_stale)

    @property
    def _is_stale(self) -> bool:
        """Whoever has not renewed for the length of their lease has failed, whatever has become of the clock."""
        return asyncio.get_running_loop().time() - self._since > self.found.length

    async def claim(self, *, writes: bool) -> bool:
        """Take the key if nobody has it, and its entry still is what the last look has found.

        Args:
            writes: Whether that is written at once. Else the first save does so, which raises ``LeaseLostError`` if
                somebody else was quicker.

        Returns:
            Whether it is ours.

        Raises:
            StoreError: The store failed for longer than it was given.

        A cancelled call gives it up, in the background.
        """
        claimed = self._claimed()
        if claimed.holder != self._number:
            return False
        try:
            if writes and not await self._put(self._known, claimed):
                return False
        except BaseException:
            self._spawn(self._abandon())
            raise
        self._hold(claimed)
        return True

    async def _claim_or_queue(self) -> bool | None:
        """Take the key, or where somebody has it a place in its queue; ``None`` if the entry has changed."""
        claimed = self._claimed()
        is_ours = claimed.holder == self._number
        if (is_ours or self._keeps_place(self.found, self._now())) and not await self._put(self._known, claimed):
            return None
        if is_ours:
            self._hold(claimed)
        return is_ours

    def _claimed(self) -> Record:
        """What the last look has found, once the key or a place in its queue was asked for."""
        length, is_stale = self._length, self._is_stale
        return records.claimed(self.found, self._number, self._now(), who=_who(), length=length, is_stale=is_stale)

    def _hold(self, claimed: Record) -> None:
        self.record = self._saved = claimed
        self.idle = max(0.0, claimed.until - claimed.length - claimed.idle_since)
        self._renewed_at = asyncio.get_running_loop().time()
        self._arm()

    def _keeps_place(self, found: Record, now: float) -> bool:
        """Whether a place in the queue is to be taken or kept."""
        until = next((waiter.until for waiter in found.queue if waiter.number == self._number), 0.0)
        return until - now < self._length / 6

    async def _read(self) -> bytes | None:
        reading = await self._store.read(self._key)
        self._ahead = reading.time - asyncio.get_running_loop().time()
        return reading.value

    def _now(self) -> float:
        return max(0.0, asyncio.get_running_loop().time() + self._ahead)

    async def _put(self, known: bytes | None, record: Record) -> bool:
        data = records.dumps(record)
        done = await patiently(lambda: self._swap(known, data), self._patience)
        if done:
            self._known = data
            self._renewed_at = asyncio.get_running_loop().time()
        return done

    async def _swap(self, known: bytes | None, data: bytes | None) -> bool:
        """Change the entry; also where an earlier try had done so, and its answer was lost."""
        return await self._store.swap(self._key, known, data) or await self._read() == data

    def change(self, **fields: Any) -> None:
        """Change where the conversation stands; :meth:`save` writes it."""
        self.record = self.record._replace(**fields)

    async def save(self, *, patience: float = 0.0) -> None:
        """Write down where the conversation stands, and renew the lease.

        Args:
            patience: Seconds for which a store that fails is asked again.

        Raises:
            LeaseLostError: Somebody else has the key.
            StoreError: The store failed.
        """
        await patiently(self._save, patience)

    async def _save(self) -> None:
        async with self._writing:
            while not self._is_leaving and not await self._write(lambda: records.renewed(self.record, self._now())):
                continue

    async def _write(self, make: Callable[[], Record]) -> bool:
        """Try to write; ``False`` if the queue has changed meanwhile."""
        if self.error is not None:
            raise self.error
        record = make()
        data = records.dumps_unless_empty(record)
        if data is self._known is None or await self._store.swap(self._key, self._known, data):
            self._known, self._saved = data, record
            self._renewed_at = asyncio.get_running_loop().time()
            self._is_told = False
            return True
        standing = await self._read()
        if standing == data:
            self._known, self._saved = data, record
            return True
        found = records.loads(standing)
        if found.holder != self._number:
            self.is_saved = record.is_like(self._saved) or records.loads(data).is_like(found)
            raise self._lost(found, has_vanished=standing is None)
        self._known = standing
        self.record = self.record._replace(queue=found.queue)
        return False

    def _lost(self, found: Record, *, has_vanished: bool = False) -> LeaseLostError:
        by = f"{found.who} has it now" if found.who else "nobody has it now, and somebody has used it since"
        if has_vanished:
            by = "the store no longer knows the key: it was emptied, or the key was forgotten"
        elif records.is_unlocked(found, self._saved):
            by = "nobody has it now: it was unlocked"
        if (late := self._now() - self._saved.until) > 0:
            by += f"; the lease had ended {late:.0f} s before, since this process did not renew it"
        self.error = LeaseLostError(f"the lease of the key was lost: {by}")
        self.error.has_vanished = has_vanished
        self._disarm()
        # Not at once: the task of a turn that finds it out by itself is not to be cancelled for it.
        asyncio.get_running_loop().call_soon(self._on_lost, self.error)
        return self.error

    def _leave(self) -> None:
        """Renew no more: a renewal that is under way would take the key again once it is let go."""
        self._is_leaving = True
        self._disarm()

    async def release(self, *, as_found: bool = False) -> None:
        """Write down where the conversation stands, and let the key go.

        Args:
            as_found: Whether it counts as let go since it was found free: this use of it is none.

        Raises:
            StoreError: That could not be written; the lease will end by itself.
        """
        self._leave()
        await patiently(partial(self._release, as_found=as_found), self._patience)

    async def _release(self, *, as_found: bool) -> None:
        async with self._writing:
            while not await self._write(
                lambda: records.released(self.record, self.record.idle_since if as_found else self._now())
            ):
                continue

    async def delete(self) -> None:
        """Take the entry away, and the key with it.

        Raises:
            StoreError: The store failed.
        """
        self._leave()
        await patiently(self._delete, self._patience)

    async def _delete(self) -> None:
        async with self._writing:
            while not await self._store.swap(self._key, self._known, None):
                self._known = await self._read()
                if self._known is None:
                    return
                found = records.loads(self._known)
                if found.holder != self._number:
                    raise self._lost(found)

    async def _abandon(self) -> None:
        with suppress(ToolhouseError):  # of whatever kind: then the lease or the place ends by itself
            while True:
                standing = await self._read()
                if standing is None:
                    return
                found = records.loads(standing)
                if found.holder != self._number and self._number not in [waiter.number for waiter in found.queue]:
                    return
                left = records.abandoned(found, self._number, self._now())
                if await self._store.swap(self._key, standing, records.dumps_unless_empty(left)):
                    return

    def _arm(self) -> None:
        """See to it that the lease is renewed each third of its length; saving does that too."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._renewed_at + self._length / 3, self._at_third)

    def renew_soon(self) -> None:
        """Save again in a moment, in the background."""
        self._disarm()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(RETRY, lambda: self._spawn(self._renew()))

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _at_third(self) -> None:
        if asyncio.get_running_loop().time() < self._renewed_at + self._length / 3 - 1e-6:
            self._arm()
        else:
            self._spawn(self._renew())

    async def _renew(self) -> None:
        timer = self._timer
        try:
            await self.save(patience=self._length / 2)
        except (LeaseLostError, ClosedError):
            return  # whoever has the key was told, or is when it is let go
        except StoreError as error:
            if self._patience < math.inf and not self._is_told:  # see Checkout
                self._is_told = True
                log.warning("the lease of a key could not be renewed: %s", error)
            self._renewed_at = asyncio.get_running_loop().time() - self._length / 4
        if self._timer is timer and timer is not None:  # not released meanwhile
            self._arm()
