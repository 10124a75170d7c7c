"""What models read of a call that failed: whether its message may be sent again, and what to do."""

from __future__ import annotations

import pytest

from toolhouse_async import TurnResult, errors, events
from toolhouse_async._cli.mcp_server.earlier import Earlier
from toolhouse_async._cli.mcp_server.wording import answered, failed, news_of, settled
from toolhouse_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContactLostError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    TLSError,
    ToolhouseError,
    TurnTimeoutError,
    UncertainSessionError,
    WorkerError,
)

RUN = "run-1"
ANSWER = TurnResult("worker", RUN, "Four.")
KINDS = [each for name in errors.__all__ if issubclass(each := getattr(errors, name), ToolhouseError)]


def made(kind: type[ToolhouseError], safe_to_retry: bool | None) -> ToolhouseError:
    error = kind("what happened")
    error.safe_to_retry = safe_to_retry
    return error


@pytest.mark.parametrize("run_id", [None, RUN])
@pytest.mark.parametrize("safe_to_retry", [True, False, None])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_failure_says_whether_the_message_may_be_sent_again(
    kind: type[ToolhouseError], safe_to_retry: bool | None, run_id: str | None
) -> None:
    reply = failed(made(kind, safe_to_retry), run_id)
    said = {
        True: "This message was not accepted.",
        False: "This message was accepted: do not send it again.",
        None: "Nobody knows whether this message was accepted: do not send it again before that is known.",
    }
    assert reply.is_error
    assert [value for value, words in said.items() if words in reply.texts[0]] == [safe_to_retry]
    assert (reply.fields["safe_to_retry"], reply.fields["error"]) == (safe_to_retry, kind.__name__)
    assert "None" not in reply.texts[0]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (AuthenticationError(safe_to_retry=True), "Trying again does not help: whoever runs this server"),
        (PermissionDeniedError(safe_to_retry=True), "may not use this worker. Trying again does not help"),
        (ConfigurationError("no"), "Trying again does not help"),
        (TLSError("no"), "Trying again does not help"),
        (BadRequestError(safe_to_retry=True), "Say it in another way."),
        (NotSentError("no"), "It may be sent again later."),
        (ServerError(safe_to_retry=True), "It may be sent again later."),
        (ServerError(safe_to_retry=True, retry_after=7.2), "It may be sent again in 7 seconds."),
        (ServerError(safe_to_retry=True, retry_after=31536000.0), "It may be sent again in 365 days."),
        (RateLimitError(safe_to_retry=True), "It may be sent again later."),
        (NotFoundError(safe_to_retry=True), "Leave `conversation` out to begin one."),
        (UncertainSessionError(), "or leave `conversation` out to begin another conversation."),
        (StreamInterruptedError(safe_to_retry=False), f"call this tool with conversation {RUN} and an empty message."),
        (ContactLostError(safe_to_retry=False), f"call this tool with conversation {RUN} and an empty message."),
        (TurnTimeoutError(safe_to_retry=False), f"call this tool with conversation {RUN} and an empty message."),
        (WorkerError(safe_to_retry=False), "The worker reported the failure itself; the conversation can go on."),
        (OutcomeUnknownError(), f"To find out, call this tool with conversation {RUN} and an empty message"),
    ],
)
def test_and_what_to_do(error: ToolhouseError, advice: str) -> None:
    assert advice in failed(error, RUN).texts[0]


def test_what_had_come_of_an_answer_is_kept() -> None:
    reply = failed(StreamInterruptedError("cut", safe_to_retry=False, partial=ANSWER), RUN)
    assert reply.texts[1:] == ("What had come of its answer:\n\nFour.", f"Conversation: {RUN} {NAMED}")
    assert reply.fields["answer"] == "Four."
    assert len(failed(StreamInterruptedError("cut", partial=TurnResult("worker", RUN, " ")), RUN).texts) == 2


NAMED = "(pass it as `conversation` to go on)"


def test_advice_to_programmers_is_not_for_models() -> None:
    error = UncertainSessionError("await session.reconcile() finds out")
    assert "reconcile" not in failed(error, RUN).texts[0]
    assert "reconcile" not in answered(ANSWER, Earlier(error=error)).texts[0]


@pytest.mark.parametrize(
    ("earlier", "said"),
    [
        (Earlier(ANSWER), "The answer to the earlier message, which had not been brought:\n\nFour."),
        (Earlier(), "The earlier message was not accepted."),
        (
            Earlier(error=ContactLostError("no contact")),
            "The earlier message was accepted, and its answer cannot be brought. ContactLostError: no contact",
        ),
    ],
)
def test_what_became_of_an_earlier_message_comes_first(earlier: Earlier, said: str) -> None:
    reply = answered(TurnResult("worker", RUN, "Five."), earlier)
    assert reply.texts == (said, "Five.", f"Conversation: {RUN} {NAMED}")
    assert reply.fields.get("earlier") == ("Four." if earlier.result else None)
    assert failed(NotSentError("no"), RUN, earlier).texts[0] == said


def test_an_earlier_message_is_asked_about() -> None:
    assert settled(Earlier(ANSWER), RUN) == answered(ANSWER)
    assert settled(Earlier(), RUN).fields["safe_to_retry"] is True
    lost = ContactLostError("no contact", safe_to_retry=False)
    assert settled(Earlier(error=lost), RUN) == failed(lost, RUN)


@pytest.mark.parametrize(
    ("elapsed", "when"), [(0.0, "at once"), (0.9, "at once"), (1.0, "after 1 s"), (65.2, "after 65 s")]
)
def test_how_long_a_job_took_is_said_as_a_person_would(elapsed: float, when: str) -> None:
    assert news_of(events.JobFinished("job-1", elapsed, 1)) == f"The background job is over {when}"
