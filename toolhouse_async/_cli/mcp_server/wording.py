"""What models and people read of a call: its answer, its failure, and what happens meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from ... import errors as er
from ... import events as ev
from ..._wire.pauses import in_words
from .earlier import Looking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ... import TurnResult
    from .earlier import Earlier, Happening

__all__ = ["INPUT", "INSTRUCTIONS", "OUTPUT", "Reply", "answered", "failed", "news_of", "refused", "settled"]

INSTRUCTIONS: Final = (
    "Each tool sends a message to a worker of Toolhouse and brings its answer, which may take minutes. An answer names "
    "its conversation: pass that id as `conversation` to go on with it. A message may have effects that cannot be "
    "undone, so a call that failed says whether its message may be sent again."
)

INPUT: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "message": {
            "type": "string",
            "description": "What to say to the worker. An empty message to a conversation is not sent: it asks for the "
            "latest answer, which a call before may not have brought.",
        },
        "conversation": {
            "type": "string",
            "description": "The id of the conversation to go on with, as an answer gave it. Leave it out to begin one.",
        },
    },
    "required": ["message"],
    "additionalProperties": False,
}
"""The arguments of a tool, as JSON Schema."""

OUTPUT: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "answer": {"type": "string", "description": "What the worker said; of a call that failed, as far as it came."},
        "conversation": {"type": ["string", "null"], "description": "The conversation's id, where it is known."},
        "earlier": {
            "type": ["string", "null"],
            "description": "The answer to an earlier message, which the call before did not bring.",
        },
        "error": {"type": ["string", "null"], "description": "What kind of failure it was."},
        "safe_to_retry": {
            "type": ["boolean", "null"],
            "description": "Of a call that failed: whether its message may be sent again; null where nobody knows.",
        },
        "retry_after": {"type": ["number", "null"], "description": "Seconds to wait before that, where it is known."},
    },
    "required": ["answer", "conversation"],
}
"""What a call gives back as structured content, as JSON Schema."""


@frozen
class Reply:
    """What a call comes to, in two forms: for models that see text alone, and for programs.

    Attributes:
        texts: Paragraphs.
        fields: The same as ``OUTPUT`` describes it.
        is_error: Whether the call failed.
    """

    texts: tuple[str, ...]
    fields: dict[str, Any] = field(factory=dict[str, Any])
    is_error: bool = False


def answered(result: TurnResult, earlier: Earlier | None = None) -> Reply:
    """The worker has answered.

    Args:
        result: What it said.
        earlier: What became of an earlier message, if that was not known.
    """
    words = result.text if result.text.strip() else "The worker has answered without words."
    return Reply(
        (*_of_earlier(earlier), words, _named(result.run_id)),
        {"answer": result.text, "conversation": result.run_id, **_field_of_earlier(earlier)},
    )


def settled(earlier: Earlier, run_id: str | None) -> Reply:
    """It was asked what became of an earlier message, and nothing was sent."""
    if earlier.result is not None:
        return answered(earlier.result)
    if earlier.error is not None:
        return failed(earlier.error, run_id)
    return Reply(
        ("The earlier message was not accepted, and nothing was sent. The earlier message may be sent again.",
         _named(run_id)),
        {"answer": "", "conversation": run_id, "error": "NotSentError", "safe_to_retry": True, "retry_after": None},
        is_error=True,
    )  # fmt: skip


def refused(why: str) -> Reply:
    """The arguments are wrong, and nothing was sent."""
    fields = {"answer": "", "conversation": None, "error": "ConfigurationError", "safe_to_retry": True}
    return Reply((f"{why} Nothing was sent.",), {**fields, "retry_after": None}, is_error=True)


def failed(error: er.ToolhouseError, run_id: str | None, earlier: Earlier | None = None) -> Reply:
    """The call failed.

    Args:
        error: Why.
        run_id: The conversation, if it has an id.
        earlier: What became of an earlier message, if that was not known.
    """
    partial: TurnResult | None = getattr(error, "partial", None)
    words = "" if partial is None else partial.text
    retry_after = error.retry_after if isinstance(error, er.APIStatusError) else None
    said = (f"What had come of its answer:\n\n{words}",) if words.strip() else ()
    known = None if isinstance(error, er.NotFoundError) and error.safe_to_retry else run_id
    named = (_named(known),) if known is not None else ()
    return Reply(
        (*_of_earlier(earlier), f"{_reason(error)}\n\n{_advice(error, run_id, retry_after)}", *said, *named),
        {
            "answer": words,
            "conversation": known,
            **_field_of_earlier(earlier),
            "error": type(error).__name__,
            "safe_to_retry": error.safe_to_retry,
            "retry_after": retry_after,
        },
        is_error=True,
    )


def news_of(event: Happening) -> str | None:
    """What is said of an event while the call goes on; ``None`` for what is no news."""
    match event:
        case Looking():
            return "Finding out what became of the earlier message"
        case ev.TurnStarted(run_id=run_id):
            return f"The worker has the message; conversation {run_id}"
        case ev.ToolCall(name=name):
            return f"The worker uses {name:.100}"
        case ev.JobStarted():
            return "A background job runs"
        case ev.JobProgress(elapsed=elapsed, polls=polls):
            return f"The background job has run for {elapsed:.0f} s ({polls} polls)"
        case ev.JobFinished(elapsed=elapsed) if elapsed < 1:
            return "The background job is over at once"
        case ev.JobFinished(elapsed=elapsed):
            return f"The background job is over after {elapsed:.0f} s"
        case ev.TurnResumed():
            return "The worker goes on"
        case ev.StreamRecovered():
            return "The answer was cut, and was completed from the conversation's history"
        case _:
            return None


def _named(run_id: str | None) -> str:
    return f"Conversation: {run_id} (pass it as `conversation` to go on)"


def _of_earlier(earlier: Earlier | None) -> tuple[str, ...]:
    if earlier is None:
        return ()
    if earlier.result is not None:
        return (f"The answer to the earlier message, which had not been brought:\n\n{earlier.result.text}",)
    if earlier.error is not None:
        why = _reason(earlier.error)
        return (f"The earlier message was accepted, and its answer cannot be brought. {why}",)
    return ("The earlier message was not accepted.",)


def _field_of_earlier(earlier: Earlier | None) -> dict[str, Any]:
    return {} if earlier is None or earlier.result is None else {"earlier": earlier.result.text}


def _reason(error: er.ToolhouseError) -> str:
    """What happened, with the library's own words where they are no advice to programmers."""
    if isinstance(error, er.UncertainSessionError):
        return (
            "This message was not sent, since nobody knows yet whether an earlier one of the conversation was accepted."
        )
    if isinstance(error, er.ClosedError):
        return "This server was stopped."
    return f"{type(error).__name__}: {error}"


_OPERATOR: Final = "Trying again does not help: whoever runs this server has to see to it."
_LATER: Final = "It may be sent again later."
_ACCEPTED: Final[Mapping[bool | None, str]] = {
    True: "This message was not accepted.",
    False: "This message was accepted: do not send it again.",
    None: "Nobody knows whether this message was accepted: do not send it again before that is known.",
}
_WHAT_TO_DO: Final[Mapping[type[er.ToolhouseError], str]] = {
    er.AuthenticationError: f"The API key is missing, wrong or expired. {_OPERATOR}",
    er.PermissionDeniedError: f"The API key may not use this worker. {_OPERATOR}",
    er.ConfigurationError: _OPERATOR,
    er.TLSError: _OPERATOR,
    er.RedirectError: _OPERATOR,
    er.BadRequestError: "Say it in another way.",
    er.UnprocessableEntityError: "Say it in another way.",
    er.UncertainSessionError: "Try again later, or leave `conversation` out to begin another conversation.",
    er.ToolhouseError: _LATER,
}
"""What to do about a message that was not accepted."""


def _advice(error: er.ToolhouseError, run_id: str | None, retry_after: float | None) -> str:
    """Whether the message may be sent again, and what to do."""
    fate = _ACCEPTED[error.safe_to_retry]
    if error.safe_to_retry:
        return f"{fate} {_what_to_do(error, run_id, retry_after)}"
    if isinstance(error, er.WorkerError):
        return f"{fate} The worker reported the failure itself; the conversation can go on."
    if error.safe_to_retry is False and run_id is not None:
        return f"{fate} To get its answer, call this tool with conversation {run_id} and an empty message."
    if run_id is not None:
        return (
            f"{fate} To find out, call this tool with conversation {run_id} and an empty message: it looks for the "
            "message and sends nothing."
        )
    return f"{fate} It was to begin a conversation, and without its id nobody can look. Ask before you send it again."


def _what_to_do(error: er.ToolhouseError, run_id: str | None, retry_after: float | None) -> str:
    if retry_after is not None:
        return f"It may be sent again in {in_words(retry_after)}."
    if isinstance(error, er.NotFoundError):
        if run_id is None:
            return f"There is no such worker. {_OPERATOR}"
        return "This worker has no such conversation. Leave `conversation` out to begin one."
    return next(_WHAT_TO_DO[kind] for kind in type(error).__mro__ if kind in _WHAT_TO_DO)
