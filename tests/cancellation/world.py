"""A Workers API that remembers what it was really told, and the awaitables that are cancelled there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field

from toolhouse_async import (
    AsyncToolhouse,
    Limits,
    OutcomeUnknownError,
    PollingPolicy,
    RecoveryPolicy,
    RetryPolicy,
    Session,
    ToolhouseError,
    Turn,
    TurnResult,
    UncertainSessionError,
)
from toolhouse_async.testing import EmulatorServer, Fault, WorkersEmulator

KEY = "canary-key"
HELLO, WORDS, NEXT = "hello", "work", "next"
POLLING = PollingPolicy(min_interval=1, max_interval=5, jitter=0)


def answer_to(message: str) -> str:
    """All that the worker says to a message: before its job and after it."""
    return f"On {message}: well, done."


class World:
    """An emulator with one worker, which runs a background job for ``WORDS`` and for nothing else.

    Attributes:
        heard: The messages that were accepted, by agent.
    """

    def __init__(self) -> None:
        self.emulator = WorkersEmulator(keep_requests=1_000_000, keep_runs=1_000_000)
        self.heard: dict[str, list[str]] = {}

    def register(self, agent: str) -> None:
        """Make the worker known under one more id, so that every case has faults and records of its own."""
        self.emulator.worker(agent)(self._worker)

    async def _worker(self, ctx: Any) -> Any:
        self.heard.setdefault(ctx.agent_id, []).append(ctx.message)
        if ctx.job_result is not None and not ctx.message:
            yield ctx.text(ctx.job_result)
            return
        if ctx.message == WORDS:
            yield ctx.background(self._job)
        yield ctx.text(f"On {ctx.message}: ")
        await asyncio.sleep(0.5)
        yield ctx.text("well, " if ctx.message == WORDS else "well, done.")

    @staticmethod
    async def _job() -> str:
        await asyncio.sleep(2.5)
        return "done."


@define
class Case:
    """One client with one session, and what is cancelled."""

    world: World
    agent: str
    client: AsyncToolhouse
    session: Session
    turn: Turn | None = None
    others: list[asyncio.Task[TurnResult]] = field(factory=list)
    faults: list[Fault] = field(factory=list)

    @property
    def heard(self) -> list[str]:
        """What the worker was told."""
        return self.world.heard.get(self.agent, [])

    async def greet(self) -> None:
        """Begin the run, so that its id is known."""
        assert (await self.session.send(HELLO)).text == answer_to(HELLO)

    def fault(self, **what: Any) -> None:
        """Let something go wrong with a PUT."""
        self.faults.append(self.world.emulator.faults.add(method="PUT", agent=self.agent, **what))

    def calm(self) -> None:
        """Let nothing go wrong from here on."""
        for fault in self.faults:
            fault.agent = "nobody"

    async def lose(self) -> None:
        """Send ``WORDS``, which arrives, and lose its answer."""
        self.fault(cut="rst", accept=True)
        try:
            await self.session.send(WORDS)
        except OutcomeUnknownError:
            return
        raise AssertionError("the answer was not lost")

    def begin(self, session: Session) -> None:
        """Let another task be in the middle of a turn of ``session``."""
        self.others.append(asyncio.ensure_future(session.send("other")))

    def stream(self, **options: Any) -> Turn:
        """The turn about ``WORDS``, which the checks know from here."""
        self.turn = self.session.stream(WORDS, **options)
        return self.turn


@asynccontextmanager
async def case_of(world: World, server: EmulatorServer, agent: str, **options: Any) -> AsyncIterator[Case]:
    """A case with a client of its own, which is closed behind it."""
    world.register(agent)
    options = {
        "polling": POLLING,
        "recovery": RecoveryPolicy(quiet=1, deadline=60, absence=1),
        "retries": RetryPolicy(initial=1),
        **options,
    }
    async with (
        AsyncToolhouse(options.pop("api_key", KEY), base_url=server.url, **options) as client,
        client.session(agent) as session,
    ):
        yield Case(world, agent, client, session)


Setup = Callable[[Case], Awaitable[object]]


@define
class Scenario:
    """An awaitable of the public interface, and how it comes to wait where it does.

    Attributes:
        act: What is cancelled.
        prepare: What happened before.
        expected: The error that it ends with when nobody cancels it, if it does.
        sends: Whether it sends ``WORDS``.
        settings: Arguments of the client.
        goes_on: Whether the session is there to go on with.
    """

    act: Setup
    prepare: Setup = Case.greet
    expected: type[ToolhouseError] | None = None
    sends: bool = True
    settings: dict[str, Any] = field(factory=dict)
    goes_on: bool = True


async def _iterate(case: Case) -> str:
    return "".join([event.text async for event in case.stream() if hasattr(event, "text")])


async def _enter(case: Case) -> Any:
    async with case.stream() as turn:
        return [words async for words in turn.text_stream]


async def _detached(case: Case) -> None:
    await case.greet()
    await case.session.send(WORDS, background="detach")


async def _wait(case: Case) -> Any:
    return await case.session.wait_for_job().wait()


async def _await_waiter(case: Case) -> Any:
    return await case.session.wait_for_job()


async def _iterate_waiter(case: Case) -> Any:
    return [event async for event in case.session.wait_for_job()]


async def _lost(case: Case) -> None:
    await case.greet()
    await case.lose()


async def _map(case: Case) -> Any:
    async with case.client.map(case.agent, ["one", "two", "three"], concurrency=2) as items:
        return [item async for item in items]


async def _cut(case: Case) -> None:
    await case.greet()
    case.fault(cut="fin", cut_after=20)


async def _lost_resume(case: Case) -> None:
    await case.greet()
    case.fault(skip=1, cut="fin", accept=True)


async def _rate_limited(case: Case) -> None:
    await case.greet()
    case.fault(status=429, retry_after=2)


async def _conflict(case: Case) -> None:
    await case.greet()
    case.fault(status=409)


async def _behind_another(case: Case) -> None:
    await case.greet()
    case.begin(case.client.session(case.agent, run_id=case.session.run_id))


async def _without_a_place(case: Case) -> None:
    case.begin(case.client.session(case.agent))


async def _close_turn(case: Case) -> None:
    turn = case.stream()
    await anext(turn)
    await turn.aclose()


async def _close_client(case: Case) -> None:
    turn = case.stream()
    await anext(turn)
    await case.client.history(case.agent, case.session.run_id or "")
    await case.client.aclose()


async def _late_key() -> str:
    await asyncio.sleep(0)
    return KEY


SCENARIOS: dict[str, Scenario] = {
    "run": Scenario(lambda case: case.client.run(case.agent, WORDS), goes_on=False),
    "send": Scenario(lambda case: case.stream().result()),
    "first-send": Scenario(lambda case: case.stream().result(), prepare=lambda case: asyncio.sleep(0.0)),
    "text": Scenario(lambda case: case.stream(format="text", settle=True).result()),
    "iterate": Scenario(_iterate),
    "enter": Scenario(_enter),
    "await-waiter": Scenario(_await_waiter, prepare=_detached, sends=False),
    "iterate-waiter": Scenario(_iterate_waiter, prepare=_detached, sends=False),
    "wait": Scenario(_wait, prepare=_detached, sends=False),
    "recovery": Scenario(lambda case: case.stream().result(), prepare=_cut),
    "lost-resume": Scenario(lambda case: case.stream().result(), prepare=_lost_resume),
    "reconcile": Scenario(lambda case: case.session.reconcile(), prepare=_lost, sends=False),
    "make-certain": Scenario(
        lambda case: case.session.send("again"), prepare=_lost, sends=False, expected=UncertainSessionError
    ),
    "map": Scenario(_map, goes_on=False, sends=False),
    "history": Scenario(lambda case: case.session.history(), sends=False),
    "job-status": Scenario(lambda case: case.session.job_status(), sends=False),
    "retry-pause": Scenario(lambda case: case.stream().result(), prepare=_rate_limited),
    "conflict": Scenario(lambda case: case.stream().result(), prepare=_conflict),
    "close-turn": Scenario(_close_turn),
    "close-client": Scenario(_close_client, goes_on=False),
    "queue": Scenario(lambda case: case.stream().result(), prepare=_behind_another),
    "place": Scenario(
        lambda case: case.stream().result(),
        prepare=_without_a_place,
        settings={"limits": Limits(max_connections=1)},
    ),
    "key": Scenario(lambda case: case.stream().result(), settings={"api_key": _late_key}),
}
