"""Which text encoding a file has, and whether it is text at all."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from .opening import open_bytes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CSVError", "detect_encoding"]

_CHUNK = 1 << 20
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is a prefix of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNDEFINED_IN_CP1252 = (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")
_CONTROLS = bytes(set(range(1, 32)) - set(b"\t\n\r\f\x1b"))
_TOLERATED_CONTROLS = 0.05
_STRAY_ZEROS = 0.05
"""Up to this share of zero bytes it is a text with some of them rather than a binary file."""


class CSVError(Exception):
    """The file cannot be analysed; the message is a sentence for its owner."""


def detect_encoding(path: Path) -> str:
    """Find a file's encoding: by its byte order mark, else UTF-16 by its zero bytes, else UTF-8.

    What is none of these is read as Windows-1252, or as Latin-1 where a byte has no meaning there.

    Raises:
        CSVError: There is no such file, it cannot be read, it is empty, or it is not text.
    """
    try:
        with open_bytes(path) as file:
            start = file.read(_CHUNK)
        if not start.strip():
            raise CSVError(f"{path} is empty")
        return _by_mark(start) or _by_zero_bytes(path, start) or _by_trial(path)
    except OSError as error:
        raise CSVError(f"cannot read {path}: {error.strerror or error}") from error


def _by_mark(start: bytes) -> str | None:
    return next((name for mark, name in _BOMS if start.startswith(mark)), None)


def _by_zero_bytes(path: Path, start: bytes) -> str | None:
    zeros, limit = start.count(0), len(start) * 0.15
    even, odd = start[::2].count(0), start[1::2].count(0)
    guess = None
    if zeros > limit and even < odd / 20:
        guess = "utf-16-le"
    elif zeros > limit and odd < even / 20:
        guess = "utf-16-be"
    text = start.decode(guess, "replace").encode() if guess else start
    if not guess and 0 < zeros <= len(start) * _STRAY_ZEROS:
        line = start.count(b"\n", 0, start.index(0)) + 1
        raise CSVError(f"{path}, line {line}: a NUL byte, which is no text; the file may be damaged")
    controls = len(text) - len(text.translate(None, _CONTROLS))
    if 0 in text or controls > len(text) * _TOLERATED_CONTROLS:
        raise CSVError(f"{path} is not text: it looks like a binary file")
    return guess


def _by_trial(path: Path) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_bytes(path) as file:
        try:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            file.seek(0)
            while chunk := file.read(_CHUNK):
                if any(byte in chunk for byte in _UNDEFINED_IN_CP1252):
                    return "latin-1"
            return "cp1252"
    return "utf-8"
