"""The Workers API's calls: key, retries and errors around the bare transport."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from copy import copy
from typing import TYPE_CHECKING, Final

from .._log import log
from .._values.results import JobStatus, Message
from .._values.settings import Limits, RetryPolicy, Timeouts
from .._wire import requests
from .._wire.answers import (
    JOB_ID,
    RUN_ID,
    HeaderLookup,
    Headers,
    check_content,
    job_id_of,
    retry_after_of,
    run_id_of,
    status_error,
)
from .._wire.history import parse_history
from .._wire.pauses import next_attempt
from .._wire.requests import Request
from ..errors import (
    APIStatusError,
    BodyTooLargeError,
    NotSentError,
    OutcomeUnknownError,
    ProtocolError,
    RateLimitError,
    ResponseTimeoutError,
    StreamInterruptedError,
    TLSError,
    ToolhouseError,
    UnexpectedContentError,
)
from .credentials import Credentials, Secret
from .library import Response, Transport
from .own import Own
from .port import Cut, Dispatch

if TYPE_CHECKING:
    from .observed import ObservedRequests

SMALL_BODY: Final = 64 * 1024
"""Bytes of a body that are read only to keep the connection; a larger one is dropped with it."""
DRAIN_TIMEOUT: Final = 1.0
"""Seconds that such a body may take."""
LONGEST: Final = 499
"""Characters of an error's message."""
REFUSAL_TIMEOUT: Final = 5.0
"""Seconds that the body of an error may take: what came by then is told."""
POLL_TIMEOUT: Final = 30.0
"""Seconds that one poll may take, its body included: a hung one must not keep a job waiting, nor others from theirs."""
BODY_TIMEOUT: Final = 600.0
"""Seconds that the body of any other reading of a run may take: one that drips might else never end."""


def may_retry(error: ToolhouseError, *, reads_only: bool) -> bool:
    """Whether a failed request may be sent again as it is: the one place that decides this.

    A message (POST, PUT) may if it provably was not sent (no connection, but not a refused certificate) or was
    refused for its rate (429). A read (GET) may also when no answer came, the answer was cut, or the service or a
    proxy failed for the moment (408, 425, 500, 502, 503, 504).
    """
    if isinstance(error, TLSError):
        return False
    if isinstance(error, NotSentError | RateLimitError):
        return True
    if not reads_only:
        return False
    if isinstance(error, APIStatusError):
        return error.status in (408, 425, 500, 502, 503, 504)
    return isinstance(error, OutcomeUnknownError | StreamInterruptedError)


def _names(headers: HeaderLookup, secret: Secret) -> bool:
    """Whether an answer has the key in place of an id, also where that will be cut."""
    return any(map(secret.is_in, headers.getall(RUN_ID, []) + headers.getall(JOB_ID, [])))


class HTTPService:
    """Calls one Workers API with one set of credentials and policies; what ``port.Service`` asks for.

    Attributes:
        within: Bounds what is awaited in a block: :meth:`Watch.within`.
        randomness: Where what is left to chance comes from.
    """

    _own: Own | None = None
    """What the requests of one turn, or those that are observed, have of their own."""

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        *,
        retries: RetryPolicy,
        timeouts: Timeouts,
        limits: Limits,
        randomness: random.Random,
        observed: ObservedRequests | None = None,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._retries = retries
        self._timeouts = timeouts
        self._limits = limits
        self.within: Callable[[float | None], AbstractAsyncContextManager[None]] = transport.within
        self.randomness: random.Random = randomness
        if observed is not None:
            self._own = Own({}, None, observed)

    def for_turn(
        self, headers: Mapping[str, str] | None, timeouts: Timeouts | None, number: int | None = None
    ) -> HTTPService:
        """The same service as one turn uses it: ``port.Service.for_turn``."""
        service = copy(self)
        service._timeouts = timeouts or self._timeouts  # noqa: SLF001 - of a copy
        observed = self._own and self._own.observed
        service._own = Own(headers or {}, timeouts, observed and observed.of_turn(number))  # noqa: SLF001
        return service

    async def send(
        self,
        request: Request,
        deadline: float | None = None,
        dispatch: Dispatch | None = None,
    ) -> Response:
        """Send a message: ``port.Service.send``."""
        number = 1
        while True:
            try:
                return await self._send_once(request, number, dispatch=dispatch)
            except ToolhouseError as error:
                failure = error
            await self._before_retry(failure, number, request, deadline, dispatch)
            number += 1

    async def _send_once(
        self,
        request: Request,
        attempt: int,
        *,
        dispatch: Dispatch | None = None,
    ) -> Response:
        secret = self._credentials.fixed or await self._credentials.secret()
        try:
            if self._own is None:
                answer = await self._transport.send(request, secret.header(), dispatch=dispatch)
            else:
                answer = await self._own.send(self._transport, request, secret, attempt, dispatch)
            try:
                if answer.status // 100 != 2:
                    raise await self._refused(request, answer, secret)  # noqa: TRY301 - and the answer closed
                self._check(request, answer, secret)
            except BaseException:
                answer.close()
                raise
        except ToolhouseError as error:
            # It may quote what the server said: blacked out first, then cut, since half a key is not found any more.
            error.args = tuple(secret.redact(str(part))[:LONGEST] for part in error.args)
            raise
        except asyncio.CancelledError:
            if dispatch is not None and dispatch.head is not None and _names(dispatch.head, secret):
                dispatch.head = None
            raise
        return answer

    @staticmethod
    def _check(request: Request, answer: Response, secret: Secret) -> None:
        """Refuse an answer that is not of this service."""
        reads = request.method == "GET"
        job_id = job_id_of(answer.lookup)
        try:
            run_id = request.run_id if reads else run_id_of(answer.lookup)
        except ProtocolError as error:
            error.safe_to_retry = False  # the service took the message
            raise
        if _names(answer.lookup, secret):
            raise ProtocolError("the answer has the API key in place of an id", safe_to_retry=reads)
        check_content(answer.lookup, run_id)
        answer.identify(run_id, job_id, secret.redact)

    async def _refused(self, request: Request, answer: Response, secret: Secret) -> APIStatusError:
        most, idle = self._limits.max_error_body, self._timeouts.idle
        body = bytearray()
        with suppress(Cut, TimeoutError, ToolhouseError):  # the status says enough
            async with self.within(REFUSAL_TIMEOUT if idle is None else min(REFUSAL_TIMEOUT, idle)):
                while len(body) < most and (data := await answer.read()):
                    body += data
        headers = Headers((secret.redact(name), secret.redact(value)) for name, value in answer.headers.items())
        said = secret.redact(body.decode("utf-8", "replace"))
        if len(body) > most:
            said = said.encode()[:most].decode("utf-8", "ignore")
        return status_error(
            answer.status,
            what=str(request),
            body=said,
            headers=headers,
            run_id=request.run_id,
            retry_after=retry_after_of(answer.lookup, time.time()),
            reads_only=request.method == "GET",
            has_key=bool(secret.header()),
        )

    async def read(
        self,
        agent_id: str,
        run_id: str,
        deadline: float | None = None,
        *,
        whole: bool = False,
        only_200: bool = True,
        limit: float | None = None,
    ) -> JobStatus:
        """Read a run: one GET, retried as a read may be.

        Args:
            agent_id: The worker.
            run_id: The conversation.
            deadline: The loop's time after which no retry begins.
            whole: Read the history also while a job is running.
            only_200: Refuse other successes, which do not prove that no job is running.
            limit: Seconds that each attempt may take, its body included; ``None``: what connecting, the headers and the
                body may take each.
        """
        number = 1
        while True:
            try:
                return await self._read_once(agent_id, run_id, limit, number, whole=whole, only_200=only_200)
            except ToolhouseError as error:
                failure = error
            await self._before_retry(failure, number, requests.read(agent_id, run_id), deadline)
            number += 1

    async def probe(self, agent_id: str, run_id: str, deadline: float | None) -> JobStatus:
        """Read a run in the time of a poll: ``port.Service.probe``."""
        return await self.read(agent_id, run_id, deadline, limit=POLL_TIMEOUT)

    async def poll(self, agent_id: str, run_id: str, *, whole: bool = False) -> JobStatus:
        """Read a run once: ``port.Service.poll``."""
        response = self._timeouts.response
        limit = POLL_TIMEOUT if response is None else min(POLL_TIMEOUT, response)
        return await self._read_once(agent_id, run_id, limit, whole=whole)

    async def history(self, agent_id: str, run_id: str) -> list[Message]:
        """Read a run's history, also while a job is running; any success will do but a part of it (206)."""
        status = await self.read(agent_id, run_id, whole=True, only_200=False)
        if status.history is None:
            raise UnexpectedContentError(
                "the answer tells of a running job, and is no history", run_id=run_id, safe_to_retry=True
            )
        return list(status.history)

    async def _read_once(
        self,
        agent_id: str,
        run_id: str,
        limit: float | None,
        attempt: int = 1,
        *,
        whole: bool = False,
        only_200: bool = True,
    ) -> JobStatus:
        request = requests.read(agent_id, run_id)
        try:
            async with self.within(limit):
                return await self._read_answer(request, agent_id, run_id, attempt, whole=whole, only_200=only_200)
        except ToolhouseError:  # of which some are a TimeoutError
            raise
        except TimeoutError:
            error = ResponseTimeoutError(
                f"{request}: the whole of the answer did not come within {limit:g} s", run_id=run_id, safe_to_retry=True
            )
        raise error

    async def _read_answer(
        self, request: Request, agent_id: str, run_id: str, attempt: int, *, whole: bool, only_200: bool
    ) -> JobStatus:
        answer = await self._send_once(request, attempt)
        try:
            job_id = answer.job_id
            history: tuple[Message, ...] | None = None
            if job_id is None or whole:
                if answer.status != 200 and (only_200 or answer.status == 206):
                    raise UnexpectedContentError(
                        f"{request} was answered with {answer.status}; only a 200 shows how the run stands",
                        run_id=run_id,
                        safe_to_retry=True,
                    )
                history = self._history(await self._body(request, answer), job_id)
            else:
                await self._drain(answer)
            return JobStatus(agent_id, run_id, job_id, retry_after_of(answer.lookup, time.time()), history)
        finally:
            answer.close()

    @staticmethod
    def _history(body: bytes, job_id: str | None) -> tuple[Message, ...] | None:
        """Read a history; what is none while a job runs hides neither the job nor that it was no history."""
        try:
            return parse_history(body)
        except UnexpectedContentError:
            if job_id is None:
                raise
            return None

    async def _body(self, request: Request, answer: Response) -> bytes:
        """The whole body of a read."""
        parts: list[bytes] = []
        reason = f"its body took longer than {BODY_TIMEOUT:g} s"
        with suppress(TimeoutError):
            async with self.within(BODY_TIMEOUT):
                try:
                    while True:
                        async with self.within(self._timeouts.idle):
                            data = await answer.read()
                        if not data:
                            return b"".join(parts)
                        parts.append(data)
                except (Cut, TimeoutError) as error:
                    reason = str(error) or f"nothing was received for {self._timeouts.idle:g} s (Timeouts.idle)"
        raise StreamInterruptedError(
            f"{request}: the history was cut: {reason}", run_id=request.run_id, safe_to_retry=True
        )

    async def _drain(self, answer: Response) -> None:
        """Read a body that nobody needs, to keep the connection, if it is small and comes at once."""
        if answer.is_received:
            return
        try:
            async with self.within(DRAIN_TIMEOUT):
                await answer.read_all(SMALL_BODY)
        except (Cut, TimeoutError, BodyTooLargeError) as error:
            log.debug("the connection is dropped with its body: %r", error)

    async def _before_retry(
        self,
        error: ToolhouseError,
        number: int,
        request: Request,
        deadline: float | None,
        dispatch: Dispatch | None = None,
    ) -> None:
        """Wait until a request that failed for the ``number``-th time may be sent again; or raise its error."""
        if not may_retry(error, reads_only=request.method == "GET"):
            raise error
        if dispatch is not None:
            dispatch.in_flight = False
        asked = error.retry_after if isinstance(error, APIStatusError) else None
        pause = next_attempt(self._retries, number, asked, self.randomness.random())
        now = asyncio.get_running_loop().time()
        if pause is None or (deadline is not None and now + pause > deadline):
            raise error
        log.info("%s: attempt %d failed (%s); again in %.2f s", request, number, type(error).__name__, pause)
        await asyncio.sleep(pause)
