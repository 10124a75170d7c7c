"""Answers as chat completions: one object, or a stream of chunks."""

from __future__ import annotations

from typing import Any, Final

from attrs import define, field

from ... import events as ev
from ..._values.eventjson import json_text
from ..._values.results import TurnResult
from .ids import answer_id
from .refusals import refusal_of
from .requests import Asked

__all__ = ["ChatForm"]

_PREFIX: Final = "chatcmpl-"
_COMMENT: Final = b": working\n\n"


@define
class ChatForm:
    """How an answer is written: as an object, or as a stream of chunks (see :class:`..._streams.Form`).

    What has no words - tools, jobs - is a comment, so that the connection is never silent for long.

    Attributes:
        asked: The request.
        model: The model's name.
        nonce: What makes the answer's id its own.
        created: Seconds since 1970.
        error: Why the turn failed, once it has.
    """

    asked: Asked
    model: str
    nonce: str
    created: int
    error: BaseException | None = None
    _id: str = ""
    _said: list[str] = field(factory=list[str])  # in this round

    def whole(self, result: TurnResult) -> dict[str, Any]:
        """The answer as one object."""
        message = {"role": "assistant", "content": result.text, "refusal": None}
        return {
            "id": answer_id(_PREFIX, self.nonce, result.run_id),
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": None,
        }

    @property
    def heartbeat(self) -> bytes:
        """A comment."""
        return _COMMENT

    def begin(self) -> bytes:
        """Nothing: the id is not known yet."""
        return b""

    def event(self, event: ev.Event) -> bytes:
        """An event as a chunk, or as a comment."""
        match event:
            case ev.TurnStarted(run_id=run_id):
                self._id = answer_id(_PREFIX, self.nonce, run_id)
                return self._chunk({"role": "assistant", "content": ""})
            case ev.TextDelta(text) if text:
                self._said.append(text)
                return self._chunk({"content": text})
            case ev.TurnResumed():
                self._said.clear()
                return _COMMENT
            case ev.StreamRecovered(text) if not text.startswith("".join(self._said)):
                # What was shown cannot be taken back: the whole answer follows it.
                self._said[:] = [text]
                return self._chunk({"content": f"\n\n{text}"})
            case ev.TurnCompleted():
                return self._chunk({}, "stop") + b"data: [DONE]\n\n"
            case _:
                return _COMMENT

    def failed(self, error: BaseException) -> bytes:
        """The error, which ends the stream; no ``[DONE]`` follows it, for this is no answer."""
        self.error = error
        return b"data: %s\n\n" % json_text({"error": refusal_of(error).object()}).encode()

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        chunk = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
            **self.asked.echo,
        }
        return b"data: %s\n\n" % json_text(chunk).encode()
