"""Those who observe a client: each is told, and none can disturb."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from attrs import evolve

from . import observe
from ._log import log
from ._observed import ObservedTurn
from ._turn.progress import Progress
from .errors import ConfigurationError

METHODS: Final[dict[type[Any], str]] = {
    observe.TurnBegun: "turn_begun",
    observe.TurnEnded: "turn_ended",
    observe.RequestBegun: "request_begun",
    observe.RequestAnswered: "request_answered",
    observe.RequestFailed: "request_failed",
    observe.ToolCalled: "tool_called",
    observe.ToolReturned: "tool_returned",
    observe.JobBegun: "job_begun",
    observe.JobPolled: "job_polled",
    observe.JobEnded: "job_ended",
    observe.AnswerRecovered: "answer_recovered",
    observe.OutcomeUnknown: "outcome_unknown",
}
"""The method that gets each kind of record."""

_Listener: TypeAlias = tuple[object, Callable[[Any], object], bool]
"""An observer, its method, and whether it is told what was said."""


class Observers:
    """The observers of one client, in their order.

    Attributes:
        want_content: Whether any of them is told what was said.
    """

    def __init__(self, observers: Iterable[object]) -> None:
        """Look at what each can be told; the log is one of them where it would be heard.

        Raises:
            ConfigurationError: One is no observer, or they are not several.
        """
        if not isinstance(observers, Iterable):
            raise ConfigurationError(f"observers must be several, as a list, not {type(observers).__name__:.80}")
        observers = list(observers)
        if log.isEnabledFor(logging.INFO) and not any(isinstance(each, observe.Logging) for each in observers):
            observers.append(observe.Logging())
        self.want_content: bool = False
        self._listeners: dict[type[Any], list[_Listener]] = {kind: [] for kind in METHODS}
        self._failed: set[int] = set()
        for observer in observers:
            wants = bool(getattr(observer, "content", False))
            self.want_content |= wants
            for kind, method in _methods(observer):
                self._listeners[kind].append((observer, method, wants))

    def watch(self, turn: Progress, time: Callable[[], float]) -> ObservedTurn:
        """Have a turn observed, which has made no event yet; ``time`` is the loop's clock."""
        return ObservedTurn(self.tell, turn, time, want_content=self.want_content)

    def tell(self, record: object, /, **content: str | None) -> None:
        """Tell it to all who have its method; those who want content with that in its fields."""
        for observer, method, wants in self._listeners[type(record)]:
            try:
                method(evolve(record, **content) if wants and content else record)  # type: ignore[misc] # attrs
            except Exception as error:  # noqa: BLE001 - no observer's failure ends a turn; it is logged
                self._log_once(observer, METHODS[type(record)], error)

    def _log_once(self, observer: object, method: str, error: Exception) -> None:
        if id(observer) in self._failed:
            return
        self._failed.add(id(observer))
        at = traceback.extract_tb(error.__traceback__)[-1]
        # Not what the error says: that may be what was said in the conversation.
        log.warning(
            "the observer %s failed in %s by %s (%s:%s); its further failures are not logged",
            type(observer).__qualname__,
            method,
            type(error).__name__,
            at.filename,
            at.lineno,
        )


def _methods(observer: object) -> list[tuple[type[Any], Callable[[Any], object]]]:
    """The methods that an observer has, but for those of the protocol that it inherits."""
    if isinstance(observer, type):
        raise ConfigurationError(f"an observer is an object, not a class: {observer.__qualname__:.80}")
    found: list[tuple[type[Any], Callable[[Any], object]]] = []
    for kind, name in METHODS.items():
        method = getattr(observer, name, None)
        if method is None or getattr(method, "__func__", None) is getattr(observe.Observer, name):
            continue
        if not callable(method) or inspect.iscoroutinefunction(method):
            raise ConfigurationError(
                f"{type(observer).__qualname__:.80}.{name} is not a function that can be called without awaiting it"
            )
        found.append((kind, method))
    if not found:
        raise ConfigurationError(f"{type(observer).__qualname__:.80} has none of the methods of an observer")
    return found
