"""Reading JSON as workers write it: one line of a stream, or a value somewhere in an answer's prose."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from typing import Any, Final

import orjson

# Compiled when first used (``re`` keeps them), since few programs ever are that far.
_ESCAPE: Final = r"(?s)\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
_FENCE: Final = r"[ \t]*(`{3,}|~{3,})[^`]*"
_LEXEME: Final = (
    r'[ \t\r\n]*+(?:([{}\[\]:,])|("[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+")'
    r"|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null|NaN|-?Infinity)"
)
_OPENING: Final = r"[{\[]"


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
        text = data.removeprefix(BOM_UTF8).decode("utf-8", "surrogatepass")
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return json.loads(re.sub(_ESCAPE, _mend_escape, text))
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else reason
    raise ValueError(reason[:200])


def _mend_escape(match: re.Match[str]) -> str:
    return r"\ufffd" if match[1] else match[0]


def parse_line(line: bytes) -> Any:
    """Parse a line of a stream; ``None`` if it is empty or not JSON."""
    try:
        return loads(line) if line else None
    except ValueError:
        return None


def find_json(text: str) -> Any:
    """Find the JSON value that an answer is, or has in it.

    Tries the whole text, then the last code fence that parses, then the last object or array in the prose. Time
    is linear in the size of the text.

    Raises:
        ValueError: There is none; the message says what was tried.
    """
    try:
        return loads(text.encode("utf-8", "surrogatepass"))
    except ValueError as error:
        tried = [f"the whole text ({error})" if text.strip() else "the whole text (it is empty)"]
    fences = _fenced(text)
    for content in reversed(fences):
        try:
            return loads(content.encode("utf-8", "surrogatepass"))
        except ValueError:
            continue
    tried.append(f"{len(fences)} code fences")
    spans = _values_in_prose(text)
    for start, end in reversed(spans):
        try:
            return loads(text[start:end].encode("utf-8", "surrogatepass"))
        except ValueError:
            continue
    tried.append(f"{len(spans)} objects and arrays in the prose")
    raise ValueError(f"no JSON in the worker's answer; tried {', '.join(tried)}: {text[:80]!r}")


def _fenced(text: str) -> list[str]:
    """The contents of a Markdown text's code fences, in order; one that is not closed runs to the end."""
    contents: list[str] = []
    fence, content = "", list[str]()
    for line in text.split("\n"):
        if not fence:
            opening = re.fullmatch(_FENCE, line)
            fence, content = (opening[1] if opening else ""), []
        elif line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            contents.append("\n".join(content))
            fence = ""
        else:
            content.append(line)
    return [*contents, "\n".join(content)] if fence else contents


def _values_in_prose(text: str) -> list[tuple[int, int]]:
    """Where objects and arrays stand in a text, outermost ones only, in order.

    One pass of a pushdown automaton over JSON's tokens. Where the grammar breaks, every open bracket is given
    up, since none of them could have ended well, and whatever was complete inside stays.
    """
    found: list[tuple[int, int]] = []
    at = 0
    opening_at = re.compile(_OPENING).search
    while opening := opening_at(text, at):
        at = _read_value(text, opening.start(), found)
    return found


def _read_value(text: str, at: int, found: list[tuple[int, int]]) -> int:
    """Read one object or array from ``at``, note it in ``found``, and return where to go on."""
    stack: list[tuple[int, bool, int]] = []  # where it opened, whether an object, how much was found before it
    wants, last_string = "value", -1
    token_at = re.compile(_LEXEME).match
    while token := token_at(text, at):
        mark, string = token.groups()
        is_object = bool(stack) and stack[-1][1]
        if mark in ("{", "[") and wants in ("value", "value or ]"):
            stack.append((token.end() - 1, mark == "{", len(found)))
            wants = "key or }" if mark == "{" else "value or ]"
        elif (mark == "}" and is_object and wants in ("key or }", ", or end")) or (
            mark == "]" and not is_object and wants in ("value or ]", ", or end")
        ):
            start, _, before = stack.pop()
            found[before:] = [(start, token.end())]
            if not stack:
                return token.end()
            wants = ", or end"
        elif mark == "," and wants == ", or end":
            wants = "key" if is_object else "value"
        elif mark == ":" and wants == ":":
            wants = "value"
        elif string and wants in ("key", "key or }"):
            wants = ":"
        elif mark is None and wants in ("value", "value or ]"):
            wants = ", or end"
        else:
            break
        at, last_string = token.end(), token.start(2)
    if last_string >= 0:
        return last_string + 1  # what broke after a string may not have been one: it may hold JSON of its own
    # A bracket that opens right here was not part of what broke, and is looked at afresh.
    return max(at, stack[-1][0] + 1) if stack else at + 1
