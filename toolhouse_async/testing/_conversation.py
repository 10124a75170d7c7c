"""One run: its history, its background jobs, and who is answering."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from attrs import define, field

from ._jobs import Job, Outcome

EntryOf: TypeAlias = Callable[[Job, Outcome], dict[str, Any]]
"""Makes the history entry that tells how a job ended."""


class AnswerInProgress(Protocol):
    """What a run needs to know of the answer that is being written."""

    def entries(self) -> list[dict[str, Any]]:
        """What the history holds of it so far."""
        ...


@define(eq=False)
class Run:
    """A conversation with one worker.

    Attributes:
        agent_id: The worker.
        run_id: The id under which messages are accepted now.
        answer: The answer that is being written, if one is.
        jobs: The jobs that are not over; the first one runs.
        outcome: The end of the last job since the worker was called.
        header_misses: Reads that still have to miss the job header.
        late_conflicts: PUTs that are still refused though no job runs.
    """

    agent_id: str
    run_id: str
    answer: AnswerInProgress | None = None
    jobs: deque[Job] = field(factory=deque[Job])
    outcome: Outcome | None = None
    header_misses: int = 0
    late_conflicts: int = 0
    _entries: list[tuple[float, dict[str, Any], float]] = field(factory=list[tuple[float, dict[str, Any], float]])
    _ended: list[dict[str, Any]] = field(factory=list[dict[str, Any]])
    _answered: asyncio.Event | None = None

    @property
    def job_id(self) -> str | None:
        """The job that runs now."""
        return self.jobs[0].id if self.jobs else None

    @property
    def busy(self) -> bool:
        """Whether an answer or a job is under way."""
        return self.answer is not None or bool(self.jobs)

    def record(self, entry: dict[str, Any], delay: float = 0.0) -> None:
        """Add an entry to the history; it is shown after ``delay`` seconds."""
        self._entries.append((asyncio.get_running_loop().time(), entry, delay))

    def known(self) -> list[dict[str, Any]]:
        """The whole history so far, for the worker itself."""
        return [dict(entry) for _, entry, _ in self._entries]

    def shown(self, lag: float) -> list[dict[str, Any]]:
        """The history as a read that is ``lag`` seconds behind shows it, the answer in progress left out then.

        No entry stands before one that is still to come.
        """
        now = asyncio.get_running_loop().time()
        entries: list[dict[str, Any]] = []
        for recorded_at, entry, delay in self._entries:
            # asked only where something is late: the next server's event loop may have another clock
            if (late := delay + lag) and recorded_at + late > now:
                return entries
            entries.append(entry)
        return entries if self.answer is None or lag else entries + self.answer.entries()

    async def answered(self) -> None:
        """Wait until the answer in progress is complete."""
        if self._answered is None:
            self._answered = asyncio.Event()
        await self._answered.wait()

    def end_answer(self, entries: list[dict[str, Any]], delay: float) -> None:
        """Record what the history keeps of the answer, then the jobs that ended meanwhile."""
        for entry in entries:
            self.record(entry, delay)
        for entry in self._ended:
            self.record(entry)
        self._ended.clear()
        self.answer = None
        if self._answered is not None:
            self._answered.set()
            self._answered = None

    def end_job(self, outcome: Outcome, entry_of: EntryOf) -> None:
        """Take the first job as over; its outcome stands behind the answer that started it."""
        entry = entry_of(self.jobs.popleft(), outcome)
        self.outcome = outcome
        if self.answer is None:
            self.record(entry)
        else:
            self._ended.append(entry)

    async def work_off(self, late_conflicts: int, entry_of: EntryOf) -> None:
        """Run the jobs one after another. Cancelling ends them all as failed."""
        while self.jobs:
            try:
                outcome = await self.jobs[0].run()
            except asyncio.CancelledError:
                while self.jobs:
                    self.end_job(Outcome("cancelled: the emulator stopped", failed=True), entry_of)
                raise
            self.end_job(outcome, entry_of)
        self.late_conflicts = late_conflicts
