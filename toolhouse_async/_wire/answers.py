"""What an answer's status and headers mean."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

from .._values.nested import half_made
from ..errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RedirectError,
    ServerError,
    UnexpectedContentError,
    UnprocessableEntityError,
)
from .ids import WHERE, is_id
from .pauses import in_words

RUN_ID: Final = "X-Toolhouse-Run-ID"
JOB_ID: Final = "x-toolhouse-job-id"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_BY_STATUS: Final[dict[int, type[APIStatusError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


class HeaderLookup(Protocol):
    """The one thing asked of an HTTP library's headers: all values of a name, in any case."""

    def getall(self, key: str, default: list[str]) -> list[str]:
        """Return the values of ``key``, or ``default``."""
        ...


class Headers(Mapping[str, str]):
    """An answer's headers: names in any case, repeated ones joined with a comma. Immutable."""

    __slots__ = ("_values",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        values: dict[str, str] = {}
        for name, value in items:
            key = name.lower()
            values[key] = f"{values[key]}, {value}" if key in values else value
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __reduce__(self) -> tuple[type[Headers], tuple[list[tuple[str, str]]]]:
        return Headers, (list(self._values.items()),)

    @half_made
    def __repr__(self) -> str:
        return f"Headers({list(self._values.items())!r:.2000})"


def run_id_of(headers: HeaderLookup) -> str | None:
    """Return the answer's run id, if it has one.

    Raises:
        ProtocolError: There are several, or it could not stand in a URL.
    """
    values = headers.getall(RUN_ID, [])
    if not values:
        return None
    if len(values) > 1 or not is_id(values[0]):
        raise ProtocolError(f"the answer's {RUN_ID} header is not one valid id: {values!r}")
    return values[0]


def job_id_of(headers: HeaderLookup) -> str | None:
    """Return the id of the running job, ``None`` if the header is absent or empty."""
    for value in headers.getall(JOB_ID, []):
        job_id = value.strip()[:256]
        if not job_id.isprintable():
            job_id = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in job_id)
        if job_id:
            return job_id
    return None


def retry_after_of(headers: HeaderLookup, now: float) -> float | None:
    """Return the seconds that ``Retry-After`` asks for: finite, never negative; ``None`` for none or nonsense.

    Args:
        headers: The answer's headers. ``retry-after-ms``, which some gateways add, goes first. The HTTP-date form is
            reckoned from the answer's own ``Date``, since this machine's clock may be wrong.
        now: Seconds since the epoch, for the HTTP-date form of an answer that has no ``Date``.
    """
    for name, unit in (("retry-after-ms", 0.001), ("Retry-After", 1.0)):
        for value in headers.getall(name, []):
            seconds = _number(value) * unit
            if math.isnan(seconds):
                seconds = _seconds_between(headers.getall("Date", []), now, value)
            if math.isfinite(seconds) and seconds >= 0:
                return min(seconds, 1e9)
    return None


def _number(value: str) -> float:
    """A number as HTTP writes it, not a number for anything else; one of too many digits is large, not endless."""
    try:
        number = math.nan if "_" in value else float(value)  # Python's own spelling
    except ValueError:
        return math.nan
    return 1e12 if math.isinf(number) and value.strip().isdigit() else number


def _seconds_between(said: list[str], now: float, then: str) -> float:
    """Seconds from the first date of ``said``, or from ``now`` without a good one, to ``then``; never negative."""
    when = _epoch(then)
    sent = next((date for date in map(_epoch, said) if not math.isnan(date)), now)
    return when if math.isnan(when) else max(0.0, when - sent)


def _epoch(date: str) -> float:
    """An HTTP-date in seconds since the epoch, not a number for nonsense."""
    try:
        when = parsedate_to_datetime(date)
        if when.tzinfo is None:  # "-0000", which the standard library reads as naive, is UTC
            when = when.replace(tzinfo=UTC)
        return (when - _EPOCH).total_seconds()
    except (ValueError, OverflowError, TypeError, IndexError):
        return math.nan


def _is_only(coding: str, values: list[str]) -> bool:
    """Whether a coding is all that there is, in any case; other letters may lower to ASCII's."""
    return values == [coding] or (len(values) == 1 and values[0].isascii() and values[0].strip(" \t").lower() == coding)


def is_framed(headers: HeaderLookup, http_version: tuple[int, int], status: int) -> bool:
    """Whether the end of the body is proven by its framing, not only by the connection's end.

    Raises:
        ProtocolError: Two readers could see two different bodies: there are several lengths, a length beside a transfer
            coding, or a coding other than ``chunked``.
    """
    lengths, codings = headers.getall("Content-Length", []), headers.getall("Transfer-Encoding", [])
    if len(lengths) > 1 or (lengths and codings):
        raise ProtocolError("the answer's length is ambiguous (Content-Length and Transfer-Encoding)")
    if lengths:
        if not (lengths[0].isascii() and lengths[0].isdigit()):
            raise ProtocolError(f"the answer's Content-Length is not a number: {lengths[0]!r}")
        return True
    if not codings:
        return status == 204
    if _is_only("chunked", codings):  # exactly: a part of a name, or one of several, proves no end
        return http_version >= (1, 1) or status == 204
    if not _is_only("identity", codings):
        raise ProtocolError("the answer's Transfer-Encoding is not just chunked")
    return status == 204


def check_content(headers: HeaderLookup, run_id: str | None) -> None:
    """Refuse a good answer that is not the service's.

    Raises:
        UnexpectedContentError: A content encoding nobody asked for, or HTML without a run id (a captive portal).
    """
    encodings = headers.getall("Content-Encoding", [])
    if encodings and (encodings := [v for v in encodings if v.strip().lower() not in ("", "identity")]):
        raise UnexpectedContentError(
            f"the answer is {encodings[0]!r}-encoded although only identity was accepted", run_id=run_id
        )
    if run_id is None and any("html" in v.lower() for v in headers.getall("Content-Type", [])):
        raise UnexpectedContentError(
            "the answer is a web page, not the service's (a captive portal or a proxy?): check the network and base_url"
        )


_NO_KEY: Final = "; no API key was sent, and this worker wants one: set TOOLHOUSE_API_KEY or pass api_key="
_BAD_KEY: Final = "; check the API key"
_WRONG_KEY: Final = "; use a key that may use this worker, or make the worker public"
_NO_RUN: Final = f"; check the run id, base_url and the agent id ({WHERE})"
_NO_AGENT: Final = f"; check base_url and the agent id ({WHERE})"
_MOVED: Final = "; check base_url"
_PROXY: Final = "; a proxy on the way wants a login"
_OWN: Final = re.compile(
    r"(?s).*?was answered with \d{3}(?: \(retry after [\w. +-]+\))?"
    f"(?:{'|'.join(map(re.escape, (_NO_KEY, _BAD_KEY, _WRONG_KEY, _NO_RUN, _NO_AGENT, _MOVED, _PROXY)))})?"
)


def _advice(status: int, *, in_run: bool, has_key: bool) -> str:
    """What to do next, where that is certain."""
    if status in (401, 403):
        return _NO_KEY if not has_key else _BAD_KEY if status == 401 else _WRONG_KEY
    if status == 404:
        return _NO_RUN if in_run else _NO_AGENT
    if status == 407:
        return _PROXY
    return _MOVED if 300 <= status < 400 else ""


def without_body(text: str) -> str:
    """The text of an error without the body that :func:`status_error` quotes, also where another error quotes that."""
    own = _OWN.match(text)
    return text if own is None else own[0]


def status_error(
    status: int,
    *,
    what: str,
    body: str,
    headers: Mapping[str, str],
    run_id: str | None,
    retry_after: float | None,
    reads_only: bool,
    has_key: bool,
) -> APIStatusError:
    """Make the error for a status that is not a success.

    Args:
        status: The HTTP status.
        what: The request in words, for the message.
        body: The answer's body, capped, without secrets.
        headers: The answer's headers.
        run_id: The conversation, where known.
        retry_after: Seconds the service asks to wait.
        reads_only: Whether the request was a GET, which may always be sent again.
        has_key: Whether a key went with the request.
    """
    kind = _BY_STATUS.get(status)
    if kind is None:
        kind = RedirectError if 300 <= status < 400 else ServerError if status >= 500 else APIStatusError
    wait = (
        ""
        if retry_after is None
        else f" (retry after {in_words(retry_after) if retry_after >= 120 else f'{retry_after:g} s'})"
    )
    said = f": {body[:300]}" if body else ""
    advice = _advice(status, in_run=run_id is not None, has_key=has_key)
    return kind(
        f"{what} was answered with {status}{wait}{advice}{said}",
        run_id=run_id,
        headers=headers,
        # After 408 and 5xx nobody knows whether a message was accepted.
        safe_to_retry=None if (status == 408 or status >= 500) and not reads_only else True,
        status=status,
        body=body,
        retry_after=retry_after,
    )
