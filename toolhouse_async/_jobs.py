"""Waiting for a background job: the awaitable that resumes the run when it is over."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ._exchange import Exchange
from ._options import Options, check_timeout
from ._reader import EventReader
from ._results import JobStatus, JobToken, TurnResult
from ._settings import PollingPolicy
from ._wire.steps import State
from .errors import ClosedError, ConfigurationError

if TYPE_CHECKING:
    from ._session import Session


class BackgroundJobWaiter(EventReader):
    """Waits until a run's background job is over, resumes the run, and so on for every further job.

    ``await waiter`` gives the :class:`~toolhouse_async.TurnResult` of all that follows the job; iterating gives
    the same as events; :meth:`wait` only waits and sends nothing. Made by :meth:`Session.wait_for_job` and
    :meth:`AsyncToolhouse.wait_for_job` too.

    Args:
        session: The conversation whose job to wait for. One that runs no job is resumed after one poll.
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
        left = conversation.job
        options = Options(format=left.format if left else "ndjson", resume_message=resume_message)
        self._session = session
        super().__init__(Exchange(conversation, options, begin=State.WAITING, polling=polling, timeout=timeout))

    def __await__(self) -> Generator[Any, None, TurnResult]:
        return self.result().__await__()

    def __repr__(self) -> str:
        conversation = self._engine.conversation
        return f"<BackgroundJobWaiter for agent {conversation.agent_id}, run {conversation.run_id}>"

    @property
    def token(self) -> JobToken | None:
        """What waits for the same job in another process; ``None`` before its id is known."""
        return self._engine.token

    async def wait(self) -> JobStatus:
        """Wait until the job is over, and send nothing.

        Returns:
            What the service said last, the history included. Over means finished or failed: the API does not say.

        Raises:
            JobWaitTimeoutError: It was still running at the deadline.
            ContactLostError: Too many polls failed.
            ToolhouseError: The run cannot be read.
        """
        engine = self._engine
        engine.check_loop()
        engine.only_waits = True
        while engine.state is State.WAITING and not engine.is_over:
            self._events.clear()
            await engine.advance()
        self._events.clear()
        if engine.error is not None:
            raise engine.error
        if engine.status is None:
            raise ClosedError("closed before the job was over")
        engine.close()
        return engine.status
