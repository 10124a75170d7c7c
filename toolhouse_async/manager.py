"""Conversations by keys of your own: for bots and web applications, any number of tasks and processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, Unpack

from attrs import frozen

from ._client import AsyncToolhouse
from ._held import Turn
from ._keyed.block import CheckedOutSession
from ._keyed.checkout import Checkout
from ._keyed.house import House
from ._keyed.listing import SessionInfo, info_of
from ._keyed.pending import finish
from ._keyed.turn import KeyedTurn
from ._log import in_own_words, log
from ._session import Session, make_options
from ._values.nested import half_made
from ._values.options import TurnOptions, check_known_to_a_manager, check_message, check_seconds
from ._values.results import TurnResult
from ._wire import records
from .errors import ConfigurationError, StoreError
from .stores import MemorySessionStore, SessionStore
from .stores._protocol import check_store

if TYPE_CHECKING:
    from ._values.settings import PollingPolicy

__all__ = ["CheckedOutSession", "Resumed", "SessionInfo", "SessionManager"]

Deliver: TypeAlias = Callable[[str, TurnResult], Awaitable[None]]
"""What takes the answer of a job that another process had left."""

JOBS: Final = 100
"""Jobs that one ``resume_pending()`` waits for at once."""


@frozen
class Resumed:
    """A job that ``resume_pending()`` took over: its key, and its answer or its error."""

    key: str
    result: TurnResult | None = None
    error: Exception | None = None


class SessionManager:
    """Maps keys of yours - a chat, a user, a ticket - to conversations with one worker.

    One use of a key at a time, in all processes that use the same store: within a process in order of asking, and
    processes that want the same key take turns. Keys never wait for each other. A conversation's run id is saved as
    soon as the service has given it, a background job while it runs. So another process can go on where this one was
    stopped, and what was just being sent then is reported by ``UncertainSessionError`` at the key's next use, never
    sent again.

    Nothing is held for a key that is not in use. Use it as an async context manager, or call :meth:`aclose`, to let go
    of all keys at the end; otherwise their leases end by themselves.

    Args:
        toolhouse: The client. It must outlive the manager.
        agent_id: The worker's id or URL. Workers may share a store, each has keys of its own.
        store: Where sessions are kept; default in memory. The manager does not close it.
        ttl: Seconds of silence after which a key starts a new conversation; ``None``: never.
        on_missing: What to do about a conversation that the service no longer knows: ``"raise"``
            :class:`~toolhouse_async.NotFoundError`, or ``"restart"`` it with the message at hand. The latter also
            starts anew, once it has been reported, where the first message's fate is unknown.
        lease: Seconds after which others may take a key whose process has stopped. It is renewed each third of it.
        **session_options: ``toolhouse_id``, ``vars`` and ``bundle``, as for :meth:`AsyncToolhouse.session`: they go
            with messages, not with the resume after a job.

    Raises:
        ConfigurationError: An argument is wrong.
    """

    def __init__(
        self,
        toolhouse: AsyncToolhouse,
        agent_id: str,
        *,
        store: SessionStore | None = None,
        ttl: float | None = None,
        on_missing: Literal["raise", "restart"] = "raise",
        lease: float = 30,
        **session_options: Any,
    ) -> None:
        if not isinstance(toolhouse, AsyncToolhouse):
            kind = type(toolhouse).__name__
            raise ConfigurationError(f"a SessionManager takes an AsyncToolhouse, then the worker's id, not {kind}")
        length = float(check_seconds(lease, "lease"))
        if ttl is not None:
            ttl = check_seconds(ttl, "ttl")
        if on_missing not in ("raise", "restart"):
            raise ConfigurationError(f"on_missing must be 'raise' or 'restart', not {on_missing!r:.80}")
        own = ("store", "ttl", "on_missing", "lease")
        check_known_to_a_manager(session_options, ("toolhouse_id", "vars", "bundle"), own)
        if store is not None:
            check_store(store)
        self._toolhouse = toolhouse
        self._options = session_options
        self._agent_id = toolhouse.session(agent_id, **session_options).agent_id
        self._house = House(
            f"{self._agent_id}/",
            MemorySessionStore() if store is None else store,
            ttl,
            on_missing == "restart",
            length,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @half_made
    def __repr__(self) -> str:
        return f"<SessionManager of agent {self._agent_id} in {self._house.store!r:.200}>"

    def checkout(self, key: str, *, delivers: bool = False) -> CheckedOutSession:
        """Have a key for the length of an ``async with`` block, which gives its :class:`~toolhouse_async.Session`.

        The block begins when the key is ours, and its session ends with it. Any number of turns may be made in it, and
        ``session.reconcile()`` settles what another process left of unknown outcome.

        Args:
            key: Any string.
            delivers: Whether the block brings the answer to whom it is for. It counts as seen at the block's end then,
                or when the next message is sent; where the block raises, is cancelled, or its process dies, it is as
                unseen as one that was cut, and that to a job is ``resume_pending()``'s. Default: seen once it is whole.

        Raises:
            ConfigurationError: ``key`` is no string, or ``delivers`` neither ``True`` nor ``False``.
            SessionBusyError: On entering: this task has the key already.
            StoreError: On entering or leaving: the store failed.
            LeaseLostError: On leaving: another process took the key before all was saved.
            ClosedError: On entering: the manager is closed, or was while this waited.

        A cancelled wait leaves the queue. Cancelled inside, the key is let go as at the block's end.
        """
        if not isinstance(delivers, bool):
            raise ConfigurationError(f"delivers must be True or False, not {delivers!r:.80}")
        checkout, session = self._checkout(key)
        checkout.keeps_token = delivers
        return CheckedOutSession(checkout, session)

    def stream(self, key: str, message: str | None = None, **turn_options: Unpack[TurnOptions]) -> Turn:
        """Prepare a turn of a key's conversation; it waits for the key at its first step, and lets it go at its end.

        Args:
            key: Any string.
            message: What to say. ``None`` does not mean nothing: it starts a conversation without a message, and sends
                an empty one to one that has begun. A text that may be missing, as that of a picture in a chat, is yours
                to check.
            **turn_options: See :class:`~toolhouse_async.TurnOptions`; ``timeout`` includes the wait for the key.

        Raises:
            ConfigurationError: An argument is wrong.

        Besides what turns raise, its steps raise ``SessionBusyError``, ``StoreError`` and ``LeaseLostError`` as
        :meth:`checkout` does. A store that fails in mid-turn costs no words: it is asked again, and what could not be
        saved is reported when the turn is over.
        """
        check_message(message)
        options = make_options(turn_options)
        checkout, _ = self._checkout(key)
        return KeyedTurn(checkout, options, message=message)

    async def send(self, key: str, message: str | None = None, **turn_options: Unpack[TurnOptions]) -> TurnResult:
        """Make a whole turn of a key's conversation and return its result.

        Arguments as for :meth:`stream`: the key comes first, and without a message (``None``) the worker is started
        without one, or sent an empty one; so ``send("hi")`` takes ``"hi"`` for the key and raises nothing.

        Raises:
            ToolhouseError: The turn failed.
            OutcomeUnknownError: This message's fate is unknown; ``session.reconcile()`` of a :meth:`checkout` settles
                it. So it does where an earlier one's is: ``UncertainSessionError``, and this one was not sent.
            StoreError: The store failed: before anything was sent (``safe_to_retry``), or with the result as
                ``partial``.

        Cancelling closes the turn, and lets the key go in the background; the message was sent by then or not.
        """
        return await self.stream(key, message, **turn_options).result()

    async def forget(self, key: str) -> None:
        """Forget a key once nobody has it, so that its next message begins a new conversation.

        The old one stays at the service.

        Raises:
            StoreError: The store failed.
            SessionBusyError: This task has the key itself.
            ClosedError: The manager is closed, or was while this waited.

        May be cancelled and repeated at will.
        """
        checkout, _ = self._checkout(key)
        task = asyncio.current_task()
        try:
            await checkout.enter(lambda: task)
        except StoreError:
            if not await self._clear(self._house.name(key)):
                raise
        else:
            await checkout.forget()

    async def _clear(self, name: str) -> bool:
        """Take an entry away that nobody can read, and so nobody has; return whether it was that.

        Raises:
            StoreError: The store failed.
        """
        store = self._house.store
        standing = (await store.read(name)).value
        try:
            records.loads(standing)
        except StoreError:
            await store.swap(name, standing, None)
            return True
        return False

    async def resume_pending(
        self,
        deliver: Deliver | None = None,
        *,
        resume_message: str = "",
        polling: PollingPolicy | None = None,
        timeout: float | None = None,
    ) -> list[Resumed]:
        """Take over the background jobs that stopped processes have left: wait for each, and resume its run.

        Call it when your program starts, and again later: a wait that ended before its job leaves that open. Of several
        processes exactly one takes each job; one that is at work elsewhere is left alone, which takes up to a lease to
        find out. Answers come as they are ready.

        Args:
            deliver: Is called with key and answer, and awaited, the key still being ours; a plain function has done its
                work when it returns. The job stays open until then: if it raises, or the process is stopped in it, the
                next call brings the same answer again. The key's next message closes it too, delivered or not: where no
                answer may be lost, call ``session.reconcile()`` in a :meth:`checkout` before it, which brings the
                answer; and where that has ``None`` and the key is ``pending`` still, ``session.wait_for_job()``.
            resume_message: What the automatic resume says.
            polling: How to poll; default as the client does.
            timeout: Seconds for each job.

        Returns:
            What this call took over, each with its answer or its error, which is logged too; one failure never ends the
            others.

        Raises:
            ConfigurationError: ``deliver`` is no function.
            StoreError: The store's entries cannot be read.

        A cancelled call, or a manager that is closed, leaves the jobs open that were not finished.
        """
        if deliver is not None and not callable(deliver):
            raise ConfigurationError(f"deliver must be a function of a key and its answer, not {deliver!r:.80}")
        keys = [info.key async for info in self.sessions() if info.pending]
        slots = asyncio.Semaphore(JOBS)
        taken: list[Resumed] = []

        async def take(key: str) -> None:
            async with slots:
                checkout, session = self._checkout(key)
                waiter = finish(self._house, checkout, session, resume_message, polling, timeout, deliver)
                try:
                    result = await waiter
                except Exception as error:  # noqa: BLE001 - also what deliver() raises; it is returned
                    taken.append(Resumed(key, error=error))
                    log.warning("the answer to the job of key %.200r is not delivered: %s", key, in_own_words(error))
                else:
                    if result is not None:
                        taken.append(Resumed(key, result))

        async with asyncio.TaskGroup() as tasks:
            for key in keys:
                tasks.create_task(take(key))
        return taken

    async def sessions(self) -> AsyncIterator[SessionInfo]:
        """Go through all keys that the store has for this worker, in any order: for operators.

        Raises:
            StoreError: The store failed. An entry that cannot be read is logged and passed over.
        """
        async for _, _, info in self._entries():
            yield info

    async def info(self, key: str) -> SessionInfo | None:
        """Look up one key, as for its run id: one reading of the store, which waits for nobody who has the key.

        Returns:
            What :meth:`sessions` says of it; ``None`` if the store has no such key.

        Raises:
            ConfigurationError: ``key`` is no string.
            StoreError: The store failed, or has an entry that cannot be read.
        """
        reading = await self._house.store.read(self._house.name(_checked_key(key)))
        return None if reading.value is None else info_of(key, records.loads(reading.value), reading.time)

    async def _entries(self) -> AsyncIterator[tuple[str, bytes, SessionInfo]]:
        """The name, the entry itself, and what it says."""
        prefix = self._house.name("")
        now = (await self._house.store.read(prefix)).time
        async for name, value in self._house.store.entries(prefix):
            try:
                record = records.loads(value)
            except StoreError as error:
                log.warning("key %.200r is passed over: %s", name, error)
                continue
            yield name, value, info_of(name[len(prefix) :], record, now)

    async def unlock(self, key: str) -> bool:
        """Take a key from whoever has it, and empty its queue: for operators who know that its process is gone.

        Leases do that by themselves. A process that lives all the same gets ``LeaseLostError``; what it was sending
        counts as of unknown outcome.

        Returns:
            Whether somebody had it.

        Raises:
            StoreError: The store failed.
        """
        name, store = self._house.name(_checked_key(key)), self._house.store
        while True:
            reading = await store.read(name)
            record = records.loads(reading.value)
            if not record.holder:
                return False
            free = records.unlocked(record, reading.time)
            if await store.swap(name, reading.value, records.dumps(free)):
                return True

    async def forget_idle(self, seconds: float) -> int:
        """Forget all keys that nobody has used for so long, and whose last job is not open: for operators.

        Returns:
            How many.

        Raises:
            StoreError: The store failed.
        """
        seconds = check_seconds(seconds, "seconds")
        count = 0
        async for name, value, info in self._entries():
            if info.holder is None and info.idle > seconds and not info.pending:
                count += await self._house.store.swap(name, value, None)  # not if it was used meanwhile
        return count

    async def aclose(self) -> None:
        """End the turns under way, and all waits for keys, with ``ClosedError``; let the keys go. Idempotent.

        Waits until that is saved; a store that fails is asked again for some seconds. A :meth:`checkout` of another
        task is let go by that task.
        """
        self._house.close()
        for checkout in list(self._house.live):
            checkout.close()
        live, waits = self._house.live, self._house.waits
        while waits or any(checkout.conversation.open_turns for checkout in live):  # noqa: ASYNC110 - a few passes
            await asyncio.sleep(0)  # who is in the middle of a step is being cancelled there
        await self._house.settle()

    def _checkout(self, key: str) -> tuple[Checkout, Session]:
        self._house.check_open()
        session = self._toolhouse.session(self._agent_id, **self._options)
        conversation = session._conversation  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return Checkout(self._house, _checked_key(key), conversation), session


def _checked_key(key: str) -> str:
    if not isinstance(key, str):
        raise ConfigurationError(f"a key must be a string, not {type(key).__name__}")
    return key
