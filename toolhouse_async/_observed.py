"""A turn that is observed: it is told of by its events, which stand in the order of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, Final, Literal, Protocol, TypeAlias

from . import observe
from ._turn.commands import Over
from ._turn.progress import Progress
from ._turn.table import State
from ._values.eventjson import json_text
from ._values.results import TurnResult
from .errors import ClosedError, OutcomeUnknownError, ToolhouseError
from .events import Event, JobFinished, JobProgress, JobStarted, StreamRecovered, TextDelta, ToolCall, ToolResult

_NUMBERS: Final = count(1)
Kind: TypeAlias = Literal["message", "job", "reconcile", "recover"]
_KINDS: Final[dict[State, Kind]] = {
    State.SENDING: "message",
    State.WAITING: "job",
    State.FINDING: "reconcile",
    State.RECOVERING: "recover",
}
"""What a turn does, by the state that it begins in."""


class Tell(Protocol):
    """Tells observers a record, and those who want content its fields of that."""

    def __call__(self, record: object, /, **content: str | None) -> None:
        """Tell it."""
        ...


class ObservedTurn:
    """What tells the observers of one turn. It looks at the turn, and changes nothing but where its events go.

    Attributes:
        number: The turn's number.
    """

    def __init__(self, tell: Tell, turn: Progress, time: Callable[[], float], *, want_content: bool) -> None:
        """Watch a turn.

        Args:
            tell: Tells the observers.
            turn: The turn, which has made no event yet.
            time: The loop's clock.
            want_content: Whether any of them is told what was said.
        """
        self.number: int = next(_NUMBERS)
        self._tell = tell
        self._want_content = want_content
        self._turn = turn
        self._time = time
        self._kind: Kind = _KINDS[turn.state]
        self._began: float | None = None
        turn.events = _ObservedEvents(self._made)

    def begun(self) -> None:
        """The turn makes its first step."""
        turn = self._turn
        self._began = self._time()
        record = observe.TurnBegun(turn=self.number, kind=self._kind, agent_id=turn.agent_id, run_id=turn.run.run_id)
        self._tell(record, message=turn.words)

    def ended(self) -> None:
        """The turn has ended. Only the first call counts, and only where it has begun."""
        began, turn, over = self._began, self._turn, self._turn.todo
        if began is None:
            return
        self._began = None
        assert isinstance(over, Over)  # noqa: S101 - it is told of behind its last command
        tell = self._tell
        ids: dict[str, Any] = {"agent_id": turn.agent_id, "run_id": turn.run.run_id}
        error = None if self._has_waited and type(over.error) is ClosedError else over.error
        name = None if error is None else type(error).__name__
        if error is not None and self._is_unknown(error):
            tell(observe.OutcomeUnknown(turn=self.number, error=type(error).__name__, **ids))
        record = observe.TurnEnded(
            turn=self.number,
            kind=self._kind,
            outcome="failed" if error is not None else self._outcome(over.result),
            seconds=self._time() - began,
            error=name,
            **ids,
        )
        tell(record, text=self._shown(turn.partial.text) if self._want_content else None)

    @property
    def _has_waited(self) -> bool:
        """Whether it only was to wait for a job, and that is over; it is closed then."""
        status = self._turn.status
        return self._turn.only_waits and status is not None and not status.running

    def _outcome(self, result: TurnResult | None) -> Literal["completed", "background", "absent"]:
        if result is None:
            return "absent" if self._kind == "reconcile" else "completed"  # the latter only waited
        return result.status

    def _is_unknown(self, error: ToolhouseError) -> bool:
        """Whether the fate of what this turn said last is unknown, and not that of something before."""
        turn = self._turn
        left = turn.run.unfinished
        if left is not None and turn.said is left.said and not left.stage.is_accepted:
            return True
        return isinstance(error, OutcomeUnknownError) and error.safe_to_retry is None

    def _made(self, event: Event) -> None:
        """An event was made."""
        tell, number, content = self._tell, self.number, self._want_content
        match event:
            case ToolCall():
                called = observe.ToolCalled(turn=number, call_id=event.id, name=event.name)
                tell(called, arguments=self._shown(event.arguments) if content else None)
            case ToolResult():
                returned = observe.ToolReturned(turn=number, call_id=event.id, name=event.name, is_error=event.is_error)
                tell(returned, content=self._shown(event.content) if content else None)
            case JobStarted():
                tell(observe.JobBegun(turn=number, job_id=event.job_id))
            case JobProgress():
                tell(
                    observe.JobPolled(
                        turn=number,
                        job_id=event.job_id,
                        elapsed=event.elapsed,
                        polls=event.polls,
                        next_poll=event.next_poll,
                    )
                )
            case JobFinished():
                tell(observe.JobEnded(turn=number, job_id=event.job_id, elapsed=event.elapsed, polls=event.polls))
            case StreamRecovered():
                tell(observe.AnswerRecovered(turn=number, missing=len(event.missing)))
            case _:
                pass

    def _shown(self, value: Any) -> str:
        """What the worker has said, as text without the key."""
        head = self._turn.head
        text = value if isinstance(value, str) else json_text(value)
        return text if head is None else head.redact(text)


class _ObservedEvents(deque[Event]):
    """Events for a reader, which are told of as they are made."""

    def __init__(self, made: Callable[[Event], None]) -> None:
        super().__init__()
        self._made = made

    def append(self, event: Event, /) -> None:
        super().append(event)
        if type(event) is not TextDelta:  # of which there may be very many
            self._made(event)

    def extend(self, events: Iterable[Event], /) -> None:
        for event in events:
            self.append(event)
