"""The Markdown of a worker, read for platforms that show it in ways of their own.

The small part of it that workers use: bold, italics, strikethrough, code, blocks of code, links, lists, headings. What
is none of it, or still half open, stays as it is written. All of it takes time in proportion to the text.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

GAP = "\u200b"
"""What nobody sees: a space without width, between what would mean something if it stood together."""


class Style(Enum):
    """How words are set."""

    BOLD = "bold"
    ITALIC = "italic"
    STRIKE = "strike"
    LINK = "link"


class Text(NamedTuple):
    """Words to be shown as they are; ``source`` is how they were written."""

    text: str
    source: str


class Code(NamedTuple):
    """Code within a line."""

    text: str
    source: str


class Block(NamedTuple):
    """A block of code; the language may be empty."""

    code: str
    language: str


class Start(NamedTuple):
    """The start of a style: links have a URL, headings the ``source`` that makes them (``## ``)."""

    style: Style
    url: str = ""
    source: str = ""


class End(NamedTuple):
    """The end of the style that was started last."""

    style: Style
    url: str = ""
    source: str = ""


Mark = Text | Code | Block | Start | End


class Fenced(NamedTuple):
    """Where a block of code is: from the start of its first line to the end of its last."""

    start: int
    end: int
    opening: re.Match[str]
    is_open: bool


class OpenMark(NamedTuple):
    """What is still open at the end of a text: where it begins, and what would close it, if that is known."""

    start: int
    closing: str


OPENING = re.compile(r"^[ \t]*(?P<run>`{3,6}(?!`)|~{3,6}(?!~))(?P<info>[^`\n]*)$", re.MULTILINE)
STARTS = re.compile(
    r"[ \t]*(?:(?P<rule>([-*_])[ \t]*+(?:\2[ \t]*+){2,})$"
    r"|(?P<heading>\#{1,6}[ \t]+)(?=\S)|(?P<bullet>[-*+])(?=[ \t]+\S)|(?P<other>>|\||\d{1,9}[.)][ \t]))"
)
"""The beginning of a line that does not go on with the paragraph before it."""
INLINE = re.compile(
    r"(?P<escape>\\[!-/:-@\[-`{-~])"
    r"|(?P<ticks>`+)"
    r"|(?P<link>!?\[(?P<label>(?:[^\[\]\\\n]|\\.|\[[^\[\]\n]{0,100}+\]){1,500}+)\]"
    r"\((?P<url>(?i:https?)://[^\s<>()]*+(?:\([^\s<>()]*+\)[^\s<>()]*+)*+)(?:[ \t]+\"[^\"\n]{0,200}+\")?\))"
    r"|<(?P<address>(?i:https?)://[^\s<>]+)>"
    r"|(?P<bare>(?i:https?)://[^\s<>`]+)"
    r"|(?P<run>\*+|_+|(?<!~)~~(?!~))"
)
HALF_LINK = re.compile(r"!?\[[^\[\]\n]{0,500}+(?:\]?|\]\([^\s<>()]{0,2000}+)\Z")
BEHIND_URLS = "*_~.,:;!?'\")]"
"""What ends a sentence or a style, rather than belongs to the URL before it."""


def parse(text: str) -> list[Mark]:
    """Read Markdown. Each style is started where it is not yet on, and ended in turn."""
    marks: list[Mark] = []
    place = 0
    for block in fenced(text):
        marks += _prose(text[place : block.start])
        first, _, code = text[block.start : block.end].partition("\n")
        if not block.is_open:
            code = code[: code.rfind("\n") + 1]
        indent = len(first) - len(first.lstrip())
        code = "\n".join(line[min(indent, len(line) - len(line.lstrip(" \t"))) :] for line in code.split("\n"))
        marks.append(Block(code.removesuffix("\n"), block.opening["info"].strip().partition(" ")[0]))
        place = block.end
    return list(_tidy([*marks, *_prose(text[place:])]))


def fenced(text: str) -> Iterator[Fenced]:
    """Find the blocks of code."""
    place = 0
    while opening := OPENING.search(text, place):
        run = opening["run"]
        closing = re.compile(rf"^[ \t]*{run[0]}{{{len(run)},}}[ \t\r]*$", re.MULTILINE)
        found = closing.search(text, opening.end() + 1)
        place = found.end() if found else len(text)
        yield Fenced(opening.start(), place, opening, found is None)


def open_marks(text: str) -> list[OpenMark]:
    """What may be open at the end of a text that goes on, other than a block of code: the outermost first."""
    start = max((block.end for block in fenced(text)), default=0)
    lines = text[start:].split("\n")
    first = len(lines) - 1
    while first and lines[first].strip() and not STARTS.match(lines[first]):
        first -= 1
    begin = STARTS.match(lines[first])
    paragraph = "\n".join(lines[first:])[begin.end() if begin else 0 :]
    if not lines[-1].strip():
        return []
    scan = Scan(paragraph)
    found = [OpenMark(run.start, run.character * run.left) for run in scan.open_runs]
    found += [OpenMark(start, "") for start in (scan.open_code, scan.open_link) if start is not None]
    offset = len(text) - len(paragraph)
    return sorted(OpenMark(offset + start, closing) for start, closing in found)


def in_fences(code: str, language: str = "") -> str:
    """A block of code for platforms that end it at the next three backticks, whatever began it."""
    return f"```{language}\n{re.sub('(?<=`)(?=``)', GAP, code)}\n```"


def _prose(text: str) -> Iterator[Mark]:
    """Read what is no block of code: lines that begin something, and paragraphs between them."""
    paragraph: list[str] = []
    for number, line in enumerate(text.split("\n")):
        starts = STARTS.match(line)
        if paragraph and (starts or not line.strip()):
            yield from Scan("\n".join(paragraph)).marks()
            paragraph = []
        elif paragraph:
            paragraph.append(line)
            continue
        if number:
            yield Text("\n", "\n")
        if starts and starts["rule"]:
            yield Text("———", line)
        elif starts and starts["heading"]:
            title = line[starts.end() :].rstrip()
            title = bare.rstrip() if (bare := title.rstrip("#")).endswith((" ", "\t")) else title
            yield Start(Style.BOLD, source=starts["heading"])
            yield from Scan(title).marks()
            yield End(Style.BOLD, source=starts["heading"])
        elif starts:
            written = starts[0][:-1] + "-" if starts["bullet"] else starts[0]
            yield Text(starts[0][:-1] + "•" if starts["bullet"] else starts[0], written)
            paragraph = [line[starts.end() :]]
        elif line.strip():
            paragraph = [line]
    yield from Scan("\n".join(paragraph)).marks()


@dataclass
class Run:
    """A run of ``*``, ``_`` or ``~~``, and what it turns out to end and to start, the innermost first."""

    start: int
    character: str
    size: int
    left: int
    can_end: bool
    can_start: bool
    ends: list[Style] = field(default_factory=list)
    starts: list[Style] = field(default_factory=list)

    def ends_what(self, other: "Run") -> bool:
        """Whether it may end what another one starts: ``**`` within a word is no two ``*``."""
        is_both = self.can_start or other.can_end
        return not is_both or (self.size + other.size) % 3 != 0 or self.size % 3 == 0

    def marks(self) -> Iterator[Mark]:
        """What it means."""
        yield from map(End, self.ends)
        if self.left:
            yield Text(self.character * self.left, self.character * self.left)
        yield from map(Start, reversed(self.starts))


class Scan:
    """A paragraph, read once from its start to its end.

    Attributes:
        open_runs: Runs that might start a style, and found nothing that ends it.
        open_code: Where code begins that does not end.
    """

    def __init__(self, text: str, *, is_label: bool = False) -> None:
        self.open_runs: list[Run] = []
        self.open_code: int | None = None
        self._text = text
        self._read: list[Mark | Run] = []
        self._waiting: Counter[str] = Counter()  # open runs of each character
        self._scan(is_label)

    @property
    def open_link(self) -> int | None:
        """Where a link begins that does not end."""
        half = HALF_LINK.search(self._text)
        return half.start() if half else None

    def marks(self) -> Iterator[Mark]:
        """What it says."""
        for each in self._read:
            if isinstance(each, Run):
                yield from each.marks()
            else:
                yield each

    def _scan(self, is_label: bool) -> None:
        text = self._text
        same: dict[int, int] = {}  # where the next run of so many backticks is …
        closing: dict[int, int | None] = {}  # … behind the one at a place
        for ticks in reversed(list(re.finditer("`+", text))):
            closing[ticks.start()] = same.get(len(ticks[0]))
            same[len(ticks[0])] = ticks.start()
        place = 0
        while found := INLINE.search(text, place):
            self._say(text[place : found.start()])
            place = found.end()
            match found.lastgroup:
                case "escape":
                    self._say(found[0][1], found[0])
                case "ticks":
                    end = closing.get(found.start())
                    if end is None:
                        self.open_code = found.start() if self.open_code is None else self.open_code
                        self._say(found[0])
                    else:
                        code = text[place:end].replace("\n", " ")
                        place = end + len(found[0])
                        is_padded = code[0] == code[-1] == " " and code.strip()
                        self._read.append(Code(code[1:-1] if is_padded else code, text[found.start() : place]))
                case "link" if is_label or not found["label"].strip():
                    place = found.start() + found[0].index("[") + 1
                    self._say(text[found.start() : place])
                case "link":
                    self._read.append(Start(Style.LINK, found["url"]))
                    self._read += Scan(found["label"], is_label=True).marks()
                    self._read.append(End(Style.LINK, found["url"]))
                case "address":
                    self._say(found["address"], found[0])
                case "bare":
                    place = found.start() + len(found[0].rstrip(BEHIND_URLS))
                    self._say(text[found.start() : place])
                case _:
                    self._meet(found)
        self._say(text[place:])

    def _say(self, text: str, source: str | None = None) -> None:
        if text:
            self._read.append(Text(text, text if source is None else source))

    def _meet(self, found: re.Match[str]) -> None:
        """Find out what a run ends; keep it if it may start something."""
        character = found[0][0]
        before = self._text[found.start() - 1 : found.start()] or " "
        after = self._text[found.end() : found.end() + 1] or " "
        is_left = not after.isspace() and (not _is_sign(after) or before.isspace() or _is_sign(before))
        is_right = not before.isspace() and (not _is_sign(before) or after.isspace() or _is_sign(after))
        can_end = is_right and (character != "_" or not is_left or _is_sign(after))
        can_start = is_left and (character != "_" or not is_right or _is_sign(before))
        run = Run(found.start(), character, len(found[0]), len(found[0]), can_end, can_start)
        self._read.append(run)
        while run.can_end and run.left and self._waiting[character]:
            while (other := self.open_runs[-1]).character != character:
                self._drop()
            if not run.ends_what(other):
                break
            size = min(run.left, other.left, 2)
            style = Style.STRIKE if character == "~" else Style.BOLD if size == 2 else Style.ITALIC
            other.starts.append(style)
            run.ends.append(style)
            other.left -= size
            run.left -= size
            if not other.left:
                self._drop()
        if run.can_start and run.left:
            self.open_runs.append(run)
            self._waiting[character] += 1

    def _drop(self) -> None:
        self._waiting[self.open_runs.pop().character] -= 1


def _is_sign(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"


def _tidy(marks: list[Mark]) -> Iterator[Mark]:
    """Put neighbouring words together; leave out a style within the same style."""
    depth: Counter[Style] = Counter()
    words: list[Text] = []
    for mark in marks:
        if isinstance(mark, Text):
            words.append(mark)
            continue
        if isinstance(mark, Start | End):
            is_start = isinstance(mark, Start)
            depth[mark.style] += 1 if is_start else -1
            if depth[mark.style] != is_start:
                continue
        yield from _joined(words)
        words = []
        yield mark
    yield from _joined(words)


def _joined(words: list[Text]) -> Iterator[Text]:
    if words:
        yield Text("".join(word.text for word in words), "".join(word.source for word in words))
