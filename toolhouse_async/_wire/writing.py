"""Writing JSON: all of what is given, exactly as it is, or not at all."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from enum import Enum
from math import isfinite
from typing import Any, TypeAlias

import orjson

_Place: TypeAlias = "tuple[_Place, object] | None"


def dumps(value: object) -> bytes:
    """Write a JSON value, also with integers of more than 64 bits.

    Raises:
        ValueError: It cannot be written as JSON, or only as something else; the message says where and why.
    """
    try:
        data = orjson.dumps(value)
    except TypeError:  # orjson stops at 64-bit integers, 254 levels and exact key types
        data = b""
    if data and b"null" not in data:  # as which orjson writes NaN and the infinities
        return data
    if reason := _refusal(value):
        raise ValueError(f"cannot be written as JSON: {reason}")
    if data:
        return data
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_by_orjson)
    except RecursionError:
        raise ValueError("cannot be written as JSON: it is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"cannot be written as JSON: {str(error)[:200]}") from None
    return text.encode()


def _by_orjson(value: object) -> Any:
    """What orjson has a form for and the standard library has not, as dates."""
    return orjson.loads(orjson.dumps(value))


def _refusal(value: object) -> str | None:
    """Where and why a value is none of JSON; ``None`` where nothing speaks against it but its size and depth."""
    stack: list[tuple[object, _Place]] = [(value, None)]
    seen: set[int] = set()
    while stack:
        item, place = stack.pop()
        if reason := _reason(item):
            return f"{_written(place)} {reason}"
        if isinstance(item, Enum):
            stack.append((item.value, place))
        elif (isinstance(item, dict | list | tuple) or is_dataclass(item)) and id(item) not in seen:
            seen.add(id(item))
            stack.extend((part, (place, key)) for key, part in _parts(item))
    return None


def _reason(item: object) -> str | None:
    if isinstance(item, float):
        return None if isfinite(item) else f"is {item}, and JSON has no such number"
    if isinstance(item, str):
        return None if _is_whole(item) else "holds half of a character (a lone surrogate)"
    if isinstance(item, dict):
        odd = next((key for key in item if not isinstance(key, str)), "")
        if not isinstance(odd, str):
            return f"has the key {odd!r:.80}, and JSON's keys are strings"
        return None if all(map(_is_whole, item)) else "has a key that holds half of a character (a lone surrogate)"
    if item is None or isinstance(item, int | list | tuple | Enum) or is_dataclass(item):
        return None
    try:
        orjson.dumps(item)
    except TypeError:
        return f"is of type {type(item).__name__:.80}, for which JSON has no form"
    return None


def _parts(item: Any) -> list[tuple[object, object]]:
    if isinstance(item, dict):
        return list(item.items())
    if isinstance(item, list | tuple):
        return list(enumerate(item))
    return [(each.name, getattr(item, each.name)) for each in fields(item)]


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _written(place: _Place) -> str:
    """A place within the value, its nearest levels where it is deep."""
    keys: list[str] = []
    while place is not None and len(keys) < 5:
        place, key = place
        keys.append(f"[{key!r:.40}]")
    return ("…" if place is not None else "") + "".join(reversed(keys)) or "it"
