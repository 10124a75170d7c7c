"""What turns, jobs and histories come to: plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

import orjson
from attrs import field, frozen

from .._wire.ids import check_agent_id, check_id
from .._wire.prose import find_json
from .._wire.words import entry_text
from ..errors import ConfigurationError
from .nested import flatten, short, unflatten

if TYPE_CHECKING:
    from ..events import ToolCall, ToolResult

__all__ = ["JobRecord", "JobStatus", "JobToken", "MapItem", "Message", "ToolExchange", "TurnResult"]

T = TypeVar("T")


@frozen
class Message:
    """One entry of a conversation's history.

    Attributes:
        role: ``"user"``, ``"assistant"`` or whatever else the service wrote.
        content: The content as sent: text, a list of content blocks, or anything else.
        raw: The whole entry as sent, with fields this library does not know.
    """

    role: str = field(repr=short)
    content: Any = field(repr=short, eq=flatten)
    raw: Any = field(repr=False, eq=flatten)

    @property
    def text(self) -> str:
        """The plain text of the content: itself if it is text, else that of its text blocks, joined.

        A block is one by its type (such as ``text`` or ``output_text``) or without a type; thoughts are not. Without a
        content it is the text of the entry's ``parts``, or of its ``refusal``.
        """
        return entry_text(self.content, self.raw)

    def __reduce__(self) -> tuple[Any, ...]:
        return _message, (self.role, flatten(self.content), flatten(self.raw))


def _message(role: str, content: tuple[Any, ...], raw: tuple[Any, ...]) -> Message:
    return Message(role, unflatten(content), unflatten(raw))


@frozen
class ToolExchange:
    """A tool call and its result; ``result`` is ``None`` while it is missing."""

    call: ToolCall
    result: ToolResult | None = None


@frozen
class JobRecord:
    """A job that is over: seconds it was waited for, and polls that took."""

    job_id: str
    elapsed: float
    polls: int


@frozen
class JobStatus:
    """What one GET says of a run.

    Attributes:
        agent_id: The worker.
        run_id: The conversation.
        job_id: The running job, ``None`` if there is none.
        retry_after: Seconds the service asks to wait before the next GET, if it does.
        history: The conversation, when it was read (a running job's is skipped where it is large).
    """

    agent_id: str
    run_id: str
    job_id: str | None = None
    retry_after: float | None = None
    history: tuple[Message, ...] | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        """Whether a job is running. ``False`` means finished or failed: the API does not say which."""
        return self.job_id is not None


@frozen
class JobToken:
    """All that another process needs to wait for a job and resume its run: ids and times, never the key.

    Attributes:
        agent_id: The worker.
        run_id: The conversation.
        job_id: The job that was running.
        started: When its ``JobStarted`` was, in seconds since the epoch.
        format: The endpoint family of the turn.
        round: Resumes that the turn had sent before.
    """

    agent_id: str = field(converter=check_agent_id)
    run_id: str = field(converter=check_id)
    job_id: str
    started: float
    format: Literal["ndjson", "text"] = "ndjson"
    round: int = 0

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.job_id, str) or not 0 < len(self.job_id) <= 256 or not self.job_id.isprintable():
            raise ConfigurationError("not a job token: job_id must be 1 to 256 printable characters")
        number = isinstance(self.started, int | float) and not isinstance(self.started, bool)
        if not number or not 0 <= self.started < 1e11:
            raise ConfigurationError("not a job token: started must be seconds since the epoch")
        if self.format not in ("ndjson", "text"):
            raise ConfigurationError("not a job token: format must be 'ndjson' or 'text'")
        if type(self.round) is not int or not 0 <= self.round <= 1_000_000:
            raise ConfigurationError("not a job token: round must be a count")

    def to_json(self) -> str:
        """Write the token as JSON text."""
        return orjson.dumps({name: getattr(self, name) for name in _TOKEN_FIELDS}).decode()

    @classmethod
    def from_json(cls, text: str) -> JobToken:
        """Read a token, checking all that it says.

        Raises:
            ConfigurationError: ``text`` is not a token.
        """
        data: object = None
        if isinstance(text, str) and len(text) <= 4096:
            try:
                data = orjson.loads(text)
            except orjson.JSONDecodeError:
                data = None
        if (
            not isinstance(data, dict)
            or not {"agent_id", "run_id", "job_id", "started"} <= data.keys() <= _TOKEN_FIELDS
        ):
            raise ConfigurationError("not a job token: expected the JSON text of JobToken.to_json()")
        return cls(**data)


_TOKEN_FIELDS = {"agent_id": 0, "run_id": 0, "job_id": 0, "started": 0, "format": 0, "round": 0}.keys()


@frozen
class TurnResult:
    """What a turn came to, all its rounds together.

    Attributes:
        agent_id: The worker.
        run_id: The conversation.
        text: All the worker's words.
        tool_calls: Tool calls with their results, in order.
        jobs: Background jobs that were waited for.
        status: ``"completed"``, or ``"background"`` if a job goes on without the turn (``token`` is set then).
        token: What waits for that job later, in any process.
        recovered: Answers that were healed from the history.
        unknown: Events of unknown shape.
        malformed: Lines that could not be read as JSON.
        rounds: The words of each round: the first answer, then one per resume.
    """

    agent_id: str
    run_id: str | None
    text: str = field(default="", repr=short)
    tool_calls: tuple[ToolExchange, ...] = field(default=(), repr=short)
    jobs: tuple[JobRecord, ...] = field(default=(), repr=short)
    status: Literal["completed", "background"] = "completed"
    token: JobToken | None = None
    recovered: int = 0
    unknown: int = 0
    malformed: int = 0
    rounds: tuple[str, ...] = field(default=(), repr=False)

    def json(self) -> Any:
        """Read JSON from the last round that has text.

        Tries the whole text, then the last code fence that parses, then the last object or array that stands in the
        prose. One within JSON that is broken or broke off is a piece of it, and no answer.

        Raises:
            ValueError: There is none; the message says what was tried.
        """
        rounds = [text for text in self.rounds or (self.text,) if text.strip()]
        return find_json(rounds[-1] if rounds else "")

    def parse(self, type: type[T]) -> T:  # noqa: A002 - the name that fits
        """Read JSON as :meth:`json` does and structure it as ``type``.

        Args:
            type: An attrs class, dataclass or TypedDict (by cattrs, extra ``[parse]``), or a pydantic model.

        Raises:
            ValueError: There is no JSON, or it does not fit ``type``.
            ConfigurationError: No JSON is read as ``type``, such as one with a ``Decimal``; or cattrs is not installed.
        """
        from .parse import structure  # here, since it imports what only its users have installed

        return structure(self.json(), type)


@frozen
class MapItem:
    """One message of :meth:`~toolhouse_async.AsyncToolhouse.map`: its place, and its result or its error."""

    index: int
    message: Any = field(repr=short)
    result: TurnResult | None = None
    error: Exception | None = None
