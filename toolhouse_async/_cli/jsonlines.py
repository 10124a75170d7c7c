"""Events as lines of JSON that a terminal may show."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from .._values.eventjson import event_json, json_text
from ..errors import APIStatusError, JobError, ToolhouseError, TurnTimeoutError
from .terminal import HARMFUL

if TYPE_CHECKING:
    from .._values.results import JobToken
    from ..events import Event

__all__ = ["document_line", "event_line", "failure_line", "harmless_json"]


def event_line(event: Event) -> str:
    """Write an event as a line of JSON; what a terminal would obey is written as JSON's own escapes."""
    return _line(event_json(event))


def document_line(value: Any) -> str:
    """Write a value as a line of JSON, in the same way."""
    return _line(json_text(value).encode())


def failure_line(
    error: ToolhouseError | asyncio.CancelledError,
    run_id: str | None,
    *,
    begun: bool = False,
    token: JobToken | None = None,
) -> str:
    """Write as a line of JSON, ``TurnFailed``, that a turn ended before its time.

    It has the fields of the event of that name on the way to a browser, but the error's own words; and the run, and
    the token of a job that runs as :meth:`JobToken.from_json` takes it. A turn that was cancelled is ``Interrupted``,
    and ``begun`` and ``token`` tell of it what an error tells by itself.
    """
    name, message = type(error).__name__, str(error)
    retry_after = None
    if isinstance(error, ToolhouseError):
        safe_to_retry, run_id = error.safe_to_retry, error.run_id or run_id
        token = error.token if isinstance(error, (JobError, TurnTimeoutError)) else None
    else:
        name, message = "Interrupted", "the command was interrupted"
        safe_to_retry = False if begun else None
    if isinstance(error, APIStatusError):
        retry_after = error.retry_after
    fields: dict[str, Any] = {
        "event": "TurnFailed",
        "error": name,
        "message": message,
        "safe_to_retry": safe_to_retry,
        "retry_after": retry_after,
        "run_id": run_id,
        "token": None if token is None else token.to_json(),
    }
    return _line(orjson.dumps(fields))


def harmless_json(text: str) -> str:
    """Write what a terminal would obey in a text of JSON as JSON's own escapes, so that no value changes."""
    return HARMFUL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _line(written: bytes) -> str:
    return harmless_json(written.decode()) + "\n"
