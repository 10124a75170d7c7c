"""Observers: told what a client's turns and requests do, for logs, metrics and traces of your own.

``AsyncToolhouse(observers=[...])`` takes any number of them. Each is an object with some of the methods of
:class:`Observer`; a method gets one record. More fields may come to records, and more methods to the protocol.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from attrs import AttrsInstance, asdict

from ._log import log
from ._values.observer_records import (
    AnswerRecovered,
    JobBegun,
    JobEnded,
    JobPolled,
    OutcomeUnknown,
    RequestAnswered,
    RequestBegun,
    RequestFailed,
    ToolCalled,
    ToolReturned,
    TurnBegun,
    TurnEnded,
)

__all__ = [
    "AnswerRecovered",
    "JobBegun",
    "JobEnded",
    "JobPolled",
    "Logging",
    "Observer",
    "OutcomeUnknown",
    "RequestAnswered",
    "RequestBegun",
    "RequestFailed",
    "ToolCalled",
    "ToolReturned",
    "TurnBegun",
    "TurnEnded",
]


class Observer(Protocol):
    """What an observer may have; each method may be left out. Inherit from it, and type checkers check yours.

    Methods are called as things happen, in that order, on the event loop, with others waiting until they return: so
    they must be quick, must not block, and are no coroutines. One that raises disturbs nothing: the first failure of
    each observer is logged as a warning, with its class. Where a turn is dropped without being closed, its end is
    told by whatever collects it.

    The key is in no record, and no word of a message or an answer is, unless ``content`` is true. With it the key is
    blacked out of what the worker says, and the rest stands as it is.

    Attributes:
        content: Whether the records hold what was said: ``message``, ``text``, ``arguments``, ``content``. It is
            looked at once, when the client is made.
    """

    content: bool = False

    def turn_begun(self, record: TurnBegun, /) -> None:
        """A turn makes its first step."""
        return

    def turn_ended(self, record: TurnEnded, /) -> None:
        """A turn has ended."""
        return

    def request_begun(self, record: RequestBegun, /) -> None:
        """A request is about to be sent."""
        return

    def request_answered(self, record: RequestAnswered, /) -> None:
        """The head of an answer has come."""
        return

    def request_failed(self, record: RequestFailed, /) -> None:
        """There is no answer to a request."""
        return

    def tool_called(self, record: ToolCalled, /) -> None:
        """The worker has called a tool."""
        return

    def tool_returned(self, record: ToolReturned, /) -> None:
        """A tool's result has come."""
        return

    def job_begun(self, record: JobBegun, /) -> None:
        """A background job is running."""
        return

    def job_polled(self, record: JobPolled, /) -> None:
        """A poll has found the job running."""
        return

    def job_ended(self, record: JobEnded, /) -> None:
        """A job is over."""
        return

    def answer_recovered(self, record: AnswerRecovered, /) -> None:
        """An answer was completed from the history."""
        return

    def outcome_unknown(self, record: OutcomeUnknown, /) -> None:
        """A turn ends with a message, or a resume, of unknown fate."""
        return


LINES: Final[dict[str, tuple[int, str]]] = {
    "turn_begun": (logging.DEBUG, "turn %(turn)d: a %(kind)s to %(agent_id)s"),
    "turn_ended": (logging.INFO, "turn %(turn)d: %(outcome)s after %(seconds).3f s, run %(run_id)s"),
    "turn_failed": (logging.INFO, "turn %(turn)d: failed by %(error)s after %(seconds).3f s, run %(run_id)s"),
    "request_begun": (logging.DEBUG, "turn %(turn)s: %(method)s %(url)s, attempt %(attempt)d"),
    "request_answered": (
        logging.DEBUG,
        "turn %(turn)s: %(method)s %(url)s was answered with %(status)d after %(seconds).3f s",
    ),
    "request_failed": (logging.INFO, "turn %(turn)s: %(method)s %(url)s failed by %(error)s after %(seconds).3f s"),
    "tool_called": (logging.DEBUG, "turn %(turn)d: the tool %(name).200r is called"),
    "tool_returned": (logging.DEBUG, "turn %(turn)d: the tool %(name).200r has returned; error %(is_error)s"),
    "job_begun": (logging.INFO, "turn %(turn)d: job %(job_id)s runs"),
    "job_polled": (
        logging.DEBUG,
        "turn %(turn)d: job %(job_id)s runs for %(elapsed).1f s; poll %(polls)d, the next in %(next_poll).1f s",
    ),
    "job_ended": (logging.INFO, "turn %(turn)d: job %(job_id)s is over after %(elapsed).1f s and %(polls)d polls"),
    "answer_recovered": (logging.INFO, "turn %(turn)d: the answer was completed by %(missing)d characters"),
    "outcome_unknown": (
        logging.WARNING,
        "turn %(turn)d: nobody knows whether what was sent to %(agent_id)s, run %(run_id)s, was accepted (%(error)s)",
    ),
}
"""The level and the message of each record in a log, by the method that gets it; a turn that fails has its own."""


class Logging(Observer):
    """An observer that writes a line of the log for each record.

    A client has one by itself if the logger ``toolhouse_async`` is enabled for ``INFO`` when the client is made, unless
    it is given one. The line is for people. For programs its :class:`logging.LogRecord` has ``toolhouse``, a
    dictionary: ``event``, which is the method's name such as ``"turn_ended"``, and the fields of the record.

    Args:
        logger: Where to write; ``None``: to the logger ``toolhouse_async``.
        content: Whether the dictionary holds what was said: ``message``, ``text``, ``arguments``, ``content``. The
            line never does.
    """

    def __init__(self, logger: logging.Logger | None = None, *, content: bool = False) -> None:
        self.content = content
        self._logger = logger or log

    def turn_begun(self, record: TurnBegun, /) -> None:
        """``DEBUG``."""
        self._write("turn_begun", record)

    def turn_ended(self, record: TurnEnded, /) -> None:
        """``INFO``."""
        self._write("turn_ended", record, "turn_ended" if record.error is None else "turn_failed")

    def request_begun(self, record: RequestBegun, /) -> None:
        """``DEBUG``."""
        self._write("request_begun", record)

    def request_answered(self, record: RequestAnswered, /) -> None:
        """``DEBUG``."""
        self._write("request_answered", record)

    def request_failed(self, record: RequestFailed, /) -> None:
        """``INFO``."""
        self._write("request_failed", record)

    def tool_called(self, record: ToolCalled, /) -> None:
        """``DEBUG``."""
        self._write("tool_called", record)

    def tool_returned(self, record: ToolReturned, /) -> None:
        """``DEBUG``."""
        self._write("tool_returned", record)

    def job_begun(self, record: JobBegun, /) -> None:
        """``INFO``."""
        self._write("job_begun", record)

    def job_polled(self, record: JobPolled, /) -> None:
        """``DEBUG``."""
        self._write("job_polled", record)

    def job_ended(self, record: JobEnded, /) -> None:
        """``INFO``."""
        self._write("job_ended", record)

    def answer_recovered(self, record: AnswerRecovered, /) -> None:
        """``INFO``."""
        self._write("answer_recovered", record)

    def outcome_unknown(self, record: OutcomeUnknown, /) -> None:
        """``WARNING``."""
        self._write("outcome_unknown", record)

    def _write(self, event: str, record: AttrsInstance, line: str = "") -> None:
        level, message = LINES[line or event]
        if self._logger.isEnabledFor(level):
            fields = asdict(record)
            self._logger.log(level, message, fields, extra={"toolhouse": {"event": event, **fields}})
