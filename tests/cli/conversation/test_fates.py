import pytest

from toolhouse_async import errors
from toolhouse_async._cli.conversation.fates import Fate, fate_of


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
