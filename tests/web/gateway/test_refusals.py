from __future__ import annotations

import pytest

from toolhouse_async import errors as er
from toolhouse_async.web._openai.refusals import refusal_of

RETRIED = {408, 409, 429, *range(500, 600)}
"""Statuses after which OpenAI's package sends again, unless it is told not to."""

SAFE = [
    (er.NotSentError("x"), 503, "not_sent"),
    (er.ConnectTimeoutError("x"), 503, "connect_timeout"),
    (er.RateLimitError("x", safe_to_retry=True, status=429, retry_after=2.5), 429, "rate_limit_exceeded"),
    (er.RateLimitError("x", safe_to_retry=True, status=429), 429, "rate_limit_exceeded"),
    (er.ServerError("x", safe_to_retry=True, status=503), 503, "server"),
    (er.ConflictError("x", safe_to_retry=True, status=409), 503, "conflict"),
    (er.StoreError("x", safe_to_retry=True), 503, "store"),
]
IN_VAIN = [
    (er.TLSError("x"), 500, "tls"),
    (er.ConfigurationError("x"), 500, "configuration"),
    (er.AuthenticationError("x", safe_to_retry=True, status=401), 500, "authentication"),
    (er.APIStatusError("x", safe_to_retry=True, status=418), 500, "api_status"),
    (er.BadRequestError("x", safe_to_retry=True, status=400), 400, "bad_request"),
    (er.UnprocessableEntityError("x", safe_to_retry=True, status=422), 400, "unprocessable_entity"),
    (er.NotFoundError("x", safe_to_retry=True, status=404), 404, "model_not_found"),
    (er.NotFoundError("x", safe_to_retry=True, status=404, run_id="r"), 404, "conversation_not_found"),
    (er.UncertainSessionError("x"), 424, "uncertain_session"),
    (er.ClosedError("x", safe_to_retry=True), 500, "closed"),
]
DOUBTFUL = [
    (er.OutcomeUnknownError("x", run_id="r"), "outcome_unknown"),
    (er.ServerError("x", status=503), "server"),
    (er.WorkerError("x", safe_to_retry=False), "worker"),
    (er.StreamInterruptedError("x", safe_to_retry=False), "stream_interrupted"),
    (er.RateLimitError("x", safe_to_retry=False, status=429), "rate_limit"),
    (er.NotFoundError("x", safe_to_retry=False, status=404), "not_found"),
    (ZeroDivisionError("the password is hunter2"), "internal"),
]


@pytest.mark.parametrize(("error", "status", "code"), SAFE)
def test_what_was_not_accepted_may_be_sent_again(error: er.ToolhouseError, status: int, code: str) -> None:
    refusal = refusal_of(error)
    assert (refusal.status, refusal.code) == (status, code)
    assert refusal.status in RETRIED
    wait = "3" if isinstance(error, er.RateLimitError) and error.retry_after else "1"
    assert refusal.headers() == {"x-should-retry": "true", "retry-after": wait}


@pytest.mark.parametrize(("error", "status", "code"), IN_VAIN)
def test_what_would_be_in_vain_is_not(error: er.ToolhouseError, status: int, code: str) -> None:
    refusal = refusal_of(error)
    assert (refusal.status, refusal.code) == (status, code)
    assert refusal.headers() == {"x-should-retry": "false"}


@pytest.mark.parametrize(("error", "code"), DOUBTFUL)
def test_what_may_have_been_accepted_never_is(error: Exception, code: str) -> None:
    refusal = refusal_of(error)
    assert (refusal.status, refusal.code, refusal.type) == (424, code, "server_error")
    assert refusal.status not in RETRIED
    assert refusal.headers() == {"x-should-retry": "false"}
    told = refusal.object()
    assert "hunter2" not in str(told)
    assert told.keys() - {"run_id"} == {"message", "type", "param", "code"}
    assert told.get("run_id") == getattr(error, "run_id", None)


def test_a_run_that_is_gone_is_the_response_that_named_it() -> None:
    error = er.NotFoundError("x", safe_to_retry=True, status=404, run_id="r")
    refusal = refusal_of(error, param="previous_response_id")
    assert (refusal.status, refusal.code) == (400, "previous_response_not_found")


def test_every_error_has_a_status() -> None:
    for name in er.__all__:
        for safe in (True, False, None):
            error = getattr(er, name)("x")
            error.safe_to_retry = safe
            refusal = refusal_of(error)
            assert (refusal.retry_after is None) == (refusal.headers()["x-should-retry"] == "false")
            if safe is not True:
                assert refusal.status == 424
