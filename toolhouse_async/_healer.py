"""The steps of a turn that go by the history: settling, recovering, and finding out what became of a message."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final, Literal

from ._engine import Engine
from ._healing import Healing
from ._log import log
from ._results import JobStatus, JobToken, Message, TurnResult
from ._wire.fold import Fold
from ._wire.history import Place, find_reply, goes_on_from, is_same_text
from ._wire.settling import Ended, Verdict, compare
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
        "_is_between_rounds",
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
        self._is_between_rounds = False  # whether a round is over and its resume not accepted

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
        """Compare an answer that ended with the history, as often as that takes."""
        stream, conversation = self._stream, self.conversation
        assert stream is not None  # noqa: S101 - the state says so
        run_id = conversation.known_run_id()
        if self._healing is None:
            self._healing = self._search(self._fold.round_text)
        healing = self._healing
        is_strict = self._options.settle is True or not stream.is_proven
        job_id = stream.answer.job_id
        try:
            status = await healing.look(conversation.agent_id, run_id)
        except ToolhouseError as error:
            log.info("run %s: its history could not be read: %s", run_id, error)
            verdict = Verdict.DIFFERS if is_strict else Verdict.SAME
        else:
            if status is None and not healing.is_patient:
                return None
            job_id = healing.job_id or job_id
            if job_id is not None and not is_strict:
                return self._settled(Verdict.SAME, job_id)
            answer = Ended(
                self._fold.round_text,
                proven=stream.is_proven,
                strict=is_strict,
                open_call=self._fold.unanswered_call,
                has_job=job_id is not None,
            )
            verdict = compare(answer, healing.reply, rested=healing.is_rested, patient=healing.is_patient)
            if verdict is Verdict.AGAIN and healing.is_too_late:
                verdict = Verdict.DIFFERS
        return self._settled(verdict, job_id)

    def _settled(self, verdict: Verdict, job_id: str | None) -> Signal | None:
        """Go by what the history says of an answer, and of the job that follows it, if one does."""
        if verdict is Verdict.AGAIN:
            return None
        if verdict is Verdict.DIFFERS:
            self._cut = "it ended, but the history does not show that this is the whole of it"
            if not self._can_heal:
                raise self._interrupted()
            if job_id is None:
                return Signal.DIFFERS  # the search goes on
            self._resumes = True
        healing, self._healing = self._healing, None
        if job_id is not None:
            return self._job(job_id)
        if verdict is Verdict.SAME:
            return Signal.SAME
        assert healing is not None  # noqa: S101 - the verdict came of it
        self._known = healing.history
        self._count_job()
        self._resume()
        return Signal.WAITS

    def _search(self, partial: str, *, has_job: bool = False) -> Healing:
        """Prepare to look for the answer under way."""
        since = None if self._uncertain is None else self._uncertain.since
        return Healing(self._core, self._polling, self._place, partial, has_job=has_job, since=since)

    async def _recovering(self) -> Signal | None:
        conversation = self.conversation
        if self._uncertain is not None:
            await conversation.run.acquire(self)
            self._place = self._uncertain.place
        if self._healing is None:
            self._healing = self._search(self._fold.round_text, has_job=self._resumes)
        healing = self._healing
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
            if self._waits_for_resume(healing):
                return self._heal_unseen_job(healing)
            if healing.is_found and (self._uncertain is None or healing.arrived):
                return self._heal(healing)
            if not healing.is_too_late:
                return None
            failure = self._unhealed("the history does not show the whole of it")
        raise failure

    def _waits_for_resume(self, healing: Healing) -> bool:
        """Whether the run waits to be resumed, although no job was seen.

        Where the resume was lost, it was accepted if its answer stands there. Where an answer was cut, the worker may
        only be slow after a tool's result: that takes as long as the answer is looked for.
        """
        if self._uncertain is not None or not healing.waits_for_resume:
            return False
        return self._lost or healing.is_too_late

    def _ascertain(self, healing: Healing, status: JobStatus | None) -> Signal | None:
        """What the history says of a message of unknown fate; ``None`` while it may say more."""
        if healing.is_absent:
            self.conversation.run.uncertain = None
            return Signal.ABSENT
        if status is not None and healing.arrived is None:
            raise self._unhealed("the same words may have been said before")
        if healing.waits_for_resume and healing.arrived:
            return self._heal_unseen_job(healing)
        if healing.is_too_late and healing.arrived:
            self._certain()
            self._cut = "the message had arrived, and the history does not show the whole of its answer"
            error = self._interrupted()
            error.safe_to_retry = False
            raise error
        return None

    def _heal_unseen_job(self, healing: Healing) -> Signal:
        """Heal an answer that waits to be resumed after a job that was over before anybody looked."""
        self._count_job()
        self._resumes = True
        return self._heal(healing)

    def _heal(self, healing: Healing) -> Signal:
        """Put the history's answer in place of what was received."""
        reply, partial = "" if healing.reply is None else healing.reply.text, self._fold.round_text
        if self._uncertain is not None:
            self._certain()
        elif self._lost:
            self._lost = False
            self._accepted()
        if reply:
            is_trimmed = is_same_text(reply, partial) and not reply.startswith(partial)
            self._take_over(partial if is_trimmed else reply, partial)
        self._cut, self._healing, self._idle = None, None, False
        if not self._resumes:
            return Signal.HEALED
        self._resumes = False
        self._known = healing.history
        self._resume()
        return Signal.HEALED_RESUME

    def _take_over(self, reply: str, partial: str) -> None:
        """Let the history's words stand for those received, and give what is missing of them."""
        missing = reply.removeprefix(partial) if reply.startswith(partial) else ""
        self._fold.heal(reply)
        self.events.append(StreamRecovered(reply, missing))
        if missing:
            self.events.append(TextDelta(missing))

    def _make_whole(self) -> None:
        """Once the round's job is over: give what the history has of its words that did not come.

        Framing proves only the last hop: a proxy can make a clean end of a cut. The last poll has read the history.
        """
        if self._stream is None or self._known is None or not self._can_heal or self._options.settle is False:
            return
        partial = self._fold.round_text
        reply = find_reply(self._known, self._place, partial) if partial else None
        if reply is not None and goes_on_from(reply.text, partial) and not is_same_text(reply.text, partial):
            self._take_over(reply.text, partial)

    def _resume(self) -> None:
        """The round is over, and the run is to be resumed."""
        self.conversation.run.heard = self._fold.round_text
        self._fold.next_round()
        self._is_between_rounds = True

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
        check = Healing(self._core, self._polling, uncertain.place, "", since=uncertain.since)
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
    def _count_job(self) -> None:
        """One more job of this turn, seen or not."""

    @abstractmethod
    def _accepted(self) -> None:
        """The service took the message."""

    @abstractmethod
    def inherit(self, resume: SharedResume) -> None:
        """Take part in a resume that another exchange sends, in place of sending one."""
