"""Answers as OpenAI's Responses: one object, or a stream of events."""

from __future__ import annotations

from typing import Any, Final

from attrs import define, field

from ... import events as ev
from ..._values.eventjson import json_text
from ..._values.results import TurnResult
from .ids import answer_id
from .refusals import refusal_of
from .requests import Asked

__all__ = ["ResponseForm"]

_PREFIX: Final = "resp_"
_COMMENT: Final = b": working\n\n"


def _message(name: str, status: str, text: str | None) -> dict[str, Any]:
    content = [] if text is None else [_part(text)]
    return {"id": name, "type": "message", "role": "assistant", "status": status, "content": content}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


@define
class ResponseForm:
    """How an answer is written: as an object, or as a stream of events (see :class:`..._streams.Form`).

    The words of all rounds are one message. What has no words - tools, jobs - is a comment, so that the connection is
    never silent for long. Attributes as for :class:`.chat.ChatForm`.
    """

    asked: Asked
    model: str
    nonce: str
    created: int
    error: BaseException | None = None
    _id: str = ""
    _number: int = 0
    _messages: int = 0
    _is_open: bool = False
    _text: list[str] = field(factory=list[str])  # of the open message
    _round: int = 0  # where the words of this round begin among them

    def whole(self, result: TurnResult) -> dict[str, Any]:
        """The answer as one object."""
        self._text.append(result.text)
        return self._standing(result)

    @property
    def heartbeat(self) -> bytes:
        """A comment."""
        return _COMMENT

    def begin(self) -> bytes:
        """Nothing: the id is not known yet."""
        return b""

    def event(self, event: ev.Event) -> bytes:
        """An event as OpenAI has it, or as a comment."""
        match event:
            case ev.TurnStarted(run_id=run_id):
                self._id = answer_id(_PREFIX, self.nonce, run_id)
                made = self._object("in_progress", [])
                return self._written("response.created", response=made) + self._written(
                    "response.in_progress", response=made
                )
            case ev.TextDelta(text) if text:
                return self._words(text)
            case ev.TurnResumed():
                self._round = len(self._text)
                return _COMMENT
            case ev.StreamRecovered(text) if not text.startswith("".join(self._text[self._round :])):
                return self._replaced(text)
            case ev.TurnCompleted(result):
                return self._completed(result)
            case _:
                return _COMMENT

    def failed(self, error: BaseException) -> bytes:
        """What ends the stream: the response has failed, and an error that OpenAI's package raises."""
        self.error = error
        refusal = refusal_of(error, param=self.asked.named_run)
        made = b""
        if self._id:
            partial = [self._item("incomplete")] if self._is_open else []
            told = {"code": "server_error", "message": refusal.message}
            made = self._written("response.failed", response={**self._object("failed", partial), "error": told})
        named = {"code": refusal.code, "message": refusal.message, "param": refusal.param}
        return made + self._written("error", **named, error=refusal.object())

    def _words(self, text: str) -> bytes:
        made = b"" if self._is_open else self._opened()
        self._text.append(text)
        return made + self._of_part("response.output_text.delta", delta=text, logprobs=[])

    def _opened(self) -> bytes:
        self._is_open = True
        return self._of_item(
            "response.output_item.added", _message(self._item_id, "in_progress", None)
        ) + self._of_part("response.content_part.added", part=_part(""))

    def _closed(self, status: str) -> bytes:
        text = "".join(self._text)
        made = self._of_part("response.output_text.done", text=text, logprobs=[])
        made += self._of_part("response.content_part.done", part=_part(text))
        return made + self._of_item("response.output_item.done", self._item(status))

    def _replaced(self, text: str) -> bytes:
        """The answer was cut, and does not stand in the history as it began: it comes whole, as a further message."""
        made = self._closed("incomplete")
        del self._text[self._round :]
        self._messages += 1
        made += self._opened()
        self._text.append(text)
        return made + self._of_part("response.output_text.delta", delta="".join(self._text), logprobs=[])

    def _completed(self, result: TurnResult) -> bytes:
        made = b"" if self._is_open else self._opened()
        made += self._closed("completed")
        return made + self._written("response.completed", response=self._standing(result))

    def _standing(self, result: TurnResult) -> dict[str, Any]:
        """The response with the message that stands."""
        self._id = answer_id(_PREFIX, self.nonce, result.run_id)  # a resume may have given the run another
        return self._object("completed", [self._item("completed")])

    @property
    def _item_id(self) -> str:
        return f"msg_{self.nonce}_{self._messages}"

    def _item(self, status: str) -> dict[str, Any]:
        return _message(self._item_id, status, "".join(self._text))

    def _object(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self.model,
            "output": output,
            "parallel_tool_calls": False,
            "temperature": None,
            "text": {"format": {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "top_p": None,
            "usage": None,
            **self.asked.echo,
        }

    def _of_item(self, kind: str, item: dict[str, Any]) -> bytes:
        return self._written(kind, output_index=self._messages, item=item)

    def _of_part(self, kind: str, **fields: Any) -> bytes:
        return self._written(kind, item_id=self._item_id, output_index=self._messages, content_index=0, **fields)

    def _written(self, kind: str, **fields: Any) -> bytes:
        data = json_text({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), data.encode())
