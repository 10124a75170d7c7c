"""Requests: how they are recorded, and what they ask for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RecordedRequest"]

_ID: Final = r"[A-Za-z0-9_-]{1,128}"
_READ: Final = re.compile(rf"/(?P<agent>{_ID})/(?P<run>{_ID})", re.ASCII)
_START: Final = re.compile(rf"/(?P<ndjson>ndjson/)?(?P<agent>{_ID})", re.ASCII)
_CONTINUE: Final = re.compile(rf"/(?P<ndjson>ndjson/)?(?P<agent>{_ID})/(?P<run>{_ID})", re.ASCII)
_PATHS: Final = {"GET": _READ, "HEAD": _READ, "POST": _START, "PUT": _CONTINUE}


@define(eq=False)
class RecordedRequest:
    """A request that reached the emulator.

    Attributes:
        method: The HTTP method.
        path: The path as sent, with its query if it had one.
        headers: The request's headers; names are looked up in any case.
        body: The request's body, as far as it has arrived.
        status: The status of the answer; ``None`` while there is none and where a fault cut it before its
            headers.
        accepted: Whether a message was taken into a conversation. What became of the answer is another
            matter: a fault may have turned it into a 502 or have cut it.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    status: int | None = None
    accepted: bool = False

    def json(self) -> Any:
        """The body parsed as JSON.

        Raises:
            ValueError: It is not JSON.
        """
        return orjson.loads(self.body)


class Refusal(Exception):  # noqa: N818 - an answer, not an error of ours
    """The request gets an error answer."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers or {}

    def body(self) -> bytes:
        """The body of the error answer."""
        return orjson.dumps({"error": str(self)})


@frozen
class Target:
    """What a request's path names; ``run_id`` is empty for a start."""

    agent_id: str
    run_id: str
    ndjson: bool


def target_of(method: str, path: str) -> Target | Refusal:
    """Return what ``path`` names for ``method``, or why it names nothing.

    ``ndjson`` may be an agent's id as well: which part of a path is which follows from the method.
    """
    pattern = _PATHS.get(method)
    if pattern is None:
        return Refusal(405, f"no endpoint takes {method}", {"Allow": ", ".join(_PATHS)})
    match = pattern.fullmatch(path.partition("?")[0])
    if match is None:
        return Refusal(404, "no such endpoint")
    parts = match.groupdict()
    return Target(parts["agent"], parts.get("run", ""), bool(parts.get("ndjson")))


def body_of(content: bytes) -> dict[str, Any]:
    """Return the body of a POST or PUT; an empty one is an object without fields.

    Raises:
        Refusal: It is not a JSON object, or one of its known fields has another type than the documented one.
    """
    if not content:
        return {}
    try:
        body: Any = orjson.loads(content)
    except ValueError:
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "the body is not a JSON object")
    fields = cast("dict[str, Any]", body)
    for name, kind in (("message", str), ("toolhouse_id", str), ("vars", dict), ("bundle", str)):
        if name in fields and not isinstance(fields[name], kind):
            raise Refusal(422, f"{name} must be {'an object' if kind is dict else 'a string'}")
    return fields
