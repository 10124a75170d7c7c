from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from toolhouse_async import errors
from toolhouse_async._values.results import JobToken, TurnResult
from toolhouse_async._wire.answers import Headers
from toolhouse_async.errors import ToolhouseError

TREE = """
ToolhouseError
    ConfigurationError ValueError
    ClosedError RuntimeError
    SessionBusyError RuntimeError
    TransportError
        NotSentError
            ConnectTimeoutError TimeoutError
            TLSError
        OutcomeUnknownError
            ResponseTimeoutError TimeoutError
            UncertainSessionError
        StreamInterruptedError
            IdleTimeoutError TimeoutError
    ProtocolError
        LineTooLongError
        MalformedEventError
        UnexpectedContentError
        BodyTooLargeError
    APIStatusError
        BadRequestError
        AuthenticationError
        PermissionDeniedError
        NotFoundError
        ConflictError
        UnprocessableEntityError
        RateLimitError
        RedirectError
        ServerError
    JobError
        JobWaitTimeoutError TimeoutError
        ContactLostError
        ResumeUncertainError
        TooManyRoundsError
    TurnTimeoutError TimeoutError
    WorkerError
    AnswerFormatError ValueError
    StoreError
        LeaseLostError
    EventsDroppedError LookupError
"""
ALL = [getattr(errors, name) for name in errors.__all__]
TOKEN = JobToken("agent", "run", "job", 5.0)
PARTIAL = TurnResult("agent", "run", text="half")
VALUES: dict[str, Any] = {
    "run_id": "run",
    "headers": Headers([("X-Thing", "1")]),
    "safe_to_retry": False,
    "partial": PARTIAL,
    "token": TOKEN,
    "status": 418,
    "body": "teapot",
    "retry_after": 2.5,
    "code": "E1",
}


def public_parents(kind: type) -> list[str]:
    """The direct bases, those of our own that are not public replaced by theirs."""
    found: list[str] = []
    for base in kind.__bases__:
        found += [base.__name__] if not base.__name__.startswith("_") else public_parents(base)
    return found


def test_the_tree_is_as_drawn() -> None:
    path: list[str] = []
    drawn: dict[str, set[str]] = {}
    for line in TREE.strip().splitlines():
        name, *others = line.split()
        del path[(len(line) - len(line.lstrip())) // 4 :]
        drawn[name] = {*path[-1:], *others} or {"Exception"}
        path.append(name)
    assert drawn.keys() == set(errors.__all__)
    for kind in ALL:
        parents = set(public_parents(kind))
        if len(parents) > 1:
            parents -= {"ToolhouseError"} - drawn[kind.__name__]
        assert parents == drawn[kind.__name__]


def test_the_docstring_draws_every_error() -> None:
    assert errors.__doc__ is not None
    assert [kind for kind in ALL if kind.__name__ not in errors.__doc__ or not kind.__doc__] == []


def accepted(kind: type) -> dict[str, Any]:
    return {name: VALUES[name] for name in inspect.signature(kind).parameters if name in VALUES}


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_the_common_fields(kind: type[ToolhouseError]) -> None:
    error = kind("why")
    assert str(error) == "why"
    assert error.args == ("why",)
    assert (error.run_id, error.headers) == (None, {})
    assert error.safe_to_retry in (None, True)
    assert repr(error) == f"{kind.__name__}('why')"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (errors.StreamInterruptedError, {"partial", "token"}),
        (errors.IdleTimeoutError, {"partial", "token"}),
        (errors.APIStatusError, {"status", "body", "retry_after"}),
        (errors.RateLimitError, {"status", "body", "retry_after"}),
        (errors.JobError, {"token"}),
        (errors.ContactLostError, {"token"}),
        (errors.TurnTimeoutError, {"partial", "token"}),
        (errors.WorkerError, {"partial", "code"}),
        (errors.OutcomeUnknownError, {"token"}),
    ],
)
def test_further_fields(kind: type[ToolhouseError], names: set[str]) -> None:
    fields = accepted(kind)
    assert fields.keys() == {"run_id", "headers", "safe_to_retry"} | names
    error = kind("why", **fields)
    assert {name: getattr(error, name) for name in fields} == fields


@pytest.mark.parametrize("kind", ALL)
def test_every_error_pickles_with_all_its_fields(kind: type[ToolhouseError]) -> None:
    error = kind("why", **accepted(kind))
    pickles = [pickle.dumps(error, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for again in (*map(pickle.loads, pickles), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert str(again) == "why"
        assert vars(again) == vars(error)


@pytest.mark.parametrize("kind", ALL)
def test_an_error_can_be_raised_and_caught_by_its_builtin_kind(kind: type[ToolhouseError]) -> None:
    builtin = next((base for base in (ValueError, RuntimeError, TimeoutError) if issubclass(kind, base)), Exception)
    with pytest.raises(builtin, match="why"):
        raise kind("why")


def test_what_may_be_sent_again() -> None:
    assert errors.ConfigurationError("x").safe_to_retry is True
    assert errors.NotSentError("x").safe_to_retry is True
    assert errors.ConnectTimeoutError("x").safe_to_retry is True
    assert errors.TLSError("x").safe_to_retry is True
    assert errors.OutcomeUnknownError("x").safe_to_retry is None
    assert errors.ResponseTimeoutError("x").safe_to_retry is None
    assert errors.ResumeUncertainError("x").safe_to_retry is None


def test_errors_do_not_share_their_headers() -> None:
    assert errors.ClosedError().headers is not errors.ClosedError().headers
