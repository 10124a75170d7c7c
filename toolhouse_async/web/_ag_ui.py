"""Turns in AG-UI, the protocol by which CopilotKit and others show agents: https://docs.ag-ui.com."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Final

import orjson

from .. import events as ev
from .._values.eventjson import json_text
from .._values.options import check_json
from ..errors import ConfigurationError
from ._failures import WORKER, failure, safe_code
from ._streams import HEARTBEAT, ByteStream

if TYPE_CHECKING:
    from ag_ui.core import BaseEvent

__all__ = ["ag_ui"]

_ACTIVITY: Final = "BACKGROUND_JOB"


def ag_ui(
    turn: AsyncIterable[ev.Event], *, thread_id: str | None, run_id: str, heartbeat: float | None = HEARTBEAT
) -> ByteStream:
    """Write a turn in AG-UI, as Server-Sent Events; needs the extra ``[ag-ui]``.

    Words become text messages, one for each stretch of them; tool calls and their results what AG-UI calls so; a
    background job an activity ``BACKGROUND_JOB`` with ``jobId``, ``status`` (``"running"`` or ``"over"``: finished or
    failed), ``elapsed`` (seconds) and ``polls``. What AG-UI has no event for is ``RAW`` (events of unknown shape) or
    ``CUSTOM``: ``worker_error``, ``malformed_line``, and ``text_replaced`` (``messageIds``) where an answer was cut on
    its way and does not stand in the history as it began: the whole of it comes as the next message. The last event is
    ``RUN_FINISHED``, or ``RUN_ERROR`` with what :func:`failure` says.

    Args:
        turn: A turn, a waiter, a :class:`HubReader`, or any async iterable of events.
        thread_id: The conversation: Toolhouse's run id, or the name that the front end has for it. ``None`` takes the
            run id from the first answer; only for a turn that begins a conversation, which has none before.
        run_id: The turn, by a name that the front end gave it (``runId`` of its input) or any other that is new.
        heartbeat: As for :func:`sse`.

    Returns:
        As for :func:`sse`.

    Raises:
        ConfigurationError: The package ``ag-ui-protocol`` is not installed, or an argument is wrong.
    """
    _check_id("run_id", run_id)
    if thread_id is not None:
        _check_id("thread_id", thread_id)
    try:
        return ByteStream(turn, _Form(thread_id, run_id), heartbeat)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ag_ui":
            raise
        raise ConfigurationError(
            "ag_ui() needs the package ag-ui-protocol: pip install 'toolhouse-async[ag-ui]'"
        ) from error


def _check_id(name: str, given: object) -> None:
    if not isinstance(given, str) or not given:
        raise ConfigurationError(f"{name} must be a string that is not empty, not {given!r:.80}")
    check_json(name, given)


class _Form:
    """The state of one AG-UI stream."""

    heartbeat = b":\n\n"

    def __init__(self, thread_id: str | None, run_id: str) -> None:
        from ag_ui import core, encoder  # here, since only the extra installs it

        self._core = core
        self._encoder = encoder.EventEncoder()
        self._thread_id = thread_id
        self._run_id = run_id
        self._has_begun = False
        self._message: str | None = None  # the text message that is open
        self._said: list[str] = []  # in this round …
        self._round: list[str] = []  # … by these messages
        self._messages = 0
        self._unanswered: dict[str, str] = {}  # names of calls by their ids, oldest first

    def begin(self) -> bytes:
        return b"" if self._thread_id is None else self._encoded(self._begun(self._thread_id))

    def event(self, event: ev.Event) -> bytes:
        made = list(self._made(event))
        if not self._has_begun:
            made.insert(0, self._begun(""))
        return self._encoded(*made)

    def failed(self, error: BaseException) -> bytes:
        told = failure(error)
        made = [] if self._has_begun else [self._begun(self._thread_id or "")]
        made += self._text_ended()
        if told["error"] == "ClosedError":
            cancelled = self._core.RunFinishedCancelledOutcome()
            made.append(self._finished(cancelled))
        else:
            made.append(self._core.RunErrorEvent(message=told["message"], code=told["error"]))
        return self._encoded(*made)

    def _encoded(self, *events: BaseEvent) -> bytes:
        return "".join(map(self._encoder.encode, events)).encode()

    def _made(self, event: ev.Event) -> list[BaseEvent]:  # noqa: C901 - a table, one case for each event
        core = self._core
        match event:
            case ev.TurnStarted(run_id=run_id):
                return [] if self._has_begun else [self._begun(run_id or "")]
            case ev.TextDelta(text):
                return self._text(text) if text else []
            case ev.ToolCall():
                return [*self._text_ended(), *self._call(event)]
            case ev.ToolResult():
                return [*self._text_ended(), self._result(event)]
            case ev.ErrorEvent(_, code):
                value = {"message": WORKER, "code": safe_code(code)}
                return [core.CustomEvent(name="worker_error", value=value)]
            case ev.UnknownEvent(_, data):
                return [core.RawEvent(event=_plain(data), source="toolhouse")]
            case ev.MalformedLine(number=number):
                return [core.CustomEvent(name="malformed_line", value={"number": number})]
            case ev.JobStarted(job_id):
                return [*self._text_ended(), self._job(job_id, "running", 0, 0)]
            case ev.JobProgress(job_id, elapsed, polls):
                return [self._job(job_id, "running", elapsed, polls)]
            case ev.JobFinished(job_id, elapsed, polls):
                return [self._job(job_id, "over", elapsed, polls)]
            case ev.TurnResumed():
                ended = self._text_ended()
                self._begin_round()
                return ended
            case ev.StreamRecovered(text):
                return self._recovered(text)
            case _:  # TurnCompleted
                outcome = core.RunFinishedSuccessOutcome()
                return [*self._text_ended(), self._finished(outcome, status=event.result.status)]

    def _begun(self, thread_id: str) -> BaseEvent:
        self._has_begun = True
        self._thread_id = thread_id
        return self._core.RunStartedEvent(thread_id=thread_id, run_id=self._run_id)

    def _finished(self, outcome: Any, **result: Any) -> BaseEvent:
        return self._core.RunFinishedEvent(
            thread_id=self._thread_id or "", run_id=self._run_id, outcome=outcome, result=result or None
        )

    def _new_id(self) -> str:
        self._messages += 1
        return f"{self._run_id}-{self._messages}"

    def _begin_round(self) -> None:
        self._said, self._round = [], []

    def _text(self, text: str) -> list[BaseEvent]:
        made: list[BaseEvent] = []
        if self._message is None:
            self._message = self._new_id()
            self._round.append(self._message)
            made.append(self._core.TextMessageStartEvent(message_id=self._message, role="assistant"))
        self._said.append(text)
        made.append(self._core.TextMessageContentEvent(message_id=self._message, delta=text))
        return made

    def _text_ended(self) -> list[BaseEvent]:
        if self._message is None:
            return []
        message, self._message = self._message, None
        return [self._core.TextMessageEndEvent(message_id=message)]

    def _recovered(self, text: str) -> list[BaseEvent]:
        if text.startswith("".join(self._said)):
            return []  # what is missing comes as words
        replaced = self._core.CustomEvent(name="text_replaced", value={"messageIds": self._round})
        self._begin_round()
        return [*self._text_ended(), replaced, *(self._text(text) if text else [])]

    def _call(self, call: ev.ToolCall) -> list[BaseEvent]:
        core, name = self._core, call.id or self._new_id()
        self._unanswered[name] = call.name
        made: list[BaseEvent] = [core.ToolCallStartEvent(tool_call_id=name, tool_call_name=call.name)]
        if call.arguments is not None:
            made.append(core.ToolCallArgsEvent(tool_call_id=name, delta=_text_of(call.arguments)))
        made.append(core.ToolCallEndEvent(tool_call_id=name))
        return made

    def _result(self, result: ev.ToolResult) -> BaseEvent:
        name = result.id or self._answered(result.name)
        self._unanswered.pop(name, None)
        return self._core.ToolCallResultEvent(
            message_id=self._new_id(), tool_call_id=name, content=_text_of(result.content), role="tool"
        )

    def _answered(self, tool: str | None) -> str:
        """The call that a result without an id answers: the latest open one of that tool."""
        for name, called in reversed(self._unanswered.items()):
            if tool is None or called == tool:
                return name
        return self._new_id()

    def _job(self, job_id: str, status: str, elapsed: float, polls: int) -> BaseEvent:
        content = {"jobId": job_id, "status": status, "elapsed": round(elapsed, 3), "polls": polls}
        return self._core.ActivitySnapshotEvent(
            message_id=f"{self._run_id}-job-{job_id}", activity_type=_ACTIVITY, content=content, replace=True
        )


def _text_of(value: Any) -> str:
    """A tool's arguments or result as text: itself if it is text, else as JSON."""
    return value if isinstance(value, str) else json_text(value)


def _plain(value: Any) -> Any:
    """Data that the encoder can write, else their JSON as text: nested too deep, or with too large a number."""
    try:
        return orjson.loads(orjson.dumps(value))
    except orjson.JSONEncodeError:
        return json_text(value)
