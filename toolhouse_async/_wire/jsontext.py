"""Reading one JSON value as workers write it."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from contextlib import suppress
from typing import Any, Final

import orjson

_LONG_NUMBER: Final = rb"[0-9]{19}"
"""What may be an integer beyond 64 bits, of which orjson makes a float."""
# Compiled when first used (``re`` keeps it), since few programs ever are that far.
_ESCAPE: Final = r"(?s)\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"


def loads(data: bytes) -> Any:
    """Parse one JSON value; what orjson refuses is tried with the standard library.

    The standard library also reads ``NaN``, ``1e999`` and lone surrogates (half of an emoji that was cut), which
    are shown as U+FFFD so that the text can be encoded again.

    Raises:
        ValueError: It is not JSON; the message says why, in at most 200 characters.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        reason = str(error)
    try:
        return _loads_slowly(data)
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else reason
    raise ValueError(reason[:200])


def loads_exactly(data: bytes) -> Any:
    """Parse one JSON value like :func:`loads`, with integers exact.

    Where values are nested too deeply for the standard library, and not for orjson, large integers are floats as there.

    Raises:
        ValueError: It is not JSON; the message says why, in at most 200 characters.
    """
    value = loads(data)
    if re.search(_LONG_NUMBER, data):
        with suppress(ValueError, RecursionError):
            return _loads_slowly(data)
    return value


def _loads_slowly(data: bytes) -> Any:
    """Parse with the standard library.

    Raises:
        ValueError: It is not JSON, or has an integer of too many digits.
        RecursionError: It is nested too deeply.
    """
    text = data.removeprefix(BOM_UTF8).decode("utf-8", "surrogatepass")
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return json.loads(re.sub(_ESCAPE, _mend_escape, text))


def _mend_escape(match: re.Match[str]) -> str:
    return r"\ufffd" if match[1] else match[0]


def parse_line(line: bytes) -> Any:
    """Parse a line of a stream; ``None`` if it is empty or not JSON."""
    try:
        return loads(line) if line else None
    except ValueError:
        return None
