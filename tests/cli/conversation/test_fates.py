import pytest

from toolhouse_async import errors
from toolhouse_async._cli.conversation.fates import Fate, fate_of, status_after
from toolhouse_async._cli.statuses import Status


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.NotSentError("x"), Fate.NOT_ACCEPTED),
        (errors.RateLimitError("x", safe_to_retry=True), Fate.NOT_ACCEPTED),
        (errors.OutcomeUnknownError("x"), Fate.UNKNOWN),
        (errors.ServerError("x"), Fate.UNKNOWN),
        (errors.UncertainSessionError("x"), Fate.BEHIND),
        (errors.StreamInterruptedError("x", safe_to_retry=False), Fate.INCOMPLETE),
        (errors.ResumeUncertainError("x"), Fate.INCOMPLETE),
        (errors.JobWaitTimeoutError("x", safe_to_retry=False), Fate.INCOMPLETE),
        (errors.WorkerError("x", safe_to_retry=False), Fate.OVER),
    ],
)
def test_an_error_says_what_became_of_the_message(error, expected):
    assert fate_of(error) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.NotSentError("x"), Status.FAILED),
        (errors.WorkerError("x", safe_to_retry=False), Status.FAILED),
        (errors.TurnTimeoutError("x", safe_to_retry=True), Status.FAILED),
        (errors.ServerError("x"), Status.UNKNOWN),
        (errors.OutcomeUnknownError("x"), Status.UNKNOWN),
        (errors.UncertainSessionError("x"), Status.UNKNOWN),
        (errors.StreamInterruptedError("x", safe_to_retry=False), Status.RUNNING),
        (errors.ContactLostError("x", safe_to_retry=False), Status.FAILED),
    ],
)
def test_a_command_that_sent_the_message_ends_by_what_became_of_it(error, expected):
    assert status_after(error) is expected
