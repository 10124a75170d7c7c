"""Finding a lost answer in the history: waits until it is there and has stopped changing."""

from __future__ import annotations

import asyncio

from ._polling import tolerated
from ._results import JobStatus, Message
from ._service import Service
from ._settings import PollingPolicy, RecoveryPolicy
from ._wire.history import Place, find_reply
from ._wire.pauses import next_poll
from .errors import APIStatusError, ToolhouseError


class Healing:
    """One attempt to find one answer.

    Attributes:
        reply: The answer as the last reading of the history had it, ``None`` while it is not there.
        history: That reading.
    """

    def __init__(
        self,
        service: Service,
        place: Place,
        partial: str,
        recovery: RecoveryPolicy,
        polling: PollingPolicy,
        *,
        open_end: bool,
    ) -> None:
        self._service = service
        self._place = place
        self._partial = partial
        self._recovery = recovery
        self._polling = polling
        self._open_end = open_end
        self._began = asyncio.get_running_loop().time()
        self._pause = 0.0
        self._since = 0.0
        self.reply: str | None = None
        self.history: tuple[Message, ...] | None = None

    async def look(self, agent_id: str, run_id: str) -> JobStatus | None:
        """Pause, then read the run once; ``None`` if the reading failed for the moment.

        Raises:
            ToolhouseError: It cannot be read, now or later.
        """
        loop = asyncio.get_running_loop()
        await asyncio.sleep(min(self._pause, max(0.0, self._ends - loop.time())))
        status: JobStatus | None = None
        asked: float | None = None
        try:
            status = await self._service.poll(agent_id, run_id)
            asked = status.retry_after
        except ToolhouseError as error:
            if not tolerated(error):
                raise
            asked = error.retry_after if isinstance(error, APIStatusError) else None
        self._pause = next_poll(
            self._polling, loop.time() - self._began, asked, self._service.randomness.random()
        )
        if status is not None and status.history is not None:
            self.history = status.history
            reply = find_reply(status.history, self._place, self._partial, open_end=self._open_end)
            if reply != self.reply or reply is None:
                self.reply, self._since = reply, loop.time()
        return status

    @property
    def _ends(self) -> float:
        return self._began + self._recovery.deadline

    @property
    def is_quiet(self) -> bool:
        """Whether the answer is there and has not changed for long enough."""
        now = asyncio.get_running_loop().time()
        return self.reply is not None and now - self._since >= self._recovery.quiet

    @property
    def is_too_late(self) -> bool:
        """Whether the time for it is over."""
        return asyncio.get_running_loop().time() >= self._ends
