"""What observers are told: a record of each thing that a client's turns and requests do."""

from __future__ import annotations

from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class TurnBegun:
    """A turn makes its first step; it may still have to wait for others on its run, or for its key.

    Attributes:
        turn: Its number, in all other records of the turn too; no other turn of this process has it.
        kind: What it does: sends a ``"message"``; waits for a ``"job"`` that is left; finds out by ``"reconcile"``
            what became of a message; or brings by ``"recover"`` the answer to a message of another process.
        agent_id: The worker.
        run_id: The conversation; ``None`` where it is yet to begin.
        message: What the user says, for observers with ``content``; else ``None``.
    """

    turn: int
    kind: Literal["message", "job", "reconcile", "recover"]
    agent_id: str
    run_id: str | None
    message: str | None = None


@frozen(kw_only=True)
class TurnEnded:
    """A turn has ended, in whatever way. Only a request that others share with it may end behind it.

    Attributes:
        turn: Its number.
        kind: As in :class:`~toolhouse_async.observe.TurnBegun`.
        agent_id: The worker.
        run_id: The conversation, if it is known by now.
        outcome: ``"completed"``; in the ``"background"``, its job having been left to run; ``"absent"`` where the
            message that ``reconcile()`` looked for had not arrived; or ``"failed"``.
        seconds: From its begin, all waiting included, the reader's own too.
        error: The name of its error's class, such as ``"RateLimitError"``; ``"ClosedError"`` where it was closed or
            cancelled. ``None`` where it did not fail.
        text: What the worker has said, for observers with ``content``; else ``None``.
    """

    turn: int
    kind: Literal["message", "job", "reconcile", "recover"]
    agent_id: str
    run_id: str | None
    outcome: Literal["completed", "background", "absent", "failed"]
    seconds: float
    error: str | None = None
    text: str | None = None


@frozen(kw_only=True)
class RequestBegun:
    """A request is about to be sent; it may still have to wait for a connection.

    Attributes:
        request: Its number, in the record of its answer or failure too; no other request of this process has it.
        turn: The number of the turn that it is for; ``None`` outside of turns, as for ``history()``. One that several
            turns share has the number of the turn that makes it.
        method: ``"GET"``, ``"POST"`` or ``"PUT"``.
        url: Its address, which never holds the key.
        attempt: Counted from 1 by the client's ``RetryPolicy``. Each poll of a job is a request of its own.
        run_id: The conversation; ``None`` where it is yet to begin.
    """

    request: int
    turn: int | None
    method: str
    url: str
    attempt: int
    run_id: str | None


@frozen(kw_only=True)
class RequestAnswered:
    """The head of an answer has come, of whatever status; its body is still to be read.

    Attributes:
        request: As in :class:`~toolhouse_async.observe.RequestBegun`, and so are ``turn``, ``method``, ``url``,
            ``attempt`` and ``run_id``.
        status: The HTTP status.
        seconds: From the request's begin.
    """

    request: int
    turn: int | None
    method: str
    url: str
    attempt: int
    run_id: str | None
    status: int
    seconds: float


@frozen(kw_only=True)
class RequestFailed:
    """There is no answer to a request.

    Attributes:
        request: As in :class:`~toolhouse_async.observe.RequestBegun`, and so are ``turn``, ``method``, ``url``,
            ``attempt`` and ``run_id``.
        error: The name of the error's class, such as ``"NotSentError"``; ``"CancelledError"`` where it was given up.
        seconds: From the request's begin.
    """

    request: int
    turn: int | None
    method: str
    url: str
    attempt: int
    run_id: str | None
    error: str
    seconds: float


@frozen(kw_only=True)
class ToolCalled:
    """The worker has called a tool.

    Attributes:
        turn: The turn's number.
        call_id: The call's id, if it has one.
        name: The tool.
        arguments: What it was called with, as text, for observers with ``content``; else ``None``.
    """

    turn: int
    call_id: str | None
    name: str
    arguments: str | None = None


@frozen(kw_only=True)
class ToolReturned:
    """A tool's result has come.

    Attributes:
        turn: The turn's number.
        call_id: The id of its call, if it has one.
        name: The tool, if it is named.
        is_error: Whether it says that the tool failed.
        content: What the tool has returned, as text, for observers with ``content``; else ``None``.
    """

    turn: int
    call_id: str | None
    name: str | None
    is_error: bool
    content: str | None = None


@frozen(kw_only=True)
class JobBegun:
    """A background job is running, which the turn waits for or leaves.

    Attributes:
        turn: The turn's number.
        job_id: The job.
    """

    turn: int
    job_id: str


@frozen(kw_only=True)
class JobPolled:
    """A poll has found the job running. A poll that fails is known by its request.

    Attributes:
        turn: The turn's number.
        job_id: The job.
        elapsed: Seconds since it began.
        polls: How many polls there were.
        next_poll: Seconds until the next.
    """

    turn: int
    job_id: str
    elapsed: float
    polls: int
    next_poll: float


@frozen(kw_only=True)
class JobEnded:
    """A job is over: finished or failed, the API does not say which.

    Attributes:
        turn: The turn's number.
        job_id: The job.
        elapsed: Seconds since it began.
        polls: How many polls there were.
    """

    turn: int
    job_id: str
    elapsed: float
    polls: int


@frozen(kw_only=True)
class AnswerRecovered:
    """An answer that was cut, or was not whole, was completed from the history.

    Attributes:
        turn: The turn's number.
        missing: How many characters had not come; 0 where the history has other words than those that came.
    """

    turn: int
    missing: int


@frozen(kw_only=True)
class OutcomeUnknown:
    """A turn ends, and nobody knows whether what it has sent was accepted: the message, or a resume.

    Attributes:
        turn: The turn's number.
        agent_id: The worker.
        run_id: The conversation, if it is known.
        error: The name of the class of the turn's error.
    """

    turn: int
    agent_id: str
    run_id: str | None
    error: str
