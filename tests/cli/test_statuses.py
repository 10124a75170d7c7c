import pytest

from toolhouse_async import JobToken, TurnResult, errors
from toolhouse_async._cli.statuses import Status, status_of

TOKEN = JobToken("a", "r", "j", 1.0)
SEEN = TurnResult("a", "r", "half of")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.ConfigurationError("x"), Status.USAGE),
        (errors.OutcomeUnknownError("x"), Status.UNKNOWN),
        (errors.UncertainSessionError("x"), Status.UNKNOWN),
        (errors.ResumeUncertainError("x"), Status.UNKNOWN),
        (errors.JobWaitTimeoutError("x"), Status.RUNNING),
        (errors.StreamInterruptedError("x"), Status.RUNNING),
        (errors.TurnTimeoutError("x", token=TOKEN), Status.RUNNING),
        (errors.TurnTimeoutError("x", partial=SEEN), Status.RUNNING),
        (errors.TurnTimeoutError("x", partial=TurnResult("a", "r")), Status.UNKNOWN),
        (errors.TurnTimeoutError("x"), Status.UNKNOWN),
        (errors.ContactLostError("x"), Status.FAILED),
        (errors.NotFoundError("x"), Status.FAILED),
        (errors.WorkerError("x"), Status.FAILED),
        (errors.NotSentError("x"), Status.FAILED),
    ],
)
def test_an_error_has_its_status(error, expected):
    assert status_of(error) is expected
