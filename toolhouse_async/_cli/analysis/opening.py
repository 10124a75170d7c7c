"""Opening a file by a path that was resolved before, so that no link leads elsewhere that was made since."""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["open_bytes", "open_text"]

_STEP: Final = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_LAST: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""A named pipe would be waited for, else."""


def open_bytes(path: Path) -> BinaryIO:
    """Open a regular file for reading. No part of its path is followed if it is a link.

    Args:
        path: Where the file is, without links, as ``Path.resolve()`` gives it: what was checked is what is opened.

    Raises:
        OSError: It is missing, cannot be read, is no regular file, or there is a link on the way.
    """
    descriptor = _open(path)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"it is {'a directory' if path.is_dir() else 'not a regular file'}")
    return open(descriptor, "rb")


def open_text(path: Path, encoding: str) -> TextIO:
    """The same as text; its lines end as they are written."""
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline="")


def _open(path: Path) -> int:
    if os.open not in os.supports_dir_fd:  # Windows, where links are made by administrators
        return os.open(path, _LAST)
    *folders, name = path.absolute().parts
    folder: int | None = None
    try:
        for each in folders:
            step = os.open(each, _STEP, dir_fd=folder)
            if folder is not None:
                os.close(folder)
            folder = step
        return os.open(name, _LAST, dir_fd=folder)
    finally:
        if folder is not None:
            os.close(folder)
