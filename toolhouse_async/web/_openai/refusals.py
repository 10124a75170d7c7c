"""Errors in the form that OpenAI has for them, and what may be sent again after each."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from ... import errors as er
from .._failures import failure

__all__ = ["DOUBTFUL", "INVALID", "Refusal", "RefusedError", "refusal_of"]

INVALID: Final = "invalid_request_error"
"""OpenAI's word for what is wrong with the request."""
DOUBTFUL: Final = 424
"""The status after which nobody sends again by themselves; OpenAI's package does so after 408, 409, 429 and 5xx."""

_SERVER: Final = "server_error"
_BUSY: Final = "rate_limit_error"
_TRANSIENT: Final = (er.NotSentError, er.RateLimitError, er.ConflictError, er.ServerError, er.StoreError)
"""What may be over at the next attempt."""
_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@frozen
class Refusal:
    """Why there is no answer.

    Attributes:
        status: The HTTP status.
        message: What is wrong, in words that are safe to show.
        type: OpenAI's kind of error.
        code: What kind it is, for programs.
        param: The field of the request that it is about.
        run_id: The conversation, where it is known.
        retry_after: Seconds after which the client may send the same by itself; ``None``: it must not.
        more: Further headers of the answer.
    """

    status: int
    message: str
    type: str = INVALID
    code: str | None = None
    param: str | None = None
    run_id: str | None = None
    retry_after: int | None = None
    more: Mapping[str, str] = field(factory=dict[str, str])

    def object(self) -> dict[str, Any]:
        """The error as OpenAI writes it; ``run_id`` is ours."""
        made = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return made if self.run_id is None else {**made, "run_id": self.run_id}

    def headers(self) -> dict[str, str]:
        """What the client's library obeys."""
        if self.retry_after is None:
            return {"x-should-retry": "false", **self.more}
        return {"x-should-retry": "true", "retry-after": str(self.retry_after)}


class RefusedError(Exception):
    """A request that is refused before anything is sent."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def refusal_of(error: BaseException, *, param: str | None = None) -> Refusal:
    """Tell a turn's failure.

    Only what provably was not accepted gets a status after which clients send again.

    Args:
        error: Why the turn failed.
        param: The field of the request that names the conversation, if one does.
    """
    told = failure(error)
    message: str = told["message"]
    run_id = error.run_id if isinstance(error, er.ToolhouseError) else None
    code = _WORD.sub("_", str(told["error"]).removesuffix("Error")).lower()
    if told["safe_to_retry"] is not True or isinstance(error, er.UncertainSessionError):
        return Refusal(DOUBTFUL, message, _SERVER, code, run_id=run_id)
    match error:
        case er.NotFoundError() if run_id is None:
            return Refusal(404, "The worker of this model is not there.", code="model_not_found", param="model")
        case er.NotFoundError() if param is not None:
            return Refusal(400, message, code="previous_response_not_found", param=param)
        case er.NotFoundError():
            return Refusal(404, message, code="conversation_not_found")
        case er.BadRequestError() | er.UnprocessableEntityError():
            return Refusal(400, message, code=code, run_id=run_id)
        case _ if isinstance(error, _TRANSIENT) and not isinstance(error, er.TLSError):
            wait = max(1, math.ceil(told["retry_after"] or 1))
            if isinstance(error, er.RateLimitError):
                return Refusal(429, message, _BUSY, "rate_limit_exceeded", run_id=run_id, retry_after=wait)
            return Refusal(503, message, _SERVER, code, run_id=run_id, retry_after=wait)
        case _:
            return Refusal(500, message, _SERVER, code, run_id=run_id)
