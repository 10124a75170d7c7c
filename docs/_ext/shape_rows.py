"""The decoding table in words; without Sphinx, so that the tests can ask."""

from __future__ import annotations

from typing import Final

from toolhouse_async._wire import fields
from toolhouse_async._wire.shapes import TABLE

HEADS: Final = {
    "common": ("event", "types"),
    "services": ("service", "types", "what they give"),
    "fields": ("field", "names"),
}
"""The tables and their headings."""


def cells(which: str) -> list[tuple[str, ...]]:
    """The rows of one of the tables; what stands in backquotes is code."""
    if which == "common":
        return [(f"`{row.event}`", _names(row.types)) for row in TABLE if not row.source]
    if which == "services":
        return [(row.source, _names(row.types), row.event) for row in TABLE if row.source]
    return [
        ("text", f"{_keys(fields.TEXT_KEYS)}, also within an object `delta` or `data`"),
        ("id", _keys(fields.ID_KEYS)),
        ("name", f"{_keys(fields.NAME_KEYS)}, `function.name`"),
        ("arguments", f"{_keys(fields.ARGUMENT_KEYS)}, `function.arguments`"),
        (
            "content",
            f"{_keys(fields.CONTENT_KEYS)}; without one, `error` or `errorText` is the content, and `is_error` is true",
        ),
        ("is_error", "`is_error`, `isError`, or a content of a type such as `error-text`"),
        (
            "message",
            f"{_keys(fields.ERROR_KEYS)}, also within an object {_keys(fields.ERROR_OBJECTS)}; else a fixed sentence",
        ),
        ("code", "`code`, also within these objects"),
    ]


def _names(types: str) -> str:
    return _keys(tuple(types.split()))


def _keys(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
