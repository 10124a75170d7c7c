"""What people are told of an error: what they can do, and nothing of what went on inside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .. import errors as er
from .._values.eventjson import event_json
from .._wire.pauses import in_words
from ..events import ErrorEvent, Event, MalformedLine, TurnCompleted

__all__ = ["browser_json", "failure"]

BUSY: Final = "Too many people are asking at the moment. Please try again in {}."
WORKER: Final = "The worker reported an error."

_OURS: Final = "Something is wrong on our side. Please try again later."
_WORDS: Final[Mapping[type[er.ToolhouseError], str]] = {
    er.ClosedError: "The answer was stopped.",
    er.SessionBusyError: "The last message is still being answered. Please wait for it, or stop it.",
    er.ConflictError: "The worker is still busy with the last message. Please wait until it is done.",
    er.LeaseLostError: "This conversation is being continued elsewhere. Please load it again.",
    er.StoreError: "The conversation could not be saved. You may have to remind the worker of this answer.",
    er.UncertainSessionError: "This message was not sent. Please check first whether the earlier one arrived.",
    er.OutcomeUnknownError: "Nobody knows yet whether your message arrived. Please check before you send it again.",
    er.StreamInterruptedError: "Your message arrived, but its answer broke off. Please check whether it is there now.",
    er.TurnTimeoutError: "This took too long. The worker may still be at it; please look again later.",
    er.ResumeUncertainError: "The computation is over, but nobody knows whether the worker goes on. Please check.",
    er.TooManyRoundsError: "The worker started too many computations for one message. Please ask for less at once.",
    er.JobError: "The computation is out of sight. It may still be running; please look again later.",
    er.AnswerFormatError: "The worker answered, but not in the form that was needed. You can ask again.",
    er.WorkerError: "The worker could not finish this. You can ask again, perhaps in other words.",
    er.BadRequestError: "The worker did not take this. Please put it differently.",
    er.UnprocessableEntityError: "The worker did not take this. Please put it differently.",
    er.ConfigurationError: _OURS,
    er.AuthenticationError: _OURS,
    er.PermissionDeniedError: _OURS,
    er.RedirectError: _OURS,
    er.EventsDroppedError: "Part of this answer is not shown. Please load the conversation again when it is done.",
    er.NotFoundError: "This conversation is not there any more. Please begin a new one.",
}
_UNKNOWN: Final = {
    True: "The worker cannot be reached at the moment, so this was not done. Please try again.",
    False: "Something went wrong after your message had arrived. Please check before you send it again.",
    None: "Something went wrong, and nobody knows whether your message arrived. Please check before you send it again.",
}
"""What is said of any other error, by its ``safe_to_retry``; where that is true, it may be one of a read."""
_OF_READS: Final = (er.OutcomeUnknownError, er.ResponseTimeoutError, er.StreamInterruptedError)
"""Their words speak of a message, and a read has none; it is told by ``safe_to_retry``, which is true."""
_VANISHED: Final = (
    "What was remembered of this conversation is gone, and this answer is all that came. Please begin a new one."
)
_NOT_SENT: Final = "Nothing was sent, since this conversation cannot be reached at the moment. Please try again."
_NOT_REACHED: Final = "This conversation cannot be reached at the moment. Please load it again in a while."
_LARGEST: Final = 1 << 53
"""Beyond it a browser's numbers are not exact, and JSON libraries refuse some."""
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


def failure(error: BaseException) -> dict[str, Any]:
    """Describe an error to the people whom it concerns, as JSON has it.

    The texts are fixed: nothing of the error's own message, of the service's answer or of the key is in them.

    Args:
        error: Any error; what is none of this library's is called ``"InternalError"``.

    Returns:
        ``error`` (the class's name), ``message`` (a sentence that says what to do), ``safe_to_retry`` (``True``,
        ``False`` or ``None`` as the error has it), ``retry_after`` (seconds, or ``None``).
    """
    if not isinstance(error, er.ToolhouseError):
        return {"error": "InternalError", "message": _OURS, "safe_to_retry": None, "retry_after": None}
    retry_after = error.retry_after if isinstance(error, er.APIStatusError) else None
    return {
        "error": type(error).__name__,
        "message": _words(error, retry_after),
        "safe_to_retry": error.safe_to_retry,
        "retry_after": retry_after,
    }


def _words(error: er.ToolhouseError, retry_after: float | None) -> str:
    if isinstance(error, er.RateLimitError) or (isinstance(error, er.SessionBusyError) and error.is_hub_full):
        return BUSY.format(in_words(retry_after) if retry_after else "a minute")
    if (refused := _refusal(error)) is not None:
        return refused
    if isinstance(error, er.LeaseLostError) and error.has_vanished:
        return _VANISHED
    if isinstance(error, er.StoreError) and error.safe_to_retry:
        return _NOT_SENT
    if isinstance(error, er.StoreError) and not isinstance(error, er.LeaseLostError) and error.partial is None:
        return _NOT_REACHED
    if isinstance(error, er.StoreError) and error.token is not None:
        return _WORDS[er.JobError]  # its answer is still to come
    if error.safe_to_retry and type(error) in _OF_READS:
        return _UNKNOWN[True]
    for kind in type(error).__mro__:
        if kind in _WORDS:
            return _WORDS[kind]
    return _UNKNOWN[error.safe_to_retry]


def _refusal(error: er.ToolhouseError) -> str | None:
    """What is said of what will fail again, and has no words of its own."""
    if isinstance(error, er.TransportError | er.ResumeUncertainError) and error.has_vanished:
        return _WORDS[er.NotFoundError]
    if isinstance(error, er.NotFoundError) and error.run_id is None:
        return _OURS  # there is no such worker
    if type(error) is er.APIStatusError and error.safe_to_retry and error.status != 408:
        return _WORDS[er.BadRequestError] if error.status == 413 else _OURS
    return None


def browser_json(event: Event) -> bytes:
    """Write an event for a browser.

    All that the worker said is in it. Left out are the text of an error (a worker's code stays where it is a plain
    word), lines that are none of the worker's, and of the result what the events before have brought already.
    """
    match event:
        case ErrorEvent(_, code):
            return event_json(event, {"message": WORKER, "code": safe_code(code)})
        case MalformedLine(number=number):
            return event_json(event, {"number": number})
        case TurnCompleted(result):
            shown = ("status", "jobs", "recovered", "unknown", "malformed")
            return event_json(event, {"result": {name: getattr(result, name) for name in shown}})
        case _:
            return event_json(event)


def safe_code(code: str | int | None) -> str | int | None:
    """A worker's error code where it is a plain word or a number, else ``None``."""
    if isinstance(code, int):
        return code if abs(code) < _LARGEST else None
    return code if code is not None and _CODE.fullmatch(code) else None
