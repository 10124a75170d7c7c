"""What observers are told of turns and requests, in which order, and what they are never told."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import subprocess
import sys
import warnings
from typing import Any

import attrs
import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    KEY,
    RUN,
    Scripted,
    assistant,
    broken_off,
    called,
    connect,
    falls_silent,
    history,
    refused,
    returned,
    said,
    streamed,
    user,
)
from tests.support.raw_server import rst
from toolhouse_async import (
    AsyncToolhouse,
    ClosedError,
    ConfigurationError,
    OutcomeUnknownError,
    PollingPolicy,
    RecoveryPolicy,
    RetryPolicy,
    SessionManager,
    TurnTimeoutError,
    UncertainSessionError,
    WorkerError,
    observe,
)
from toolhouse_async._observers import METHODS
from toolhouse_async.observe import Observer, TurnBegun, TurnEnded

EVERY_SECOND = PollingPolicy(min_interval=1, max_interval=1, jitter=0)
OVER = history(user("hi"), assistant("wait"))
LOST = broken_off(b"", rst)


class Recorder:
    """Keeps all records that it is told."""

    def __init__(self, *, content: bool = False) -> None:
        self.content = content
        self.records: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS.values():
            raise AttributeError(name)
        return self.records.append

    @property
    def names(self) -> list[str]:
        return [type(record).__name__ for record in self.records]

    def all(self, kind: type[Any]) -> list[Any]:
        return [record for record in self.records if type(record) is kind]

    @property
    def ended(self) -> Any:
        """The only turn's end, which is the last that is told."""
        (ended,) = self.all(TurnEnded)
        assert self.records[-1] is ended
        return ended


def fields(record: Any, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in names)


# A whole turn


async def test_a_turn_with_a_tool_and_a_job() -> None:
    seen = Recorder()
    post = [refused(429, Retry_After="1"), streamed(said("wait"), called(), returned(), job=JOB)]
    get = [history(job=JOB), OVER]
    async with (
        Scripted(post=post, get=get, put=[streamed(said("done"))]) as server,
        connect(server, polling=EVERY_SECOND, observers=[seen]) as toolhouse,
    ):
        await toolhouse.run(AGENT, "secret words")
    assert seen.names == [
        "TurnBegun",
        *("RequestBegun", "RequestAnswered") * 2,
        "ToolCalled",
        "ToolReturned",
        "JobBegun",
        *("RequestBegun", "RequestAnswered", "JobPolled"),
        *("RequestBegun", "RequestAnswered", "JobEnded"),
        *("RequestBegun", "RequestAnswered"),
        "TurnEnded",
    ]
    begun = seen.records[0]
    assert fields(begun, "kind", "agent_id", "run_id", "message") == ("message", AGENT, None, None)
    assert {record.turn for record in seen.records} == {begun.turn}
    assert [fields(each, "method", "attempt", "run_id") for each in seen.all(observe.RequestBegun)] == [
        ("POST", 1, None),
        ("POST", 2, None),
        ("GET", 1, RUN),
        ("GET", 1, RUN),
        ("PUT", 1, RUN),
    ]
    assert [each.url.removeprefix(server.url) for each in seen.all(observe.RequestAnswered)] == [
        request.path for request in server.requests
    ]
    assert [each.status for each in seen.all(observe.RequestAnswered)] == [429, 200, 200, 200, 200]
    assert all(0 <= each.seconds < 1 for each in seen.all(observe.RequestAnswered))
    requests = [each.request for each in seen.records if hasattr(each, "request")]
    assert requests[::2] == requests[1::2]
    assert len(set(requests)) == 5
    assert fields(seen.all(observe.ToolCalled)[0], "call_id", "name", "arguments") == ("c1", "search", None)
    assert fields(seen.all(observe.ToolReturned)[0], "call_id", "is_error", "content") == ("c1", False, None)
    assert {each.job_id for each in seen.records if hasattr(each, "job_id")} == {JOB}
    assert fields(seen.all(observe.JobPolled)[0], "polls", "next_poll") == (1, 1.0)
    assert seen.all(observe.JobEnded)[0].polls == 2
    ended = seen.ended
    assert fields(ended, "kind", "agent_id", "run_id", "outcome", "error", "text") == (
        *("message", AGENT, RUN, "completed"),
        *(None, None),
    )
    assert 2 < ended.seconds < 5


async def test_no_word_and_no_key_is_in_what_an_observer_is_told() -> None:
    seen = Recorder()
    call = called(name="search", arguments={"q": "secret"})
    post = [streamed(said("secret"), call, returned(content="secret"), {"type": "error", "message": "secret"})]
    async with Scripted(post=post) as server, connect(server, observers=[seen]) as toolhouse:
        with pytest.raises(WorkerError):
            await toolhouse.run(AGENT, "secret", extra_body={"more": "secret"})
    assert len(seen.records) == 6
    assert fields(seen.ended, "outcome", "error") == ("failed", "WorkerError")
    assert not [record for record in seen.records if "secret" in repr(record) or KEY in repr(record)]


async def test_what_was_said_for_who_wants_it_but_never_the_key() -> None:
    key = "th-key-0123456789-canary"
    told, quiet = Recorder(content=True), Recorder()
    call = called(name="search", arguments={"q": f"a{key}", "n": [1]})
    answer = streamed(said(f"words {key}"), call, returned(content=f"found {key}"), said("."))
    async with Scripted(post=[answer], get=[OVER] * 9) as server:
        observers = [told, quiet]
        async with AsyncToolhouse(key, base_url=server.url, observers=observers) as toolhouse:
            await toolhouse.run(AGENT, "hi", settle=False)
    assert told.names == quiet.names
    assert told.records[0].message == "hi"
    assert told.all(observe.ToolCalled)[0].arguments == '{"q":"a[redacted]","n":[1]}'
    assert told.all(observe.ToolReturned)[0].content == "found [redacted]"
    assert told.ended.text == "words [redacted]."
    assert {quiet.records[0].message, quiet.ended.text} == {None}
    assert key not in repr(told.records)


# How turns end


async def test_a_job_that_is_left() -> None:
    seen = Recorder()
    async with Scripted(post=[streamed(said("x"), job=JOB)]) as server, connect(server, observers=[seen]) as toolhouse:
        await toolhouse.run(AGENT, "hi", background="detach")
    assert seen.names[-2:] == ["JobBegun", "TurnEnded"]
    assert fields(seen.ended, "outcome", "error") == ("background", None)


async def test_a_request_that_cannot_be_sent() -> None:
    seen = Recorder()
    async with Scripted() as server:
        url = server.url
    retries = RetryPolicy(max_attempts=2)
    async with AsyncToolhouse(KEY, base_url=url, retries=retries, observers=[seen]) as toolhouse:
        with pytest.raises(Exception, match="not sent"):
            await toolhouse.run(AGENT, "hi")
    assert seen.names == ["TurnBegun", *("RequestBegun", "RequestFailed") * 2, "TurnEnded"]
    assert [fields(each, "attempt", "error") for each in seen.all(observe.RequestFailed)] == [
        (1, "NotSentError"),
        (2, "NotSentError"),
    ]
    assert fields(seen.ended, "outcome", "error", "run_id") == ("failed", "NotSentError", None)


async def test_a_message_of_unknown_fate_and_how_that_is_settled() -> None:
    seen = Recorder()
    post, put = [streamed(said("x"))], [LOST, LOST]
    get = [history(user("a"), assistant("x")) for _ in range(20)]
    get += [history(user("a"), assistant("x"), user("c"), assistant("y")) for _ in range(20)]
    recovery = RecoveryPolicy(quiet=2, absence=5)
    async with Scripted(post=post, put=put, get=get) as server:
        options: dict[str, Any] = {"recovery": recovery, "polling": EVERY_SECOND, "observers": [seen]}
        async with connect(server, **options) as toolhouse:
            session = toolhouse.session(AGENT)
            await session.send("a")
            seen.records.clear()
            with pytest.raises(OutcomeUnknownError):
                await session.send("b")
            assert seen.names[-3:] == ["RequestFailed", "OutcomeUnknown", "TurnEnded"]
            unknown = seen.all(observe.OutcomeUnknown)[0]
            assert fields(unknown, "turn", "agent_id", "run_id", "error") == (
                *(seen.ended.turn, AGENT, RUN),
                "OutcomeUnknownError",
            )
            assert fields(seen.ended, "outcome", "error") == ("failed", "OutcomeUnknownError")
            seen.records.clear()
            assert await session.reconcile() is None
            assert fields(seen.ended, "kind", "outcome", "error") == ("reconcile", "absent", None)
            with pytest.raises(OutcomeUnknownError):
                await session.send("c")
            seen.records.clear()
            server._replies["GET"] = iter(get[20:])
            found = await session.reconcile()
            assert found is not None
            assert fields(seen.ended, "kind", "outcome") == ("reconcile", "completed")


async def test_a_message_that_is_refused_for_one_before_it_is_not_of_unknown_fate() -> None:
    seen = Recorder()
    async with Scripted(post=[LOST]) as server, connect(server, observers=[seen]) as toolhouse:
        session = toolhouse.session(AGENT)
        with pytest.raises(OutcomeUnknownError):
            await session.send("a")
        seen.records.clear()
        with pytest.raises(UncertainSessionError):
            await session.send("b")
    assert seen.names == ["TurnBegun", "TurnEnded"]
    assert seen.ended.error == "UncertainSessionError"


async def test_a_recovered_answer() -> None:
    seen = Recorder()
    post = [broken_off(streamed(said("do"), ends=False), rst)]
    get = [history(user("hi"), assistant("done"))] * 99
    async with Scripted(post=post, get=get) as server, connect(server, observers=[seen]) as toolhouse:
        await toolhouse.run(AGENT, "hi")
        assert seen.all(observe.AnswerRecovered)[0].missing == 2
        assert seen.ended.outcome == "completed"
        seen.records.clear()
        await toolhouse.recover(AGENT, "run-9", "hi")
    assert fields(seen.ended, "kind", "outcome", "run_id") == ("recover", "completed", "run-9")
    assert seen.records[0].kind == "recover"


@pytest.mark.parametrize("only_waits", [False, True])
async def test_a_waiter(only_waits: bool) -> None:
    seen = Recorder()
    put = [] if only_waits else [streamed(said("done"))]
    async with (
        Scripted(get=[history(job=JOB), OVER], put=put) as server,
        connect(server, polling=EVERY_SECOND, observers=[seen]) as toolhouse,
    ):
        waiter = toolhouse.wait_for_job(toolhouse.session(AGENT, run_id=RUN))
        await (waiter.wait() if only_waits else waiter)
    assert fields(seen.ended, "kind", "outcome", "error") == ("job", "completed", None)
    assert seen.names[0] == "TurnBegun"
    assert ("PUT" in {each.method for each in seen.all(observe.RequestBegun)}) is not only_waits


async def test_a_waiter_that_is_closed() -> None:
    seen = Recorder()
    async with (
        Scripted(get=[history(job=JOB)] * 9) as server,
        connect(server, polling=EVERY_SECOND, observers=[seen]) as toolhouse,
    ):
        waiter = toolhouse.wait_for_job(toolhouse.session(AGENT, run_id=RUN))
        waiting = asyncio.ensure_future(waiter.wait())
        await asyncio.sleep(1.9)
        await waiter.aclose()
        with pytest.raises(ClosedError):
            await waiting
    assert fields(seen.ended, "kind", "outcome", "error") == ("job", "failed", "ClosedError")


@pytest.mark.parametrize(
    ("how", "error", "sent"),
    [("cancelled", "ClosedError", "CancelledError"), ("timed-out", "TurnTimeoutError", "CancelledError")],
)
async def test_a_turn_that_is_given_up_while_its_message_is_under_way(how: str, error: str, sent: str) -> None:
    seen = Recorder()
    async with Scripted(post=[falls_silent()]) as server, connect(server, observers=[seen]) as toolhouse:
        turn = asyncio.ensure_future(toolhouse.run(AGENT, "hi", timeout=5 if how == "timed-out" else None))
        if how == "cancelled":
            await asyncio.sleep(1)
            turn.cancel()
        with pytest.raises((asyncio.CancelledError, TurnTimeoutError)):
            await turn
    assert seen.names == ["TurnBegun", "RequestBegun", "RequestFailed", "OutcomeUnknown", "TurnEnded"]
    assert seen.all(observe.RequestFailed)[0].error == sent
    assert seen.ended.error == error


async def test_a_turn_that_is_dropped() -> None:
    seen = Recorder()
    async with (
        Scripted(post=[streamed(said("x"), ends=False)]) as server,
        connect(server, observers=[seen]) as toolhouse,
    ):
        turn = toolhouse.stream(AGENT, "hi")
        await anext(turn)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del turn
            gc.collect()
        assert fields(seen.ended, "outcome", "error") == ("failed", "ClosedError")


async def test_a_turn_that_is_never_begun_is_not_told_of() -> None:
    seen = Recorder()
    async with Scripted() as server, connect(server, observers=[seen]) as toolhouse:
        await toolhouse.stream(AGENT, "hi").aclose()
    assert seen.records == []


async def test_requests_outside_of_turns() -> None:
    seen = Recorder()
    async with Scripted(get=[refused(503), OVER]) as server, connect(server, observers=[seen]) as toolhouse:
        await toolhouse.history(AGENT, RUN)
    assert [(*fields(each, "turn", "attempt"), type(each).__name__) for each in seen.records] == [
        (None, 1, "RequestBegun"),
        (None, 1, "RequestAnswered"),
        (None, 2, "RequestBegun"),
        (None, 2, "RequestAnswered"),
    ]


async def test_a_keyed_turn_and_one_with_headers_of_its_own() -> None:
    seen = Recorder()
    async with (
        Scripted(post=[streamed(said("x"))]) as server,
        connect(server, observers=[seen]) as toolhouse,
        SessionManager(toolhouse, AGENT) as manager,
    ):
        await manager.send("k", "hi", headers={"X-Mine": "1"})
    assert seen.names == ["TurnBegun", "RequestBegun", "RequestAnswered", "TurnEnded"]
    assert server.requests[0].headers["x-mine"] == "1"
    assert len({record.turn for record in seen.records}) == 1


async def test_each_turn_has_a_number_of_its_own_and_a_shared_poll_that_of_who_polls() -> None:
    seen = Recorder()
    get = [history(job=JOB), OVER]
    async with (
        Scripted(get=get, put=[streamed(said("done"))]) as server,
        connect(server, polling=EVERY_SECOND, observers=[seen]) as toolhouse,
    ):
        sessions = [toolhouse.session(AGENT, run_id=RUN) for _ in range(2)]
        await asyncio.gather(*(session.wait_for_job() for session in sessions))
    numbers = [begun.turn for begun in seen.all(TurnBegun)]
    assert len(set(numbers)) == 2
    assert len(seen.all(observe.RequestBegun)) == 3
    assert {each.turn for each in seen.all(observe.RequestBegun)} <= set(numbers)
    assert sorted(each.turn for each in seen.all(observe.JobEnded)) == sorted(numbers)


# Observers themselves


class Broken:
    def __init__(self) -> None:
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS.values():
            raise AttributeError(name)

        def fail(record: object) -> None:
            self.calls += 1
            raise ValueError("secret words")

        return fail


async def test_one_that_fails_disturbs_nobody_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    broken, seen = Broken(), Recorder()
    post = [streamed(said("wait"), called(), returned(), job=JOB)]
    async with (
        Scripted(post=post, get=[history(job=JOB), OVER], put=[streamed(said("done"))]) as server,
        connect(server, polling=EVERY_SECOND, observers=[broken, seen]) as toolhouse,
    ):
        assert (await toolhouse.run(AGENT, "hi")).text == "waitdone"
    assert broken.calls == len(seen.records) == 15
    (logged,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert "the observer Broken failed in turn_begun by ValueError (" in logged.getMessage()
    assert "test_observe.py" in logged.getMessage()
    assert "secret" not in caplog.text


async def test_all_are_told_in_their_order() -> None:
    order: list[str] = []

    class One(Observer):
        name = "one"

        def turn_begun(self, record: TurnBegun, /) -> None:
            order.append(f"{self.name} begun")

        def turn_ended(self, record: TurnEnded, /) -> None:
            order.append(f"{self.name} ended")

    class Two(One):
        name = "two"

    async with (
        Scripted(post=[streamed(said("x"))]) as server,
        connect(server, observers=iter([One(), Two()])) as toolhouse,
    ):
        await toolhouse.run(AGENT, "hi")
    assert order == ["one begun", "two begun", "one ended", "two ended"]


class Some:
    async def turn_ended(self, record: TurnEnded) -> None:
        pass


@pytest.mark.parametrize(
    ("observers", "why"),
    [
        ([object()], "object has none of the methods of an observer"),
        ([type("Bare", (Observer,), {})()], "Bare has none of the methods"),
        ([type("Odd", (), {"turn_begun": 7})()], r"Odd.turn_begun is not a function"),
        ([Some()], r"Some.turn_ended is not a function that can be called without awaiting it"),
        ([Recorder], "an observer is an object, not a class: Recorder"),
        (Recorder(), "observers must be several, as a list, not Recorder"),
    ],
)
def test_what_is_no_observer_is_refused(observers: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        AsyncToolhouse(KEY, observers=observers)


def test_none_are_fine() -> None:
    for observers in ((), [], None):
        assert AsyncToolhouse(KEY, observers=observers)._core.observers is None  # type: ignore[arg-type]


def test_every_record_has_its_method_and_every_field_its_words() -> None:
    records = [getattr(observe, name) for name in observe.__all__ if name not in ("Observer", "Logging")]
    methods = [name for name in vars(Observer) if not name.startswith("_") and name != "content"]
    assert [METHODS[record] for record in METHODS] == methods
    assert sorted(each.__name__ for each in METHODS) == sorted(each.__name__ for each in records)
    for record in records:
        words = inspect.getdoc(record) or ""
        names = [field.name for field in attrs.fields(record)]
        assert [name for name in names if f"{name}:" not in words and f"``{name}``" not in words] == []


def test_every_method_of_the_protocol_may_be_left_out() -> None:
    class Bare(Observer):
        pass

    for name in METHODS.values():
        assert getattr(Bare(), name)(None) is None


def test_a_client_without_observers_loads_nothing_for_them() -> None:
    code = (
        "import sys; from toolhouse_async import AsyncToolhouse; AsyncToolhouse('key');"
        "print(*(name for name in sys.modules if 'observ' in name))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
