"""How a state is taken twice: all of it that a step may change; what never changes is shared.

What is done with a class is made up once, when the first of its objects comes along, as a function with a line for each
of its slots: so no class of the turn need be known here.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from enum import Enum
from types import FunctionType, MethodType
from typing import Any, Final, TypeAlias

from toolhouse_async import EventDecoder, PollingPolicy, RecoveryPolicy
from toolhouse_async._turn.heard import Heard
from toolhouse_async._turn.transcript import Found
from toolhouse_async._values.options import Options

from .choices import Choices
from .clock import Clock
from .switches import Switches
from .world import Entry

PLAIN: Final = frozenset({str, int, float, bool, bytes, type(None)})
SETTINGS: Final = (Options, PollingPolicy, RecoveryPolicy, Switches)
NO_STATE: Final = (FunctionType, type, EventDecoder, Choices, Clock)
"""What is the same in all states of one exploration."""
_VALUES: Final = (Heard, Found)
"""Tuples of which no part ever changes."""

_Memo: TypeAlias = dict[int, Any]
_Copy: TypeAlias = Callable[[Any, _Memo], Any]


def is_shared(kind: type) -> bool:
    """Whether no step of a turn changes an object of this class."""
    setter: Any = kind.__setattr__
    is_frozen = hasattr(kind, "__attrs_attrs__") and setter is not object.__setattr__
    return kind in PLAIN or is_frozen or issubclass(kind, (Enum, *NO_STATE, *SETTINGS, *_VALUES))


def slots_of(kind: type) -> tuple[str, ...]:
    """The slots of a class, those of its bases included."""
    names = [name for each in kind.__mro__ for name in getattr(each, "__slots__", ())]
    return tuple(dict.fromkeys(name for name in names if name not in ("__weakref__", "__dict__")))


def compiled(name: str, lines: list[str], **known: Any) -> Any:
    """A function of that name from its lines."""
    exec("\n".join(lines), known)
    return known[name]


def fork(state: Any) -> Any:
    """The same state once more."""
    return _copied(state, {})


def _copied(value: Any, memo: _Memo) -> Any:
    how = _COPIES[type(value)]
    return value if how is None else how(value, memo)


def _list(value: list[Any], memo: _Memo) -> Any:
    new = memo.get(id(value))
    if new is None:
        new = [each if (how := _COPIES[type(each)]) is None else how(each, memo) for each in value]
        memo[id(value)] = new
    return new


def _deque(value: deque[Any], memo: _Memo) -> Any:
    if id(value) not in memo:
        memo[id(value)] = deque([_copied(each, memo) for each in value])
    return memo[id(value)]


def _dict(value: dict[Any, Any], memo: _Memo) -> Any:
    if id(value) not in memo:
        memo[id(value)] = {_copied(name, memo): _copied(each, memo) for name, each in value.items()}
    return memo[id(value)]


def _whole(value: Any, memo: _Memo) -> Any:
    if id(value) not in memo:
        memo[id(value)] = value.copy()
    return memo[id(value)]


def _error(value: BaseException, memo: _Memo) -> Any:
    if id(value) not in memo:
        memo[id(value)] = copy.copy(value)
    return memo[id(value)]


def _tuple(value: tuple[Any, ...], memo: _Memo) -> Any:
    parts = [each if (how := _COPIES[type(each)]) is None else how(each, memo) for each in value]
    return tuple.__new__(type(value), parts)


def _method(value: MethodType, memo: _Memo) -> Any:
    return MethodType(value.__func__, _copied(value.__self__, memo))


def _entry(value: Entry, memo: _Memo) -> Any:
    if id(value) not in memo:
        memo[id(value)] = Entry(value.data, value.at)  # its data never change
    return memo[id(value)]


_KINDS: Final[tuple[tuple[tuple[type, ...], _Copy], ...]] = (
    ((list,), _list),
    ((deque,), _deque),
    ((dict,), _dict),
    ((tuple,), _tuple),
    ((set, bytearray), _whole),  # a set of plain values
    ((BaseException,), _error),  # it is told of its turn when that ends
    ((MethodType,), _method),
    ((Entry,), _entry),
)


def _copy_of(kind: type) -> _Copy:
    for kinds, how in _KINDS:
        if issubclass(kind, kinds):
            return how
    if kind.__module__ == "builtins":
        raise TypeError(f"how is {kind} copied?")
    lines = ["def copy(value, memo):", " new = memo.get(id(value))", " if new is not None: return new"]
    lines += [" new = memo[id(value)] = new_of(kind)"]
    for name in slots_of(kind):
        lines += [f" part = value.{name}", " how = copies[type(part)]"]
        lines += [f" new.{name} = part if how is None else how(part, memo)"]
    if kind.__dictoffset__:
        lines += [" own = new.__dict__", " for name, part in value.__dict__.items():"]
        lines += ["  how = copies[type(part)]", "  own[name] = part if how is None else how(part, memo)"]
    made: _Copy = compiled("copy", [*lines, " return new"], kind=kind, new_of=object.__new__, copies=_COPIES)
    return made


class _Copies(dict[type, "_Copy | None"]):
    """How objects of a class are copied; ``None`` where they are shared."""

    def __missing__(self, kind: type) -> _Copy | None:
        self[kind] = how = None if is_shared(kind) else _copy_of(kind)
        return how


_COPIES: Final = _Copies()
