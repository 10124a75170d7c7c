"""What the parts of one client share: its service, its policies, its runs and its life."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakValueDictionary, ref

from ._http.port import Service
from ._http.watch import Watch
from ._run.poll import RunPoll
from ._run.shared import SharedRun
from ._turn.knowledge import Rules, Run
from ._turn.polls import Polls
from ._values.settings import PollingPolicy
from .errors import ClosedError, ConfigurationError, ToolhouseError

if TYPE_CHECKING:
    from ._observers import Observers

REMEMBERED: Final = 100
"""Runs that this client has resumed and still knows of when nobody holds them: somebody may wait for a job later."""


class Live(Protocol):
    """Something that closing the client must end."""

    def interrupt(self, error: ToolhouseError) -> None:
        """End with ``error``: at once where it waits, else at its next step."""
        ...


def _time_of_running_loop() -> float:
    return asyncio.get_running_loop().time()


class Core:
    """The state of one client. One event loop uses it: the first that does.

    Attributes:
        service: Sends requests.
        rules: What all its turns go by.
        observers: Who is told of its turns; ``None`` where nobody is.
        live: What closing the client must end.
        watch: Calls what has come to its limit.
        loop: The event loop, once one uses it; it needs not be running.
        time: The loop's clock.
    """

    def __init__(self, service: Service, *, rules: Rules, observers: Observers | None = None) -> None:
        self.service = service
        self.observers = observers
        self.rules = rules
        self.live: set[Live] = set()
        self.watch: Watch = Watch()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.time: Callable[[], float] = _time_of_running_loop
        self._closed = False
        # Every run is entered, and a WeakValueDictionary would call three functions of Python for each.
        self._runs: dict[tuple[str, str], ref[SharedRun]] = {}
        self._most_runs = REMEMBERED
        self._resumed: deque[SharedRun] = deque(maxlen=REMEMBERED)
        self._polls: WeakValueDictionary[Hashable, RunPoll] = WeakValueDictionary()
        self._poll_slots = asyncio.Semaphore(rules.polling.max_in_flight)

    def check_open(self) -> None:
        """Check that the client is open.

        Raises:
            ClosedError: It was closed.
        """
        if self._closed:
            raise ClosedError("the client is closed", safe_to_retry=True)

    def check_usable(self) -> None:
        """Check, before any I/O, that the client is open and on its own event loop.

        Raises:
            ClosedError: It was closed.
            ConfigurationError: It belongs to another event loop, or none is running.
        """
        self.check_open()
        self.check_loop()

    def check_loop(self) -> None:
        """Check that the client's event loop is the one that runs; the first that does is.

        Raises:
            ConfigurationError: It is another, or none.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError("this needs a running event loop of asyncio") from None
        if self.loop is None:
            self.loop, self.time = loop, loop.time
        elif self.loop is not loop:
            raise ConfigurationError(
                "this client belongs to another event loop: make one AsyncToolhouse for each event loop, or hand the "
                "call over from this thread to the client's own loop by asyncio.run_coroutine_threadsafe"
            )

    def is_here(self) -> bool:
        """Whether the client's event loop runs in this thread."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def drift(self) -> float:
        """By how much the time of day is ahead of the event loop's; it changes as a clock is set."""
        return time.time() - self.time()

    def run_of(self, agent_id: str, run_id: str) -> SharedRun:
        """What is shared of a run."""
        known = self._runs.get((agent_id, run_id))
        run = None if known is None else known()
        if run is None:
            run = SharedRun(Run.of_others(run_id))
            self.name_run(run, agent_id, run_id)
        return run

    def name_run(self, run: SharedRun, agent_id: str, run_id: str) -> None:
        """Note that ``run`` is known by this id from now on (as well)."""
        if len(self._runs) >= self._most_runs:
            self._runs = {ids: known for ids, known in self._runs.items() if known() is not None}
            self._most_runs = max(REMEMBERED, 2 * len(self._runs))
        self._runs[agent_id, run_id] = ref(run)

    def remember(self, run: SharedRun) -> None:
        """Keep what is known of a run that is being resumed."""
        if run in self._resumed:
            self._resumed.remove(run)
        self._resumed.append(run)

    def poll_of(
        self, run: Run, agent_id: str, policy: PollingPolicy, elapsed: float, terms: Hashable = None
    ) -> RunPoll:
        """The polling of a run, which has an id: one for all who wait with the same policy, and ask on the same terms.

        Args:
            run: The run.
            agent_id: The worker.
            policy: How it is polled.
            elapsed: Seconds since the job started.
            terms: What the turn's own requests have in place of what the client's have; ``None`` for nothing.
        """
        run_id = run.run_id or ""
        key = (agent_id, run_id, policy, terms)
        poll = self._polls.get(key)
        if poll is None or poll.is_over:
            draw = self.service.randomness.random()
            polls = Polls(policy, self.time(), draw, elapsed=elapsed, run_id=run_id, run_begun=run.begun)
            poll = self._polls[key] = RunPoll(self.service, agent_id, run_id, self._poll_slots, polls)
        else:
            poll.join(self.time())
        return poll

    def close(self) -> bool:
        """End everything that is live; whether there is still something to close.

        Raises:
            ConfigurationError: The client belongs to another event loop, which is not closed.
        """
        if self.loop is not None and not self.loop.is_closed() and not self._closed:
            self.check_loop()
        was_open, self._closed = not self._closed, True
        for live in list(self.live):
            live.interrupt(ClosedError("the client was closed"))
        self.watch.close()
        return was_open
