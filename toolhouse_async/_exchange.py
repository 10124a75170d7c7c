"""One turn in motion: carries out what the table of steps says, one small step at a time.

There is no task behind it. Whoever wants the next event steps it, in their own task, so cancelling them cancels
exactly the step under way, and memory is bounded by how fast they read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from attrs import frozen

from ._conversation import Conversation
from ._healing import Healing
from ._options import Options
from ._results import JobStatus, JobToken, TurnResult
from ._settings import PollingPolicy
from ._stream import EventStream
from ._transport import Answer, Cut
from ._waiting import Job
from ._wire import requests
from ._wire.answers import Headers
from ._wire.fold import Fold
from ._wire.history import Place, find_reply
from ._wire.pauses import CONFLICT_PAUSES
from ._wire.steps import Signal, State, step
from .errors import (
    ClosedError,
    ConflictError,
    IdleTimeoutError,
    JobError,
    JobWaitTimeoutError,
    OutcomeUnknownError,
    SessionBusyError,
    StreamInterruptedError,
    ToolhouseError,
    TooManyRoundsError,
    TurnTimeoutError,
    WorkerError,
)
from .events import (
    Event,
    JobStarted,
    StreamRecovered,
    TextDelta,
    TurnCompleted,
    TurnResumed,
    TurnStarted,
)
