"""One conversation with a worker."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self, Unpack

from ._conversation import Conversation
from ._exchange import Exchange
from ._jobs import BackgroundJobWaiter
from ._options import Options, TurnOptions, check_message
from ._results import JobStatus, Message, TurnResult
from ._settings import PollingPolicy
from ._turn import Turn
from ._wire.steps import State
from .errors import ConfigurationError, OutcomeUnknownError


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
        self._check_open()
        check_message(message)
        options = make_options(turn_options)
        return Turn(Exchange(self._conversation, options, message=message, timeout=options.timeout))

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
        self._check_open()
        if not self._conversation.has_begun:
            return []
        return await self._conversation.history()

    async def job_status(self) -> JobStatus:
        """Ask once whether a background job is running.

        Raises:
            ConfigurationError: There is no run yet.
            ToolhouseError: The run cannot be read.

        May be cancelled and repeated at will.
        """
        self._check_open()
        if not self._conversation.has_begun:
            raise ConfigurationError("there is no run yet: the session has not had an answer")
        return await self._conversation.read()

    async def reconcile(self) -> TurnResult | None:
        """Find out what became of the last message whose turn brought no result.

        That is one whose outcome nobody knows (:class:`~toolhouse_async.OutcomeUnknownError`), or whose turn was cut,
        cancelled, closed or timed out. Reads the history until the answer is there and has not changed for
        ``RecoveryPolicy.quiet``; waits for jobs that the message has started, and resumes after them.

        Returns:
            The answer, if the message had arrived; ``None`` if it had not (sending it again is right), or if there is
            no such message. The proof that it had not is a history that has not shown it for ``quiet`` seconds: raise
            that where proxies may hold messages back for longer.

        Raises:
            OutcomeUnknownError: Nobody can know, now or at all (the message was to start the conversation).
            ToolhouseError: It arrived, and the turn failed later.

        May be cancelled and repeated at will.
        """
        self._check_open()
        conversation = self._conversation
        if conversation.run.uncertain is None:
            return None
        if conversation.run_id is None:
            raise OutcomeUnknownError(
                "the message was to start the conversation: without its run id there is no history to look in"
            )
        exchange = Exchange(conversation, Options(), begin=State.RECOVERING)
        try:
            while not exchange.is_over:
                exchange.events.clear()
                await exchange.advance()
        finally:
            exchange.close()
        if exchange.error is not None:
            raise exchange.error
        return exchange.result

    def wait_for_job(
        self,
        *,
        resume_message: str = "",
        polling: PollingPolicy | None = None,
        timeout: float | None = None,
    ) -> BackgroundJobWaiter:
        """Prepare to wait for the run's background job; see :class:`~toolhouse_async.BackgroundJobWaiter`."""
        self._check_open()
        return BackgroundJobWaiter(self, resume_message=resume_message, polling=polling, timeout=timeout)

    async def aclose(self) -> None:
        """End the session's open turns with ``ClosedError``. The run goes on at the service. Idempotent."""
        self._conversation.close()

    def _check_open(self) -> None:
        self._conversation.check_open()
        self._conversation.core.check_open()


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
