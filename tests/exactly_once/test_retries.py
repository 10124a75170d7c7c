"""What is sent again, what is not, and what an error says about sending it again."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    KEY,
    RUN,
    Reply,
    Scripted,
    assert_accepted,
    broken_off,
    connect,
    falls_silent,
    history,
    methods,
    now,
    refused,
    user,
)
from tests.exactly_once.support import ENDS, answer, cut, lost
from tests.support.answers import greeting, unused_port
from toolhouse_async import (
    APIStatusError,
    AsyncToolhouse,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RedirectError,
    ResponseTimeoutError,
    RetryPolicy,
    ServerError,
    Timeouts,
    ToolhouseError,
    TurnTimeoutError,
    UnprocessableEntityError,
)

DONE = answer("ndjson", "done")
READ = history(user("hi"))
MESSAGES = ["POST", "PUT"]
METHODS = ["POST", "PUT", "GET"]


def session_of(toolhouse: AsyncToolhouse, method: str) -> Any:
    return toolhouse.session(AGENT, run_id=RUN if method == "PUT" else None)


async def send(toolhouse: AsyncToolhouse, method: str, **options: Any) -> Any:
    """One request of that method; what it comes to."""
    if method == "GET":
        return await toolhouse.history(AGENT, RUN)
    return (await session_of(toolhouse, method).send("hi", **options)).text


async def meets(method: str, *replies: Reply, **options: Any) -> tuple[Any, Scripted, list[float]]:
    """What a request comes to that meets these answers, and the pauses between its attempts."""
    options = {"turn": {}} | options
    turn = options.pop("turn")
    async with Scripted(**{method.lower(): replies}) as server, connect(server, **options) as toolhouse:
        try:
            outcome = await send(toolhouse, method, **turn)
        except ToolhouseError as error:
            outcome = error
    times = server.times(method)
    return outcome, server, [b - a for a, b in pairwise(times)]


def accepted(server: Scripted, method: str, times: int) -> None:
    assert_accepted(server, *[f"{method} hi"] * (0 if method == "GET" else times))


# Provably not sent


@pytest.mark.parametrize("method", METHODS)
async def test_a_refused_connection_is_tried_again(method: str) -> None:
    """The server comes up while the client is still trying."""
    port = unused_port()
    get = method == "GET"

    async def script(reader: object, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))  # type: ignore[attr-defined]
        writer.write(READ if get else DONE)
        await writer.drain()
        writer.close()

    seen: list[bytes] = []
    policy = RetryPolicy(max_attempts=50, initial=1, maximum=1)
    async with AsyncToolhouse(KEY, base_url=f"http://127.0.0.1:{port}", retries=policy) as toolhouse:
        sending = asyncio.ensure_future(send(toolhouse, method))
        await asyncio.sleep(4)
        assert not sending.done()
        async with await asyncio.start_server(script, "127.0.0.1", port):
            outcome = await sending
    assert outcome == "done" or get
    assert len(seen) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("attempts", [1, 3, 4])
async def test_refused_every_time(method: str, attempts: int) -> None:
    started = now()
    policy = RetryPolicy(max_attempts=attempts, initial=100, maximum=1000)
    async with AsyncToolhouse(KEY, base_url=f"http://127.0.0.1:{unused_port()}", retries=policy) as toolhouse:
        with pytest.raises(NotSentError) as caught:
            await send(toolhouse, method)
    assert caught.value.safe_to_retry is True
    assert now() - started <= 100 * (2 ** (attempts - 1) - 1)
    assert attempts == 1 or now() > started


@pytest.mark.parametrize("method", METHODS)
async def test_a_handshake_that_is_cut_is_tried_again(method: str) -> None:
    connections = 0

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(1)
        writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with await asyncio.start_server(drop, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncToolhouse(KEY, base_url=f"https://127.0.0.1:{port}") as toolhouse:
            with pytest.raises(NotSentError) as caught:
                await send(toolhouse, method)
        assert caught.value.safe_to_retry is True
        assert connections == 3


@pytest.mark.parametrize("method", METHODS)
async def test_a_host_without_an_address_is_tried_again(method: str) -> None:
    started = now()
    policy = RetryPolicy(initial=1000, maximum=1000)
    async with AsyncToolhouse(KEY, base_url="https://nowhere.invalid", retries=policy) as toolhouse:
        with pytest.raises(NotSentError):
            await send(toolhouse, method)
    assert now() - started > 20  # two pauses of up to 1000 s: one in a thousand times they are shorter


async def test_a_tls_error_is_not_tried_again() -> None:
    started = now()
    async with greeting(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        policy = RetryPolicy(initial=1000, maximum=1000)
        async with AsyncToolhouse(KEY, base_url=f"https://127.0.0.1:{port}", retries=policy) as toolhouse:
            with pytest.raises(NotSentError) as caught:
                await send(toolhouse, "POST")
    assert caught.value.safe_to_retry is True
    assert now() - started < 5


# Sent


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("method", MESSAGES)
async def test_a_message_without_an_answer_is_not_sent_again(method: str, how: str) -> None:
    outcome, server, _ = await meets(method, lost(how), DONE)
    assert isinstance(outcome, OutcomeUnknownError)
    assert (outcome.safe_to_retry, outcome.run_id) == (None, RUN if method == "PUT" else None)
    assert methods(server) == method
    accepted(server, method, 1)


@pytest.mark.parametrize("method", MESSAGES)
async def test_a_message_that_meets_silence_is_not_sent_again(method: str) -> None:
    outcome, server, _ = await meets(method, falls_silent(), timeouts=Timeouts(response=20))
    assert isinstance(outcome, ResponseTimeoutError)
    assert outcome.safe_to_retry is None
    accepted(server, method, 1)


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_read_without_an_answer_is_repeated(how: str) -> None:
    outcome, server, _ = await meets("GET", lost(how), cut(how=how), READ)
    assert [entry.text for entry in outcome] == ["hi"]
    assert methods(server) == "GET GET GET"


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
@pytest.mark.parametrize("method", MESSAGES)
async def test_a_message_that_meets_a_failure_is_not_sent_again(method: str, status: int) -> None:
    outcome, server, _ = await meets(method, refused(status), DONE)
    assert isinstance(outcome, APIStatusError)
    assert (outcome.status, outcome.body, outcome.safe_to_retry) == (status, "no", None)
    assert methods(server) == method
    accepted(server, method, 0)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_read_that_meets_a_failure_is_repeated(status: int) -> None:
    outcome, _, pauses = await meets("GET", refused(status), refused(status), READ)
    assert [entry.text for entry in outcome] == ["hi"]
    assert pauses[0] <= 0.5 + 0.1
    assert pauses[1] <= 1 + 0.1


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_read_is_repeated_so_often_and_no_more(status: int) -> None:
    outcome, _, _ = await meets("GET", *[refused(status)] * 3)
    assert isinstance(outcome, APIStatusError)
    assert (outcome.status, outcome.safe_to_retry) == (status, True)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 410, 418])
@pytest.mark.parametrize("method", METHODS)
async def test_other_refusals_are_final(method: str, status: int) -> None:
    outcome, server, _ = await meets(method, refused(status))
    assert isinstance(outcome, APIStatusError)
    assert outcome.status == status
    assert methods(server) == method
    accepted(server, method, 0)


# 429


@pytest.mark.parametrize("told", ["7", "7.5", "date"])
@pytest.mark.parametrize("method", METHODS)
async def test_429_is_waited_out_as_told(method: str, told: str) -> None:
    value = formatdate(time.time() + 20, usegmt=True) if told == "date" else told
    outcome, server, (pause,) = await meets(method, refused(429, Retry_After=value), READ if method == "GET" else DONE)
    assert not isinstance(outcome, ToolhouseError)
    least, most = (17, 30) if told == "date" else (7, 15)
    assert least <= pause <= most
    accepted(server, method, 1)


@pytest.mark.parametrize("told", [None, "", "-1", "nan", "inf", "1e99", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
@pytest.mark.parametrize("method", METHODS)
async def test_429_with_nonsense_is_neither_endless_nor_at_once(method: str, told: str | None) -> None:
    more = {} if told is None else {"Retry_After": told}
    outcome, server, pauses = await meets(method, refused(429, **more), READ if method == "GET" else DONE)
    if isinstance(outcome, RateLimitError):  # taken for more than the cap
        assert told in ("inf", "1e99")
    else:
        assert max(pauses) <= 61
        accepted(server, method, 1)


@pytest.mark.parametrize("method", METHODS)
async def test_429_above_the_cap_is_raised(method: str) -> None:
    started = now()
    outcome, server, _ = await meets(method, refused(429, Retry_After="61"))
    assert isinstance(outcome, RateLimitError)
    assert (outcome.retry_after, outcome.safe_to_retry) == (61, True)
    assert now() - started < 1
    accepted(server, method, 0)


@pytest.mark.parametrize("method", METHODS)
async def test_the_cap_is_the_users_to_say(method: str) -> None:
    policy = RetryPolicy(max_retry_after=500)
    outcome, server, (pause,) = await meets(
        method, refused(429, Retry_After="400"), READ if method == "GET" else DONE, retries=policy
    )
    assert not isinstance(outcome, ToolhouseError)
    assert 400 <= pause <= 410
    accepted(server, method, 1)


@pytest.mark.parametrize("method", METHODS)
async def test_429_as_often_as_attempts_are_left(method: str) -> None:
    outcome, server, pauses = await meets(method, *[refused(429, Retry_After="2")] * 3)
    assert isinstance(outcome, RateLimitError)
    assert (outcome.safe_to_retry, outcome.retry_after, len(pauses)) == (True, 2, 2)
    accepted(server, method, 0)


@pytest.mark.parametrize("method", MESSAGES)
async def test_429_past_the_turns_deadline_is_raised_at_once(method: str) -> None:
    started = now()
    outcome, server, _ = await meets(method, refused(429, Retry_After="30"), turn={"timeout": 20})
    assert isinstance(outcome, RateLimitError)
    assert (outcome.retry_after, outcome.safe_to_retry) == (30, True)
    assert now() - started < 1
    accepted(server, method, 0)


@pytest.mark.parametrize("method", METHODS)
async def test_one_attempt_is_one(method: str) -> None:
    outcome, server, _ = await meets(method, refused(429, Retry_After="1"), retries=RetryPolicy(max_attempts=1))
    assert isinstance(outcome, RateLimitError)
    accepted(server, method, 0)


async def test_full_jitter() -> None:
    """Uniform between nothing and a bound that doubles up to the maximum: spread wide, and low as well as high."""
    policy = RetryPolicy(max_attempts=6, initial=10, maximum=40)
    rounds = [await meets("GET", *[refused(500)] * 6, retries=policy) for _ in range(40)]
    for n, bound in enumerate((10, 20, 40, 40, 40)):
        pauses = [pauses[n] for _, _, pauses in rounds]
        assert all(0 <= pause <= bound + 0.1 for pause in pauses)
        assert min(pauses) < bound * 0.3
        assert max(pauses) > bound * 0.7


# What every error says

NOT_HTTP = broken_off(b"SSH-2.0-OpenSSH_9.6\r\n", ENDS["fin"])
SAYINGS: list[tuple[str, Reply, type[ToolhouseError], bool | None]] = [
    ("400", refused(400), BadRequestError, True),
    ("401", refused(401), AuthenticationError, True),
    ("403", refused(403), PermissionDeniedError, True),
    ("404", refused(404), NotFoundError, True),
    ("422", refused(422), UnprocessableEntityError, True),
    ("429", refused(429, Retry_After="999"), RateLimitError, True),
    ("307", refused(307, Location="/"), RedirectError, True),
    ("500", refused(500), ServerError, None),
    ("501", refused(501), ServerError, None),
    ("503", refused(503, Retry_After="1"), ServerError, None),
    ("408", refused(408), APIStatusError, None),
    ("lost", lost(), OutcomeUnknownError, None),
    ("no HTTP", NOT_HTTP, ProtocolError, None),
]


@pytest.mark.parametrize(("reply", "kind", "safe"), [row[1:] for row in SAYINGS], ids=[row[0] for row in SAYINGS])
@pytest.mark.parametrize("method", MESSAGES)
async def test_what_an_error_says_of_sending_again(
    method: str, reply: Reply, kind: type[ToolhouseError], safe: bool | None
) -> None:
    """A refusal is known not to have been accepted; of a failure nobody knows."""
    outcome, server, _ = await meets(method, reply)
    assert isinstance(outcome, kind)
    assert outcome.safe_to_retry is safe
    assert methods(server) == method


@pytest.mark.parametrize("method", MESSAGES)
async def test_what_a_time_out_says_of_sending_again(method: str) -> None:
    """Cut down in mid-answer the message had been accepted; before any answer nobody knows."""
    cases: list[tuple[Reply, Callable[[bool | None], bool]]] = [
        (falls_silent(answer("ndjson", "Hello", ends=False)), lambda safe: safe is False),
        (falls_silent(), lambda safe: safe is None),
    ]
    for reply, right in cases:
        outcome, server, _ = await meets(method, reply, turn={"timeout": 5})
        assert isinstance(outcome, TurnTimeoutError)
        assert right(outcome.safe_to_retry), outcome.safe_to_retry
        accepted(server, method, 1)


async def test_a_time_out_before_anything_was_sent_says_so() -> None:
    policy = RetryPolicy(max_attempts=100, initial=2, maximum=2)
    async with AsyncToolhouse(KEY, base_url=f"http://127.0.0.1:{unused_port()}", retries=policy) as toolhouse:
        with pytest.raises((TurnTimeoutError, NotSentError)) as caught:
            await toolhouse.run(AGENT, "hi", timeout=5)
    assert caught.value.safe_to_retry is True
