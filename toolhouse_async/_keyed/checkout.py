"""One use of one key: its conversation, and what of it is written down when."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .._log import log
from .._turn import kept
from .._values.results import TurnResult
from .._wire.stage import Stage
from ..errors import ClosedError, LeaseLostError, StoreError, ToolhouseError
from .lease import Lease

if TYPE_CHECKING:
    from .._run.conversation import Conversation
    from .._turn.heard import Said
    from .._turn.knowledge import Run
    from .._values.results import JobToken
    from .._wire.records import Record, Row, Unsettled
    from .gates import Owner
    from .house import House


MOST_GIVEN_UP: Final = 10_000
"""Keys whose message was given up that are remembered at once; more of them are asked about."""
SOON: Final = 0.25
"""Seconds that an answer waits for its run id, or its job, to be written down."""


class Checkout:
    """One use of one key, from asking for it to letting it go. It is its conversation's journal.

    Attributes:
        key: The key, as the user has it.
        conversation: The conversation; where it stands is known once the key is ours.
        keeps_token: Whether what is over counts as open until its answer was delivered.
        has_answer: Whether there is one that was not.
        on_answered: Called when the service has accepted a message.
        on_blind: Called when an answer was looked for in the history, and that could not be read.
    """

    def __init__(self, house: House, key: str, conversation: Conversation) -> None:
        self.key = key
        self.conversation = conversation
        self.keeps_token: bool = False
        self.has_answer: bool = False
        self.on_answered: Callable[[], None] = _nothing
        self.on_blind: Callable[[ToolhouseError], None] = _nothing
        self._house = house
        self._lease = Lease(
            house.store,
            house.name(key),
            house.length,
            patience=house.patience,
            spawn=house.spawn,
            on_lost=self._on_lost,
        )
        self._leaving: asyncio.Task[StoreError | None] | None = None
        self._said: Said | None = None  # the latest message that was sent
        self._has_sent = False  # in this use
        self._gone: dict[str, Any] = {}  # what was known of the run that the service does not know
        conversation.journal = self

    async def enter(self, owner: Owner, *, unless_alive: bool = False) -> bool:
        """Wait for the key, and load its conversation.

        Args:
            owner: Which task would have to go on for the key to be let go.
            unless_alive: Give up where another process is certainly at work with it.

        Returns:
            Whether it is ours.

        Raises:
            SessionBusyError: The task has the key already.
            StoreError: The store failed.
            ClosedError: The manager is closed, or its client.
            ConfigurationError: They belong to another event loop.

        A cancelled call gives up its place.
        """
        async with self._house.until_closed():
            return await self._enter(owner, partial(self._lease.acquire, unless_alive=unless_alive))

    async def look(self) -> Record:
        """Read what the store says of the key, and take nothing.

        Raises:
            StoreError: The store failed.
        """
        return await self._lease.look()

    @property
    def found(self) -> Record:
        """What the last look has found."""
        return self._lease.found

    @property
    def is_free(self) -> bool:
        """Whether nobody had the key at the last look, or whoever has it has failed."""
        return self._lease.is_free

    async def take(self, owner: Owner, *, writes: bool) -> bool:
        """Have the key if nobody has it and nothing has changed since the last look, and load its conversation.

        Args:
            owner: As for :meth:`enter`, which says what is returned and raised too; others are not waited for.
            writes: Whether it is written at once who has the key. Else the first note does so, before a message is
                sent; it raises ``LeaseLostError`` if somebody else was quicker.
        """
        return await self._enter(owner, partial(self._lease.claim, writes=writes))

    async def _enter(self, owner: Owner, acquire: Callable[[], Awaitable[bool]]) -> bool:
        house = self._house
        house.check_open()
        self.conversation.core.check_usable()
        house.live.add(self)
        try:
            await house.gates.enter(self.key, owner)
        except BaseException:
            house.live.discard(self)
            raise
        is_ours = False
        try:
            is_ours = await acquire()
        except StoreError as error:
            error.safe_to_retry = True
            raise
        finally:
            if not is_ours:
                house.live.discard(self)
                house.gates.leave(self.key)
        if is_ours:
            self._load()
            if house.is_closed:
                self.leave()
                house.check_open()
        return is_ours

    def _load(self) -> None:
        house, lease = self._house, self._lease
        record = lease.record
        is_of_here = house.given_up.pop(self.key, None) == record.idle_since
        if house.ttl is not None and lease.idle > house.ttl:
            record = lease.record = record.begun_anew()
        unsettled = record.unsettled
        if unsettled is not None and unsettled.stage is Stage.MESSAGE and (is_of_here or unsettled.is_given_up):
            # Who gave it up is not asked, even if others were told meanwhile that nobody knows.
            record = lease.record = record._replace(unsettled=unsettled._replace(bars=not is_of_here, told=False))
        if house.restarts and record.run_id is None and unsettled is not None and unsettled.told:
            # The next message begins anew. Until then it stays: whoever asks is not told that it did not arrive.
            record = lease.record = record._replace(unsettled=unsettled._replace(bars=False))
        conversation = self.conversation
        if record.run_id is None:
            conversation.begin_anew()
        else:
            conversation.go_on_with(record.run_id)
        run = conversation.run
        run.is_nameless = record.nameless and not house.restarts
        run.job, run.ended = record.token, None  # what an earlier use of the key has brought was told then
        if kept.is_known(run, record):
            self._said = None if run.unfinished is None else run.unfinished.said
        else:
            self._restore(run, record)

    def _restore(self, run: Run, record: Record) -> None:
        """Take up what another process, or an earlier use of the key, has left."""
        age = 0.0 if record.token is None else max(0.0, time.time() - record.token.started)
        now = asyncio.get_running_loop().time()
        self._said = kept.take_up(run, record, now, idle=self._lease.idle, job_age=age)

    @property
    def pending(self) -> JobToken | None:
        """The job whose answer nobody has."""
        return self._lease.record.token

    @property
    def unsettled(self) -> Unsettled | None:
        """The message whose answer nobody may have seen."""
        return self._lease.record.unsettled

    def goes_on_from_job(self) -> None:
        """What came before the job counts as told: it is not looked up."""
        unfinished = self.conversation.run.unfinished
        assert unfinished is not None  # noqa: S101 - the store has one, or this process knows of it
        unfinished.others = None

    def _on_lost(self, error: LeaseLostError) -> None:
        for turn in list(self.conversation.open_turns):
            ended = LeaseLostError(f"{error}; the turn was ended", run_id=self.conversation.run_id)
            ended.has_vanished = error.has_vanished
            turn.interrupt(ended)

    # What its conversation tells

    async def sending(self, said: Said, words: str | None, *, resumes: bool) -> None:
        """Note what is about to be sent; without that nothing is."""
        self._said = said
        self._has_sent = True
        if self.has_answer:
            self.delivered()  # who goes on has it
        self._note(**kept.sending(words, resumes=resumes))
        house = self._house
        try:
            # A turn whose message has arrived may wait for as long as the key is its own by right.
            await self._lease.save(patience=max(house.patience, house.length) if resumes else house.patience)
        except StoreError as error:
            error.safe_to_retry = True
            raise

    async def answered(self, token: JobToken | None) -> None:
        """Note the run id, and the job that the answer tells of."""
        self._note(**kept.answered(self._lease.record, token))
        self.on_answered()
        await self._save_soon()

    def blind(self, error: ToolhouseError) -> None:
        """Tell whoever wants to know that the history could not be read."""
        self.on_blind(error)

    def arrived(self) -> None:
        """Note that what was sent has arrived; the next note takes it along."""
        self._note(**kept.answered(self._lease.record, None))

    async def waiting(self, token: JobToken, *, refused: bool) -> None:
        """Note the job."""
        self._note(**kept.waiting(self._lease.record, token, refused=refused))
        await self._save_soon()

    def completed(self) -> None:
        """Note that nothing is left open; the next note takes it along."""
        self.has_answer = self.keeps_token
        if not self.keeps_token:
            self._note(unsettled=None, token=None)

    def write(self, row: Row) -> None:
        """Note what is known of the key's row of a batch; the next note takes it along."""
        self._lease.change(row=row)

    def delivered(self) -> None:
        """Note that the answer is where it belongs: what came before its job counts as told."""
        self.has_answer = False
        self.conversation.run.unfinished = None
        self._note(unsettled=None, token=None)

    def begin_anew(self) -> bool:
        """Forget a run that the service does not know, where the manager was told to."""
        conversation = self.conversation
        if not self._house.restarts:
            return False
        log.info("the service does not know run %s of a key: its conversation begins anew", conversation.run_id)
        record = self._lease.record
        self._gone = {name: getattr(record, name) for name in ("run_id", "said", "heard", "since")}
        conversation.begin_anew()
        self._lease.record = record.begun_anew()
        return True

    def _note(self, **fields: Any) -> None:
        is_open = fields.get("unsettled", self._lease.record.unsettled) is not None
        standing = kept.standing(self.conversation.run, self._said if is_open else None)
        self._lease.change(**{**standing, **fields})

    async def _save_soon(self) -> None:
        """Save, but let no answer wait for a store that is slow or fails: that goes on beside it."""
        await asyncio.wait({self._house.spawn(self._save())}, timeout=SOON)

    async def _save(self) -> None:
        try:
            await self._lease.save()
        except (LeaseLostError, ClosedError):
            pass  # the turn is ended for the one, and whoever lets the key go hears of the other
        except StoreError as error:
            if self._house.patience < math.inf:  # a batch, which waits for its store, says so once
                log.warning("a session could not be saved, and will be later: %s", error)
            self._lease.renew_soon()

    # Its end

    def leave(self) -> None:
        """Begin to let the key go, in the background."""
        self._house.gates.disown(self.key)
        self._leaving = self._house.spawn(self._leave())
        self._leaving.add_done_callback(_look_at)  # of a use that was cancelled nobody else does

    def close(self) -> None:
        """Close the conversation since the manager is closed."""
        self.conversation.close()

    async def left(self) -> StoreError | None:
        """Wait until the key is let go; why the end of its conversation could not be written down, if so.

        Cancelling the call does not cancel that.
        """
        return None if self._leaving is None else await asyncio.shield(self._leaving)

    async def _leave(self) -> StoreError | None:
        try:
            self._note(**self._left_open())
            if self.conversation.run_id is None:
                self._lease.change(**self._gone)  # it could not begin anew either
            await self._lease.release(as_found=self._has_changed_nothing())
            self._remember()
        except LeaseLostError as error:
            return None if self._lease.is_saved else self._behind_answer(error)
        except StoreError as error:
            log.error("a session could not be saved: %s", error)
            return self._behind_answer(error)
        except ClosedError as error:  # the store was closed before the key was let go
            log.error("a session could not be saved: %s", error)
            raise
        finally:
            self._house.live.discard(self)
            self._house.gates.leave(self.key)
        return None

    def _behind_answer(self, error: StoreError) -> StoreError:
        """The error with the answer that its last turn has brought, if it has: its message has arrived."""
        ended = self.conversation.run.ended
        if isinstance(ended, TurnResult):
            error.partial, error.run_id, error.safe_to_retry = ended, ended.run_id, False
        return error

    def _has_changed_nothing(self) -> bool:
        """Whether a message bars all others as before: by the time of letting go its own process knows it again."""
        unsettled = self._lease.record.unsettled
        return not self._has_sent and unsettled is not None and unsettled.bars

    def _left_open(self) -> dict[str, Any]:
        """What the conversation leaves open, in the end."""
        if self.has_answer:
            return {"heard": self._lease.record.heard}  # the answer is looked up again until it was delivered
        return {"unsettled": kept.left(self.conversation.run)}

    def _remember(self) -> None:
        """Remember that this process has given its message up: here alone the next one is sent without asking."""
        house, unsettled = self._house, self._lease.record.unsettled
        if unsettled is not None and unsettled.is_given_up and not house.is_closed:
            house.given_up[self.key] = self._lease.until
            if len(house.given_up) > MOST_GIVEN_UP:
                del house.given_up[next(iter(house.given_up))]

    async def forget(self) -> None:
        """Take the entry away, and let the key go.

        Raises:
            StoreError: That failed.
        """
        try:
            await self._lease.delete()
        except BaseException:
            self.leave()
            raise
        self._house.live.discard(self)
        self._house.gates.leave(self.key)


def _nothing(*_: object) -> None:
    """Nobody wants to know."""


def _look_at(leaving: asyncio.Task[StoreError | None]) -> None:
    if not leaving.cancelled():
        leaving.exception()
