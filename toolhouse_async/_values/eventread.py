"""Reading what :mod:`.eventjson` has written: events, results, and errors, in another process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast, get_args

from .. import errors as er
from .. import events as ev
from .eventjson import json_text
from .results import JobRecord, JobToken, ToolExchange, TurnResult

__all__ = ["error_json", "read_error", "read_event"]

_EVENTS: Final[Mapping[str, Any]] = {kind.__name__: kind for kind in get_args(ev.Event)}
_ERRORS: Final[Mapping[str, Any]] = {name: getattr(er, name) for name in er.__all__}
_TOLD: Final = (
    *("run_id", "safe_to_retry", "token", "partial", "status", "retry_after", "code", "attempts"),
    *("is_lasting", "has_vanished"),
)
"""What of an error is written beside its message, which quotes the first 300 characters of a refusal's body.

The headers and the whole body stay with whoever got that answer.
"""


def read_event(written: Any, line: bytes = b"") -> ev.Event:
    """Make an event of its JSON.

    Args:
        written: The parsed JSON.
        line: The line that it came from, which its JSON does not have.

    Raises:
        ValueError: It is none.
    """
    try:
        fields: dict[str, Any] = dict(written)
        kind = _EVENTS[fields.pop("event")]
        if kind is ev.TurnCompleted:
            fields["result"] = _result(fields["result"])
        fields["line"] = line
        return cast("ev.Event", kind(**fields))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ValueError(f"no event: {error!r:.200}") from None


def _result(written: Any) -> TurnResult:
    fields = dict(written)
    calls = [ToolExchange(_part(each["call"]), _part(each["result"])) for each in fields["tool_calls"]]
    fields["tool_calls"] = tuple(calls)
    fields["jobs"] = tuple(JobRecord(**each) for each in fields["jobs"])
    fields["rounds"] = tuple(fields["rounds"])
    fields["token"] = _token(fields["token"])
    return TurnResult(**fields)


def _part(written: Any) -> Any:
    return None if written is None else read_event(written)


def _token(written: Any) -> JobToken | None:
    return None if written is None else JobToken(**written)


def error_json(error: Exception) -> bytes:
    """Write an error, as far as it concerns others: its class, its message, and what it says of the message sent."""
    fields = {name: getattr(error, name) for name in _TOLD if hasattr(error, name)}
    if not isinstance(error, er.ToolhouseError):
        fields = {}
    return json_text({"error": type(error).__name__, "message": str(error)[:2000], **fields}).encode()


def read_error(written: Any) -> Exception:
    """Make an error of its JSON. One that was none of this library's comes as ``RuntimeError``.

    Raises:
        ValueError: It is none.
    """
    try:
        fields = dict(written)
        name, message = fields.pop("error"), fields.pop("message")
        if name not in _ERRORS:
            return RuntimeError(f"in the process that ran the turn: {name!s:.80}: {message!s:.200}")
        error: Exception = _ERRORS[name](message)
        if fields.get("partial") is not None:
            fields["partial"] = _result(fields["partial"])
        fields["token"] = _token(fields.get("token"))
        for each in _TOLD:
            if each in fields:
                setattr(error, each, fields[each])
    except (TypeError, KeyError, ValueError, AttributeError) as why:
        raise ValueError(f"no error: {why!r:.200}") from None
    return error
