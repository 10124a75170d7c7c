from __future__ import annotations

import pickle
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from multidict import CIMultiDict

from toolhouse_async import errors
from toolhouse_async._wire.answers import (
    Headers,
    check_content,
    is_framed,
    job_id_of,
    retry_after_of,
    run_id_of,
    status_error,
    without_body,
)
from toolhouse_async.errors import APIStatusError, ProtocolError, UnexpectedContentError

WHERE = "the worker's page at Toolhouse shows its URL, https://agents.toolhouse.ai/<agent id>"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()


def headers(*items: tuple[str, str]) -> CIMultiDict[str]:
    return CIMultiDict(items)


@pytest.mark.parametrize("name", ["X-Toolhouse-Run-ID", "x-toolhouse-run-id", "X-TOOLHOUSE-RUN-ID"])
def test_the_run_id_is_read_in_any_case(name: str) -> None:
    assert run_id_of(headers((name, "run-1"))) == "run-1"
    assert run_id_of(headers()) is None


@pytest.mark.parametrize("value", ["", "../x", "a b", "a,b", "a\r\n b", "a/b", "%2e", "é", "x" * 129, "x" * 10_000])
def test_a_malformed_run_id_is_refused(value: str) -> None:
    with pytest.raises(ProtocolError, match="not one valid id") as caught:
        run_id_of(headers(("X-Toolhouse-Run-ID", value)))
    assert str(caught.value).isprintable()


def test_two_run_ids_are_refused() -> None:
    with pytest.raises(ProtocolError, match="not one valid id"):
        run_id_of(headers(("X-Toolhouse-Run-ID", "a"), ("x-toolhouse-run-id", "a")))


@pytest.mark.parametrize(
    ("values", "job"),
    [
        ([], None),
        ([""], None),
        (["  "], None),
        (["job-1"], "job-1"),
        ([" job 1 "], "job 1"),
        (["", "job-1"], "job-1"),
        (["a\x1b[31mb\x00"], "a\ufffd[31mb\ufffd"),
        (["x" * 999], "x" * 256),
    ],
)
def test_the_job_id_is_made_harmless(values: list[str], job: str | None) -> None:
    assert job_id_of(headers(*(("X-Toolhouse-Job-Id", value) for value in values))) == job


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("3600", 3600),
        ("-1", None),
        ("-0.5", None),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("1e99", 1e9),
        ("1e999", None),
        ("", None),
        ("soon", None),
        ("9" * 5000, 1e9),
        (format_datetime(datetime(2026, 1, 2, 3, 4, 35, tzinfo=UTC), usegmt=True), 30),
        ("Fri, 02 Jan 2026 03:04:35 -0000", 30),
        ("Fri, 02 Jan 2026 04:04:35 +0100", 30),
        ("Friday, 02-Jan-26 03:04:35 GMT", 30),
        ("Fri Jan  2 03:04:35 2026", 30),
        (format_datetime(datetime(1990, 1, 1, tzinfo=UTC), usegmt=True), 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 1e9),
        ("Fri, 31 Dec 9999 23:59:59 -2300", 1e9),
        ("Fri, 32 Jan 2026 03:04:35 GMT", None),
        ("Fri, 02 Jan 99999 03:04:35 GMT", None),
        ("Fri, 02 Jan 2026 03:04:35 +9999", None),
    ],
)
def test_retry_after_is_finite_and_never_negative(value: str, seconds: float | None) -> None:
    assert retry_after_of(headers(("retry-after", value)), NOW) == seconds


@pytest.mark.parametrize(
    ("dates", "seconds"),
    [
        (["Fri, 02 Jan 2026 03:02:05 GMT"], 150),
        (["Fri, 02 Jan 2026 03:04:05 GMT"], 30),
        (["Fri, 02 Jan 2026 04:04:25 +0100"], 10),
        (["Fri, 02 Jan 2026 03:30:00 GMT"], 0),
        (["Thu, 01 Jan 1970 00:00:00 GMT"], 1e9),
        (["nonsense"], 30),
        ([""], 30),
        (["nonsense", "Fri, 02 Jan 2026 03:04:25 GMT"], 10),
    ],
)
def test_a_date_is_reckoned_from_that_of_the_answer(dates: list[str], seconds: float) -> None:
    answer = headers(("Retry-After", "Fri, 02 Jan 2026 03:04:35 GMT"), *(("Date", date) for date in dates))
    assert retry_after_of(answer, NOW) == seconds
    assert retry_after_of(headers(("Retry-After", "7"), ("Date", dates[0])), NOW) == 7


def test_no_retry_after_asks_for_nothing() -> None:
    assert retry_after_of(headers(), NOW) is None


def test_milliseconds_are_more_exact() -> None:
    both = headers(("Retry-After", "2"), ("Retry-After-Ms", "1500"))
    assert retry_after_of(both, NOW) == 1.5
    assert retry_after_of(headers(("Retry-After", "2"), ("Retry-After-Ms", "x")), NOW) == 2


@pytest.mark.parametrize(
    ("items", "version", "framed"),
    [
        ([("Content-Length", "5")], (1, 1), True),
        ([("Content-Length", "5")], (1, 0), True),
        ([("Content-Length", "0")], (1, 1), True),
        ([("Transfer-Encoding", "chunked")], (1, 1), True),
        ([("Transfer-Encoding", " Chunked ")], (1, 1), True),
        ([("Transfer-Encoding", "\tCHUNKED ")], (1, 1), True),
        ([("Transfer-Encoding", "chunked")], (1, 0), False),
        ([("Transfer-Encoding", "identity")], (1, 1), False),  # as it was at first: to the connection's end
        ([], (1, 1), False),
    ],
)
def test_framing_proves_an_end(items: list[tuple[str, str]], version: tuple[int, int], framed: bool) -> None:
    assert is_framed(headers(*items), version, 200) is framed
    assert is_framed(headers(*items), version, 204)  # no body by definition


@pytest.mark.parametrize(
    "items",
    [
        [("Content-Length", "5"), ("Content-Length", "5")],
        [("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "-5")],
        [("Content-Length", "5, 5")],
        [("Content-Length", "+5")],
        [("Content-Length", "")],
        [("Content-Length", "٥")],
    ],
)
def test_ambiguous_framing_is_refused(items: list[tuple[str, str]]) -> None:
    with pytest.raises(ProtocolError, match=r"length is ambiguous|Content-Length is not a number"):
        is_framed(headers(*items), (1, 1), 200)


NO_FRAMING = [
    "xchunked", "chunkedx", "x-chunked", "chunked, identity", "identity, chunked", "chunked, chunked", "gzip, chunked",
    "chunked, gzip", "gzip", "chunked;q=1", "chunked,", ",chunked", "\x0bchunked", "\xa0chunked", "chun ked",
    "", ",", "chun\u212aed",
]  # fmt: skip
"""Transfer codings that two readers could take for two things, or that nobody asked for."""


@pytest.mark.parametrize("coding", NO_FRAMING)
def test_a_transfer_coding_other_than_chunked_is_refused(coding: str) -> None:
    with pytest.raises(ProtocolError, match="Transfer-Encoding"):
        is_framed(headers(("Transfer-Encoding", coding)), (1, 1), 200)


@pytest.mark.parametrize("codings", [("chunked", "chunked"), ("chunked", "identity"), ("identity", "identity")])
def test_two_transfer_codings_are_refused(codings: tuple[str, str]) -> None:
    with pytest.raises(ProtocolError, match="Transfer-Encoding"):
        is_framed(headers(*(("Transfer-Encoding", coding) for coding in codings)), (1, 1), 200)


def test_html_without_a_run_id_is_a_captive_portal() -> None:
    page = headers(("Content-Type", "text/HTML; charset=utf-8"))
    with pytest.raises(UnexpectedContentError, match="captive portal"):
        check_content(page, None)
    check_content(page, "run")


def test_no_other_content_type_is_judged() -> None:
    for kind in ("application/x-ndjson", "text/plain", "application/json", "application/octet-stream", "nonsense"):
        check_content(headers(("Content-Type", kind)), None)
    check_content(headers(), None)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "identity, gzip"])
def test_an_encoded_answer_is_refused(encoding: str) -> None:
    with pytest.raises(UnexpectedContentError, match="only identity was accepted") as caught:
        check_content(headers(("Content-Encoding", encoding)), "run")
    assert caught.value.run_id == "run"


@pytest.mark.parametrize("encoding", ["identity", "", " Identity "])
def test_identity_is_no_encoding(encoding: str) -> None:
    check_content(headers(("Content-Encoding", encoding)), None)


def error(status: int, **changes: Any) -> APIStatusError:
    fields: dict[str, Any] = {
        "what": "PUT /agent/run",
        "body": "",
        "headers": {},
        "run_id": "run",
        "retry_after": None,
        "reads_only": False,
        "has_key": True,
    }
    return status_error(status, **fields | changes)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (300, errors.RedirectError),
        (301, errors.RedirectError),
        (304, errors.RedirectError),
        (308, errors.RedirectError),
        (400, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (408, APIStatusError),
        (409, errors.ConflictError),
        (413, APIStatusError),
        (422, errors.UnprocessableEntityError),
        (425, APIStatusError),
        (429, errors.RateLimitError),
        (500, errors.ServerError),
        (504, errors.ServerError),
        (524, errors.ServerError),
        (599, errors.ServerError),
    ],
)
def test_every_status_has_its_error(status: int, kind: type[APIStatusError]) -> None:
    made = error(status, body="why", headers={"a": "b"}, retry_after=2.5)
    assert type(made) is kind
    assert (made.status, made.body, made.retry_after, made.run_id) == (status, "why", 2.5, "run")
    assert made.headers == {"a": "b"}
    assert (
        re.sub(r"; (check|use) .*(?=: why)", "", str(made))
        == f"PUT /agent/run was answered with {status} (retry after 2.5 s): why"
    )


@pytest.mark.parametrize(
    ("seconds", "said"), [(31536000, "365 days"), (1e99, "more than a year"), (0.0001, "0.0001 s"), (1e-9, "1e-09 s")]
)
def test_a_long_pause_is_told_in_words(seconds: float, said: str) -> None:
    told = error(429, body="secret", retry_after=seconds)
    assert without_body(str(told)) == f"PUT /agent/run was answered with 429 (retry after {said})"
    assert told.retry_after == seconds


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "check the API key"),
        (403, "use a key that may use this worker, or make the worker public"),
        (404, f"check the run id, base_url and the agent id ({WHERE})"),
        (300, "check base_url"),
        (399, "check base_url"),
        (407, "a proxy on the way wants a login"),
    ],
)
def test_what_to_do_is_said_before_what_the_service_says(status: int, advice: str) -> None:
    assert str(error(status, body="why")) == f"PUT /agent/run was answered with {status}; {advice}: why"


@pytest.mark.parametrize("status", [400, 405, 500])
def test_where_nothing_is_certain_nothing_is_advised(status: int) -> None:
    assert str(error(status, body="why")) == f"PUT /agent/run was answered with {status}: why"


def test_where_there_is_no_run_none_is_to_be_checked() -> None:
    made = error(404, what="POST /agent", run_id=None)
    assert str(made) == f"POST /agent was answered with 404; check base_url and the agent id ({WHERE})"


@pytest.mark.parametrize("status", [401, 403])
def test_without_a_key_no_key_is_called_wrong(status: int) -> None:
    assert str(error(status, body="why", has_key=False)) == (
        f"PUT /agent/run was answered with {status}; no API key was sent, and this worker wants one: "
        "set TOOLHOUSE_API_KEY or pass api_key=: why"
    )


def test_where_nothing_is_certain_no_advice_is_given() -> None:
    assert str(error(500, body="why")) == "PUT /agent/run was answered with 500: why"


def test_the_message_shows_the_beginning_of_a_long_body() -> None:
    made = error(500, body="x" * 100_000)
    assert len(str(made)) < 500
    assert len(made.body) == 100_000


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 413, 422, 425, 429])
def test_a_refused_message_may_be_sent_again(status: int) -> None:
    assert error(status).safe_to_retry is True


@pytest.mark.parametrize("status", [408, 500, 501, 502, 503, 504, 520, 522, 524, 599])
def test_nobody_knows_what_became_of_a_message_after_a_server_error(status: int) -> None:
    assert error(status).safe_to_retry is None
    assert error(status, reads_only=True).safe_to_retry is True


def test_headers_are_read_in_any_case_and_joined() -> None:
    made = Headers([("Set-Thing", "a"), ("set-thing", "b"), ("X", "1")])
    assert made["SET-THING"] == "a, b"
    assert dict(made) == {"set-thing": "a, b", "x": "1"}
    assert len(made) == 2
    assert made.get("absent") is None
    assert "x" in made
    assert made == {"set-thing": "a, b", "x": "1"}
    assert pickle.loads(pickle.dumps(made)) == made
    assert repr(made) == "Headers([('set-thing', 'a, b'), ('x', '1')])"
    assert len(repr(Headers([("a", "x" * 100_000)]))) < 3000
    assert Headers() == {}


@pytest.mark.parametrize(("value", "seconds"), [("9" * 400, 1e9), ("1_0", None), ("inf", None), ("1e99", 1e9)])
def test_a_wait_of_odd_digits_is_never_endless_and_never_none_by_mistake(value: str, seconds: float | None) -> None:
    assert retry_after_of(headers(("Retry-After", value)), NOW) == seconds
