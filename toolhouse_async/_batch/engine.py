"""What runs the rows of a batch: so many at a time, no more of them read than there is room for."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from typing import Any, Final

from .._log import log
from .._source import Source
from .._values.batches import BatchItem, BatchProgress
from ..errors import ClosedError
from .gate import Stopped
from .journal import BatchJournal
from .rows import Question, Questions
from .steps import Step
from .store import GRACE
from .work import Aside, Shared, follow, settle

LOOK: Final = 0.5
"""Seconds between looks at the rows that other processes have."""
AHEAD: Final = 50
"""For each row at a time, how many others may be set aside that other processes have."""


class Engine:
    """The rows of a batch, under way. It knows nothing of who iterates, so that those may be abandoned.

    Attributes:
        shared: What all rows share.
        ready: Items that nobody has taken yet.
        is_closed: Whether it was ended.
    """

    def __init__(
        self,
        shared: Shared,
        journal: BatchJournal,
        questions: Questions,
        rows: Any,
        *,
        agent_id: str,
        total: int | None,
        concurrency: int,
    ) -> None:
        self.shared = shared
        self.ready: deque[BatchItem] = deque()
        self.is_closed: bool = False
        self._journal = journal
        self._questions = questions
        self._agent_id = agent_id
        self._total = total
        self._concurrency = concurrency
        self._wake = asyncio.Event()
        shared.on_room = self._wake.set
        self._source: Source[Any] = Source(rows, self._wake.set)
        self._tasks: set[asyncio.Task[BatchItem | Aside | None]] = set()
        self._aside: dict[str, Aside] = {}  # that other processes have, by key
        self._back: deque[Question] = deque()  # that others have let go
        self._watch: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        self._counts: Counter[str] = Counter()
        self._has_begun = False
        self._asks_nothing = False  # but gives what is over, since it was stopped before it began
        self._has_told = False  # of other processes
        self._has_ended = False  # by an error that was raised

    @property
    def tasks(self) -> set[asyncio.Task[Any]]:
        """All that is under way."""
        return {task for task in (*self._tasks, self._watch, self._source.pull) if task is not None}

    @property
    def progress(self) -> BatchProgress:
        """What has become of the rows that were read so far."""
        counts, total = self._counts, self._total
        if total is None and self._source.is_over and self._source.error is None:
            total = self._questions.count
        speed, left = self.shared.speed, None if total is None else max(0, total - counts.total())
        is_idle = self._waits_for_others
        return BatchProgress(
            total,
            counts["done"],
            counts["failed"],
            counts["unknown"],
            running=len(self._tasks) + len(self._aside) + len(self._back),
            rate=None if is_idle else speed.rate,
            seconds_left=None if is_idle else speed.seconds_left(left),
        )

    async def next(self) -> BatchItem | None:
        """The next item; ``None`` at the end.

        Raises:
            ClosedError: It was closed from another task.
            Exception: What has ended the batch, once all that was under way is done.
        """
        if not self._has_begun:
            self._asks_nothing = self.shared.gate.is_stopped
            await self._journal.begin(self._agent_id, self._total, is_keyed=self._questions.is_keyed)
            self._has_begun = True
        while True:
            self._fill()
            if self.ready:
                return self.ready.popleft()
            if self.is_closed:
                raise ClosedError("the batch was closed")
            if not self._tasks and not self._aside and not self._back and self._takes_no_more:
                await self._end()
                return None
            self._tell_of_others()
            self._wake.clear()
            await self._wake.wait()

    def _tell_of_others(self) -> None:
        """Say once that all there is to wait for are rows that other starts have, of this process or another."""
        if self._has_told or not self._waits_for_others:
            return
        self._has_told = True
        found = [aside.checkout.found for aside in self._aside.values()]
        log.warning(
            "the batch waits for rows that other starts of it have (%d, of %.100s): until they are done, or "
            "at most %d s where a process has stopped; their answers are then looked for, some seconds more",
            len(found),
            ", ".join(sorted({each.who for each in found})),
            math.ceil(max(each.length for each in found) + LOOK),
        )

    @property
    def _waits_for_others(self) -> bool:
        """Whether all there is to wait for are rows that other starts have; this one's pace says nothing of them."""
        is_busy = self._tasks or self.ready or self._back or self._source.pull is not None
        return bool(self._aside) and not is_busy

    @property
    def _takes_no_more(self) -> bool:
        return self._source.is_over or (self.shared.gate.is_stopped and not self._asks_nothing)

    async def _end(self) -> None:
        """Wait until all is written down.

        Raises:
            Exception: What has ended the batch.
        """
        left = self.tasks  # a row that is still asked for, or the look at others'
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        await settle(self.shared.house, GRACE)
        error = self._error or self._source.error
        if error is not None and not self._has_ended:
            self._has_ended = True
            raise error
        if error is None and not self.shared.gate.is_stopped:
            self._total = self._questions.count
            await self._journal.begin(self._agent_id, self._total, is_keyed=self._questions.is_keyed)

    def _fill(self) -> None:
        """Begin with rows while there is room; those that only look, and items that nobody took, are up to as many."""
        looking, most = self.shared.looking, self._concurrency
        while len(self._tasks) - len(looking) < most and len(self._tasks) + len(self.ready) < 2 * most:
            question = self._next_question()
            if question is None:
                return
            task = asyncio.ensure_future(follow(self.shared, question))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _next_question(self) -> Question | None:
        if self.shared.gate.is_stopped and not self._asks_nothing:
            return None
        if self._back:
            return self._back.popleft()
        if len(self._aside) >= AHEAD * self._concurrency:
            return None
        taken = self._source.take()
        if taken is None:
            return None
        try:
            return self._questions.ask(*taken)
        except Exception as error:  # noqa: BLE001 - also what key() raises; it is raised when all is done
            self._fail(error)
            return None

    def _ended(self, task: asyncio.Task[BatchItem | Aside | None]) -> None:
        """The course of a row is at its end."""
        self._tasks.discard(task)
        self._wake.set()
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self._fail(error)
            return
        match task.result():
            case BatchItem() as item:
                self._counts[item.status] += 1
                self.ready.append(item)
            case Aside() as aside if not self.shared.gate.is_stopped:
                self._aside[aside.question.key] = aside
                if self._watch is None:
                    self._watch = asyncio.ensure_future(self._look())
            case _:
                pass

    def _fail(self, error: BaseException) -> None:
        """Begin nothing more, and end by this error once what is under way is done."""
        assert isinstance(error, Exception)  # noqa: S101 - else the event loop is at its end
        self._error = self._error or error
        self.stop()

    async def _look(self) -> None:
        """Look at the rows that other processes have, until there are none."""
        try:
            while self._aside:
                await self.shared.gate.sleep(LOOK)
                for key, aside in list(self._aside.items()):
                    await aside.checkout.look()
                    self.shared.gate.check()
                    if self.shared.step_for(aside.question, aside.checkout) is not Step.LEAVE:
                        del self._aside[key]
                        self._back.append(aside.question)
                        self._wake.set()
        except Stopped:
            pass
        except Exception as error:  # noqa: BLE001 - it ends the batch
            self._fail(error)
        finally:
            self._watch = None
            self._wake.set()

    def stop(self) -> None:
        """Begin nothing more."""
        self._asks_nothing = False
        self.shared.gate.stop()
        self._aside.clear()
        self._back.clear()
        self._wake.set()

    async def aclose(self) -> None:
        """End what is under way, and wait until that is written down."""
        self.is_closed = True
        tasks = self.tasks
        self.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await settle(self.shared.house, GRACE)

    def cancel(self) -> None:
        """End what is under way, soon."""
        for task in self.tasks:
            if not task.get_loop().is_closed():
                task.cancel()
