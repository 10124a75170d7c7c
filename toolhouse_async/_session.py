"""One conversation with a worker."""

from __future__ import annotations

from collections.abc import Collection, Generator
from copy import copy
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar, Unpack

from attrs import evolve

from ._driver import Driver
from ._held import EventReader, Turn
from ._log import log
from ._run.conversation import Conversation
from ._turn.table import State
from ._values.nested import half_made
from ._values.options import Options, TurnOptions, check_count, check_known, check_message, check_timeout
from ._values.results import JobStatus, JobToken, Message, TurnResult
from ._values.settings import PollingPolicy, check_setting
from .errors import AnswerFormatError, ClosedError, ConfigurationError, OutcomeUnknownError, ToolhouseError

T = TypeVar("T")


class Session:
    """One conversation with a worker; made by :meth:`AsyncToolhouse.session`.

    The first turn starts a run, later ones continue it. Turns on one run are serialised within a client, whichever
    session they come from, in the order of their first steps. A session holds no connection; closing it ends its
    open turns.
    """

    __slots__ = ("__weakref__", "_conversation")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @half_made
    def __repr__(self) -> str:
        return f"<Session of agent {self.agent_id}, run {self.run_id}>"

    @property
    def agent_id(self) -> str:
        """The worker."""
        return self._conversation.agent_id

    @property
    def run_id(self) -> str | None:
        """The conversation; ``None`` before the first answer, then always as the latest answer has it."""
        return self._conversation.run_id

    def stream(self, message: str | None = None, **turn_options: Unpack[TurnOptions]) -> Turn:
        """Prepare a turn; nothing is sent before its first step.

        Args:
            message: What to say. ``None`` does not mean nothing: it starts a run without a message, and sends an empty
                one to a run that has begun. A text that may be missing, as that of a picture in a chat, is yours to
                check.
            **turn_options: See :class:`~toolhouse_async.TurnOptions`.

        Raises:
            ConfigurationError: An argument is wrong.
            ClosedError: The session is closed.
        """
        self._conversation.check_open()
        check_message(message)
        options = make_options(turn_options)
        conversation = self._conversation
        return Turn(Driver(conversation, conversation.turn(options, message=message), timeout=options.timeout))

    async def send(self, message: str | None = None, **turn_options: Unpack[TurnOptions]) -> TurnResult:
        """Make a whole turn and return its result. Arguments as for :meth:`stream`: ``None`` sends an empty message.

        Raises:
            ToolhouseError: The turn failed; see the tree in :mod:`toolhouse_async.errors`.

        Cancelling closes the turn; the message was sent by then or not.
        """
        return await self.stream(message, **turn_options).result()

    async def ask(
        self,
        message: str | None,
        type: type[T],  # noqa: A002 - the name that fits
        *,
        attempts: int = 1,
        **turn_options: Unpack[TurnOptions],
    ) -> T:
        """Make a whole turn and return its answer as ``type``, read as :meth:`TurnResult.parse` reads it.

        Where the answer does not fit, the worker is told what is wrong with it, and asked for the whole answer again:
        in the same conversation, as often as ``attempts`` allows. Each attempt is one message, and stands in the
        history.

        Args:
            message: What to say; it should ask for JSON, and say of what form.
            type: An attrs class, dataclass or TypedDict (by cattrs, extra ``[parse]``), or a pydantic model.
            attempts: The most messages that are sent.
            **turn_options: See :class:`~toolhouse_async.TurnOptions`; for each attempt, so ``timeout`` is that of one
                turn. ``background="detach"`` is refused, since such a turn may end before its answer.

        Raises:
            AnswerFormatError: No answer fits ``type``; its ``partial`` is the last turn, its ``attempts`` their number.
            ConfigurationError: An argument is wrong, or cattrs is not installed; nothing was sent.
            ToolhouseError: A turn failed, whichever attempt it was. It is not made again.

        Cancelling closes the turn under way; its message was sent by then or not.
        """
        from ._values.parse import check_type, correction, name_of  # here, since few programs need it

        self._conversation.check_open()
        check_message(message)
        if make_options(turn_options, ("attempts",)).background == "detach":
            raise ConfigurationError("ask() needs the whole answer: background must be 'resume'")
        attempts = check_count(attempts, "attempts")
        check_type(type)
        attempt = 0
        while True:
            attempt += 1
            result = await self.send(message, **turn_options)
            try:
                return result.parse(type)
            except ValueError as error:
                wrong = error
            log.info("run %s: answer %d of at most %d is no %s", result.run_id, attempt, attempts, name_of(type))
            if attempt == attempts:
                break
            message = correction(str(wrong))
        counted = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        failed = AnswerFormatError(
            f"the answer is no {name_of(type)} after {counted}: {wrong!s:.2000}",
            run_id=result.run_id,
            safe_to_retry=False,
            partial=result,
        )
        failed.attempts = attempts
        raise failed from wrong

    async def history(self) -> list[Message]:
        """Read the whole conversation: one GET, retried as reads may be. Empty before the first answer.

        Raises:
            ToolhouseError: It cannot be read.

        May be cancelled and repeated at will.
        """
        self._conversation.check_open()
        if not self._conversation.run.has_begun:
            return []
        return await self._conversation.history()

    async def job_status(self) -> JobStatus:
        """Ask once whether a background job is running.

        Raises:
            ConfigurationError: There is no run yet.
            ToolhouseError: The run cannot be read.

        May be cancelled and repeated at will.
        """
        self._conversation.check_open()
        if not self._conversation.run.has_begun:
            raise ConfigurationError("there is no run yet: the session has not had an answer")
        return await self._conversation.read()

    async def reconcile(self, *, assume: Literal["absent"] | None = None) -> TurnResult | None:
        """Find out what became of the last message.

        A turn that is under way on the run is waited for first. Where the last turn brought a result, that is returned.
        Else its outcome may be unknown (:class:`~toolhouse_async.OutcomeUnknownError`), or it was cut, cancelled or
        closed, or it timed out. Then the history is read until it shows what became of the message; jobs that it has
        started are waited for, and the run is resumed after them, with the ``headers`` and ``timeouts`` of its turn.

        Args:
            assume: ``"absent"`` settles, without looking, that a message did not arrive of which nobody knows that. It
                is your decision: if it did arrive all the same and you send it again, the service has it twice.

        Returns:
            The answer, all rounds of it, if the message had arrived; ``None`` if it had not (then sending it again is
            right), or if there is nothing to find out: nothing was ever sent, or whoever had the key of a
            :class:`~toolhouse_async.SessionManager` before has got the answer or the proof. The proof is a history that
            holds all that was said and heard before and nothing else, for ``RecoveryPolicy.absence`` seconds, or for
            ``RecoveryPolicy.quiet`` where the service was seen to show messages before they were answered.

        Raises:
            OutcomeUnknownError: Nobody can know, now or at all (the message was to start the conversation).
            SessionBusyError: The turn under way is one that this task reads.
            ToolhouseError: It arrived, and the turn failed later.
            ConfigurationError: ``assume`` is neither ``"absent"`` nor ``None``.

        May be cancelled and repeated at will: what was learned is kept.
        """
        self._conversation.check_open()
        if assume not in ("absent", None):
            raise ConfigurationError(f"assume must be 'absent' or None, not {assume!r:.80}")
        conversation = self._conversation
        run = conversation.run
        if run.unfinished is None:
            await conversation.rest()  # the message may be on its way, or its answer
        unfinished = run.unfinished
        if unfinished is not None and unfinished.is_uncertain and assume is not None:
            run.transcript.take_back(unfinished.said)
            run.unfinished = unfinished = None
            return None
        if unfinished is None:
            if isinstance(run.ended, ToolhouseError):
                raise copy(run.ended)
            return run.ended
        if run.run_id is None:
            raise OutcomeUnknownError(
                "the message was to start the conversation: without its run id there is no history to look in; "
                "reconcile(assume='absent') settles it by your decision"
            )
        options = evolve(unfinished.options, background="resume", timeout=None)
        machine = conversation.turn(options, state=State.FINDING)
        if unfinished.is_uncertain:
            machine.progress.said = unfinished.said  # which a turn before this one may settle
        return await _drive(Driver(conversation, machine))

    async def recover(self, message: str | None = None, **turn_options: Unpack[TurnOptions]) -> TurnResult:
        """Get the answer to a message that another process has sent, which was ended before it had the whole of it.

        The history is read until it shows the answer. A job that runs is waited for, and the run is resumed where it
        waits for that. Nothing else is sent.

        Args:
            message: The message; the last of these words counts. ``""`` is that of a conversation which was begun
                without a message. ``None`` is the last message of the run. One without words counts as a resume, and so
                does one that says ``resume_message``.
            **turn_options: See :class:`~toolhouse_async.TurnOptions`. Those of a user's message have no effect:
                ``on_conflict``, ``extra_body``. ``recover``, ``settle`` and ``format`` are for the answer to a resume.

        Returns:
            The answer, all rounds of it, with its tool calls as far as the history has them. Where this client has had
            the answer itself, its own result.

        Raises:
            ConfigurationError: There is no run yet, or an argument is wrong.
            OutcomeUnknownError: The history has not shown the message by ``RecoveryPolicy.deadline``. Nobody can know
                whether it was accepted: this client cannot tell what it does not show from what is late.
            StreamInterruptedError: The message was accepted, and the history has not shown the whole of its answer by
                then; ``partial`` is what it shows.
            ToolhouseError: The run cannot be read, or the turn failed later; see :meth:`send`.

        May be cancelled and repeated at will: what was sent is known to this client, and not sent again.
        """
        conversation = self._conversation
        conversation.check_open()
        check_message(message)
        options = make_options(turn_options)
        if not conversation.run.has_begun:
            raise ConfigurationError("there is no run to recover: make the session with run_id=")
        conversation.core.check_usable()
        time = conversation.core.time
        left = options.timeout
        ends = None if left is None else time() + left
        while True:
            machine = conversation.turn(options, message=message, state=State.RECOVERING)
            result = await _drive(Driver(conversation, machine, timeout=left))
            if result is not None and (message is None or machine.progress.began is State.RECOVERING):
                return result
            # What this client had left open is settled, and was not what is asked for, as far as it can tell.
            left = None if ends is None else max(0.0, ends - time())

    def wait_for_job(
        self,
        *,
        resume_message: str = "",
        polling: PollingPolicy | None = None,
        timeout: float | None = None,
    ) -> BackgroundJobWaiter:
        """Prepare to wait for the run's background job; see :class:`~toolhouse_async.BackgroundJobWaiter`."""
        self._conversation.check_open()
        return BackgroundJobWaiter(self, resume_message=resume_message, polling=polling, timeout=timeout)

    async def aclose(self) -> None:
        """End the session's open turns with ``ClosedError``. The run goes on at the service. Idempotent."""
        self._conversation.close()


class BackgroundJobWaiter(EventReader):
    """Waits until a run's background job is over, resumes the run, and so on for every further job.

    ``await waiter`` gives the :class:`~toolhouse_async.TurnResult` of all that follows the job; iterating gives
    the same as events; :meth:`wait` only waits and sends nothing. Made by :meth:`Session.wait_for_job` and
    :meth:`AsyncToolhouse.wait_for_job` too.

    Args:
        session: The conversation whose job to wait for. One that runs no job is resumed after one poll; not where this
            client has resumed it after that job already: then the answer comes from the history.
        resume_message: What the automatic resume says.
        polling: How to poll; default as the client does.
        timeout: Seconds for everything; ``None`` waits as long as ``polling`` allows.

    Raises:
        ConfigurationError: The session has no run yet, or an argument is wrong.

    Cancelling one who waits stops neither the job nor anybody else who waits for it.
    """

    def __init__(
        self,
        session: Session,
        *,
        resume_message: str = "",
        polling: PollingPolicy | None = None,
        timeout: float | None = None,
    ) -> None:
        conversation = session._conversation  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        if conversation.run_id is None:
            raise ConfigurationError("there is no run to wait for: the session has not had an answer yet")
        timeout = check_timeout(timeout)
        if polling is not None:
            check_setting("polling", polling, PollingPolicy)
        left = conversation.run.job
        options = Options(format=left.format if left else "ndjson", resume_message=resume_message)
        self._session = session
        turn = conversation.turn(options, state=State.WAITING, polling=polling)
        super().__init__(Driver(conversation, turn, timeout=timeout))

    def __await__(self) -> Generator[Any, None, TurnResult]:
        return self.result().__await__()

    @half_made
    def __repr__(self) -> str:
        conversation = self._driver.conversation
        return f"<BackgroundJobWaiter for agent {conversation.agent_id}, run {conversation.run_id}>"

    @property
    def token(self) -> JobToken | None:
        """What waits for the same job in another process; ``None`` before its id is known."""
        return self._driver.turn.token

    async def wait(self) -> JobStatus:
        """Wait until the job is over, and send nothing.

        Returns:
            What the service said last, the history included. Over means finished or failed: the API does not say.

        Raises:
            JobWaitTimeoutError: It was still running at the deadline.
            ContactLostError: Too many polls failed.
            ToolhouseError: The run cannot be read.
        """
        driver = self._driver
        driver.check_loop()
        driver.turn.only_waits = True
        while driver.turn.state is State.WAITING and not driver.is_over:
            self._events.clear()
            await driver.advance()
        self._events.clear()
        if driver.error is not None:
            raise driver.error
        if driver.turn.status is None:
            raise ClosedError("closed before the job was over")
        driver.close()
        return driver.turn.status


async def _drive(driver: Driver) -> TurnResult | None:
    """Drive a turn to its end; what it came to.

    Raises:
        ToolhouseError: It failed.
    """
    try:
        while not driver.is_over:
            driver.events.clear()
            await driver.advance()
    finally:
        driver.close()
    if driver.error is not None:
        raise driver.error
    return driver.result


def make_options(options: TurnOptions, own: Collection[str] = ()) -> Options:
    """Check a turn's options; ``own`` are those that the method takes beside them.

    Raises:
        ConfigurationError: One is wrong or unknown.
    """
    if not options:
        return _DEFAULT_OPTIONS
    check_known(options, own)
    return Options(**options)


_DEFAULT_OPTIONS: Final = Options()
