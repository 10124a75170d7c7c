"""One conversation with a worker."""

from __future__ import annotations

from collections.abc import Generator
from copy import copy
from types import TracebackType
from typing import Any, Final, Literal, Self, Unpack

from attrs import evolve

from ._driver import Driver
from ._held import EventReader, Turn
from ._run.conversation import Conversation
from ._turn.table import State
from ._values.nested import half_made
from ._values.options import Options, TurnOptions, check_message, check_timeout
from ._values.results import JobStatus, JobToken, Message, TurnResult
from ._values.settings import PollingPolicy
from .errors import ClosedError, ConfigurationError, OutcomeUnknownError, ToolhouseError


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
            message: What to say. ``None`` starts a run without a message, and continues one with ``""``.
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
        """Make a whole turn and return its result. Arguments as for :meth:`stream`.

        Raises:
            ToolhouseError: The turn failed; see the tree in :mod:`toolhouse_async.errors`.

        Cancelling closes the turn; the message was sent by then or not.
        """
        return await self.stream(message, **turn_options).result()

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

        Where its turn brought a result, that is returned. Else its outcome may be unknown
        (:class:`~toolhouse_async.OutcomeUnknownError`), or its turn was cut, cancelled, closed or timed out. Then the
        history is read until it shows what became of it; jobs that the message has started are waited for, and the
        run is resumed after them.

        Args:
            assume: ``"absent"`` settles, without looking, that a message did not arrive of which nobody knows that. It
                is your decision: if it did arrive all the same and you send it again, the service has it twice.

        Returns:
            The answer, all rounds of it, if the message had arrived; ``None`` if it had not (then sending it again is
            right), or if nothing was ever sent. The proof that it had not is a history that holds all that was said and
            heard before and nothing else, for ``RecoveryPolicy.absence`` seconds, or for ``RecoveryPolicy.quiet`` where
            the service was seen to show messages before they were answered.

        Raises:
            OutcomeUnknownError: Nobody can know, now or at all (the message was to start the conversation).
            ToolhouseError: It arrived, and the turn failed later.
            ConfigurationError: ``assume`` is neither ``"absent"`` nor ``None``.

        May be cancelled and repeated at will: what was learned is kept.
        """
        self._conversation.check_open()
        if assume not in ("absent", None):
            raise ConfigurationError(f"assume must be 'absent' or None, not {assume!r:.80}")
        conversation = self._conversation
        run = conversation.run
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
        driver = Driver(conversation, conversation.turn(options, state=State.FINDING))
        try:
            while not driver.is_over:
                driver.events.clear()
                await driver.advance()
        finally:
            driver.close()
        if driver.error is not None:
            raise driver.error
        return driver.result

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
        check_timeout(timeout)
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


def make_options(options: TurnOptions) -> Options:
    """Check a turn's options.

    Raises:
        ConfigurationError: One is wrong or unknown.
    """
    if not options:
        return _DEFAULT_OPTIONS
    unknown = options.keys() - TurnOptions.__annotations__.keys()
    if unknown:
        raise ConfigurationError(f"unknown turn options: {', '.join(sorted(unknown))}")
    return Options(**options)


_DEFAULT_OPTIONS: Final = Options()
