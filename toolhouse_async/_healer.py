"""The steps of a turn that go by the history: settling, recovering, and finding out what became of a message."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final, Literal

from ._engine import Engine
from ._healing import Healing
from ._log import log
from ._results import JobStatus, JobToken, Message, TurnResult
from ._wire.fold import Fold
from ._wire.history import Place, find_reply
from ._wire.steps import Signal, State
from .errors import (
    IdleTimeoutError,
    OutcomeUnknownError,
    ResumeUncertainError,
    StreamInterruptedError,
    ToolhouseError,
)
from .events import StreamRecovered, TextDelta

if TYPE_CHECKING:
    from ._conversation import Conversation
    from ._options import Options
    from ._run import Uncertain
    from ._settings import PollingPolicy
    from ._shared import SharedResume
    from ._stream import EventStream


_NOWHERE: Final = Place(None)


class Healer(Engine):
    """An exchange's knowledge of what it has received, and how it is compared with the history and healed.

    Attributes:
        conversation: Whose turn it is.
        state: What it is doing.
        status: What the last good reading of the run said.
    """

    __slots__ = (
        "_cut",
        "_deadline",
        "_fold",
        "_healing",
        "_idle",
        "_known",
        "_lost",
        "_options",
        "_place",
        "_polling",
        "_resumes",
        "_stream",
        "_timeout",
        "_uncertain",
        "conversation",
        "state",
        "status",
    )

    def __init__(
        self,
        conversation: Conversation,
        options: Options,
        state: State,
        polling: PollingPolicy | None,
        timeout: float | None,
    ) -> None:
        super().__init__(conversation.core)
        self.conversation: Conversation = conversation
        self.state: State = state
        self.status: JobStatus | None = None
        self._options = options
        self._polling = polling or conversation.core.polling
        self._timeout = timeout
        self._deadline: float | None = None
        self._fold = Fold()
        self._stream: EventStream | None = None
        self._known: tuple[Message, ...] | None = None  # the history, as read just before the next message
        self._place = _NOWHERE
        self._healing: Healing | None = None
        self._uncertain: Uncertain | None = None  # the message that is looked for
        self._cut: str | None = None  # why the answer of this round is not known to be whole
        self._idle = False  # whether silence was the reason
        self._lost = False  # whether nobody knows if the resume was accepted
        self._resumes = False  # whether a job has followed the answer that was cut

    @property
    def partial(self) -> TurnResult:
        """What has been received so far."""
        return self._received()

    def _received(
        self, status: Literal["background", "completed"] = "completed", token: JobToken | None = None
    ) -> TurnResult:
        return self._fold.result(self.conversation.agent_id, self.conversation.run_id, status=status, token=token)

    @property
    def _can_heal(self) -> bool:
        return self._options.recover and self.conversation.run_id is not None

    def _interrupted(self, partial: TurnResult | None = None) -> ToolhouseError:
        kind = IdleTimeoutError if self._idle else StreamInterruptedError
        return kind(f"the answer was cut: {self._cut}"[:1000], partial=partial or self.partial)

    async def _read(self) -> JobStatus:
        run_id = self.conversation.known_run_id()
        self.status = await self._core.service.read(self.conversation.agent_id, run_id, self._deadline)
        return self.status

    async def _settling(self) -> Signal | None:
        stream, text = self._stream, self._fold.round_text
        assert stream is not None  # noqa: S101 - the state says so
        try:
            status = await self._read()
            if status.job_id is not None:
                return self._job(status.job_id)
            reply = find_reply(status.history or (), self._place, text)
            agrees = stream.is_proven if reply is None else reply.strip() == text.strip()
        except ToolhouseError as error:
            if self.conversation.run_id is None:
                raise
            log.info("run %s: its history could not be read: %s", self.conversation.run_id, error)
            agrees = stream.is_proven and self._options.settle == "auto"
        if agrees:
            return Signal.SAME
        self._cut = "it ended, but the history does not show that this is the whole of it"
        if not self._can_heal:
            raise self._interrupted()
        return Signal.DIFFERS

    async def _recovering(self) -> Signal | None:
        conversation = self.conversation
        if self._uncertain is not None:
            await conversation.run.acquire(self)
            self._place = self._uncertain.place
        healing = self._healing
        if healing is None:
            healing = self._healing = Healing(
                self._core,
                self._polling,
                self._place,
                self._fold.round_text,
                open_end=self._resumes,
                may_stand_open=self._lost or self._uncertain is not None,
                since=self._uncertain.since if self._uncertain else None,
            )
        try:
            status = await healing.look(conversation.agent_id, conversation.known_run_id())
        except ToolhouseError as error:
            failure = self._unhealed(f"the history cannot be read: {error}")
        else:
            if status is not None and status.job_id is not None:
                self._healing = None
                self._resumes = True
                return self._job(status.job_id)
            if self._uncertain is not None and (signal := self._ascertain(healing, status)) is not None:
                return signal
            if self._lost and healing.waits_for_resume:
                self._resumes = True  # it was accepted, and a job that it started is over
                return self._heal(healing)
            if healing.is_found and (self._uncertain is None or healing.arrived):
                return self._heal(healing)
            if not healing.is_too_late:
                return None
            failure = self._unhealed("the history does not show the whole of it")
        raise failure

    def _ascertain(self, healing: Healing, status: JobStatus | None) -> Signal | None:
        """What the history says of a message of unknown fate; ``None`` while it may say more."""
        if healing.is_absent:
            self.conversation.run.uncertain = None
            return Signal.ABSENT
        if status is not None and healing.arrived is None:
            raise self._unhealed("the same words may have been said before")
        if healing.waits_for_resume and healing.arrived:
            self._resumes = True  # a job that it started is over
            return self._heal(healing)
        if healing.is_too_late and healing.arrived:
            self._certain()
            self._cut = "the message had arrived, and the history does not show the whole of its answer"
            error = self._interrupted()
            error.safe_to_retry = False
            raise error
        return None

    def _heal(self, healing: Healing) -> Signal:
        """Put the history's answer in place of what was received."""
        reply, partial = healing.reply or "", self._fold.round_text
        missing = reply.removeprefix(partial) if reply.startswith(partial) else ""
        if self._uncertain is not None:
            self._certain()
        elif self._lost:
            self._lost = False
            self._accepted()
        self._fold.heal(reply)
        self.events.append(StreamRecovered(reply, missing))
        if missing:
            self.events.append(TextDelta(missing))
        self._cut, self._healing, self._idle = None, None, False
        if not self._resumes:
            return Signal.HEALED
        self._resumes = False
        self._known = healing.history
        self._fold.next_round()
        return Signal.HEALED_RESUME

    def _certain(self) -> None:
        """The message of unknown fate has arrived, and its answer is here."""
        run = self.conversation.run
        run.said(self._place.words)
        run.uncertain = self._uncertain = None

    def _unhealed(self, why: str) -> ToolhouseError:
        if self._uncertain is not None:
            return OutcomeUnknownError(f"nobody can know yet what became of the message: {why}"[:1000])
        self._cut = f"{self._cut}; {why}"
        return ResumeUncertainError(self._cut[:1000]) if self._lost else self._interrupted()

    async def _make_certain(self) -> None:
        """Before the next message: find out whether an earlier one of unknown fate did arrive.

        Raises:
            OutcomeUnknownError: It did, or that cannot be told.
        """
        conversation, run = self.conversation, self.conversation.run
        uncertain = run.uncertain
        if uncertain is None or not uncertain.bars:
            return
        if conversation.run_id is None:
            run.uncertain = uncertain._replace(told=True)
            raise OutcomeUnknownError(
                "nobody can know whether the message was accepted that was to start this conversation; "
                "begin another session (or SessionManager.forget() the key) to say it anew"
            )
        if not uncertain.told:
            run.uncertain = uncertain._replace(told=True)
            raise OutcomeUnknownError(
                "a process ended while it was sending a message of this conversation, and nobody knows whether it was "
                "accepted: await session.reconcile() finds out; this message was not sent"
            )
        check = Healing(
            self._core, self._polling, uncertain.place, "", open_end=False, may_stand_open=False, since=uncertain.since
        )
        while not check.is_absent:
            status = await check.look(conversation.agent_id, conversation.run_id)
            if check.arrived:
                raise OutcomeUnknownError(
                    "an earlier message, of which nobody knew whether it had been accepted, did arrive: "
                    "await session.reconcile() brings its answer; this message was not sent",
                    safe_to_retry=False,
                )
            if check.is_too_late or (status is not None and check.arrived is None):
                raise OutcomeUnknownError(
                    "nobody can know yet whether an earlier message was accepted; this one was not sent"
                )
        run.uncertain = None
        self._known = check.history

    @abstractmethod
    def _job(self, job_id: str) -> Signal:
        """A job runs: wait for it, or leave it to the user."""

    @abstractmethod
    def _accepted(self) -> None:
        """The service took the message."""

    @abstractmethod
    def inherit(self, resume: SharedResume) -> None:
        """Take part in a resume that another exchange sends, in place of sending one."""
