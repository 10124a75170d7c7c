"""One use of one key: its conversation, and what of it is written down when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from .._log import log
from .._turn.fold import Fold
from .._turn.heard import NOTHING_HEARD, Heard, key_of
from .._turn.knowledge import NEVER, Unfinished
from .._turn.transcript import Transcript
from .._values.options import Options
from .._wire.records import Record, Stage, Unsettled
from ..errors import ClosedError, LeaseLostError, StoreError
from .gates import Gates, Owner
from .lease import PATIENCE, Lease

if TYPE_CHECKING:
    from .._run.conversation import Conversation
    from .._turn.heard import Said
    from .._turn.knowledge import Run
    from .._values.results import JobToken
    from ..stores import SessionStore


SOON: Final = 0.25
"""Seconds that an answer waits for its run id, or its job, to be written down."""


@define(eq=False)
class House:
    """What all uses of one manager's keys share.

    Attributes:
        agent_id: The worker.
        store: Where keys are kept.
        ttl: Seconds of silence after which a conversation starts afresh.
        restarts: Whether a conversation begins anew that the service does not know.
        length: Seconds of a lease.
        gates: The order of this process's tasks.
        live: The uses under way.
        tasks: What goes on in the background.
        is_closed: Whether no more may begin.
    """

    agent_id: str
    store: SessionStore
    ttl: float | None
    restarts: bool
    length: float
    gates: Gates = field(factory=Gates)
    live: set[Checkout] = field(factory=set["Checkout"])
    tasks: set[asyncio.Task[Any]] = field(factory=set["asyncio.Task[Any]"])
    is_closed: bool = False

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the background, which :meth:`settle` waits for."""
        try:
            task = asyncio.get_running_loop().create_task(coroutine)
        except RuntimeError:
            coroutine.close()  # the event loop is gone, and nothing can be waited for any more
            raise
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def name(self, key: str) -> str:
        """The name of a key in the store: workers may share one."""
        return f"{self.agent_id}/{key}"

    def check_open(self) -> None:
        """Check that the manager is open.

        Raises:
            ClosedError: It was closed.
        """
        if self.is_closed:
            raise ClosedError("the session manager is closed")

    async def settle(self) -> None:
        """Wait until nothing goes on in the background."""
        while self.tasks:
            await asyncio.wait(self.tasks)


class Checkout:
    """One use of one key, from asking for it to letting it go. It is its conversation's journal.

    Attributes:
        key: The key, as the user has it.
        conversation: The conversation; where it stands is known once the key is ours.
        keeps_token: Whether a job that is over counts as open until its answer was delivered.
    """

    def __init__(self, house: House, key: str, conversation: Conversation) -> None:
        self.key = key
        self.conversation = conversation
        self.keeps_token: bool = False
        self._house = house
        self._lease = Lease(house.store, house.name(key), house.length, spawn=house.spawn, on_lost=self._on_lost)
        self._leaving: asyncio.Task[StoreError | None] | None = None
        self._is_sent = False  # whether a message of the user's is on its way
        self._said: Said | None = None  # the latest message that was sent
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
            is_ours = await self._lease.acquire(unless_alive=unless_alive)
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
        if (house.ttl is not None and lease.idle > house.ttl) or (
            house.restarts and record.run_id is None and record.unsettled is not None and record.unsettled.told
        ):
            record = lease.record = record.begun_anew()
        conversation = self.conversation
        if record.run_id is None:
            conversation.begin_anew()
        else:
            conversation.go_on_with(record.run_id)
        run = conversation.run
        run.is_nameless = record.nameless and not house.restarts
        run.job, run.ended = record.token, None  # what an earlier use of the key has brought was told then
        if not _is_known(run, record):
            self._restore(run, record)

    def _restore(self, run: Run, record: Record) -> None:
        """Take up what another process, or an earlier use of the key, has left."""
        unsettled = record.unsettled
        run.transcript, run.resumed, run.unfinished, run.ended = _transcript(record), {}, None, None
        run.begun = NEVER if record.said is not None else None
        if unsettled is None:
            return
        stage, token = unsettled.stage, record.token
        if stage is Stage.JOB and token is None:
            stage = Stage.ANSWER  # the job will be seen, or what came after it
        accepted = _is_accepted(stage)
        said = run.transcript.latest if accepted else None
        if said is None:
            said = run.transcript.say(unsettled.words)
            said.is_certain = accepted
        is_resume = unsettled.resumes and stage in (Stage.RESUME, Stage.ANSWER)
        if is_resume and token is not None:
            run.resumed[token.job_id] = said  # so nobody does once more what was done, or may have been
        # The message may have been sent at any time until the lease ended.
        now = asyncio.get_running_loop().time()
        self._said = said
        run.unfinished = Unfinished(
            stage,
            said,
            unsettled.words,
            now - self._lease.idle,
            Fold(),
            Options(format=token.format if token else "ndjson"),
            round=(token.round if token else 0) + (is_resume and accepted),
            has_job=stage is Stage.JOB,
            job=None if token is None else (token.job_id, now - max(0.0, time.time() - token.started)),
            bars=unsettled.bars,
            told=unsettled.told,
        )

    @property
    def pending(self) -> JobToken | None:
        """The job whose answer nobody has."""
        return self._lease.record.token

    @property
    def unsettled(self) -> Unsettled | None:
        """The message whose answer nobody may have seen."""
        return self._lease.record.unsettled

    def _on_lost(self, error: LeaseLostError) -> None:
        for turn in list(self.conversation.open_turns):
            ended = LeaseLostError(f"{error}; the turn was ended", run_id=self.conversation.run_id)
            ended.has_vanished = error.has_vanished
            turn.interrupt(ended)

    # What its conversation tells

    async def sending(self, said: Said, words: str | None, *, resumes: bool) -> None:
        """Note what is about to be sent; without that nothing is."""
        self._said = said
        stage = Stage.RESUME if resumes else Stage.MESSAGE
        self._note(unsettled=Unsettled(words, bars=not resumes, told=resumes, resumes=resumes, stage=stage))
        try:
            await self._lease.save(patience=min(self._house.length, PATIENCE))
        except StoreError as error:
            error.safe_to_retry = True
            raise
        self._is_sent = not resumes

    async def answered(self) -> None:
        """Note the run id."""
        unsettled = self._lease.record.unsettled
        token = None if self._is_sent else self._lease.record.token
        self._is_sent = False
        self._note(unsettled=unsettled and _at(Stage.ANSWER, unsettled), token=token)
        await self._save_soon()

    async def waiting(self, token: JobToken) -> None:
        """Note the job."""
        unsettled = None if self._is_sent else self._lease.record.unsettled  # what was sent was refused for it
        unsettled = unsettled and _at(Stage.JOB, unsettled)
        self._is_sent = False
        self._note(unsettled=unsettled, token=token)
        await self._save_soon()

    def completed(self) -> None:
        """Note that nothing is left open; the next note takes it along."""
        if not self.keeps_token:
            self._note(unsettled=None, token=None)

    def delivered(self) -> None:
        """Note that the answer to a job is where it belongs: what came before the job counts as told."""
        self.conversation.run.unfinished = None
        self._note(unsettled=None, token=None)

    def begin_anew(self) -> bool:
        """Forget a run that the service does not know, where the manager was told to."""
        conversation = self.conversation
        if not self._house.restarts:
            return False
        log.info("the service does not know run %s of a key: its conversation begins anew", conversation.run_id)
        record = self._lease.record
        self._gone = {"run_id": record.run_id, "said": record.said, "heard": record.heard}
        conversation.begin_anew()
        self._lease.record = record.begun_anew()
        return True

    def _note(self, **fields: Any) -> None:
        run = self.conversation.run
        said = run.transcript.counts
        is_open = fields.get("unsettled", self._lease.record.unsettled) is not None
        tail = run.transcript.heard_before(self._said if is_open else None)
        if run.run_id is None:
            said, tail = {}, NOTHING_HEARD
        standing = {
            "run_id": run.run_id,
            "nameless": run.is_nameless,
            "said": None if said is None else dict(said),
            "heard": None if tail is None or not tail.whole else tail.pieces,
        }
        self._lease.change(**{**standing, **fields})

    async def _save_soon(self) -> None:
        """Save, but let no answer wait for a store that is slow or fails: that goes on beside it."""
        await asyncio.wait({self._house.spawn(self._save())}, timeout=SOON)

    async def _save(self) -> None:
        try:
            await self._lease.save()
        except LeaseLostError:
            pass  # the turn is ended for it
        except StoreError as error:
            log.warning("a session could not be saved, and will be later: %s", error)
            self._lease.renew_soon()

    # Its end

    def leave(self) -> None:
        """Begin to let the key go, in the background."""
        self._house.gates.disown(self.key)
        self._leaving = self._house.spawn(self._leave())

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
            await self._lease.release()
        except LeaseLostError as error:
            return None if self._lease.is_saved else error
        except StoreError as error:
            log.error("a session could not be saved: %s", error)
            return error
        finally:
            self._house.live.discard(self)
            self._house.gates.leave(self.key)
        return None

    def _left_open(self) -> dict[str, Any]:
        """What the conversation leaves open, in the end."""
        unfinished, record = self.conversation.run.unfinished, self._lease.record
        if unfinished is not None:
            unsettled = Unsettled(
                unfinished.words,
                bars=unfinished.bars,
                told=unfinished.told,
                resumes=unfinished.round > 0 or unfinished.stage is Stage.RESUME,
                stage=unfinished.stage,
            )
            return {"unsettled": unsettled}
        if self.keeps_token and record.token is not None and record.unsettled is not None and record.unsettled.resumes:
            return {"heard": record.heard}  # the answer to a resume is looked up again until it was delivered
        return {"unsettled": None}

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


def _is_known(run: Run, record: Record) -> bool:
    """Whether this process knows of a run all that the store has: nobody else has used the key since."""
    unfinished, unsettled = run.unfinished, record.unsettled
    if run.transcript.counts is None or run.transcript.counts != record.said:
        return False
    if unfinished is None or unsettled is None:
        return unfinished is None and unsettled is None
    return (unfinished.words, unfinished.stage) == (unsettled.words, unsettled.stage)


def _transcript(record: Record) -> Transcript:
    """What is known of a run by what a store keeps: of an accepted message that is open, not where its answer ends."""
    said, unsettled = record.said, record.unsettled
    heard = None if record.heard is None else Heard(record.heard, whole=True)
    if said is None or unsettled is None or not _is_accepted(unsettled.stage):
        return Transcript(said, heard)
    before = dict(said)
    key = key_of(unsettled.words)
    if before.get(key, 0) < 1:
        return Transcript(said, None)
    before[key] -= 1
    transcript = Transcript({each: times for each, times in before.items() if times}, heard)
    transcript.say(unsettled.words).is_certain = True
    return transcript


def _is_accepted(stage: Stage) -> bool:
    return stage not in (Stage.MESSAGE, Stage.RESUME)


def _at(stage: Stage, unsettled: Unsettled) -> Unsettled:
    """The same of a message that was accepted."""
    return unsettled._replace(bars=False, told=True, stage=stage)
