"""Finding the JSON value that a worker's answer is, or has in it."""

from __future__ import annotations

import re
from typing import Any, Final

from .jsontext import loads_exactly

# Compiled when first used (``re`` keeps them), since few programs ever are that far.
_FENCE: Final = r"[ \t]*(`{3,}|~{3,})[^`]*"
_OPENING: Final = r"[{\[]"
_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_LEXEME: Final = (
    rf"(?s)[ \t\r\n]*+(?:([{{}}\[\]:,])|({_STRING})"
    r"|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null|NaN|-?Infinity)"
)
_CUT: Final = r"\s*+(?:\.\.\.|…|[{\[}:]|\Z)"
"""What follows a value in a list that was cut, or lacks a comma."""
_OPEN_STRING: Final = r'[ \t\r\n]*+"'
_OTHER_KEY: Final = r"\s*+(?:'[^'\n]*+'\s*+:|\\\")"
"""A key as Python and JavaScript write it, or that is escaped."""
_LOST_KEY: Final = r"\s*+(?:[\w$]++\"?\s*+[:=]|[“”‘’`][^“”‘’`\n]*+[“”‘’`]\s*+:|//|/\*|\.\.\.|,\s*+\")"
"""A key whose quotes are others or lost, or a comment: with brackets that close it is broken JSON."""
_NO_COLON: Final = r'\s*+[\[{"=;,]'
"""What follows a key whose colon is another sign, or lost."""
_NO_QUOTE: Final = r'"(?:[\w$]++\s*+:|"[\w$])'
"""How a key begins whose second quote is lost, or has slipped."""
_ITEMS: Final = r"\[(?:[ \t\r]*+\n\s*+)?+[{\[]"
"""How a list of objects or lists begins; in prose a blank is between."""
_INTERVAL: Final = r"\s*+\)"
_BRACKET: Final = rf'(?s){_STRING}|([{{}}\[\]"])'


def find_json(text: str) -> Any:
    """Find the JSON value that an answer is, or has in it.

    Tries the whole text, then the last code fence that parses, then the last object or array that stands in the
    prose: one inside JSON that broke off is a piece of it and no answer. Time is linear in the size of the text.

    Raises:
        ValueError: There is none; the message says what was tried.
    """
    try:
        return loads_exactly(text.encode("utf-8", "surrogatepass"))
    except ValueError as error:
        tried = [f"the whole text ({error})" if text.strip() else "the whole text (it is empty)"]
    parts = _parts(text)
    fences = [content for content, is_fence in parts if is_fence]
    for content in reversed(fences):
        try:
            return loads_exactly(content.encode("utf-8", "surrogatepass"))
        except ValueError:
            continue
    tried.append(f"{len(fences)} code fences")
    read = [_Prose(content) for content, _ in parts]  # no JSON goes on beyond a line that is a fence
    values = [value for prose in read for value in prose.values()]
    for value in reversed(values):
        try:
            return loads_exactly(value.encode("utf-8", "surrogatepass"))
        except ValueError:
            continue
    broken = ", and JSON that is broken or broke off" if any(prose.broken for prose in read) else ""
    tried.append(f"{len(values)} objects and arrays in the prose{broken}")
    raise ValueError(f"no JSON in the worker's answer; tried {', '.join(tried)}: {text[:80]!r}")


def _parts(text: str) -> list[tuple[str, bool]]:
    """A Markdown text in parts, and whether each is a code fence's content; one that is not closed runs to the end."""
    parts: list[tuple[str, bool]] = []
    fence, content = "", list[str]()
    for line in text.split("\n"):
        opening = None if fence else re.fullmatch(_FENCE, line)
        if opening or (fence and line.strip().startswith(fence) and not line.strip().strip(fence[0])):
            parts.append(("\n".join(content), bool(fence)))
            fence, content = opening[1] if opening else "", []
        else:
            content.append(line)
    return [*parts, ("\n".join(content), bool(fence))]


class _Open:
    """An object or array that has been opened and not closed.

    Attributes:
        start: Where it begins.
        is_object: Whether it is an object.
        before: How many values had been found when it began.
        is_begun: Whether it is JSON beyond doubt: a bracket in prose has no key with a colon, no item with a comma.
    """

    __slots__ = ("before", "is_begun", "is_object", "start")

    def __init__(self, start: int, is_object: bool, before: int) -> None:
        self.start = start
        self.is_object = is_object
        self.before = before
        self.is_begun = False


class _Prose:
    """A text in which JSON may stand.

    One pass of a pushdown automaton over JSON's tokens. Where the grammar breaks, it is asked whether what was open is
    JSON: then it is passed over to where its brackets close, if they do, and what is complete inside is a piece of
    it. Else the open brackets are the prose's, and whatever is complete behind them stands there.

    Attributes:
        found: Where objects and arrays stand, outermost ones only, in order.
        broken: Whether there is JSON that is none, or was cut.
    """

    def __init__(self, text: str) -> None:
        self.found: list[tuple[int, int]] = []
        self.broken = False
        self._text = text
        self._patience = 4 * len(text)  # how far to look ahead in vain, so that the time is linear
        at = 0
        opening_at = re.compile(_OPENING).search
        while opening := opening_at(text, at):
            at = self._read_value(opening.start())

    def values(self) -> list[str]:
        """The texts of the objects and arrays that were found."""
        return [self._text[start:end] for start, end in self.found]

    def _read_value(self, at: int) -> int:
        """Read one object or array from ``at`` and return where to go on."""
        text, found, stack = self._text, self.found, list[_Open]()
        wants, last_string = "value", -1
        token_at = re.compile(_LEXEME).match
        while token := token_at(text, at):
            mark, string = token.groups()
            is_object = bool(stack) and stack[-1].is_object
            if mark in ("{", "[") and wants in ("value", "value or ]"):
                stack.append(_Open(token.end() - 1, mark == "{", len(found)))
                wants = "key or }" if mark == "{" else "value or ]"
            elif (mark == "}" and is_object and wants in ("key or }", ", or end")) or (
                mark == "]" and not is_object and wants in ("value or ]", ", or end")
            ):
                closed = stack.pop()
                found[closed.before :] = [(closed.start, token.end())]
                if not stack:
                    return token.end()
                wants = ", or end"
            elif (mark == "," and wants == ", or end") or mark == wants == ":":
                stack[-1].is_begun = True
                wants = "key" if mark == "," and is_object else "value"
            elif string and wants in ("key", "key or }"):
                wants = ":"
            elif mark is None and wants in ("value", "value or ]"):
                wants = ", or end"
            else:
                break
            at, last_string = token.end(), token.start(2)
        is_json = self._is_json(stack, at, wants)
        end = self._end_of(stack, at) if is_json or self._is_key(last_string, at, wants) else None
        if is_json or end is not None:
            self.broken = True
            del found[stack[0].before :]
            return len(text) if end is None else end
        if last_string >= 0:
            return last_string + 1  # what broke after a string may not have been one: it may hold JSON of its own
        # A bracket that opens right here was not part of what broke, and is looked at afresh.
        return max(at, stack[-1].start + 1)

    def _is_json(self, stack: list[_Open], at: int, wants: str) -> bool:
        """Whether what is open where the grammar breaks at ``at`` is JSON, and not a bracket of the prose."""
        text, last = self._text, stack[-1]
        holds_values = len(self.found) > last.before
        if any(each.is_begun for each in stack):
            is_interval = len(stack) == 1 and not last.is_object and not holds_values
            return not (is_interval and re.compile(_INTERVAL).match(text, at))
        if wants == ", or end":
            is_list = re.compile(_ITEMS).match(text, last.start) or re.compile(_CUT).match(text, at)
            return holds_values and is_list is not None
        if wants == "key or }" and re.compile(_OTHER_KEY).match(text, at):
            return True
        # A string that is never closed: had it been, it would have been a token.
        return wants != ":" and re.compile(_OPEN_STRING).match(text, at) is not None

    def _is_key(self, string: int, at: int, wants: str) -> bool:
        """Whether what breaks at ``at`` may be the first key of an object, behind a string or in its place."""
        text = self._text
        if self._patience < 0:
            return False
        if wants == ":":
            return bool(re.compile(_NO_COLON).match(text, at) or re.compile(_NO_QUOTE).match(text, string))
        return wants == "key or }" and re.compile(_LOST_KEY).match(text, at) is not None

    def _end_of(self, stack: list[_Open], at: int) -> int | None:
        """Where broken JSON ends: where its brackets close; ``None`` if they do not.

        Where a quote is lost, what is in a string cannot be told: then a text that ends in a bracket is closed by it.
        """
        opened = [each.is_object for each in stack]
        for token in re.compile(_BRACKET).finditer(self._text, at):
            mark = token[1]
            if mark == '"':  # a string that is never closed
                self._patience -= token.end() - at
                return len(self._text) if self._text.rstrip()[-1] in "}]" else None
            if mark in ("{", "["):
                opened.append(mark == "{")
            elif mark and opened[-1] == (mark == "}"):
                opened.pop()
                if not opened:
                    return token.end()
        self._patience -= len(self._text) - at
        return None
