"""What Toolhouse sends to a callback URL when a run is over."""

from __future__ import annotations

from typing import Any, Final, cast

from attrs import field, frozen

from .._values.nested import flatten, short
from .._wire.ids import is_id
from .._wire.jsontext import loads
from ..errors import ProtocolError

__all__ = ["Callback"]

LARGEST: Final = 1024 * 1024
"""Bytes of a body: an answer has far fewer."""


@frozen
class Callback:
    """The body of a callback: a run is over.

    A body proves nothing about who sent it: whoever knows the URL can send one. Compare a secret of the URL, and read
    the conversation itself with ``toolhouse.history(agent_id, callback.run_id)`` where the answer matters.

    Attributes:
        run_id: The run.
        status: How it ended, in the service's words, such as ``"completed"`` or ``"failed"``.
        last_agent_message: The worker's last words; ``None`` where it said nothing.
        raw: The whole body as parsed, with the fields that this class does not know.
    """

    run_id: str
    status: str = field(repr=short)
    last_agent_message: str | None = field(default=None, repr=short)
    raw: Any = field(default=None, repr=False, eq=flatten)

    @classmethod
    def from_json(cls, body: bytes | str) -> Callback:
        """Read a body, checking all that it says. The fields stand in the object itself or in its ``data``.

        Args:
            body: The request's body, at most 1 MiB.

        Raises:
            ProtocolError: It is none. Answer with 400 then.
        """
        if not isinstance(body, bytes | str):
            raise ProtocolError(f"a callback's body must be bytes or str, not {type(body).__name__}")
        data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
        if len(data) > LARGEST:
            raise ProtocolError(f"not a callback: longer than {LARGEST} bytes")
        try:
            raw: Any = loads(data)
        except ValueError as error:
            raise ProtocolError(f"not a callback: not JSON: {error}") from None
        fields = _fields(raw)
        run_id, status, words = (fields.get(name) for name in ("run_id", "status", "last_agent_message"))
        if not is_id(run_id):
            raise ProtocolError(f"not a callback: run_id is no run id: {short(run_id)}")
        if not isinstance(status, str) or not status:
            raise ProtocolError(f"not a callback: status must be a word, not {short(status)}")
        if words is not None and not isinstance(words, str):
            raise ProtocolError(f"not a callback: last_agent_message must be text or null, not {short(words)}")
        return cls(cast("str", run_id), status, words, raw)


def _fields(raw: object) -> dict[str, Any]:
    """The object that holds the run id: the body, or the ``data`` in it."""
    if not isinstance(raw, dict):
        raise ProtocolError(f"not a callback: expected a JSON object, not {short(raw)}")
    body = cast("dict[str, Any]", raw)
    data = body.get("data")
    return cast("dict[str, Any]", data) if "run_id" not in body and isinstance(data, dict) else body
