from __future__ import annotations

from typing import Any

import pytest

from toolhouse_async import (
    AuthenticationError,
    BodyTooLargeError,
    ConflictError,
    ContactLostError,
    JobStatus,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PollingPolicy,
    ProtocolError,
    RateLimitError,
    ServerError,
    SessionBusyError,
    StreamInterruptedError,
    TLSError,
    ToolhouseError,
    UnexpectedContentError,
)
from toolhouse_async._turn.polls import YOUNG, YOUNG_TRIES, Patience, Polls, Report, asked_for, tolerated
from toolhouse_async.errors import APIStatusError


def status(code: int, kind: type[APIStatusError] = APIStatusError) -> APIStatusError:
    return kind("x", status=code)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotSentError(), True),
        (OutcomeUnknownError(), True),
        (StreamInterruptedError(), True),
        (ProtocolError(), True),
        (UnexpectedContentError(), True),
        (status(408), True),
        (status(425), True),
        (status(409, ConflictError), True),
        (status(429, RateLimitError), True),
        (status(500, ServerError), True),
        (status(599, ServerError), True),
        (TLSError(), False),
        (BodyTooLargeError(), False),
        (status(404, NotFoundError), False),
        (status(401, AuthenticationError), False),
        (status(410), False),
        (SessionBusyError(), False),
    ],
)
def test_which_failures_leave_the_question_open(error: Any, expected: bool) -> None:
    assert tolerated(error) is expected
