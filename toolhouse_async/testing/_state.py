"""What an emulator is made of: its switches, workers, conversations and faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from attrs import define, field, frozen, validators

from ._conversation import Run
from ._events import StreamEvent, ndjson_object
from ._faults import Faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._context import Worker
    from ._jobs import Outcome


@frozen
class Registered:
    """A worker as it was registered."""

    function: Worker
    public: bool


@define(eq=False, kw_only=True)
class EmulatorState:
    """The switches, documented at ``WorkersEmulator``, and what changes while the emulator serves."""

    api_key: str | None = field(default=None, repr=False)
    history_partial: bool = False
    history_empty_messages: bool = True
    history_start_without_message: str | None = None
    history_tools: bool = False
    history_delay: float = field(default=0.0, validator=validators.ge(0.0))
    on_disconnect: Literal["continue", "stop"] = field(
        default="continue", validator=validators.in_(("continue", "stop"))
    )
    while_answering: Literal["wait", "conflict"] = field(default="wait", validator=validators.in_(("wait", "conflict")))
    job_answer_body: bool = True
    job_poll_body: Literal["history", "empty", "object"] = field(
        default="history", validator=validators.in_(("history", "empty", "object"))
    )
    job_header_lag: int = field(default=0, validator=validators.ge(0))
    conflict_lag: int = field(default=0, validator=validators.ge(0))
    conflict_job_header: bool = True
    rotate_run_id: bool = False
    ndjson_object: Callable[[StreamEvent], Any] = ndjson_object
    ndjson_end: Any = None
    keep_runs: int = field(default=10_000, validator=validators.ge(1))
    keep_requests: int = field(default=10_000, validator=validators.ge(1))
    faults: Faults = field(factory=Faults, init=False, repr=False)
    workers: dict[str, Registered] = field(factory=dict[str, Registered], init=False, repr=False)
    _runs: dict[str, Run] = field(factory=dict[str, Run], init=False, repr=False)

    def find_run(self, agent_id: str, run_id: str) -> Run | None:
        """Return the conversation that ``run_id`` names or once named."""
        run = self._runs.get(run_id)
        return run if run is not None and run.agent_id == agent_id else None

    def new_run(self, agent_id: str) -> Run:
        """Return a fresh conversation; the oldest id of an idle one is forgotten where there are too many."""
        run = Run(agent_id, "")
        self.name_run(run)
        return run

    def name_run(self, run: Run) -> None:
        """Give the conversation a new id."""
        if len(self._runs) >= self.keep_runs:
            idle = next((run_id for run_id, each in self._runs.items() if not each.busy), None)
            if idle is not None:
                del self._runs[idle]
        run.run_id = str(uuid4())
        self._runs[run.run_id] = run

    def hear(self, run: Run, message: str | None) -> Outcome | None:
        """Record a user's message as the switches say; return how the last job ended, once."""
        if message is None:
            message = self.history_start_without_message
        elif not message and not self.history_empty_messages:
            message = None
        if message is not None:
            run.record({"role": "user", "content": message})
        outcome, run.outcome = run.outcome, None
        return outcome
