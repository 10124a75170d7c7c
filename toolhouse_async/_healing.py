"""Finding a message or its answer in the history: reads it until it is there and has stopped changing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ._polling import tolerated
from ._wire.entries import End
from ._wire.history import Reply, find_reply, goes_on_from, has_arrived, is_shorter
from ._wire.pauses import next_poll
from .errors import APIStatusError, ToolhouseError

if TYPE_CHECKING:
    from ._core import Core
    from ._results import JobStatus, Message
    from ._settings import PollingPolicy
    from ._wire.history import Place


class Healing:
    """One search for one message's answer.

    Attributes:
        reply: The answer as the last good reading of the history had it, ``None`` while it is not there.
        history: That reading.
        arrived: Whether the message itself is there; ``None`` if that cannot be told.
        job_id: The latest job that was seen running.
    """

    def __init__(
        self,
        core: Core,
        polling: PollingPolicy,
        place: Place,
        partial: str,
        *,
        has_job: bool = False,
        since: float | None = None,
    ) -> None:
        """Prepare to look.

        Args:
            core: The client.
            polling: How often to read.
            place: Where the answer stands.
            partial: What was received of it.
            has_job: Whether a job has followed it, so that it need not end in the worker's words.
            since: The loop's time from which the message's absence counts.
        """
        self._core = core
        self._polling = polling
        self._place = place
        self._partial = partial
        self._has_job = has_job
        self._began = core.time()
        self._tells_arrival = since is not None
        self._absent_since = since if since is not None else self._began
        self._pause = 0.0
        self._shown: tuple[Reply | None, int] | None = None
        self._since = self._read_at = self._began  # from when to when good readings have agreed
        self.reply: Reply | None = None
        self.history: tuple[Message, ...] | None = None
        self.arrived: bool | None = None
        self.job_id: str | None = None

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
            self.job_id = status.job_id or self.job_id
            if status.history is not None:  # while a job runs, the answer may hold none
                self._take(status.history)
        except ToolhouseError as error:
            if not tolerated(error):
                raise
            asked = error.retry_after if isinstance(error, APIStatusError) else None
        now = self._core.time()
        pause = next_poll(self._polling, now - self._began, asked, service.randomness.random())
        rested_at = self._since + self._core.recovery.quiet
        if self._may_count and rested_at > now:  # look again just when it has been quiet for long enough
            pause = min(pause, rested_at - now)
        self._pause = min(pause, max(self._ends - now, 0.0))
        return status

    def _take(self, history: tuple[Message, ...]) -> None:
        self._read_at = self._core.time()
        self.history = history
        self.arrived = has_arrived(history, self._place)
        # A message of unknown fate that turns out to be there is not an earlier one in the same words.
        place = self._place._replace(repeated=False) if self._tells_arrival and self.arrived else self._place
        self.reply = find_reply(history, place, self._partial)
        shown = (self.reply, len(history))
        if shown != self._shown:
            self._shown, self._since = shown, self._read_at

    @property
    def _ends(self) -> float:
        """When it is given up; an answer found in time may still prove that it is quiet."""
        recovery = self._core.recovery
        return self._began + recovery.deadline + (recovery.quiet if self._may_count else 0.0)

    def _is_quiet_since(self, when: float) -> bool:
        """Whether good readings show that nothing has changed since: a failed one shows nothing."""
        return self._read_at - when >= self._core.recovery.quiet - 1e-6

    @property
    def is_rested(self) -> bool:
        """Whether good readings have agreed for long enough."""
        return self._shown is not None and self._is_quiet_since(self._since)

    @property
    def is_patient(self) -> bool:
        """Whether it has been looked for as long as a history must rest, well or in vain."""
        return self._core.time() - self._began >= self._core.recovery.quiet - 1e-6

    @property
    def _is_whole(self) -> bool:
        """Whether the last good reading shows an answer that may be the whole of it."""
        reply = self.reply
        if reply is None:
            return False
        if self._has_job:
            return bool(reply.text) and goes_on_from(reply.text, self._partial)
        return reply.end is End.WORDS and not is_shorter(reply.text, self._partial)

    @property
    def _stands_open(self) -> bool:
        """Whether the answer ends in a tool's result: the run waits, unless the worker is still at work."""
        reply = self.reply
        return reply is not None and reply.end is End.TOOL and goes_on_from(reply.text, self._partial)

    @property
    def _may_count(self) -> bool:
        return self._is_whole or self._is_silent or self._stands_open

    @property
    def is_found(self) -> bool:
        """Whether the answer is there and has not changed for long enough."""
        return self.is_rested and (self._is_whole or self._is_silent)

    @property
    def _is_silent(self) -> bool:
        """Whether no words came before a job: what stands behind the message shows that the history does not lag."""
        reply = self.reply
        return self._has_job and not self._partial and reply is not None and reply.size > 0 and not reply.text

    @property
    def waits_for_resume(self) -> bool:
        """Whether the message's answer stands open, a job that followed it being over."""
        return self.is_rested and self._stands_open

    @property
    def is_absent(self) -> bool:
        """Whether the message has had long enough to appear, and is not there."""
        return self.history is not None and self.arrived is False and self._is_quiet_since(self._absent_since)

    @property
    def is_too_late(self) -> bool:
        """Whether the time for it is over."""
        return self._core.time() >= self._ends
