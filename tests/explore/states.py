"""What makes two states of an exploration the same, and how a state is taken twice.

Both walk all that a state holds, by the type of each part; what is done with a type is found out once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from enum import Enum
from types import FunctionType, MethodType
from typing import Any, Final, TypeAlias

from toolhouse_async import EventDecoder, JobFinished, JobProgress, TurnStarted

from .choices import Choices
from .world import LAG, Entry

EPOCH: Final = 1000.0
LONG_AGO: Final = 14.0
"""Seconds beyond which nothing depends on how long ago something was."""


class Clock:
    """The time of the state that is being advanced."""

    def __init__(self) -> None:
        self.now = EPOCH

    def time(self) -> float:
        """The time."""
        return self.now


CLOCK: Final = Clock()

_PLAIN: Final = frozenset({str, int, float, bool, bytes, type(None)})
_SHARED: Final = (Enum, FunctionType, type, BaseException, EventDecoder, Choices, Clock)
"""What no step of a turn changes, besides what is frozen."""
_TELL_NOTHING: Final = (JobProgress, JobFinished, TurnStarted)
_IRRELEVANT: Final = frozenset(
    {
        # texts for reports, and what is the same in all states of one exploration
        *("choices", "requests", "heard", "options", "switches", "stops", "agent_id", "to_do"),
        *("_time", "_policy", "_polling", "polling", "fields", "_max_line", "_decoder"),
        # how often something was done, and how old jobs are: the cadence here is even
        *("elapsed", "drift", "next_poll", "line", "started", "_started", "begun", "polls", "number"),
        # readings that were dealt with
        *("status", "_known", "_until"),
    }
)

_Slots: TypeAlias = tuple[str, ...]
_SLOTS: Final[dict[type, _Slots]] = {}
_RELEVANT: Final[dict[type, _Slots]] = {}
_FROZEN: Final[dict[type, bool]] = {}


def _slots(kind: type) -> _Slots:
    names = _SLOTS.get(kind)
    if names is None:
        found = [name for each in kind.__mro__ for name in getattr(each, "__slots__", ())]
        names = _SLOTS[kind] = tuple(name for name in found if name != "__weakref__")
        _RELEVANT[kind] = tuple(name for name in names if name not in _IRRELEVANT)
    return names


def _is_shared(kind: type) -> bool:
    shared = _FROZEN.get(kind)
    if shared is None:
        setter: Any = kind.__setattr__
        is_frozen = hasattr(kind, "__attrs_attrs__") and setter is not object.__setattr__
        shared = _FROZEN[kind] = kind in _PLAIN or is_frozen or issubclass(kind, _SHARED)
    return shared


# The same state once more


class _Copier:
    def __init__(self) -> None:
        self._done: dict[int, Any] = {}

    def copy(self, value: Any) -> Any:
        kind = type(value)
        if _is_shared(kind):
            return value
        if id(value) in self._done:
            return self._done[id(value)]
        return _COPIES.get(kind, _Copier._other)(self, value)

    def _tuple(self, value: tuple[Any, ...]) -> Any:
        return tuple(map(self.copy, value))

    def _extendable(self, value: Any) -> Any:
        new = self._done[id(value)] = type(value)()
        new.extend(map(self.copy, value))
        return new

    def _dict(self, value: dict[Any, Any]) -> Any:
        new: dict[Any, Any] = {}
        self._done[id(value)] = new
        for name, each in value.items():
            new[self.copy(name)] = self.copy(each)
        return new

    def _method(self, value: MethodType) -> Any:
        return MethodType(value.__func__, self.copy(value.__self__))

    def _entry(self, value: Entry) -> Any:
        new = self._done[id(value)] = Entry(value.data, value.at)  # its data never change
        return new

    def _other(self, value: Any) -> Any:
        kind: Any = type(value)
        if issubclass(kind, tuple):
            return kind(*map(self.copy, value))
        new = self._done[id(value)] = kind.__new__(kind)
        for name in _slots(kind):
            if hasattr(value, name):
                setattr(new, name, self.copy(getattr(value, name)))
        for name, each in getattr(value, "__dict__", {}).items():
            new.__dict__[name] = self.copy(each)
        return new


_COPIES: Final[dict[type, Callable[[_Copier, Any], Any]]] = {
    tuple: _Copier._tuple,
    list: _Copier._extendable,
    deque: _Copier._extendable,
    dict: _Copier._dict,
    MethodType: _Copier._method,
    Entry: _Copier._entry,
}


def fork(state: Any) -> Any:
    """The same state once more; what never changes is shared."""
    return _Copier().copy(state)


# What a state is


class _Key:
    def __init__(self, now: float) -> None:
        self._now = now
        self._seen: dict[int, int] = {}

    def of(self, value: Any) -> Hashable:
        kind = type(value)
        if kind is float:
            moment: float = value
            return moment if moment < EPOCH / 2 else round(max(moment - self._now, -LONG_AGO), 3)
        if kind in _PLAIN:
            plain: Hashable = value
            return plain
        number = self._seen.get(id(value))
        if number is not None:
            return number
        self._seen[id(value)] = len(self._seen)
        return _KEYS.get(kind, _Key._other)(self, value)

    def _sequence(self, value: Any) -> Hashable:
        return tuple(map(self.of, value))

    def _events(self, value: deque[Any]) -> Hashable:
        return tuple(self.of(each) for each in value if type(each) not in _TELL_NOTHING)

    def _dict(self, value: dict[Any, Any]) -> Hashable:
        return tuple((self.of(name), self.of(each)) for name, each in value.items())

    def _entry(self, value: Entry) -> Hashable:
        return repr(value.data), round(max(value.at - self._now, -LAG), 3)

    def _other(self, value: Any) -> Hashable:
        kind = type(value)
        if issubclass(kind, tuple):
            return tuple(map(self.of, value))
        if issubclass(kind, Enum):
            return str(value.name)
        if issubclass(kind, BaseException):
            return kind.__name__, getattr(value, "safe_to_retry", None), self.of(getattr(value, "partial", None))
        _slots(kind)
        own = {name: each for name, each in getattr(value, "__dict__", {}).items() if name not in _IRRELEVANT}
        parts = (*(getattr(value, name, None) for name in _RELEVANT[kind]), *own.values())
        return (kind.__name__, *map(self.of, parts))


_KEYS: Final[dict[type, Callable[[_Key, Any], Hashable]]] = {
    tuple: _Key._sequence,
    list: _Key._sequence,
    deque: _Key._events,
    dict: _Key._dict,
    Entry: _Key._entry,
}


def key_of(state: Any, now: float) -> int:
    """What stands for all that a state is; times are relative to ``now``."""
    return hash(_Key(now).of(state))
