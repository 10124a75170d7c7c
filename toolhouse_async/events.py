"""The typed events of a turn.

Every event is a slotted attrs class that works with positional and keyword ``match`` patterns. ``line`` is the
line of the stream as received, without its newline (``b""`` in text format and where the library made the
event), and ``raw`` is that line parsed, on demand. Equality ignores ``line``; ``repr`` is bounded and pickling
works whatever the size or depth of the data. Treat events as read-only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

from attrs import define, field, fields

from ._nested import flatten, short, unflatten

if TYPE_CHECKING:
    from attrs import AttrsInstance

    from ._results import TurnResult

__all__ = [
    "ErrorEvent",
    "Event",
    "JobFinished",
    "JobProgress",
    "JobStarted",
    "MalformedLine",
    "StreamRecovered",
    "TextDelta",
    "ToolCall",
    "ToolResult",
    "TurnCompleted",
    "TurnResumed",
    "TurnStarted",
    "UnknownEvent",
]


@define
class _Base:
    line: bytes = field(default=b"", kw_only=True, eq=False, repr=False)

    @property
    def raw(self) -> Any:
        """The line parsed as JSON; ``None`` without a line or where it does not parse."""
        from ._wire.jsontext import parse_line  # here, since few programs ever ask for it

        return parse_line(self.line)

    def __reduce__(self) -> tuple[Any, ...]:
        names = [each.name for each in fields(cast("type[AttrsInstance]", type(self)))]
        return _rebuild, (type(self), names, [flatten(getattr(self, name)) for name in names])


def _rebuild(cls: type[_Base], names: list[str], values: list[tuple[Any, ...]]) -> _Base:
    event = object.__new__(cls)
    for name, value in zip(names, values, strict=True):
        setattr(event, name, unflatten(value))
    return event


@define
class TurnStarted(_Base):
    """The service accepted the message; the run id is known from here on."""

    agent_id: str = field(repr=short)
    run_id: str | None = field(repr=short)


@define
class TextDelta(_Base):
    """A piece of the worker's answer, in order."""

    text: str = field(repr=short)


@define
class ToolCall(_Base):
    """The worker calls a tool; ``arguments`` is parsed where it is JSON text."""

    id: str | None = field(repr=short)
    name: str = field(repr=short)
    arguments: Any = field(default=None, repr=short, eq=flatten)


@define
class ToolResult(_Base):
    """A tool's answer to the call with the same ``id``."""

    id: str | None = field(repr=short)
    name: str | None = field(repr=short)
    content: Any = field(default=None, repr=short, eq=flatten)
    is_error: bool = False


@define
class ErrorEvent(_Base):
    """The worker reports an error; reading goes on, and the turn ends with ``WorkerError``."""

    message: str = field(repr=short)
    code: str | int | None = field(default=None, repr=short)


@define
class UnknownEvent(_Base):
    """Valid JSON of a shape that the decoding table does not know, with all its data."""

    type: str | None = field(repr=short)
    data: Any = field(repr=short, eq=flatten)


@define
class MalformedLine(_Base):
    """A line that is not JSON: its bytes, its number in the stream counted from 1, and why."""

    line: bytes = field(repr=short)
    number: int
    reason: str = field(repr=short)


@define
class JobStarted(_Base):
    """A background job runs; the turn waits for it."""

    job_id: str = field(repr=short)


@define
class JobProgress(_Base):
    """A poll found the job still running: seconds since it started, polls so far, seconds to the next poll."""

    job_id: str = field(repr=short)
    elapsed: float
    polls: int
    next_poll: float


@define
class JobFinished(_Base):
    """The job is over, finished or failed: the API does not say which."""

    job_id: str = field(repr=short)
    elapsed: float
    polls: int


@define
class TurnResumed(_Base):
    """The run goes on after a job; ``round`` counts the resumes of this turn from 1."""

    run_id: str = field(repr=short)
    round: int


@define
class StreamRecovered(_Base):
    """A cut answer was healed from the history.

    ``text`` is the whole answer as the history has it, ``missing`` what the cut stream had not delivered.
    """

    text: str = field(repr=short)
    missing: str = field(repr=short)


@define
class TurnCompleted(_Base):
    """The turn is complete: always the last event of a turn that succeeded."""

    result: TurnResult


Event: TypeAlias = (
    TurnStarted
    | TextDelta
    | ToolCall
    | ToolResult
    | ErrorEvent
    | UnknownEvent
    | MalformedLine
    | JobStarted
    | JobProgress
    | JobFinished
    | TurnResumed
    | StreamRecovered
    | TurnCompleted
)
"""Any event of a turn."""
