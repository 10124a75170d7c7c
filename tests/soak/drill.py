"""Conversations through the chaos proxy, and what became of each message."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

from attrs import define, field

from toolhouse_async import (
    AsyncToolhouse,
    ClosedError,
    Limits,
    OutcomeUnknownError,
    PollingPolicy,
    RecoveryPolicy,
    ResumeUncertainError,
    Session,
    Timeouts,
    ToolhouseError,
    Turn,
    TurnResult,
)
from toolhouse_async.testing import EmulatorServer

from .chaos import ChaosProxy
from .workers import AGENT, Service, answer_to

TRIES = 8
"""How often a message is sent that was proven not to have arrived."""

SHARED = 1 / 4
"""The share of conversations that have one client together: the others' own clients make connections to break."""


@define
class Tally:
    """The figures of a soak.

    Attributes:
        turns: Messages that somebody wanted to be answered.
        outcomes: How many of them ended how.
        faults: What the proxy did.
        wrong: Turns that reported success with another text than the history has.
        twice: Messages and resumes that were accepted more than once.
        avoidable: Turns that failed though the whole answer stood in the history of a run whose id was known.
    """

    turns: int = 0
    outcomes: Counter[str] = field(factory=Counter)
    faults: Counter[str] = field(factory=Counter)
    wrong: list[str] = field(factory=list)
    twice: list[str] = field(factory=list)
    avoidable: list[str] = field(factory=list)

    def __str__(self) -> str:
        lines = [f"{self.turns} turns; faults: {dict(sorted(self.faults.items()))}"]
        lines += [f"{number:6}  {outcome}" for outcome, number in self.outcomes.most_common()]
        lines += [f"accepted twice: {len(self.twice)}, other text than the history: {len(self.wrong)}"]
        return "\n".join([*lines, f"failed though recovery was possible: {len(self.avoidable)}", *self.avoidable[:20]])


class Drill:
    """Plays conversations of one to four turns, so many at once."""

    def __init__(self, seed: int, at_once: int) -> None:
        self._random = Random(seed)
        self._at_once = at_once
        self._number = 0
        self._service = Service(Random(seed))
        self.tally = Tally()

    async def run(self, turns: int) -> None:
        """Play so many turns more, at a service of their own."""
        until = self._number + turns
        self._service = Service(Random(self._random.random()))
        async with self._service.emulator.serve() as server, self._proxy(server) as proxy, _client(proxy) as client:

            async def keep_talking() -> None:
                while self._number < until:
                    if self._random.random() < SHARED:
                        await self._converse(client, until)
                        continue
                    async with _client(proxy) as own:
                        await self._converse(own, until)

            async with asyncio.TaskGroup() as group:
                for _ in range(self._at_once):
                    group.create_task(keep_talking())
        self.tally.faults += proxy.made
        self.tally.twice += self._service.twice

    def _proxy(self, server: EmulatorServer) -> ChaosProxy:
        return ChaosProxy(server.url, Random(self._random.random()))

    async def _converse(self, client: AsyncToolhouse, until: int) -> None:
        session = client.session(AGENT)
        for _ in range(self._random.randint(1, 4)):
            if self._number >= until:
                return
            self._number += 1
            self.tally.turns += 1
            if not await self._say(session, f"message {self._number} {self._random.choice((0, 0, 0, 0, 1, 1, 2, 3))}"):
                return

    async def _say(self, session: Session, words: str) -> bool:
        """Have one message answered; whether the conversation can go on."""
        told = "answered"
        for _ in range(TRIES):
            turn = session.stream(words, format=self._random.choice(("ndjson", "text")))
            try:
                how, result = await self._read(turn)
            except ToolhouseError as error:
                if error.safe_to_retry is True:
                    told = f"answered, sent again after {type(error).__name__}"
                    continue
                if not isinstance(error, OutcomeUnknownError):
                    return self._failed(session, words, error)
                if session.run_id is None:
                    self.tally.outcomes["lost: a start of unknown fate has no run id to look it up by"] += 1
                    return False
                if not await self._settle(session, words, error):
                    return False
                if self._service.accepted[words]:
                    return True
                told = "answered, sent again when it was proven not to have arrived"
                continue
            if result is not None:
                self._check(session, words, result)
                how = f"{told}, healed" if result.recovered else told
            self.tally.outcomes[how] += 1
            return session.run_id is not None
        self.tally.outcomes[f"not sent in {TRIES} tries"] += 1
        return False

    async def _read(self, turn: Turn) -> tuple[str, TurnResult | None]:
        """Read a turn to its end; or leave it before, in one of the ways there are."""
        fate, when = self._random.random(), self._random.uniform(0, 20)
        timer: asyncio.TimerHandle | None = None
        try:
            if fate < 0.05:
                async with asyncio.timeout(when):
                    return "", await turn.result()
            if fate < 0.08:
                timer = asyncio.get_running_loop().call_later(when, _close, turn)
            if fate < 0.10:
                async with turn:
                    async for _ in turn:
                        if self._random.random() < 0.2:
                            return "left half-way", None
            return "", await turn.result()
        except ToolhouseError as error:
            if isinstance(error, ClosedError) and timer is not None:
                return "closed from another task", None
            raise
        except TimeoutError:
            return "cancelled", None
        finally:
            if timer is not None:
                timer.cancel()

    async def _settle(self, session: Session, words: str, error: OutcomeUnknownError) -> bool:
        """Find out what became of a message; whether the conversation can go on."""
        for _ in range(2):
            try:
                result = await session.reconcile()
            except OutcomeUnknownError:
                continue
            except ToolhouseError as failure:
                return self._failed(session, words, failure)
            mine = error.safe_to_retry is None
            if result is None:
                if mine and self._service.accepted[words]:
                    self.tally.wrong.append(f"{words}: reconcile() says that it did not arrive")
            elif mine:
                self._check(session, words, result)
                self.tally.outcomes["of unknown fate, then reconciled"] += 1
            else:
                self.tally.outcomes["(an earlier one, cancelled, was reconciled first)"] += 1
            return True
        return self._failed(session, words, error)

    def _check(self, session: Session, words: str, result: TurnResult) -> None:
        told = self._service.told(session.run_id or "", words)
        if not result.text == told == answer_to(words):
            self.tally.wrong.append(f"{words}: {result.text!r} is not {told!r}")

    def _failed(self, session: Session, words: str, error: ToolhouseError) -> bool:
        """Count a failure by what the service knows of it."""
        name = type(error).__name__
        whole = session.run_id is not None and self._service.told(session.run_id, words) == answer_to(words)
        resumed = self._service.resumed[words]
        if whole or (isinstance(error, ResumeUncertainError) and error.token and resumed > error.token.round):
            self.tally.avoidable.append(f"{words}: {name}: {error}")
            why = "though the history has the answer"
        elif isinstance(error, ResumeUncertainError):
            why = "the resume did not arrive, which nobody can prove"
        else:
            why = str(error)[:160]
        self.tally.outcomes[f"failed: {name}: {why}"] += 1
        return False


def _close(turn: Turn) -> None:
    """Close a turn from a task of its own, which keeps itself alive."""
    task = asyncio.ensure_future(turn.aclose())
    task.add_done_callback(lambda _: None)


def _client(proxy: ChaosProxy) -> AsyncToolhouse:
    return AsyncToolhouse(
        "canary-key",
        base_url=proxy.url,
        timeouts=Timeouts(response=40, idle=20),
        polling=PollingPolicy(),
        recovery=RecoveryPolicy(quiet=5, deadline=120, absence=5),
        limits=Limits(max_connections=200),
    )
