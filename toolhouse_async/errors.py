"""Every exception of the library, in one tree.

::

    ToolhouseError                               .run_id .headers .safe_to_retry .token
    ├─ ConfigurationError (ValueError)           before any I/O
    ├─ ClosedError (RuntimeError)                client, session or turn was closed
    ├─ SessionBusyError (RuntimeError)           would deadlock, or two readers of one turn; .is_hub_full
    ├─ TransportError
    │  ├─ NotSentError                           the service never saw the request
    │  │  ├─ ConnectTimeoutError (TimeoutError)
    │  │  └─ TLSError                            never retried
    │  ├─ OutcomeUnknownError                    sent, and no answer says what became of it
    │  │  ├─ ResponseTimeoutError (TimeoutError)
    │  │  └─ UncertainSessionError               an earlier message's outcome; this one was not sent
    │  └─ StreamInterruptedError                 the answer was cut; .partial
    │     └─ IdleTimeoutError (TimeoutError)
    ├─ ProtocolError                             the answer breaks HTTP or the Workers API
    │  ├─ LineTooLongError
    │  ├─ MalformedEventError                    EventDecoder(strict=True) only
    │  ├─ UnexpectedContentError
    │  └─ BodyTooLargeError
    ├─ APIStatusError                            .status .body .retry_after
    │  ├─ BadRequestError 400
    │  ├─ AuthenticationError 401
    │  ├─ PermissionDeniedError 403
    │  ├─ NotFoundError 404
    │  ├─ ConflictError 409
    │  ├─ UnprocessableEntityError 422
    │  ├─ RateLimitError 429
    │  ├─ RedirectError 3xx
    │  └─ ServerError 5xx
    ├─ JobError                                  .token
    │  ├─ JobWaitTimeoutError (TimeoutError)
    │  ├─ ContactLostError
    │  ├─ ResumeUncertainError
    │  └─ TooManyRoundsError
    ├─ TurnTimeoutError (TimeoutError)           .partial .token
    ├─ WorkerError                               the worker reported an error; .partial
    ├─ AnswerFormatError (ValueError)            no answer had the form that was asked for; .partial
    ├─ StoreError                                a session store failed; .partial
    │  └─ LeaseLostError                         another process has the key by now
    └─ EventsDroppedError (LookupError)          a hub no longer has what a reader missed

Errors hold plain values only, so they pickle and keep no connection, request header or key alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._values.results import JobToken, TurnResult

__all__ = [
    "APIStatusError",
    "AnswerFormatError",
    "AuthenticationError",
    "BadRequestError",
    "BodyTooLargeError",
    "ClosedError",
    "ConfigurationError",
    "ConflictError",
    "ConnectTimeoutError",
    "ContactLostError",
    "EventsDroppedError",
    "IdleTimeoutError",
    "JobError",
    "JobWaitTimeoutError",
    "LeaseLostError",
    "LineTooLongError",
    "MalformedEventError",
    "NotFoundError",
    "NotSentError",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitError",
    "RedirectError",
    "ResponseTimeoutError",
    "ResumeUncertainError",
    "ServerError",
    "SessionBusyError",
    "StoreError",
    "StreamInterruptedError",
    "TLSError",
    "TooManyRoundsError",
    "ToolhouseError",
    "TransportError",
    "TurnTimeoutError",
    "UncertainSessionError",
    "UnexpectedContentError",
    "UnprocessableEntityError",
    "WorkerError",
]


def _shown(character: str) -> str:
    """A character as a terminal and a log may have it: messages may quote what a worker or a server said."""
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


class ToolhouseError(Exception):
    """Base of all errors that this library raises.

    Attributes:
        run_id: The conversation's run id, where it was known.
        headers: Headers of the answer that led to the error (empty without one); names in lower case.
        safe_to_retry: ``True`` if sending the same message again cannot make the service accept it twice,
            ``False`` if it would, ``None`` if nobody can know. A read, as of the history, has no message: its error
            has ``True``, since it may be repeated, and says nothing of a message that was sent before.
        token: Where it ended behind a background job, what :meth:`~toolhouse_async.AsyncToolhouse.wait_for_job` takes
            to go on later, in any process; else ``None``.
    """

    def __init__(
        self,
        message: str = "",
        *,
        run_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        safe_to_retry: bool | None = None,
        token: JobToken | None = None,
    ) -> None:
        super().__init__(message if message.isprintable() else "".join(map(_shown, message)))
        self.run_id = run_id
        self.headers: Mapping[str, str] = {} if headers is None else headers
        self.safe_to_retry = safe_to_retry
        self.token = token


class ConfigurationError(ToolhouseError, ValueError):
    """A setting or an argument is wrong; raised before any I/O."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, safe_to_retry=True)


class ClosedError(ToolhouseError, RuntimeError):
    """The client, manager, session or turn was closed: before the call, so that nothing was sent, or during it."""


class SessionBusyError(ToolhouseError, RuntimeError):
    """The call would wait for itself, or what it needs is in use, as a turn that has a second reader.

    Attributes:
        is_hub_full: Whether it was no turn of the same name that stood in the way, but a hub without room for another.
    """

    is_hub_full: bool = False


class TransportError(ToolhouseError):
    """The connection failed.

    Attributes:
        has_vanished: Whether the service has lost the conversation since, so that there is nothing to look for.
    """

    has_vanished: bool = False


class NotSentError(TransportError):
    """The request provably never reached the service: sending it again is safe."""

    def __init__(
        self, message: str = "", *, run_id: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, run_id=run_id, headers=headers, safe_to_retry=True)


class ConnectTimeoutError(NotSentError, TimeoutError):
    """No connection within ``Timeouts.connect`` (or none free within ``Timeouts.pool``)."""


class TLSError(NotSentError):
    """The certificate or the TLS handshake was refused; never retried."""


class OutcomeUnknownError(TransportError):
    """The message was sent, and nobody knows whether it was accepted: ``session.reconcile()`` looks in the history."""


class ResponseTimeoutError(OutcomeUnknownError, TimeoutError):
    """No answer's headers within ``Timeouts.response`` of sending."""


class UncertainSessionError(OutcomeUnknownError):
    """This message was not sent, since nobody knows whether an earlier one of the conversation was accepted.

    ``session.reconcile()`` settles that one. ``safe_to_retry`` is ``True``, for it speaks of this message.
    """

    def __init__(
        self,
        message: str = "",
        *,
        run_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        safe_to_retry: bool | None = True,
    ) -> None:
        super().__init__(message, run_id=run_id, headers=headers, safe_to_retry=safe_to_retry)


class _WithPartial(ToolhouseError):  # noqa: N818 - a part of errors, not one
    """Adds what had been received before the error."""

    def __init__(
        self,
        message: str = "",
        *,
        run_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        safe_to_retry: bool | None = None,
        token: JobToken | None = None,
        partial: TurnResult | None = None,
    ) -> None:
        super().__init__(message, run_id=run_id, headers=headers, safe_to_retry=safe_to_retry, token=token)
        self.partial = partial


class StreamInterruptedError(_WithPartial, TransportError):
    """The answer was cut before its end; ``partial`` is what was received, a :class:`~toolhouse_async.TurnResult`."""


class IdleTimeoutError(StreamInterruptedError, TimeoutError):
    """Nothing was received for ``Timeouts.idle`` seconds."""


class ProtocolError(ToolhouseError):
    """The answer breaks HTTP or the Workers API."""


class LineTooLongError(ProtocolError):
    """A line of the answer is longer than ``Limits.max_line``."""


class MalformedEventError(ProtocolError):
    """A line could not be read as JSON, and the decoder is strict."""


class UnexpectedContentError(ProtocolError):
    """The answer is not the service's: a captive portal's page, or an encoding nobody asked for."""


class BodyTooLargeError(ProtocolError):
    """The answer is longer than ``Limits.max_body``."""


class APIStatusError(ToolhouseError):
    """The service answered with a status that is not a success.

    Attributes:
        status: The HTTP status.
        body: The answer's body as text, cut at ``Limits.max_error_body`` bytes, the key blacked out.
        retry_after: Seconds to wait as the service asked (``Retry-After``), ``None`` if it did not. It may be
            any number of them: bound it where you wait.
    """

    def __init__(
        self,
        message: str = "",
        *,
        run_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        safe_to_retry: bool | None = None,
        status: int = 0,
        body: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, run_id=run_id, headers=headers, safe_to_retry=safe_to_retry)
        self.status = status
        self.body = body
        self.retry_after = retry_after


class BadRequestError(APIStatusError):
    """400: the request was not understood."""


class AuthenticationError(APIStatusError):
    """401: the key is missing, wrong or expired."""


class PermissionDeniedError(APIStatusError):
    """403: the key may not use this worker."""


class NotFoundError(APIStatusError):
    """404: there is no such worker or run."""


class ConflictError(APIStatusError):
    """409: the run takes no message now, mostly since a background job is running on it."""


class UnprocessableEntityError(APIStatusError):
    """422: the request was understood and its content refused."""


class RateLimitError(APIStatusError):
    """429: too many requests; ``retry_after`` says how long to wait, where the service did."""


class RedirectError(APIStatusError):
    """3xx: redirects are refused, so that neither key nor message goes elsewhere."""


class ServerError(APIStatusError):
    """5xx: the service or a proxy before it failed."""


class JobError(ToolhouseError):
    """Waiting for a background job, or resuming after it, failed; ``token`` goes on later, in any process."""


class JobWaitTimeoutError(JobError, TimeoutError):
    """The job was still running at the deadline; it goes on without us."""


class ContactLostError(JobError):
    """Too many polls in a row failed for too long, or attempts to send the resume; the job may still be running."""


class ResumeUncertainError(JobError):
    """Nobody knows whether the automatic resume was accepted: the history does not tell, so it is not sent again."""

    has_vanished: bool = False  # as of a TransportError


class TooManyRoundsError(JobError):
    """The worker started more jobs in one turn than ``PollingPolicy.max_rounds``."""


class TurnTimeoutError(_WithPartial, TimeoutError):
    """The turn's own ``timeout`` ran out; ``partial`` is what was received, and ``token`` waits for a job that ran."""


class WorkerError(_WithPartial):
    """The worker reported an error inside its answer (an :class:`~toolhouse_async.ErrorEvent`).

    Attributes:
        partial: What had been received.
        code: The worker's own error code, where it gave one.
    """

    def __init__(
        self,
        message: str = "",
        *,
        run_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        safe_to_retry: bool | None = None,
        partial: TurnResult | None = None,
        code: str | int | None = None,
    ) -> None:
        super().__init__(message, run_id=run_id, headers=headers, safe_to_retry=safe_to_retry, partial=partial)
        self.code = code


class AnswerFormatError(_WithPartial, ValueError):
    """No answer to :meth:`~toolhouse_async.Session.ask` had the form that was asked for.

    Attributes:
        partial: The whole turn of the last attempt.
        attempts: How many messages were sent; all stand in the conversation, with their answers.
    """

    attempts: int = 1


class StoreError(_WithPartial):
    """A session store failed, also when asked again, or holds what nobody can read.

    Attributes:
        partial: What the turn had received; its result, where only what came of it could not be saved.
        is_lasting: Whether asking again cannot help, as where a file may not be written.
    """

    is_lasting: bool = False


class LeaseLostError(StoreError):
    """Another process has taken the key, or an operator has unlocked it: this one saves and sends nothing more.

    Attributes:
        token: A job that ran. Whoever has the key owns it: to wait by this may resume the worker a second time.
        has_vanished: Whether the store no longer knows the key: it was emptied, as by a restart, or the key forgotten.
    """

    has_vanished: bool = False


class EventsDroppedError(ToolhouseError, LookupError):
    """A :class:`~toolhouse_async.web.TurnHub` has dropped what a reader missed; the history has it behind the turn."""
