"""Answers whose bytes are changed at random: a result or a documented error comes of it, and nothing is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conversations.support import (
    AGENT,
    JOB,
    KEY,
    RUN,
    assistant,
    called,
    history,
    refused,
    returned,
    said,
    streamed,
    user,
)
from tests.support.guards import no_leftover_tasks
from tests.support.raw_server import RawServer, Request, fin, rst, silence
from tests.support.virtual_time import VirtualTimeLoop
from toolhouse_async import (
    AsyncToolhouse,
    JobStatus,
    PollingPolicy,
    RecoveryPolicy,
    Timeouts,
    ToolhouseError,
    TurnResult,
)

GOOD = {
    "POST": [
        streamed(said("Hello "), called(), returned(), said("you")),
        streamed(said("wait"), job=JOB),
        streamed(said("Hello you"), chunked=False),
    ],
    "PUT": [
        streamed(said("done")),
        streamed(said("wait"), job="job-2"),
        refused(409, job=JOB),
        refused(429, Retry_After="1"),
    ],
    "GET": [
        history(user("hi"), assistant("Hello you")),
        history(user("hi"), job=JOB),
        history(user("hi"), assistant("wait"), user(""), assistant("done")),
    ],
}
SPICE = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b" ",
    b":",
    b"0\r\n\r\n",
    b"-1\r\n",
    b"ffffffffffffffff\r\n",
    b";x=1",
    b"\xff\xfe",
    b"{",
    b'"',
    b"HTTP/1.1 429 Slow\r\n",
    b"HTTP/1.1 502 Bad\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 999 ?\r\n",
    b"HTTP/1.1 204 No\r\n",
    b"HTTP/1.1 101 Up\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: br\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: x\r\n",
    b"Location: http://127.0.0.1:1/\r\n",
    b"Set-Cookie: a=b\r\n",
    b"Retry-After: 1e99\r\n",
    b"X-Toolhouse-Run-ID: ../x\r\n",
    b"X-Toolhouse-Run-ID: r2\r\n",
    b"x-toolhouse-job-id: j\r\n",
    b" folded: yes\r\n",
    b"A" * 9000,
    b"X: " + b"y" * 9000 + b"\r\n",
]
"""What stands where it should not, beside bytes at random."""
SOON = {
    "timeouts": Timeouts(response=20, idle=20),
    "polling": PollingPolicy(min_interval=5, max_interval=10, failure_window=10, deadline=60, max_rounds=3),
    "recovery": RecoveryPolicy(quiet=5, deadline=30, absence=5),
}
DAY = 24 * 3600.0


@frozen
class Change:
    """One change of an answer: ``data`` stands in place of ``length`` bytes from ``place`` (a share of the whole)."""

    place: float
    length: int
    data: bytes

    def of(self, answer: bytes) -> bytes:
        """The changed answer."""
        begin = int(self.place * len(answer))
        return answer[:begin] + self.data + answer[begin + self.length :]


@frozen
class Reply:
    """What the server says to one request, and what then becomes of the connection."""

    data: bytes
    end: Literal["open", "fin", "rst", "silence"]


CHANGES = st.builds(
    Change,
    st.floats(0, 1) | st.floats(0, 0.3),
    st.integers(0, 3) | st.integers(0, 60),
    st.sampled_from(SPICE) | st.binary(max_size=8),
)


@st.composite
def replies(draw: st.DrawFn, method: str) -> Reply:
    """A good answer, changed in a few places; or nothing but bytes at random."""
    data = draw(st.sampled_from(GOOD[method]))
    head = data.index(b"\r\n\r\n")
    for change in draw(st.lists(CHANGES, max_size=4)):
        data = change.of(data)
    for line in draw(st.lists(st.sampled_from(SPICE), max_size=2)):  # where header lines are expected
        begin = data.rfind(b"\r\n", 0, head) + 2
        data = data[:begin] + line + data[begin:]
    if draw(st.integers(0, 19)) == 0:
        data = draw(st.binary(max_size=200))
    return Reply(data, draw(st.sampled_from(["open", "open", "fin", "rst", "silence"])))


SCRIPTS = st.fixed_dictionaries({method: st.lists(replies(method), min_size=1, max_size=3) for method in GOOD})


async def serve(script: dict[str, list[Reply]], act: Callable[[AsyncToolhouse], Awaitable[Any]]) -> Any:
    """What comes of ``act`` with a server that follows the script, each method's last reply for good."""
    left = {method: list(replies) for method, replies in script.items()}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        mine = left[request.method]
        reply = mine.pop(0) if len(mine) > 1 else mine[0]
        writer.write(reply.data)
        await writer.drain()
        match reply.end:
            case "fin":
                fin(writer)
            case "rst":
                rst(writer)
            case "silence":
                await silence(reader)

    async with asyncio.timeout(DAY), RawServer(answer) as server:
        async with AsyncToolhouse(KEY, base_url=server.url, **SOON) as client:
            outcome: Any
            try:
                outcome = await act(client)
            except ToolhouseError as error:
                outcome = error
        for _ in range(50):
            await asyncio.sleep(0)
        assert server.open_connections == 0
    sent = [(request.method, request.body) for request in server.requests if request.method != "GET"]
    return outcome, sent


def play(script: dict[str, list[Reply]], act: Callable[[AsyncToolhouse], Awaitable[Any]]) -> Any:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner, no_leftover_tasks(runner.get_loop()):
        return runner.run(serve(script, act))


@settings(max_examples=120, deadline=None)
@given(SCRIPTS, st.sampled_from(["ndjson", "text"]), st.sampled_from(["auto", True]))
@example(
    {"POST": [Reply(GOOD["POST"][0], "open")], "PUT": [], "GET": [Reply(GOOD["GET"][0], "open")]}, "ndjson", "auto"
)
def test_a_turn_ends_in_a_result_or_a_documented_error(
    script: dict[str, list[Reply]], family: Any, settle: Any
) -> None:
    outcome, sent = play(script, lambda client: client.run(AGENT, "hi", format=family, settle=settle))
    assert isinstance(outcome, TurnResult | ToolhouseError)
    starts = [body for method, body in sent if method == "POST"]
    assert len(starts) == 1 or any(b" 429 " in reply.data for reply in script["POST"])
    assert all(json.loads(body) == {"message": "hi"} for body in starts)


@settings(max_examples=60, deadline=None)
@given(SCRIPTS)
def test_a_read_ends_in_a_status_or_a_documented_error(script: dict[str, list[Reply]]) -> None:
    outcome, sent = play(script, lambda client: client.job_status(AGENT, RUN))
    assert isinstance(outcome, JobStatus | ToolhouseError)
    assert sent == []


@settings(max_examples=40, deadline=None)
@given(SCRIPTS)
def test_a_waiter_ends_in_a_result_or_a_documented_error(script: dict[str, list[Reply]]) -> None:
    outcome, _ = play(script, lambda client: client.session(AGENT, run_id=RUN).wait_for_job().result())
    assert isinstance(outcome, TurnResult | ToolhouseError)
