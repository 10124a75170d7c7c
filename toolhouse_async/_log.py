"""The library's logger. It never sees a key or a message."""

from __future__ import annotations

import logging
import re
import traceback
from typing import Final

from ._wire.answers import without_body
from .errors import AnswerFormatError, ToolhouseError, WorkerError

log = logging.getLogger("toolhouse_async")
log.addHandler(logging.NullHandler())

_QUOTED: Final = re.compile(r"(?<=[\s\[])['\"].*", re.DOTALL)


def in_own_words(error: BaseException) -> str:
    """Describe an error for a line of the log: its kind, and of its text what nobody but this library has said.

    A server's answer may echo the message, and a worker's error may quote its answer.
    """
    kind = type(error).__name__
    if not isinstance(error, ToolhouseError):
        at = traceback.extract_tb(error.__traceback__)
        return f"{kind} ({at[-1].filename}:{at[-1].lineno})" if at else kind
    if isinstance(error, WorkerError | AnswerFormatError):
        return f"{kind}, run {error.run_id}"
    told = _QUOTED.sub("…", without_body(str(error)))
    return f"{kind}: {told}" if told else kind
