from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from toolhouse_async import (
    ContactLostError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitError,
    ServerError,
)
from toolhouse_async._batch.gate import Gate, Stopped
from toolhouse_async._batch.outage import Pace


def now() -> float:
    return asyncio.get_running_loop().time()


class Service:
    """What a gate asks; it is away until some time."""

    def __init__(self, back_at: float = 0.0) -> None:
        self.back_at = back_at
        self.asked: list[float] = []

    async def __call__(self) -> bool:
        self.asked.append(now())
        return now() >= self.back_at


def gate_of(service: Any, rate: float | None = None) -> Gate:
    return Gate(Pace(rate), is_there=service, chance=random.Random(1))


async def test_while_the_service_is_there_all_pass() -> None:
    service = Service()
    gate, start = gate_of(service), now()
    await asyncio.gather(*(gate.enter(paced=paced) for paced in (True, False, True)))
    assert now() == start
    assert service.asked == []


async def test_one_tries_behind_each_pause_and_all_pass_once_it_worked() -> None:
    service = Service(back_at=now() + 500)
    gate = gate_of(service)
    passed: list[tuple[int, float]] = []
    start = now()

    async def row(number: int) -> None:
        await gate.enter(paced=True)
        passed.append((number, now() - start))
        if number == 0:
            await gate.enter(paced=True)  # whoever tries it passes again
            await asyncio.sleep(50)
            gate.worked()

    gate.failed(NotSentError(), began=now())
    await asyncio.gather(*map(row, range(4)))
    assert 500 <= passed[0][1] < 570
    assert [at for _, at in passed[1:]] == [passed[0][1] + 50] * 3
    assert 8 < len(service.asked) < 25
    gate.worked()
    await gate.enter(paced=False)


async def test_whoever_tries_it_and_leaves_lets_another_one_try() -> None:
    gate = gate_of(Service())
    gate.failed(RateLimitError(status=429, retry_after=100), began=now())
    start = now()
    passed: list[float] = []

    async def row() -> None:
        await gate.enter(paced=False)
        passed.append(now() - start)
        await asyncio.sleep(10)
        gate.left()

    await asyncio.gather(*(row() for _ in range(3)))
    assert passed == [100, 110, 120]
    gate.left()  # of whom it does not wait for

    async def vanishes() -> None:
        await gate.enter(paced=False)  # and does not say that it leaves

    await asyncio.ensure_future(vanishes())
    await gate.enter(paced=False)


async def test_what_fails_again_is_waited_for_longer() -> None:
    gate = gate_of(Service())
    waits = []
    gate.failed(NotSentError(), began=now())
    for _ in range(6):
        start = now()
        await gate.enter(paced=False)
        waits.append(now() - start)
        gate.failed(NotSentError(), began=start - 1)  # it began before, but it was the one to try
    assert waits == sorted(waits)
    assert waits[-1] > 10


async def test_an_outage_while_a_place_in_the_pace_is_waited_for() -> None:
    gate = gate_of(Service(), rate=0.01)
    start = now()
    await gate.enter(paced=True)
    waiting = asyncio.ensure_future(gate.enter(paced=True))
    await asyncio.sleep(50)
    gate.failed(RateLimitError(status=429, retry_after=500), began=now())
    await waiting
    assert now() - start == 550
    await gate.enter(paced=False)


@pytest.mark.parametrize("at", ["trial", "pause", "pace", "begin"])
async def test_stopped(at: str) -> None:
    gate = gate_of(Service(), rate=0.01)
    await gate.enter(paced=True)
    held = asyncio.Event()

    async def hold() -> None:
        await gate.enter(paced=False)
        await held.wait()

    holding = None
    if at in ("trial", "pause"):
        gate.failed(RateLimitError(status=429, retry_after=0 if at == "trial" else 10**6), began=now())
    if at == "trial":
        holding = asyncio.ensure_future(hold())
        await asyncio.sleep(10)
    if at == "begin":
        gate.stop()
    waiting = asyncio.ensure_future(gate.enter(paced=at != "trial"))
    await asyncio.sleep(20)
    assert waiting.done() == (at == "begin")
    gate.stop()
    with pytest.raises(Stopped):
        await waiting
    held.set()
    if holding is not None:
        await holding


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (None, "a read failed"),
        (NotSentError(), "NotSentError"),
        (
            NotSentError("POST /a: not sent: the server at h:1 cannot be reached (Connection refused)"),
            "NotSentError: POST /a: not sent: the server at h:1 cannot be reached (Connection refused)",
        ),
        (NotSentError("x" * 1000), f"NotSentError: {'x' * 286}"),
        (
            ServerError("POST http://h/a was answered with 503: 'A secret' failed", status=503),
            "ServerError: POST http://h/a was answered with 503",
        ),
        (
            OutcomeUnknownError("POST /a: sent, and the connection was lost"),
            "OutcomeUnknownError: POST /a: sent, and the connection was lost",
        ),
        (
            ContactLostError("5 polls failed. The last one: GET http://h/a was answered with 503: A secret"),
            "ContactLostError: 5 polls failed. The last one: GET http://h/a was answered with 503",
        ),
    ],
)
async def test_the_log_says_why_and_nothing_that_the_service_has_said(
    error: Exception | None, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    gate_of(Service()).failed(error, began=now())
    assert caplog.messages[0].startswith(f"the service is away ({why}): the batch waits ")


async def test_a_pause_is_told_once_however_many_have_met_with_it(caplog: pytest.LogCaptureFixture) -> None:
    gate = gate_of(Service())
    began = now()
    await asyncio.sleep(1)
    for row in "ab":
        gate.failed(NotSentError(), began=began, name=f"row {row!r}")  # both were under way
    gate.failed(RateLimitError(status=429, retry_after=7), began=began, name="row 'c'")
    gate.failed(RateLimitError(status=429, retry_after=6), began=began, name="row 'd'")
    await asyncio.sleep(50)
    gate.failed(NotSentError(), began=began, name="row 'e'")  # it ends behind the pause
    assert [message.rpartition("since ")[2] for message in caplog.messages] == [
        "row 'a' has met with that",
        "row 'c' has met with that",
    ]
    assert ": the batch waits 7.0 s, " in caplog.messages[1]
