"""Ids of answers: each has its own, and the run can be read from it, so nothing has to be kept."""

from __future__ import annotations

import re
from typing import Final

from ..._wire.ids import is_id

__all__ = ["answer_id", "run_id_of"]

_RESPONSE: Final = re.compile(r"resp_[0-9a-f]{16}_([A-Za-z0-9_-]{1,128})", re.ASCII)


def answer_id(prefix: str, nonce: str, run_id: str | None) -> str:
    """Make an id.

    Args:
        prefix: ``"resp_"`` or ``"chatcmpl-"``, as OpenAI's begin.
        nonce: 16 hexadecimal digits, new for each answer.
        run_id: The conversation; ``None`` if the service has not named it, so that nothing can go on with it.
    """
    return f"{prefix}{nonce}" if run_id is None else f"{prefix}{nonce}_{run_id}"


def run_id_of(value: str) -> str | None:
    """The conversation that a response's id, or the run's own, names; ``None`` if it is neither."""
    match = _RESPONSE.fullmatch(value)
    if match is not None:
        return match[1]
    return value if is_id(value) and not value.startswith("resp_") else None
