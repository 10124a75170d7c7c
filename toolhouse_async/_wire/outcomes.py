"""What became of a row of a batch, as a store keeps it: a whole result or an error, read back in the form it had."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from .. import errors
from .._values.nested import flatten, unflatten
from .._values.results import JobRecord, JobToken, ToolExchange, TurnResult
from ..errors import StoreError, ToolhouseError
from ..events import ToolCall, ToolResult

PLAIN: Final = ("run_id", "safe_to_retry", "status", "body", "retry_after", "code", "attempts", "has_vanished")
"""What is kept of an error beside its class and its text, where it has that."""
FLAT: Final = "!"
"""What stands before a value that orjson cannot write or would change."""
STRICT: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def dumps(outcome: TurnResult | Exception) -> str:
    """Write a result or an error.

    Of tool calls and their results everything is kept but the lines they came in: JSON of any depth, integers of
    more than 64 bits and the numbers that JSON does not have included. Of an error its class, its text, and its plain
    fields are.
    """
    if isinstance(outcome, TurnResult):
        return _written({"result": _result(outcome)})
    return _written({"error": _error(outcome)})


def loads(text: str) -> TurnResult | Exception:
    """Read what :func:`dumps` has written.

    Raises:
        StoreError: It is none, or of a later version.
    """
    try:
        ((kind, value),) = _read(text).items()
        if kind == "result":
            return _as_result(**value)
        if kind == "error":
            return _as_error(**value)
        why = f"it is a {kind!r:.40}"
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        why = f"{type(error).__name__}: {error}"
    raise StoreError(f"the outcome of a row cannot be read ({why:.300})")


def _written(value: dict[str, Any]) -> str:
    try:
        data = orjson.dumps(value, option=STRICT)
    except TypeError:  # above 64 bits, below 254 levels, half of a character, or nothing of JSON
        data = b""
    if data and (b"null" not in data or orjson.loads(data) == value):  # NaN is written as null
        return data.decode()
    return FLAT + json.dumps([_piece(*each) for each in flatten(value)], default=_shown)


def _read(text: str) -> dict[str, Any]:
    if not text.startswith(FLAT):
        value: dict[str, Any] = orjson.loads(text)
        return value
    flat = [(_KINDS[kind], content) for kind, content in json.loads(text.removeprefix(FLAT))]
    whole: dict[str, Any] = unflatten(tuple(flat))
    return whole


_KINDS: Final[Mapping[str, type | None]] = {"l": list, "d": dict, "": None}


def _piece(kind: type | None, content: Any) -> tuple[str, Any]:
    if kind is list:
        return "l", content
    return ("", content) if kind is None else ("d", list(content))


def _shown(value: object) -> str:
    """What stands for a value that a decoder of the user's has made, and that JSON has no form for."""
    return f"<{type(value).__name__}>"


def _result(result: TurnResult) -> dict[str, Any]:
    calls = [
        [_call(each.call), None if each.result is None else _tool_result(each.result)] for each in result.tool_calls
    ]
    return {
        "agent_id": result.agent_id,
        "run_id": result.run_id,
        "text": result.text,
        "tool_calls": calls,
        "jobs": [[job.job_id, job.elapsed, job.polls] for job in result.jobs],
        "status": result.status,
        "token": None if result.token is None else result.token.to_json(),
        "counts": [result.recovered, result.unknown, result.malformed],
        "rounds": None if result.rounds == (result.text,) else list(result.rounds),  # mostly there is one
    }


def _call(call: ToolCall) -> list[Any]:
    return [call.id, call.name, call.arguments]


def _tool_result(result: ToolResult) -> list[Any]:
    return [result.id, result.name, result.content, result.is_error]


def _as_result(
    agent_id: str,
    run_id: str | None,
    text: str,
    tool_calls: list[Any],
    jobs: list[Any],
    status: Any,
    token: str | None,
    counts: list[int],
    rounds: list[str] | None,
) -> TurnResult:
    recovered, unknown, malformed = counts
    return TurnResult(
        agent_id,
        run_id,
        text,
        tuple(ToolExchange(ToolCall(*call), None if said is None else ToolResult(*said)) for call, said in tool_calls),
        tuple(JobRecord(*job) for job in jobs),
        status,
        None if token is None else JobToken.from_json(token),
        recovered,
        unknown,
        malformed,
        (text,) if rounds is None else tuple(rounds),
    )


def _error(error: Exception) -> dict[str, Any]:
    partial, token = getattr(error, "partial", None), getattr(error, "token", None)
    return {
        "class": type(error).__name__,
        "text": str(error),
        "fields": {name: getattr(error, name) for name in PLAIN if hasattr(error, name)},
        "token": None if token is None else token.to_json(),
        "partial": _result(partial) if isinstance(partial, TurnResult) else None,
    }


def _as_error(fields: dict[str, Any], token: str | None, partial: dict[str, Any] | None, **said: str) -> Exception:
    name, text = said["class"], said["text"]
    is_ours = name in errors.__all__  # else the user's own code has raised it
    error: ToolhouseError = getattr(errors, name)(text) if is_ours else ToolhouseError(f"{name}: {text}")
    for field in PLAIN:
        if field in fields and hasattr(error, field):
            setattr(error, field, fields[field])
    error.token = None if token is None else JobToken.from_json(token)
    if partial is not None:
        vars(error)["partial"] = _as_result(**partial)
    return error
