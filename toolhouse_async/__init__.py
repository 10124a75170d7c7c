"""The asyncio-native client for Toolhouse's Workers API.

One ``async for`` over typed events carries a turn through streaming, background jobs and resumes::

    async with AsyncToolhouse() as toolhouse:
        async with toolhouse.session(AGENT_ID) as session:
            async with session.stream("Analyze this CSV and plot a histogram") as turn:
                async for event in turn:
                    ...
"""

import importlib
import typing

from ._client import AsyncToolhouse
from ._held import Turn
from ._map import MapIterator
from ._session import BackgroundJobWaiter, Session
from ._values.batches import BatchItem, BatchProgress
from ._values.options import TurnOptions
from ._values.results import JobRecord, JobStatus, JobToken, MapItem, Message, ToolExchange, TurnResult
from ._values.settings import Limits, PollingPolicy, RecoveryPolicy, RetryPolicy, Timeouts
from ._version import __version__
from ._wire.decode import EventDecoder
from .errors import (
    AnswerFormatError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    BodyTooLargeError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    ConnectTimeoutError,
    ContactLostError,
    EventsDroppedError,
    IdleTimeoutError,
    JobError,
    JobWaitTimeoutError,
    LeaseLostError,
    LineTooLongError,
    MalformedEventError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RedirectError,
    ResponseTimeoutError,
    ResumeUncertainError,
    ServerError,
    SessionBusyError,
    StoreError,
    StreamInterruptedError,
    TLSError,
    ToolhouseError,
    TooManyRoundsError,
    TransportError,
    TurnTimeoutError,
    UncertainSessionError,
    UnexpectedContentError,
    UnprocessableEntityError,
    WorkerError,
)
from .events import (
    ErrorEvent,
    Event,
    JobFinished,
    JobProgress,
    JobStarted,
    MalformedLine,
    StreamRecovered,
    TextDelta,
    ToolCall,
    ToolResult,
    TurnCompleted,
    TurnResumed,
    TurnStarted,
    UnknownEvent,
)

if typing.TYPE_CHECKING:
    from ._batch.batch import Batch
    from .manager import SessionManager

__all__ = [
    "APIStatusError",
    "AnswerFormatError",
    "AsyncToolhouse",
    "AuthenticationError",
    "BackgroundJobWaiter",
    "BadRequestError",
    "Batch",
    "BatchItem",
    "BatchProgress",
    "BodyTooLargeError",
    "ClosedError",
    "ConfigurationError",
    "ConflictError",
    "ConnectTimeoutError",
    "ContactLostError",
    "ErrorEvent",
    "Event",
    "EventDecoder",
    "EventsDroppedError",
    "IdleTimeoutError",
    "JobError",
    "JobFinished",
    "JobProgress",
    "JobRecord",
    "JobStarted",
    "JobStatus",
    "JobToken",
    "JobWaitTimeoutError",
    "LeaseLostError",
    "Limits",
    "LineTooLongError",
    "MalformedEventError",
    "MalformedLine",
    "MapItem",
    "MapIterator",
    "Message",
    "NotFoundError",
    "NotSentError",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "PollingPolicy",
    "ProtocolError",
    "RateLimitError",
    "RecoveryPolicy",
    "RedirectError",
    "ResponseTimeoutError",
    "ResumeUncertainError",
    "RetryPolicy",
    "ServerError",
    "Session",
    "SessionBusyError",
    "SessionManager",
    "StoreError",
    "StreamInterruptedError",
    "StreamRecovered",
    "TLSError",
    "TextDelta",
    "Timeouts",
    "TooManyRoundsError",
    "ToolCall",
    "ToolExchange",
    "ToolResult",
    "ToolhouseError",
    "TransportError",
    "Turn",
    "TurnCompleted",
    "TurnOptions",
    "TurnResult",
    "TurnResumed",
    "TurnStarted",
    "TurnTimeoutError",
    "UncertainSessionError",
    "UnexpectedContentError",
    "UnknownEvent",
    "UnprocessableEntityError",
    "WorkerError",
    "__version__",
]


_LATER = {"Batch": "._batch.batch", "SessionManager": ".manager"}
"""What not every program needs, and where it is."""


def __getattr__(name: str) -> object:
    """Load what not every program needs, on its first use."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_LATER[name], __name__), name)
    return value
