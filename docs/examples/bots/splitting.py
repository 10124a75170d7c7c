"""Long texts in pieces that a chat takes."""

import unicodedata
from collections.abc import Callable

from formatting import Fenced, fenced, open_marks

JOINERS = "\u200d\ufe0e\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
"""What belongs to the character before it, or ties two together: no place to cut."""
BLANKS = "\u2800\u115f\u1160\u3164\uffa0"
"""Letters and signs of which nobody sees anything, beside spaces and what Unicode calls a format."""
MARKS = "*_~`"
"""What stays together where it stands in a row."""
LONGEST_OPENING = 20
"""How much of the first line of a block of code is said again."""
ROOM = len("\n" + "`" * 6)
"""What may have to be closed at the end of a piece."""


def utf16(character: str) -> int:
    """What a character counts for where lengths are those of UTF-16, which is the strictest way that is in use."""
    return 2 if character > "\uffff" else 1


def is_visible(text: str) -> bool:
    """Whether people see anything of a text; platforms refuse a message of which they do not."""
    return any(not (each.isspace() or each in BLANKS or unicodedata.category(each) in ("Cc", "Cf")) for each in text)


def split(text: str, limit: int, cost: Callable[[str], int] = utf16) -> list[str]:
    """Cut Markdown into pieces of at most ``limit``: between paragraphs, else lines, else words, else characters.

    A block of code stays whole where it can, and so do a link, code within a line, and words in bold or italics. Where
    one cannot, it is closed at the end of a piece and opened again in the next. Whatever is appended to a text, its
    pieces stay as they are but for the last one and what follows: so a text can be shown while it grows.
    """
    pieces: list[str] = []
    opening = ""  # what we are in the middle of
    while text:
        text = opening + text
        end = _fitting(text, limit - ROOM, cost)
        if end < len(text):
            end = _good_end(text, end, len(opening))
        piece, text = text[:end], text[end:]
        block = _open_block(piece)
        if block:
            opening = _first_line(block) + "\n"
            piece = piece.removesuffix("\n") + "\n" + block.opening["run"]
        else:
            text = text.lstrip("\n")
            opening = "".join(_open_styles(piece)) if text else ""
            if opening:
                piece = piece.rstrip() + "".join(reversed(_open_styles(piece)))
                text = text.lstrip()
        if is_visible(piece):
            pieces.append(piece.rstrip())
    return pieces


def _fitting(text: str, room: int, cost: Callable[[str], int]) -> int:
    """How many characters have room."""
    for end, character in enumerate(text):
        room -= cost(character)
        if room < 0:
            return end
    return len(text)


def _good_end(text: str, most: int, least: int) -> int:
    """Where to cut: behind ``least`` and not behind ``most``."""
    head = text[:most]
    block = _open_block(head)
    if block and head[: block.start].strip():
        return block.start  # the block of code goes to the next piece, whole if it has room there
    middle = max(least, most // 2)
    for mark in ("\n",) if block else ("\n\n", "\n", " "):
        end = head.rfind(mark, middle) + len(mark)
        if end >= len(mark):
            starts = [each.start for each in open_marks(head[:end])]
            return next((start for start in starts if start > max(least, most // 4)), end) if not block else end
    end = most
    while end > most - 32 and end > least + 1 and _belongs(text[end - 1], text[end]):
        end -= 1
    return end


def _belongs(before: str, character: str) -> bool:
    is_row = before == character and character in MARKS
    return is_row or character in JOINERS or before == "\u200d" or bool(unicodedata.combining(character))


def _open_block(text: str) -> Fenced | None:
    """The block of code that is open at the end."""
    return next((block for block in fenced(text) if block.is_open), None)


def _first_line(block: Fenced) -> str:
    """The first line of a block of code, short enough to be repeated."""
    line = block.opening[0].rstrip()
    return line if len(line) <= LONGEST_OPENING else line.strip()[:LONGEST_OPENING]


def _open_styles(piece: str) -> list[str]:
    """What ends the styles that are open at the end: the outermost first; nothing if that is too much."""
    styles = [each.closing for each in open_marks(piece.rstrip(" ")) if each.closing]
    return styles if sum(map(len, styles)) < ROOM else []
