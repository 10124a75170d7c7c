"""A session does what a simple model of the service says, whatever happens in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.cancellation.stepping import Outcome, cancelled_at
from tests.support.guards import no_leftover_tasks
from tests.support.virtual_time import VirtualTimeLoop
from toolhouse_async import (
    AsyncToolhouse,
    ConflictError,
    JobToken,
    OutcomeUnknownError,
    PollingPolicy,
    RecoveryPolicy,
    StreamInterruptedError,
    TurnResult,
)
from toolhouse_async.testing import WorkersEmulator

from .service import Model, said, whole

T = TypeVar("T")
AGENT, KEY = "worker", "canary-key"
JOBS = st.sampled_from([0, 0, 1, 2])
SECONDS = 4.0
"""How long a job takes once it is let go."""


def on(words: str) -> Any:
    """The rule runs only while the session is certain, idle, or whatever the words say."""
    checks = {
        "begun": lambda self: self.session.run_id is not None,
        "certain": lambda self: self.model.unknown is None,
        "uncertain": lambda self: self.model.unknown is not None,
        "running": lambda self: self.model.running,
        "idle": lambda self: not self.model.running,
        "waits": lambda self: self.model.waits,
    }
    return precondition(lambda self: all(checks[word](self) for word in words.split()))


class Conversation(RuleBasedStateMachine):
    """Plays one conversation at an emulator and in the model."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.guard = no_leftover_tasks(self.runner.get_loop())
        self.guard.__enter__()
        self.open = AsyncExitStack()
        self.model = Model()
        self.heard: list[str] = []
        self.go = asyncio.Event()
        self.number = 0
        self.taken_over = False
        self.token: JobToken | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        async def in_time() -> T:
            async with asyncio.timeout(24 * 3600):
                return await coroutine

        return self.runner.run(in_time())

    @initialize()
    def begin(self) -> None:
        self.emulator = WorkersEmulator()
        self.emulator.worker(AGENT)(self.worker)
        self.server = self.run(self.open.enter_async_context(self.emulator.serve()))
        self.client = self.new_client()
        self.session = self.client.session(AGENT)

    def teardown(self) -> None:
        self.run(self.open.aclose())
        self.guard.__exit__(None, None, None)
        self.runner.close()

    def new_client(self) -> AsyncToolhouse:
        return self.run(
            self.open.enter_async_context(
                AsyncToolhouse(
                    KEY,
                    base_url=self.server.url,
                    polling=PollingPolicy(min_interval=1, max_interval=3),
                    recovery=RecoveryPolicy(quiet=2, deadline=60, absence=2),
                )
            )
        )

    async def worker(self, ctx: Any) -> Any:
        """Goes by the message, "<number> <jobs>", and by what was said since."""
        self.heard.append(ctx.message)
        if ctx.message:
            self.plan, self.round = ctx.message, 0
        else:
            self.round += 1
        jobs = int(self.plan.split()[1])
        if self.round < jobs:
            yield ctx.background(self.job)
        text = said(self.plan, self.round, jobs)
        yield ctx.text(text[:5])
        await asyncio.sleep(0.5)
        yield ctx.text(text[5:])

    async def job(self) -> str:
        await self.go.wait()
        await asyncio.sleep(SECONDS)
        return "done"

    def message(self, jobs: int) -> str:
        self.number += 1
        return f"m{self.number} {jobs}"

    def let_jobs_end(self) -> None:
        self.go.set()

    def hold_jobs(self) -> None:
        self.go = asyncio.Event()

    # What a user does

    @on("certain")
    @rule(jobs=JOBS, family=st.sampled_from(["ndjson", "text"]), settle=st.sampled_from(["auto", True]))
    def send(self, jobs: int, family: Any, settle: Any) -> None:
        """A job that runs is waited for first; then the message is the resume."""
        words = self.message(jobs)
        self.let_jobs_end()
        result = self.run(self.session.send(words, format=family, settle=settle))
        rounds = jobs + self.model.running
        if self.model.running:
            self.model.end_job()
        self.model.accept(words, jobs)
        self.model.finish()
        self.check(result, whole(words, jobs), rounds)

    @on("certain idle")
    @rule()
    def detach(self) -> None:
        words = self.message(1)
        self.hold_jobs()
        result = self.run(self.session.send(words, background="detach"))
        self.model.accept(words, 1)
        assert (result.status, result.text) == ("background", said(words, 0, 1))
        assert result.token is not None
        self.token = result.token

    @on("certain running begun")
    @rule()
    def refuse_to_wait(self) -> None:
        with pytest.raises(ConflictError) as caught:
            self.run(self.session.send(self.message(0), on_conflict="raise"))
        assert caught.value.safe_to_retry is True

    @on("running")
    @rule()
    def job_ends(self) -> None:
        self.let_jobs_end()
        self.run(asyncio.sleep(SECONDS + 1))
        self.model.end_job()

    @on("certain waits begun")
    @rule(iterates=st.booleans())
    def wait_for_job(self, iterates: bool) -> None:
        self.let_jobs_end()
        waiter = self.session.wait_for_job()

        async def wait() -> TurnResult:
            if iterates:
                async for _ in waiter:
                    pass
            return await waiter

        result = self.run(wait())
        assert result.text == self.model.finish()

    @on("certain running begun")
    @rule()
    def only_wait(self) -> None:
        self.let_jobs_end()
        status = self.run(self.session.wait_for_job().wait())
        assert not status.running
        self.model.end_job()

    @on("certain waits begun")
    @rule()
    def another_process_waits(self) -> None:
        """It has a token and nothing else; and goes on from there."""
        if self.token is None or self.token.run_id != self.session.run_id:
            return
        token = JobToken.from_json(self.token.to_json())
        self.client, self.token = self.new_client(), None
        self.let_jobs_end()
        result = self.run(self.client.wait_for_job(token).result())
        self.session = self.client.session(AGENT, run_id=token.run_id)
        self.taken_over = True
        assert result.text == self.model.finish()

    @on("begun")
    @rule()
    def another_process_goes_on(self) -> None:
        """It knows nothing of a message of unknown fate."""
        run_id = self.session.run_id
        self.client = self.new_client()
        self.session = self.client.session(AGENT, run_id=run_id)
        self.taken_over = True
        self.model.unknown = None

    @on("certain idle begun")
    @rule(share=st.floats(0, 0.99), how=st.sampled_from(["fin", "rst"]), jobs=st.sampled_from([0, 1]))
    def cut(self, share: float, how: Any, jobs: int) -> None:
        """The answer to the message is cut, and healed.

        In a run that it has not begun itself a client cannot know whether the same words were said before: it needs
        the beginning of the answer to know it again.
        """
        words = self.message(jobs)
        after = max(int(share * len(said(words, 0, jobs))), int(self.taken_over))
        self.emulator.faults.add(method="PUT", cut=how, cut_after=after)
        self.let_jobs_end()
        result = self.run(self.session.send(words, format="text"))
        self.model.accept(words, jobs)
        self.model.finish()
        assert result.recovered
        self.check(result, whole(words, jobs), rounds=jobs)

    @on("certain idle begun")
    @rule(arrives=st.booleans())
    def lose(self, arrives: bool) -> None:
        """There is no answer to the message."""
        words = self.message(0)
        self.emulator.faults.add(method="PUT", cut="rst", accept=arrives)
        with pytest.raises(OutcomeUnknownError) as caught:
            self.run(self.session.send(words))
        assert caught.value.safe_to_retry is None
        self.run(asyncio.sleep(1))
        self.model.unknown, self.model.arrived, self.model.bars = words, arrives, True
        if arrives:
            self.model.accept(words, 0)

    @on("uncertain")
    @rule()
    def send_though_uncertain(self) -> None:
        words = self.message(0)
        self.let_jobs_end()
        if self.model.arrived and self.model.bars:
            with pytest.raises(OutcomeUnknownError) as caught:
                self.run(self.session.send(words))
            assert caught.value.safe_to_retry is True  # this one was not sent
            return
        result = self.run(self.session.send(words))
        self.model.unknown = None
        rounds = int(self.model.running)
        if self.model.running:
            self.model.end_job()
        self.model.accept(words, 0)
        self.check(result, whole(words, 0), rounds)

    @rule()
    @on("begun")
    def reconcile(self) -> None:
        """Brings the answer, or says why it cannot: others may have said the same, or a job is over."""
        arrived = self.model.unknown is not None and self.model.arrived
        over, running = self.model.waits and not self.model.running, self.model.running
        self.let_jobs_end()
        try:
            result = self.run(self.session.reconcile())
        except OutcomeUnknownError:
            assert arrived
            assert self.taken_over
            if running:
                self.model.end_job()
            return
        except StreamInterruptedError as error:
            failure = error
        else:
            failure = None
        if failure is not None:
            assert arrived
            assert over or running
            assert failure.safe_to_retry is False
            self.model.bars = False
            if running:
                self.model.end_job()
            return
        if arrived:
            assert result is not None
            self.model.finish()
            assert int(running) <= len(result.jobs) <= self.model.jobs  # one that was over was seen before, or not
            self.check(result, whole(str(self.model.unknown), self.model.jobs), len(result.jobs))
        elif self.model.unknown is not None:
            assert result is None
        else:
            # What the last turn came to, also if it was left to its job.
            said = "".join(text for role, text in self.model.history if role == "assistant")
            assert result is None or result.status == "background" or said.endswith(result.text)
        self.model.unknown = None

    @on("certain idle begun")
    @rule(wait=st.integers(1, 12), jobs=st.sampled_from([0, 1]))
    def cancel(self, wait: int, jobs: int) -> None:
        """A message that was sent and cancelled before its answer is of unknown fate, but nothing is barred by it."""
        words = self.message(jobs)
        self.hold_jobs()
        turn = self.session.stream(words)

        async def read() -> Outcome:
            outcome = await cancelled_at(wait, "early", turn.result())
            await asyncio.sleep(1)
            return outcome

        outcome = self.run(read())
        if words in self.heard:
            self.model.accept(words, jobs)
            if not outcome.propagated and outcome.value is not None:
                self.model.finish()
            else:
                self.model.unknown, self.model.arrived, self.model.bars = words, True, False

    @on("certain idle begun")
    @rule()
    def too_many(self) -> None:
        """A message that was refused for its rate is sent again, and accepted once."""
        words = self.message(0)
        self.emulator.faults.add(method="PUT", status=429, retry_after=1)
        result = self.run(self.session.send(words))
        self.model.accept(words, 0)
        self.check(result, whole(words, 0))

    # What must always be so

    def check(self, result: TurnResult, text: str, rounds: int = 0) -> None:
        assert (result.text, result.status, len(result.jobs)) == (text, "completed", rounds)
        assert result.run_id == self.session.run_id

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "session"):
            return
        assert self.heard == self.model.heard
        assert self.session.run_id is not None or not self.model.heard
        history = self.run(self.session.history())
        assert [(entry.role, entry.text) for entry in history] == self.model.history
        if self.session.run_id is not None:
            status = self.run(self.session.job_status())
            assert status.running == self.model.running


TestConversation = Conversation.TestCase
TestConversation.settings = settings(
    max_examples=20,
    stateful_step_count=15,
    deadline=None,
    phases=[Phase.generate],  # no search for a smaller failure, which takes minutes; the steps are shown as they are
)
