"""The typed events of a turn.

Every event is a slotted attrs class that works with positional and keyword ``match`` patterns. ``line`` is the
line of the stream as received, without its newline (``b""`` in text format and where the library made the
event), and ``raw`` is that line parsed, on demand. Equality ignores ``line``; ``repr`` is bounded and pickling
works whatever the size or depth of the data. Treat events as read-only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from attrs import define, field, fields

from ._values.nested import flatten, half_made, short, unflatten

if TYPE_CHECKING:
    from ._values.results import TurnResult

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


_Key: TypeAlias = Callable[[Any], Any] | None


@define(repr=False, eq=False)
class _Base:
    """What all events have in common, written once: the same made for each would be half of the package's import."""

    line: bytes = field(default=b"", kw_only=True, eq=False, repr=False)

    @property
    def raw(self) -> Any:
        """The line parsed as JSON; ``None`` without a line or where it does not parse."""
        from ._wire.jsontext import parse_line  # here, since few programs ever ask for it

        return parse_line(self.line)

    @half_made
    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={how(getattr(self, name))}" for name, how, _ in _shape(type(self)) if how)
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(key(getattr(self, name)) == key(getattr(other, name)) for name, _, key in _shape(type(self)) if key)

    def __reduce__(self) -> tuple[Any, ...]:
        names = [name for name, _, _ in _shape(type(self))]
        return _rebuild, (type(self), names, [flatten(getattr(self, name)) for name in names])


def _shape(cls: type) -> tuple[tuple[str, _Key, _Key], ...]:
    """The fields of an event: name, how it is shown, and what is compared; ``None`` for not at all."""
    return tuple(
        (each.name, _key(each.repr, repr), _key(each.eq and (each.eq_key or True), _itself))
        for each in cast("tuple[Any, ...]", fields(cls))
    )


def _key(setting: Any, default: Callable[[Any], Any]) -> _Key:
    return setting if callable(setting) else default if setting else None


def _itself(value: object) -> object:
    return value


def _rebuild(cls: type[_Base], names: list[str], values: list[tuple[Any, ...]]) -> _Base:
    event = object.__new__(cls)
    for name, value in zip(names, values, strict=True):
        setattr(event, name, unflatten(value))
    return event


@define(repr=False, eq=False)
class TurnStarted(_Base):
    """The service accepted the message; the run id is known from here on."""

    agent_id: str = field(repr=short)
    run_id: str | None = field(repr=short)


@define(repr=False, eq=False)
class TextDelta(_Base):
    """A piece of the worker's answer, in order."""

    text: str = field(repr=short)


@define(repr=False, eq=False)
class ToolCall(_Base):
    """The worker calls a tool; ``arguments`` is parsed where it is JSON text."""

    id: str | None = field(repr=short)
    name: str = field(repr=short)
    arguments: Any = field(default=None, repr=short, eq=flatten)


@define(repr=False, eq=False)
class ToolResult(_Base):
    """A tool's answer to the call with the same ``id``."""

    id: str | None = field(repr=short)
    name: str | None = field(repr=short)
    content: Any = field(default=None, repr=short, eq=flatten)
    is_error: bool = False


@define(repr=False, eq=False)
class ErrorEvent(_Base):
    """The worker reports an error; reading goes on, and the turn ends with ``WorkerError``."""

    message: str = field(repr=short)
    code: str | int | None = field(default=None, repr=short)


@define(repr=False, eq=False)
class UnknownEvent(_Base):
    """Valid JSON of a shape that the decoding table does not know, with all its data."""

    type: str | None = field(repr=short)
    data: Any = field(repr=short, eq=flatten)

    if not TYPE_CHECKING:  # pragma: no branch - a type checker would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            """The ``data`` of a line that was known to be JSON without being parsed: Python asks for an empty slot."""
            if name != "data":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            self.data = self.raw
            return self.data


@define(repr=False, eq=False)
class MalformedLine(_Base):
    """A line that could not be read as JSON: its bytes, its number in the stream counted from 1, and why."""

    line: bytes = field(repr=short)
    number: int
    reason: str = field(repr=short)


@define(repr=False, eq=False)
class JobStarted(_Base):
    """A background job runs; the turn waits for it."""

    job_id: str = field(repr=short)


@define(repr=False, eq=False)
class JobProgress(_Base):
    """A poll found the job still running: seconds since it started, polls so far, seconds to the next poll.

    It comes with every poll, and several may come within a second: compare what you would show with what is shown.
    """

    job_id: str = field(repr=short)
    elapsed: float
    polls: int
    next_poll: float


@define(repr=False, eq=False)
class JobFinished(_Base):
    """The job is over, finished or failed: the API does not say which."""

    job_id: str = field(repr=short)
    elapsed: float
    polls: int


@define(repr=False, eq=False)
class TurnResumed(_Base):
    """The run goes on after a job; ``round`` counts the resumes of this turn from 1."""

    run_id: str = field(repr=short)
    round: int


@define(repr=False, eq=False)
class StreamRecovered(_Base):
    """A cut answer was healed from the history.

    ``text`` is the whole answer as the history has it, ``missing`` what the cut stream had not delivered; it follows as
    a :class:`TextDelta`. Where ``text`` does not begin with what was received, ``missing`` is empty, and ``text``
    replaces what was shown.
    """

    text: str = field(repr=short)
    missing: str = field(repr=short)


@define(repr=False, eq=False)
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
