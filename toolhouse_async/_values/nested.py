"""JSON values of any depth: bounded display, comparison and pickling without recursion.

A worker may send JSON nested a thousand levels deep. Python's own ``repr``, ``==`` and ``pickle`` recurse and
fail on it, so the events use these instead.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

_SHORT: Final = reprlib.Repr()
_SHORT.maxlevel = 4
_SHORT.maxstring = 200
_SHORT.maxother = 200
_SHORT.maxdict = 10
_SHORT.maxlist = 10

_LONGEST: Final = 500
"""Characters shown of a value; what it holds may be short each and many."""


def short(value: object) -> str:
    """Return a ``repr`` of bounded length, whatever the size or depth of ``value``."""
    if isinstance(value, bytes | bytearray):
        return repr(bytes(value[:80])) + (f"…({len(value)} bytes)" if len(value) > 80 else "")
    text = _SHORT.repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def half_made(describe: Callable[[Any], str]) -> Callable[[Any], str]:
    """Let a ``__repr__`` do its work for objects, too, whose constructor raised: tools show the variables of frames."""

    @wraps(describe)
    def shown(self: object) -> str:
        try:
            return describe(self)
        except AttributeError:
            return f"<{type(self).__name__}, half made>"

    return shown


def flatten(value: Any) -> tuple[Any, ...]:
    """Write a JSON value as one flat tuple in prefix order; equal values give equal tuples.

    A list stands as ``(list, length)`` followed by its items, a dict as ``(dict, *keys)`` followed by its
    values; anything else stands for itself, paired with ``None``.
    """
    flat: list[Any] = []
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is list:
            flat.append((list, len(item)))
            stack.extend(reversed(item))
        elif type(item) is dict:
            keys = tuple(sorted(item, key=_key_order))
            flat.append((dict, keys))
            stack.extend(item[key] for key in reversed(keys))
        else:
            flat.append((None, item))
    return tuple(flat)


def _key_order(key: object) -> tuple[str, str]:
    return (type(key).__name__, str(key))


def unflatten(flat: tuple[Any, ...]) -> Any:
    """Build the value that :func:`flatten` took apart."""
    done: list[Any] = []  # a stack on which each value's parts stand in order, first on top
    for kind, content in reversed(flat):
        if kind is list:
            done.append([done.pop() for _ in range(content)])
        elif kind is dict:
            done.append({key: done.pop() for key in content})
        else:
            done.append(content)
    return done.pop()
