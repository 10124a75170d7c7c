"""A turn with a job and a resume, cut at every byte of every answer and of every request."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

import pytest
from attrs import define, field

from tests.conversations.support import AGENT, KEY
from tests.support.proxy import Cut, Proxy
from tests.support.virtual_time import CoarseTimeLoop
from toolhouse_async import (
    AsyncToolhouse,
    OutcomeUnknownError,
    PollingPolicy,
    RecoveryPolicy,
    ResumeUncertainError,
    TextDelta,
    ToolhouseError,
    TurnCompleted,
)
from toolhouse_async.testing import EmulatorServer, WorkersEmulator

pytestmark = pytest.mark.timeout(180)  # a second's work for every 200 conversations, longer where machines are shared

Family = Literal["ndjson", "text"]
How = Literal["fin", "rst"]

FIRST = ("Wörking, ", "wait \N{HOURGLASS}. ")
SECOND = ("It is ", "42\N{BULLET}")
WHOLE = "".join(FIRST + SECOND)
TWICE = PollingPolicy(min_interval=2, max_interval=30, growth=5, jitter=0)
"""Polls a job of 4.5 s exactly twice: after 1 to 3 s, and 5 to 15 s later."""
QUICK = RecoveryPolicy(quiet=1, deadline=60, absence=1)
AT_ONCE = 300
"""Conversations side by side, which share the jumps of the clock."""


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": CoarseTimeLoop}


@define
class Case:
    """One conversation with its cut, and how it went."""

    cut: Cut | None
    message: str
    text: str | None = None
    pieces: list[str] = field(factory=list)
    error: ToolhouseError | None = None
    happened: bool = False
    passed: dict[str, int] = field(factory=dict)

    async def run(self, server: EmulatorServer, family: Family, **passing: Any) -> None:
        async with (
            Proxy(server.url, cut=self.cut, **passing) as proxy,
            AsyncToolhouse(KEY, base_url=proxy.url, polling=TWICE, recovery=QUICK) as toolhouse,
        ):
            try:
                async for event in toolhouse.stream(AGENT, self.message, format=family):
                    match event:
                        case TextDelta(text):
                            self.pieces.append(text)
                        case TurnCompleted(result):
                            self.text = result.text
            except ToolhouseError as error:
                self.error = error
        self.happened, self.passed = proxy.happened, dict(proxy.passed)


class World:
    """An emulator whose worker tells which messages it was really given."""

    def __init__(self) -> None:
        self.emulator = WorkersEmulator(keep_requests=1_000_000, keep_runs=1_000_000)
        self.heard: dict[str, list[str]] = {}
        self.emulator.worker(AGENT)(self.worker)

    async def worker(self, ctx: Any) -> Any:
        self.heard.setdefault(ctx.run_id, []).append(ctx.message)
        if ctx.job_result is None:
            yield ctx.background(asyncio.sleep, 4.5, "done")
        for words in FIRST if ctx.job_result is None else SECOND:
            yield ctx.text(words)

    def messages(self, case: Case) -> list[str]:
        """What was accepted in the conversation of ``case``; its first message is of its own."""
        return next((messages for messages in self.heard.values() if messages[0] == case.message), [])

    async def run(self, cases: Iterable[Case], family: Family, **passing: Any) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(case: Case) -> None:
            async with gate:
                await case.run(server, family, **passing)

        async with self.emulator.serve() as server:
            await asyncio.gather(*map(one, cases))

    def accepted_once(self) -> None:
        """No message was accepted twice: neither the first one of a conversation nor its resume."""
        starts = Counter(messages[0] for messages in self.heard.values())
        assert starts.most_common(1)[0][1] == 1, starts.most_common(3)
        assert [m for m in self.heard.values() if len(m) > 2 or m[1:] not in ([], [""])] == []


def cuts(many: int, how: How, direction: Literal["down", "up"]) -> list[Case]:
    return [Case(Cut(n, how, direction), f"{how} {n:05}") for n in range(many)]


async def length(family: Family) -> dict[str, int]:
    """How many bytes pass when nothing is cut, by direction; every message is as long as this one."""
    world, case = World(), Case(None, "fin 00000")
    await world.run([case], family)
    assert (case.text, case.error) == (WHOLE, None)
    assert list(world.heard.values()) == [[case.message, ""]]
    return case.passed


def outcomes(cases: list[Case]) -> list[str]:
    """The kinds of outcome in the order of the cuts, neighbours of the same kind as one."""
    names = ["" if case.error is None else type(case.error).__name__ for case in cases]
    return [name for n, name in enumerate(names) if n == 0 or names[n - 1] != name]


def ends_well(case: Case) -> None:
    """The whole text, delivered in order and once."""
    assert (case.text, "".join(case.pieces), case.error) == (WHOLE, WHOLE, None), case
    assert case.happened


@pytest.mark.parametrize("family", ["ndjson", "text"])
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_every_byte_of_every_answer(how: How, family: Family) -> None:
    """As long as the first answer's head is not complete no run id is known; from there on all is healed.

    Closed at every byte, reset at every third unless all tests are asked for: that saves ten seconds and has the same
    branches.
    """
    each = 1 if how == "fin" or os.environ.get("TOOLHOUSE_TEST_ALL") else 3
    world, cases = World(), cuts((await length(family))["down"], how, "down")[::each]
    await world.run(cases, family)
    world.accepted_once()
    assert outcomes(cases) == ["OutcomeUnknownError", ""]
    for case in cases:
        if case.error is None:
            ends_well(case)
            assert world.messages(case) == [case.message, ""]
        else:
            assert isinstance(case.error, OutcomeUnknownError)
            assert (case.error.safe_to_retry, case.error.run_id, case.pieces) == (None, None, [])
            assert world.messages(case) == [case.message]


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_every_third_byte_of_every_request(how: How) -> None:
    """A message that was begun may have come; a poll is sent again, and so is a resume that provably did not come."""
    world, cases = World(), cuts((await length("ndjson"))["up"], how, "up")[::3]
    await world.run(cases, "ndjson")
    world.accepted_once()
    assert outcomes(cases) == ["OutcomeUnknownError", ""]
    for case in cases:
        if case.error is None:
            ends_well(case)
            assert world.messages(case) == [case.message, ""]
        elif isinstance(case.error, ResumeUncertainError):
            assert "".join(case.pieces) == "".join(FIRST)
            assert case.error.token is not None
            assert (case.error.safe_to_retry, case.error.run_id) == (False, case.error.token.run_id)
            assert world.messages(case) == [case.message]
        else:
            assert (case.error.safe_to_retry, case.error.run_id, case.pieces) == (None, None, [])
            assert world.messages(case) == []


@pytest.mark.parametrize("family", ["ndjson", "text"])
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_connection_that_ends_right_behind_each_answer(how: How, family: Family) -> None:
    """Whatever is complete is not touched by the end of its connection."""
    many = (await length(family))["down"]
    world = World()
    cases = [Case(Cut(n, how, at_once=True), f"{how} {n:05}") for n in range(many - 400, many + 1, 7)]
    cases.append(Case(Cut(many, how, at_once=True), f"end {many:05}"))
    await world.run(cases, family)
    world.accepted_once()
    for case in cases:
        ends_well(case)


@pytest.mark.parametrize("passing", [{"piece": 1}, {"piece": 40, "delay": 0.5}], ids=["bytes", "late"])
@pytest.mark.parametrize("family", ["ndjson", "text"])
async def test_slices_change_nothing(family: Family, passing: dict[str, Any]) -> None:
    world, case = World(), Case(None, "sliced")
    await world.run([case], family, **passing)
    world.accepted_once()
    assert (case.text, "".join(case.pieces), case.error) == (WHOLE, WHOLE, None)
    assert world.messages(case) == ["sliced", ""]
