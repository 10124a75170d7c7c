"""The API key that Toolhouse's own command line keeps: ``th login`` writes it to ``~/.toolhouse``."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from .._client import BASE_URL
from ..errors import ConfigurationError
from .terminal import warn

__all__ = ["find_key"]

_NAME: Final = "TOOLHOUSE_API_KEY"
_LARGEST: Final = 64 * 1024
_LINE: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*=[ \t]*(.*?)[ \t\r]*", re.ASCII)
"""A line with a setting: its name, and its value as it is written."""
_VALUE: Final = re.compile(r"([^'\"].*[^'\"]|[^'\"])|'([^']+)'|\"([^\"]+)\"")
"""A key, as it is or in quotes."""
_PASSED_OVER: Final = re.compile(r"[ \t\r]*(?:#.*)?")
"""A line that says nothing."""
_OF_OTHERS: Final = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH


def find_key(given: str | None, base_url: str | None) -> str | None:
    """Return the key to use: the one given, else the environment's, else that of ``~/.toolhouse``.

    The file's key is for Toolhouse's own service: it goes to no other. Where other users of the machine may read or
    change the file, a line on stderr says so.

    Args:
        given: The option ``--api-key``.
        base_url: The option ``--base-url``.

    Returns:
        The key; ``None`` where the environment has one.

    Raises:
        ConfigurationError: There is none, or the file cannot be read or understood.
    """
    if given is not None or _NAME in os.environ:
        return given
    service = base_url or os.environ.get("TOOLHOUSE_BASE_URL") or BASE_URL
    if service.rstrip("/") != BASE_URL:
        raise ConfigurationError(f'no API key: set {_NAME}, or pass --api-key ("" where the service takes none)')
    key, wrong = _stored()
    if key is None:
        raise ConfigurationError(
            f"no API key: {wrong}set {_NAME}, log in with Toolhouse's own command line (th login), "
            'or pass --api-key "" for a public worker'
        )
    return key


def _stored() -> tuple[str | None, str]:
    """The key of the file; else what is wrong with the file, if there is one."""
    try:
        with open(Path.home() / ".toolhouse", "rb", opener=_opened) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise OSError("it is no regular file")  # noqa: TRY301 - said like what the system says
            text = file.read(_LARGEST).decode("utf-8-sig", "replace")
    except (FileNotFoundError, NotADirectoryError, RuntimeError):  # also where there is no home
        return None, ""
    except OSError as error:
        raise ConfigurationError(f"no API key: ~/.toolhouse cannot be read ({error.strerror or error})") from None
    key, wrong = _read(text)
    if key is not None and os.name == "posix" and mode & _OF_OTHERS:
        warn(
            "other users of this machine may read or change ~/.toolhouse, which holds the API key "
            f"(its mode is {stat.S_IMODE(mode):04o}): chmod 600 ~/.toolhouse"
        )
    return key, wrong


def _opened(path: str, flags: int) -> int:
    """Open what may be no file: a pipe that nobody writes to would block for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read(text: str) -> tuple[str | None, str]:
    """The key that a text holds; else what is wrong with the text, which is never shown."""
    malformed = 0
    for number, line in enumerate(text.split("\n"), 1):
        found = _LINE.fullmatch(line)
        is_key = found is not None and found[1] == _NAME
        value = _VALUE.fullmatch(found[2]) if found is not None and is_key else None
        if value is not None:
            return next(filter(None, value.groups())), ""
        if is_key or (found is None and not _PASSED_OVER.fullmatch(line)):
            malformed = malformed or number
    if malformed:
        return None, f"~/.toolhouse is malformed: its line {malformed} is not NAME=value; "
    return None, f"~/.toolhouse has no line {_NAME}=…; "
