"""Turns that readers in other processes follow too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from ..._held import Turn
from ..._session import BackgroundJobWaiter
from ...errors import ClosedError, StoreError, ToolhouseError
from ...stores._server import PATIENCE, Connections
from .._hub import HubTurn, busy, check_name, check_numbers, check_start, full, new_id
from .publisher import Publisher
from .server import TurnServer
from .turn import RedisHubTurn
from .watch import Watch

__all__ = ["RedisTurnHub"]

PAUSES: Final = (0.05, 0.1, 0.2)
"""Seconds after which a name is asked for again that a turn has: one that has just ended may not be written yet."""


class RedisTurnHub:
    """A :class:`TurnHub` for several processes, on a Redis server. Needs the extra ``[redis]``.

    A turn runs in the process that starts it. A hub of the same server and prefix in any other process finds it by its
    name, follows it, replays it from an event's id, and stops it. The methods that ask the server are awaited; what
    they take and give is as :class:`TurnHub` has it.

    The server needs version 5 or later, one primary (no Redis Cluster), and a policy that evicts nothing
    (``noeviction``). All names begin with the prefix and a colon.

    **When a process dies**, it gives no more signs of life. Half as long again as ``lease`` after the last one, whoever
    follows its turns gets :class:`~toolhouse_async.StreamInterruptedError` behind what was said, or
    :class:`~toolhouse_async.OutcomeUnknownError` where the worker had said nothing yet. Where nobody followed, that is
    half of ``lease`` after somebody asks first, for the server may have been away itself: until then the turn is
    running. Then the name is free, and ``toolhouse.recover(turn.agent_id, turn.run_id, message)`` gets the answer, in
    any process. Of the turns of a hub that is closed others hear the same at once.

    **When the server is away**, turns go on, and readers wait. What was said meanwhile is written once it is back, and
    what it has lost is written again, as far as the turn's ``max_bytes`` in its own process go; a reader for whom
    something is missing gets :class:`~toolhouse_async.EventsDroppedError`. Nothing is left out silently.

    One event loop uses a hub. Used as an async context manager, or closed by :meth:`aclose`.

    Args:
        url: ``redis://``, ``rediss://`` (TLS, verified) or ``unix://``, as :class:`RedisSessionStore` takes it.
        keep: Seconds for which a turn can be read when it is over, or its process is gone.
        max_bytes: How many bytes the events of one turn may take on the server, beside its result, and as many in the
            memory of the process that runs it; as for :class:`TurnHub`.
        max_turns: How many turns this process runs at once.
        prefix: What all names begin with. Hubs with different ones do not see each other's turns.
        lease: Seconds without a sign of life after which a process is doubted.

    Raises:
        ConfigurationError: An argument is wrong, or redis-py is not installed; or, at its use, the hub belongs to
            another event loop, or to the process that this one was forked from.
    """

    def __init__(
        self,
        url: str,
        *,
        keep: float = 300,
        max_bytes: int = 4 << 20,
        max_turns: int = 1000,
        prefix: str = "toolhouse-hub",
        lease: float = 10,
    ) -> None:
        check_numbers(keep=keep, max_bytes=max_bytes, max_turns=max_turns, lease=lease)
        self._keep = keep
        self._max_bytes = int(max_bytes)
        self._max_turns = int(max_turns)
        self._connections = Connections(url, "hub")
        self._server = TurnServer(self._connections, prefix, keep=keep, lease=lease, grace=lease / 2)
        self._owner = new_id()
        self._publishers: dict[str, Publisher] = {}
        self._all: set[Publisher] = set()  # those too whose name another turn has taken meanwhile
        self._watch = Watch(
            self._server,
            self._owner,
            lease=lease,
            grace=lease / 2,
            publishers=self._publishers,
            max_bytes=self._max_bytes,
        )
        self._claiming: set[asyncio.Future[None]] = set()
        self._releases: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __iter__(self) -> Iterator[str]:
        """The names of the turns that run in this process."""
        return iter([name for name, each in self._publishers.items() if not each.running.is_over])

    async def start(self, name: str, turn: Turn | BackgroundJobWaiter, *, note: str = "") -> HubTurn:
        """Run a turn, in a task of this hub; as :meth:`TurnHub.start`.

        Args:
            name: What it can be found by, in any process. A turn of that name that is over is forgotten.
            turn: A turn that nobody reads yet.
            note: Whatever text whoever finds it is to have with it, such as the message.

        Returns:
            The running turn.

        Raises:
            SessionBusyError: A turn of that name is running, here or elsewhere, or too many run here. Nothing was sent.
                So it is for half of ``lease`` after the first question for a turn whose process has died.
            StoreError: The server cannot be reached. Nothing was sent.
            ClosedError: The hub is closed.
            ConfigurationError: ``name`` or ``note`` is no string, or ``turn`` no turn.

        Cancelled, it has sent nothing.
        """
        self._check_open()
        check_start(name, turn, note)
        before = self._publishers.get(name)
        if before is not None and before.running.is_over:
            await asyncio.wait({before.task}, timeout=PATIENCE)
        if len(self) >= self._max_turns:
            standing = await self._server.get(name)  # whoever asks a second time for what runs is told that it does
            raise full(self._max_turns) if standing is None or standing.end is not None else busy()
        publisher = Publisher(
            self._server,
            name=name,
            turn_id=new_id(),
            owner=self._owner,
            note=note,
            agent_id=turn._driver.conversation.agent_id,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            max_bytes=self._max_bytes,
        )
        await self._claim(publisher)
        self._publishers[name] = publisher
        self._all.add(publisher)
        running = HubTurn(name, turn, self._max_bytes, note=note, turn_id=publisher.turn_id, before=publisher.keep_up)
        publisher.begin(running, self._keep)
        publisher.task.add_done_callback(lambda _: self._forget(publisher))
        self._watch.begin()
        return running

    async def _claim(self, publisher: Publisher) -> None:
        """Take a turn's name, or leave it as it was."""
        claiming = asyncio.get_running_loop().create_future()
        self._claiming.add(claiming)
        try:
            for pause in (*PAUSES, 0):
                if await publisher.claim():
                    self._check_open()  # it may have been closed meanwhile
                    return
                await asyncio.sleep(pause)
        except BaseException as error:
            release = asyncio.ensure_future(self._release(publisher))
            self._releases.add(release)
            release.add_done_callback(self._releases.discard)
            if isinstance(error, StoreError):
                error.safe_to_retry = True
            raise
        finally:
            self._claiming.discard(claiming)
            claiming.set_result(None)
        raise busy()

    async def _release(self, publisher: Publisher) -> None:
        with suppress(ToolhouseError):  # of whatever kind: then it ends with its lease
            await self._server.forget(publisher.name, publisher.turn_id)

    def _forget(self, publisher: Publisher) -> None:
        self._all.discard(publisher)
        if self._publishers.get(publisher.name) is publisher:
            del self._publishers[publisher.name]

    async def get(self, name: str) -> HubTurn | RedisHubTurn | None:
        """The turn of that name, running or over, here or elsewhere; ``None`` if there was none or it is forgotten.

        One whose process has died may be running for half of ``lease`` more: its ``result()`` waits, and says how it
        ended.

        Raises:
            StoreError: The server cannot be reached, and the turn does not run here.
            ClosedError: The hub is closed.
            ConfigurationError: ``name`` is no string.
        """
        self._check_open()
        check_name(name)
        mine = self._publishers.get(name)
        if mine is not None:
            return mine.running
        standing = await self._server.get(name)
        return None if standing is None else self._watch.turn(name, standing)

    async def forget(self, name: str) -> None:
        """Forget a turn that is over before its time; nothing happens where there is none.

        One whose process has given no sign of life for ``lease`` is waited for, half of ``lease`` at most: until then
        it may go on.

        Raises:
            SessionBusyError: It is running.
            StoreError: The server cannot be reached.
            ClosedError: The hub is closed.
            ConfigurationError: ``name`` is no string.
        """
        self._check_open()
        check_name(name)
        mine = self._publishers.get(name)
        if mine is not None and mine.running.is_over:
            await asyncio.wait({mine.task}, timeout=PATIENCE)
        if not await self._server.forget(name):
            raise busy()

    async def aclose(self) -> None:
        """Stop the turns that run in this process, and wait until their ends are written. Idempotent.

        Their readers in this process get what was said, then ``ClosedError``. What was said can be read for its time in
        other processes, where it ends as that of a process which has died: the turn can be recovered. The iteration of
        readers in this process over turns elsewhere ends without a last event, as a lost connection does: they may come
        back to another process.
        """
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._claiming:
            await asyncio.wait(self._claiming)
        publishers = list(self._all)
        await asyncio.gather(*(each.leave() for each in publishers))
        tasks = {each.task for each in publishers} | self._releases
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=PATIENCE)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks)
        await self._watch.aclose()
        await self._connections.aclose()

    def _check_open(self) -> None:
        if self._closing is not None:
            raise ClosedError("the hub is closed", safe_to_retry=True)
