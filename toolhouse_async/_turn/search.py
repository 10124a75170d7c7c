"""The search for a message and its answer in the history: readings that agree, for as long as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from .._wire.entries import End
from .._wire.pauses import next_poll
from .heard import goes_on_from, is_shorter, squeezed
from .reading import Reply, Sight
from .transcript import Found

if TYPE_CHECKING:
    from .._values.results import JobStatus, Message
    from .._values.settings import PollingPolicy
    from .heard import Said
    from .knowledge import Rules

_ROUNDING: Final = 1e-6
"""Seconds by which times may differ that are the same."""


class Finder(Protocol):
    """Who knows what to look for: the transcript of what this client has said, or words that another process sent."""

    def find(self, history: Sequence[Message], said: Said, partial: str) -> Found:
        """Say what a reading shows of a message and of its answer."""
        ...


class Search:
    """What the readings of a history show of one message and its answer.

    Rest is counted in good readings that agree: a failed one shows nothing.

    Attributes:
        said: The message.
        reply: The answer as the last good reading had it, ``None`` while it is not there.
        sight: What that reading proves of the message; ``None`` before the first.
        job_id: The latest job that was seen running.
    """

    __slots__ = (
        "_began", "_finder", "_first_read_at", "_has_job", "_partial", "_polling", "_read_at", "_rules", "_shown",
        "_since", "_unknown_since", "job_id", "reply", "said", "sight",
    )  # fmt: skip

    def __init__(
        self,
        finder: Finder,
        said: Said,
        partial: str,
        now: float,
        *,
        rules: Rules,
        polling: PollingPolicy,
        has_job: bool = False,
        since: float | None = None,
    ) -> None:
        """Prepare to look.

        Args:
            finder: Who knows what to look for.
            said: The message.
            partial: What was received of its answer.
            now: The time.
            rules: What the client's turns go by.
            polling: How often to read.
            has_job: Whether a job has followed the answer, so that it need not end in the worker's words.
            since: The time from which the message's absence counts.
        """
        self._finder = finder
        self.said: Said = said
        self._partial = partial
        self._rules = rules
        self._polling = polling
        self._has_job = has_job
        self._began = self._since = self._read_at = now
        self._unknown_since = now if since is None else since
        self._first_read_at: float | None = None
        self._shown: tuple[Found, int] | None = None
        self.reply: Reply | None = None
        self.sight: Sight | None = None
        self.job_id: str | None = None

    def take(self, status: JobStatus, now: float) -> None:
        """Take a good reading."""
        self.job_id = status.job_id or self.job_id
        if status.history is not None:  # while a job runs, the answer may hold none
            self._take(status.history, now)

    def _take(self, history: tuple[Message, ...], now: float) -> None:
        self._read_at = now
        if self._first_read_at is None:
            self._first_read_at = now
        before, found = self.reply, self._finder.find(history, self.said, self._partial)
        self.sight, self.reply = found
        if before is not None and found.reply is not None and _grows(before.text, found.reply.text):
            self._rules.shows_messages_early = True
        shown = (found, len(history))
        if shown != self._shown:
            self._shown, self._since = shown, now

    def next_look(self, now: float, asked: float | None, draw: float) -> float:
        """The time of the next reading.

        Args:
            now: The time.
            asked: Seconds that the service asked to wait.
            draw: A random number from 0 to 1.
        """
        pause = next_poll(self._polling, now - self._began, asked, draw)
        quiet = self._rules.recovery.quiet
        patient_at = None if self._first_read_at is None else self._first_read_at + quiet
        for due in (self._since + quiet, patient_at, self._absent_at, self._ends):
            if due is not None and due > now:  # look again just when that has been reached
                pause = min(pause, due - now)
        return now + pause

    @property
    def _absent_at(self) -> float | None:
        """When the message's absence is proven, if it is not there by then."""
        recovery = self._rules.recovery
        wait = recovery.quiet if self._rules.shows_messages_early else recovery.absence
        return None if wait is None else self._unknown_since + wait

    @property
    def _ends(self) -> float:
        """When it is given up; an answer found in time may still prove that it is quiet."""
        recovery = self._rules.recovery
        return self._began + recovery.deadline + (recovery.quiet if self._may_count else 0.0)

    @property
    def is_rested(self) -> bool:
        """Whether good readings have agreed for long enough."""
        return self._shown is not None and self._read_at - self._since >= self._rules.recovery.quiet - _ROUNDING

    @property
    def is_patient(self) -> bool:
        """Whether good readings have shown for as long as a history must rest what there is to see."""
        first = self._first_read_at
        return first is not None and self._read_at - first >= self._rules.recovery.quiet - _ROUNDING

    def is_too_late(self, now: float) -> bool:
        """Whether the time for it is over."""
        return now >= self._ends - _ROUNDING

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
    def _is_silent(self) -> bool:
        """Whether no words came before a job: what stands behind the message shows that the history does not lag."""
        reply = self.reply
        return self._has_job and not self._partial and reply is not None and reply.size > 0 and not reply.text

    @property
    def _may_count(self) -> bool:
        return self._is_whole or self._is_silent or self._stands_open

    @property
    def is_found(self) -> bool:
        """Whether the answer is there and has not changed for long enough."""
        return self.is_rested and (self._is_whole or self._is_silent)

    @property
    def waits_for_resume(self) -> bool:
        """Whether the message's answer stands open, a job that followed it being over."""
        return self.is_rested and self._stands_open

    @property
    def is_absent(self) -> bool:
        """Whether the message has had long enough to appear, and is not there."""
        return self.sight is Sight.ABSENT and self.is_past_absence

    @property
    def is_past_absence(self) -> bool:
        """Whether a message that had been sent before the search would stand there by now."""
        due = self._absent_at
        return due is not None and self._read_at >= due - _ROUNDING

    @property
    def is_odd(self) -> bool:
        """Whether the history has shown for long enough what nobody here can explain."""
        return self.sight is Sight.ODD and self.is_rested


def _grows(before: str, after: str) -> bool:
    before, after = squeezed(before), squeezed(after)
    return len(after) > len(before) and after.startswith(before)
