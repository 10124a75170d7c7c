"""Long texts in pieces that a chat takes."""

import re
import unicodedata
from collections.abc import Callable

FENCE = re.compile(r"^ {0,3}```.*$", re.MULTILINE)
JOINERS = "\u200d\ufe0e\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
"""What belongs to the character before it, or ties two together: no place to cut."""


def utf16(character: str) -> int:
    """What a character counts for where lengths are those of UTF-16, which is the strictest way that is in use."""
    return 2 if character > "\uffff" else 1


def split(text: str, limit: int, cost: Callable[[str], int] = utf16) -> list[str]:
    """Cut a text into pieces of at most ``limit``: between paragraphs, else lines, else words, else characters.

    A block of code stays whole where it can; where it cannot, its fence is closed at the end of a piece and opened
    again in the next. Whatever is appended to a text, its pieces stay as they are but for the last one and what
    follows: so a text can be shown while it grows.
    """
    pieces: list[str] = []
    opening = ""  # the fence of the block of code that we are in
    while text:
        text = opening + text
        end = _fitting(text, limit - len("\n```"), cost)
        if end < len(text):
            end = _good_end(text, end, len(opening))
        piece, text = text[:end], text[end:]
        opening = _open_fence(piece)
        if opening:
            piece = piece.removesuffix("\n") + "\n```"
        else:
            text = text.lstrip("\n")
        if piece.strip():
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
    fences = list(FENCE.finditer(head))
    if len(fences) % 2 and head[: fences[-1].start()].strip():
        return fences[-1].start()  # the block of code goes to the next piece, whole if it has room there
    for mark in ("\n",) if fences and len(fences) % 2 else ("\n\n", "\n", " "):
        end = head.rfind(mark, max(least, most // 2)) + len(mark)
        if end >= len(mark):
            return end
    end = most
    while end > most - 32 and end > least + 1 and _belongs(text[end - 1], text[end]):
        end -= 1
    return end


def _belongs(before: str, character: str) -> bool:
    return character in JOINERS or before == "\u200d" or bool(unicodedata.combining(character))


def _open_fence(piece: str) -> str:
    """The first line of the block of code that is open at the end, short enough to be repeated; else nothing."""
    fences = FENCE.findall(piece)
    return fences[-1].strip()[:20] + "\n" if len(fences) % 2 else ""
