"""What an emulator is made of: its switches, workers, conversations and faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import uuid4

from attrs import define, field, frozen

from ._checks import check, number, one_of, whole
from ._conversation import Run
from ._events import StreamEvent, ndjson_object
from ._faults import Faults
from ._history import outcome_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._context import Worker
    from ._jobs import Job, Outcome


_SPEAKERS: Final = ("assistant", "tool", "user")


def _are_roles(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        role in _SPEAKERS and isinstance(name, str) for role, name in value.items()
    )


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
    history_message: Callable[[str], Any] = field(default=str, validator=check("a function", callable))
    history_message_at: Literal["start", "end"] = field(default="start", validator=one_of("start", "end"))
    history_tools: bool = False
    history_tool_role: Literal["tool", "user"] = field(default="tool", validator=one_of("tool", "user"))
    history_roles: Mapping[str, str] = field(
        factory=dict[str, str], validator=check("names of the roles assistant, tool and user", _are_roles)
    )
    history_delay: float = field(default=0.0, validator=number(0))
    history_lag: float = field(default=0.0, validator=number(0))
    history_window: int | None = field(default=None, validator=whole(1, optional=True))
    on_disconnect: Literal["continue", "stop"] = field(default="continue", validator=one_of("continue", "stop"))
    while_answering: Literal["wait", "conflict"] = field(default="wait", validator=one_of("wait", "conflict"))
    answer_framing: Literal["chunked", "close"] = field(default="chunked", validator=one_of("chunked", "close"))
    job_answer_body: bool = True
    job_poll_body: Literal["history", "empty", "object"] = field(
        default="history", validator=one_of("history", "empty", "object")
    )
    job_header_lag: int = field(default=0, validator=whole(0))
    conflict_lag: int = field(default=0, validator=whole(0))
    conflict_job_header: bool = True
    rotate_run_id: bool = False
    ndjson_object: Callable[[StreamEvent], Any] = field(default=ndjson_object, validator=check("a function", callable))
    ndjson_end: Any = None
    keep_runs: int = field(default=10_000, validator=whole(1))
    keep_requests: int = field(default=10_000, validator=whole(1))
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

    def user_entries(self, message: str | None) -> list[dict[str, Any]]:
        """Return what the history takes in of a user's message: one entry or none."""
        if message is None:
            message = self.history_start_without_message
        elif not message and not self.history_empty_messages:
            message = None
        return [] if message is None else [{"role": "user", "content": self.history_message(message)}]

    def outcome_entry(self, job: Job, outcome: Outcome) -> dict[str, Any]:
        """Return what the history takes in of a job's end."""
        return outcome_entry(job, outcome, self.history_tool_role)

    def renamed(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the entries under their roles' names."""
        roles = self.history_roles
        return [{**entry, "role": roles.get(entry["role"], entry["role"])} for entry in entries] if roles else entries

    def shown(self, run: Run) -> list[dict[str, Any]]:
        """Return the history as a read shows it."""
        entries = run.shown(self.history_lag)
        return self.renamed(entries if self.history_window is None else entries[-self.history_window :])
