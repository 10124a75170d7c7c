"""Finding a message or its answer in the history: reads it until it is there and has stopped changing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ._polling import tolerated
from ._wire.history import find_reply, has_arrived
from ._wire.pauses import next_poll
from .errors import APIStatusError, ToolhouseError

if TYPE_CHECKING:
    from ._core import Core
    from ._results import JobStatus, Message
    from ._settings import PollingPolicy
    from ._wire.history import Place


class Healing:
    """One attempt to find one message's answer.

    Attributes:
        reply: The answer as the last reading of the history had it, ``None`` while it is not there.
        history: That reading.
        arrived: Whether the message itself is there; ``None`` if that cannot be told.
    """

    def __init__(
        self,
        core: Core,
        polling: PollingPolicy,
        place: Place,
        partial: str,
        *,
        open_end: bool,
        may_stand_open: bool,
        since: float | None,
    ) -> None:
        """Prepare to look.

        Args:
            core: The client.
            polling: How often to read.
            place: Where the answer stands.
            partial: What was received of it.
            open_end: Whether a job has followed it.
            may_stand_open: Whether the answer may be one that a job has followed, although nobody saw it run.
            since: The loop's time from which the message's absence counts.
        """
        self._core = core
        self._polling = polling
        self._place = place
        self._partial = partial
        self._open_end = open_end
        self._began = core.time()
        self._tells_arrival = since is not None
        self._may_stand_open = may_stand_open
        self._absent_since = since if since is not None else self._began
        self._pause = 0.0
        self._since = 0.0
        self.reply: str | None = None
        self.history: tuple[Message, ...] | None = None
        self.arrived: bool | None = None
        self._stands_open = False

    async def look(self, agent_id: str, run_id: str) -> JobStatus | None:
        """Pause, then read the run once; ``None`` if the reading failed for the moment.

        Raises:
            ToolhouseError: It cannot be read, now or later.
        """
        await asyncio.sleep(self._pause)
        status: JobStatus | None = None
        asked: float | None = None
        service = self._core.service
        try:
            status = await service.poll(agent_id, run_id, whole=True)
            asked = status.retry_after
            self._take(status.history or ())
        except ToolhouseError as error:
            if not tolerated(error):
                raise
            asked = error.retry_after if isinstance(error, APIStatusError) else None
        now = self._core.time()
        pause = next_poll(self._polling, now - self._began, asked, service.randomness.random())
        if self.reply is not None:  # look again just when it has been quiet for long enough
            pause = min(pause, max(self._since + self._core.recovery.quiet - now, 0.0))
        self._pause = min(pause, max(self._ends - now, 0.0))
        return status

    def _take(self, history: tuple[Message, ...]) -> None:
        self.history = history
        self.arrived = has_arrived(history, self._place)
        # A message of unknown fate that turns out to be there is not an earlier one in the same words.
        place = self._place._replace(repeated=False) if self._tells_arrival and self.arrived else self._place
        self._stands_open = False
        reply = find_reply(history, place, self._partial, open_end=self._open_end)
        if reply is None and self._may_stand_open and history and history[-1].role not in ("user", "assistant"):
            reply = find_reply(history, place, self._partial, open_end=True)
            self._stands_open = reply is not None
        if reply != self.reply:
            self.reply, self._since = reply, self._core.time()

    @property
    def _ends(self) -> float:
        """When it is given up; an answer found in time may still prove that it is quiet."""
        recovery = self._core.recovery
        return self._began + recovery.deadline + (0.0 if self.reply is None else recovery.quiet)

    def _is_quiet_since(self, when: float) -> bool:
        return self._core.time() - when >= self._core.recovery.quiet - 1e-6

    @property
    def is_found(self) -> bool:
        """Whether the answer is there and has not changed for long enough."""
        return self.reply is not None and self._is_quiet_since(self._since)

    @property
    def waits_for_resume(self) -> bool:
        """Whether the message's answer stands open, a job that followed it being over."""
        return self._stands_open and self.is_found

    @property
    def is_absent(self) -> bool:
        """Whether the message has had long enough to appear, and is not there."""
        return self.history is not None and self.arrived is False and self._is_quiet_since(self._absent_since)

    @property
    def is_too_late(self) -> bool:
        """Whether the time for it is over."""
        return self._core.time() >= self._ends
