"""The course of one row: looked up, sent or recovered, and written down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from attrs import define, field

from .._keyed.checkout import Checkout
from .._keyed.house import House
from .._session import Session
from .._values.batches import BatchItem
from .._values.results import TurnResult
from .._wire import outcomes
from .._wire.records import Row
from ..errors import (
    APIStatusError,
    ConfigurationError,
    LeaseLostError,
    OutcomeUnknownError,
    ToolhouseError,
    WorkerError,
)
from .gate import Gate, Stopped
from .speed import Speed
from .steps import Step, Verdict, is_away, shows_outage, step_for, verdict_on, was_accepted

if TYPE_CHECKING:
    from .._run.conversation import Conversation
    from .._values.options import TurnOptions
    from .rows import Question

RECOVERIES: Final = 3
"""How often an answer is looked for, the service being there, before its row has failed."""


@define(eq=False)
class Aside:
    """A row that another process has: it is looked at now and then, until that has let it go."""

    question: Question
    checkout: Checkout


@define(eq=False)
class Shared:
    """What all rows of a batch share.

    Attributes:
        house: Their keys in the store.
        conversations: Makes the conversation of a run with the worker, or a new one.
        options: Of their turns.
        gate: What they wait for.
        retry_unknown: Whether a message is sent again of which nobody knows whether it was accepted.
        speed: How fast this process works.
        known_run: A run that the service knows.
        looking: Rows that send no message: their answers were cut, and are looked for once more.
        on_room: Called when another row may begin in place of one of these.
    """

    house: House
    conversations: Callable[[str | None], Conversation]
    options: TurnOptions
    gate: Gate
    retry_unknown: bool
    speed: Speed
    known_run: str | None = None
    looking: set[asyncio.Task[object] | None] = field(factory=set)
    on_room: Callable[[], None] = lambda: None

    async def is_there(self) -> bool:
        """Whether the service answers a read; where no run is known to read, only a message can find out."""
        if self.known_run is None:
            return True
        try:
            await self.conversations(self.known_run).read()
        except ToolhouseError as error:
            return not is_away(error)
        return True

    def step_for(self, question: Question, checkout: Checkout) -> Step:
        """What to do with a row, by what the store has said of it last.

        Raises:
            ConfigurationError: Its message has changed.
        """
        record = checkout.found
        step = step_for(record, question.digest, is_free=checkout.is_free, retry_unknown=self.retry_unknown)
        if step is Step.REFUSE:
            else_ = "give the row another key, or the batch another name"
            if question.key == str(question.number):  # its place
                else_ = (
                    "put the rows back in their places, with new ones behind them, or give the batch another name, "
                    "which asks all of them"
                )
            raise ConfigurationError(
                f"{question.name} has another message than when it was asked; if it failed, retry_failed() "
                f"(on the command line: batch retry) lets it be asked anew; else {else_}"
            )
        return step


async def follow(shared: Shared, question: Question) -> BatchItem | Aside | None:
    """Bring a row to its end, or to where another process has it; ``None`` if the batch was stopped before it began.

    Raises:
        ConfigurationError: Its message has changed.
        StoreError: The store failed for good.
        ClosedError: The client is closed.

    Cancelling closes its turn, and lets the row go in the background.
    """
    task = asyncio.current_task()
    try:
        while True:
            checkout = Checkout(shared.house, question.key, shared.conversations(None))
            await checkout.look()
            step = shared.step_for(question, checkout)
            shared.gate.compared(question.number)
            if step is Step.GIVE:
                return _given(shared, question, checkout)
            if step is Step.LEAVE:
                return Aside(question, checkout)
            shared.speed.began()
            if step is not Step.NOTE_UNKNOWN:
                await shared.gate.wait_for_those_before(question.number)
                await shared.gate.enter(paced=step is Step.ASK)
            # The note before a message, and that of an unknown outcome, write down who has the row by themselves.
            if await checkout.take(lambda: task, writes=step is Step.RECOVER):
                item = await _take(shared, question, checkout, step)
                if item is not None:
                    shared.speed.ended()
                    return item
    except Stopped:
        return None
    finally:
        shared.looking.discard(task)
        shared.gate.left()


def _given(shared: Shared, question: Question, checkout: Checkout) -> BatchItem:
    """The item of a row that is over, from the store."""
    row = checkout.found.row
    assert row is not None  # noqa: S101 - what is over has one
    outcome = outcomes.loads(row.outcome)
    if isinstance(outcome, TurnResult):
        shared.known_run = outcome.run_id or shared.known_run
        return BatchItem(question.key, question.row, "done", outcome, from_store=True)
    status: Literal["unknown", "failed"] = "unknown" if row.status == "unknown" else "failed"
    if status == "unknown":
        again = "retry_unknown=True asks again"
    elif was_accepted(outcome):
        again = "retry_failed() has its answer looked for once more"
    else:
        again = "retry_failed() has the row asked again"
    outcome.add_note(f"from the store: this start has not asked; {again}")  # the text stays what was stored
    return BatchItem(question.key, question.row, status, error=outcome, from_store=True)


async def _take(shared: Shared, question: Question, checkout: Checkout, step: Step) -> BatchItem | None:
    """Work on a row that is ours, and let it go; ``None`` if it is to be looked at again."""
    checkout.keeps_token = True
    checkout.on_answered = shared.gate.worked
    checkout.on_blind = shared.gate.blind
    item = None
    try:
        item = await _Work(shared, question, checkout).do(step)
        if item is not None:
            outcome = item.error if item.result is None else item.result
            assert outcome is not None  # noqa: S101 - it has one of them
            if item.result is not None:
                checkout.delivered()
            checkout.write(Row(question.digest, item.status, outcomes.dumps(outcome)))
    finally:
        checkout.conversation.close()
        checkout.leave()
    lost = await checkout.left()
    if lost is not None and not (isinstance(lost, LeaseLostError) and not lost.has_vanished):
        raise lost
    return None if lost is not None else item


class _Work:
    """What is done with a row while it is ours."""

    def __init__(self, shared: Shared, question: Question, checkout: Checkout) -> None:
        self._shared = shared
        self._question = question
        self._checkout = checkout
        self._session = Session(checkout.conversation)
        self._recovers = False
        self._recoveries = 0

    async def do(self, step: Step) -> BatchItem | None:
        """Do what is to be done; ``None`` if the row is to be looked at again."""
        if step is Step.NOTE_UNKNOWN:
            why = "sending this message was interrupted before its answer began; nobody knows whether it was accepted"
            return self._item("unknown", OutcomeUnknownError(why))
        self._recovers = step is Step.RECOVER
        if not self._recovers:
            await self._session.reconcile(assume="absent")  # with retry_unknown that is the user's decision
            self._checkout.write(Row(self._question.digest, "open", ""))
        while True:
            began = asyncio.get_running_loop().time()
            try:
                result = await self._turn()
            except Exception as error:  # noqa: BLE001 - one failure, of whatever kind, never ends the batch
                failure = error
            else:
                self._shared.gate.worked()
                self._shared.known_run = result.run_id or self._shared.known_run
                return BatchItem(self._question.key, self._question.row, "done", result)
            verdict = verdict_on(failure, is_accepted=self._checkout.conversation.run.has_begun)
            if verdict is not Verdict.RECOVER:
                return self._judged(verdict, failure, began)
            if await self._is_lost(failure, began):
                return self._item("failed", failure)

    async def _turn(self) -> TurnResult:
        if self._recovers:
            return await self._session.recover(None, **self._shared.options)
        return await self._session.send(self._question.message, **self._shared.options)

    def _judged(self, verdict: Verdict, error: Exception, began: float) -> BatchItem | None:
        gate = self._shared.gate
        if verdict is Verdict.STOP:
            raise error
        if verdict is Verdict.TAKEN:
            return None
        if shows_outage(error, is_accepted=self._checkout.conversation.run.has_begun):
            gate.failed(error, began=began, name=self._question.name)
        elif isinstance(error, APIStatusError | WorkerError):
            gate.worked()
        if verdict is Verdict.AGAIN:
            return None
        if verdict is Verdict.UNKNOWN:
            return self._item("unknown", error)
        if isinstance(error, WorkerError) or not self._checkout.conversation.run.has_begun:
            self._checkout.conversation.begin_anew()  # there is no answer to look for
        return self._item("failed", error)

    async def _is_lost(self, error: Exception, began: float) -> bool:
        """Wait until the answer may be looked for again; whether that was often enough."""
        shared = self._shared
        self._recovers = True
        shared.known_run = self._session.run_id or shared.known_run
        if await shared.is_there():
            self._recoveries += 1
            shared.looking.add(asyncio.current_task())
            shared.on_room()
            return self._recoveries >= RECOVERIES
        shared.gate.failed(error, began=began, name=self._question.name)
        await shared.gate.enter(paced=False)
        return False

    def _item(self, status: Literal["failed", "unknown"], error: Exception) -> BatchItem:
        return BatchItem(self._question.key, self._question.row, status, error=error)


async def settle(house: House, patience: float) -> None:
    """Wait until what rows have left is written down, but no longer than this: a store that is away says nothing."""
    if house.tasks:
        _, late = await asyncio.wait(set(house.tasks), timeout=patience)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
