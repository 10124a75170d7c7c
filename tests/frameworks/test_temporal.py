"""A worker as an activity of Temporal, in its own environment for tests; it needs ``pip install temporalio``."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import importlib.util
import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.docs.blocks import marked
from tests.docs.setups import serving
from tests.docs.test_examples import check_output
from tests.support.answers import KEY, unused_port
from tests.web.support import AGENT, World, world_and_client
from toolhouse_async import AsyncToolhouse, NotFoundError, RetryPolicy, ToolhouseError

pytestmark = pytest.mark.filterwarnings("ignore")  # Temporal's own

if importlib.util.find_spec("temporalio") is None:
    pytest.skip("needs temporalio", allow_module_level=True)

with warnings.catch_warnings(action="ignore"):
    from temporalio import workflow
    from temporalio.exceptions import ApplicationError
    from temporalio.testing import ActivityEnvironment
    from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
BOOKING = "Book a table"


@pytest.fixture(scope="module")
def example() -> Any:
    """The example, under its own name, since the sandbox of workflows imports it once more."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(action="ignore"):
        patch.syspath_prepend(str(EXAMPLES))
        yield importlib.import_module("temporal_worker")
        sys.modules.pop("temporal_worker")


class Attempt:
    """One attempt of the activity, in a process of its own as far as the client can tell.

    Attributes:
        told: The details of its heartbeats, with the times at which they came.
    """

    def __init__(self, example: ModuleType, client: AsyncToolhouse, number: int = 1, known: Any = ()) -> None:
        self.told: list[tuple[float, tuple[Any, ...]]] = []
        self._example = example
        self._client = client
        self.environment = ActivityEnvironment()
        self.environment.on_heartbeat = lambda *details: self.told.append((now(), details))
        self.environment.info = dataclasses.replace(
            ActivityEnvironment.default_info(),
            attempt=number,
            heartbeat_details=list(known),
            heartbeat_timeout=timedelta(seconds=30),
        )

    @property
    def known(self) -> tuple[Any, ...]:
        """What the next attempt will know."""
        return self.told[-1][1] if self.told else tuple(self.environment.info.heartbeat_details)

    async def ask(self, message: str, *, agent_id: str = AGENT, **options: Any) -> Any:
        activities = self._example.Activities(self._client)
        return await self.environment.run(activities.ask, self._example.Question(agent_id, message, **options))


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def next_process(world: World, client: AsyncToolhouse) -> AsyncIterator[AsyncToolhouse]:
    """A client that knows nothing of what the other one did."""
    rules = client._core.rules
    async with AsyncToolhouse(
        KEY, base_url=world.server.url, polling=rules.polling, recovery=rules.recovery
    ) as another:
        yield another


async def told_of_the_run(attempt: Attempt) -> str:
    while not attempt.known:
        await asyncio.sleep(0.01)
    (run_id,) = attempt.known
    return run_id


async def test_the_answer_comes_and_its_run_is_told(example: Any) -> None:
    async with world_and_client() as (world, client):
        attempt = Attempt(example, client)
        answer = await attempt.ask("words 3")
        assert answer.text == "word0 word1 word2 "
        assert [details for _, details in attempt.told] == [(answer.run_id,)]
        assert world.accepted == ["words 3"]


async def test_it_is_alive_as_long_as_the_turn_runs(example: Any) -> None:
    async with world_and_client() as (world, client):
        attempt = Attempt(example, client)
        began = now()
        asking = asyncio.create_task(attempt.ask("job"))
        await asyncio.sleep(95)
        world.go_on.set()
        answer = await asking
        assert answer.text == "Computing. The job says 42."
        times = [round(time - began) for time, _ in attempt.told]
        assert times[:10] == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
        assert {details for _, details in attempt.told} == {(answer.run_id,)}
        await asyncio.sleep(60)
        assert len(attempt.told) == len(times)  # and then it is silent


async def test_it_is_alive_before_its_run_is_known(example: Any) -> None:
    async def slow(ctx: Any) -> AsyncIterator[Any]:
        await asyncio.sleep(25)
        yield ctx.text("at last")

    async with world_and_client() as (world, client):
        world.emulator.worker("slow")(slow)
        attempt = Attempt(example, client)
        answer = await attempt.ask("one", agent_id="slow")
        assert [details for _, details in attempt.told] == [(), (), (answer.run_id,)]


@pytest.mark.parametrize("message", ["wait", "job"])
@pytest.mark.parametrize("is_early", [True, False], ids=["while-it-runs", "when-it-is-over"])
async def test_the_next_attempt_brings_the_answer_and_sends_nothing(example: Any, message: str, is_early: bool) -> None:
    async with world_and_client() as (world, client):
        first = Attempt(example, client)
        asking = asyncio.create_task(first.ask(message))
        run_id = await told_of_the_run(first)
        await asyncio.sleep(3)
        asking.cancel()  # the process is killed
        await asyncio.wait([asking])
        async with next_process(world, client) as another:
            second = Attempt(example, another, 2, first.known)
            if is_early:
                asking = asyncio.create_task(second.ask(message))
                await asyncio.sleep(5)
                world.go_on.set()
                answer = await asking
            else:
                world.go_on.set()
                await asyncio.sleep(5)
                answer = await second.ask(message)
        assert answer.run_id == run_id
        assert answer.text == ("first second" if message == "wait" else "Computing. The job says 42.")
        assert world.accepted == ([message] if message == "wait" else [message, ""])  # "" is the resume
        assert {details for _, details in second.told} <= {(run_id,)}


async def test_what_may_have_been_accepted_is_not_sent_again(example: Any) -> None:
    async with world_and_client() as (world, client):
        with pytest.raises(ApplicationError, match="Nobody knows whether the worker has the message") as caught:
            await Attempt(example, client, 2).ask(BOOKING)
        assert caught.value.non_retryable
        assert world.server.requests == []
        assert (await Attempt(example, client, 2).ask(BOOKING, may_repeat=True)).text == BOOKING.partition(" ")[2]
        assert world.accepted == [BOOKING]


async def test_an_endless_pause_is_bounded(example: Any) -> None:
    async with world_and_client() as (world, client):
        world.emulator.faults.add(method="POST", status=429, headers={"Retry-After": "1e99"})
        with pytest.raises(ApplicationError) as caught:
            await Attempt(example, client).ask(BOOKING)
        assert caught.value.next_retry_delay == timedelta(hours=1)


async def test_what_was_refused_is_tried_again_and_accepted_once(example: Any) -> None:
    async with world_and_client() as (world, client):
        world.emulator.faults.add(method="POST", status=429, headers={"Retry-After": "100"})
        first = Attempt(example, client)
        with pytest.raises(ApplicationError, match="The worker does not have the message") as caught:
            await first.ask(BOOKING)
        assert not caught.value.non_retryable
        assert caught.value.type == "RateLimitError"
        assert caught.value.next_retry_delay == timedelta(seconds=100)
        assert world.accepted == []
        second = Attempt(example, client, 2, first.known)
        await second.ask(BOOKING)
        assert world.accepted == [BOOKING]


async def test_what_an_attempt_before_the_last_has_told_counts_no_more(example: Any) -> None:
    """The second one may have sent it and have died before it told anything."""
    async with world_and_client() as (world, client):
        world.emulator.faults.add(method="POST", status=429, headers={"Retry-After": "100"})
        first = Attempt(example, client)
        with pytest.raises(ApplicationError):
            await first.ask(BOOKING)
        with pytest.raises(ApplicationError, match="Nobody knows") as caught:
            await Attempt(example, client, 3, first.known).ask(BOOKING)
        assert caught.value.non_retryable
        assert world.accepted == []


@pytest.mark.parametrize(
    ("fault", "words", "is_final"),
    [
        ({"status": 502, "accept": True}, "Nobody knows whether the worker has the message", True),
        ({"status": 422}, "The worker does not have the message", True),
        ({"status": 401}, "The worker does not have the message", True),
        ({"status": 425}, "The worker does not have the message", False),
    ],
    ids=str,
)
async def test_only_what_is_safe_is_tried_again(example: Any, fault: Any, words: str, is_final: bool) -> None:
    async with world_and_client() as (world, client):
        world.emulator.faults.add(method="POST", **fault)
        with pytest.raises(ApplicationError, match=words) as caught:
            await Attempt(example, client).ask(BOOKING)
        assert caught.value.non_retryable is is_final
        assert isinstance(caught.value.__cause__, ToolhouseError)
        assert KEY not in str(caught.value)


async def test_the_user_may_decide_that_it_is_repeated(example: Any) -> None:
    async with world_and_client() as (world, client):
        world.emulator.faults.add(method="POST", status=502, accept=True)
        first = Attempt(example, client)
        with pytest.raises(ApplicationError, match="Nobody knows") as caught:
            await first.ask(BOOKING, may_repeat=True)
        assert not caught.value.non_retryable
        await Attempt(example, client, 2, first.known).ask(BOOKING, may_repeat=True)
        assert world.accepted == [BOOKING, BOOKING]


async def test_a_service_that_is_away_is_tried_again(example: Any) -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    async with AsyncToolhouse(KEY, base_url=url, retries=RetryPolicy(max_attempts=1)) as client:
        first = Attempt(example, client)
        with pytest.raises(ApplicationError, match="The worker does not have the message") as caught:
            await first.ask(BOOKING)
        assert not caught.value.non_retryable
        assert first.known == (None, 1)


@pytest.mark.parametrize("may_repeat", [False, True])
async def test_a_worker_that_fails_is_not_asked_again(example: Any, may_repeat: bool) -> None:
    async with world_and_client() as (world, client):
        attempt = Attempt(example, client)
        with pytest.raises(ApplicationError, match="The worker has the message") as caught:
            await attempt.ask("fail", may_repeat=may_repeat)
        assert caught.value.non_retryable
        assert caught.value.type == "WorkerError"
        assert caught.value.details[0]["run_id"] == await told_of_the_run(attempt)
        assert world.accepted == ["fail"]


async def test_a_run_that_cannot_be_read_is_told_as_it_is(example: Any) -> None:
    async with world_and_client() as (world, client):
        with pytest.raises(ApplicationError, match="The worker has the message") as caught:
            await Attempt(example, client, 2, ["no-such-run"]).ask(BOOKING, may_repeat=True)
        assert caught.value.non_retryable
        assert isinstance(caught.value.__cause__, NotFoundError)
        assert world.accepted == []


@pytest.mark.parametrize("message", ["wait", "job"])
async def test_cancelling_the_activity_ends_the_turn(example: Any, message: str) -> None:
    async with world_and_client() as (world, client):
        attempt = Attempt(example, client)
        asking = asyncio.create_task(attempt.ask(message))
        await told_of_the_run(attempt)
        attempt.environment.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        seen, told = len(world.server.requests), len(attempt.told)
        world.go_on.set()
        await asyncio.sleep(60)
        assert (len(world.server.requests), len(attempt.told)) == (seen, told)
        assert world.accepted == [message]


async def test_the_workflow_passes_the_sandbox(example: Any) -> None:
    SandboxedWorkflowRunner().prepare_workflow(workflow._Definition.must_from_class(example.AskOnce))


async def test_the_page_shows_both_attempts(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = (block for block in marked("recipe") if block.argument == "temporal")
    code = compile(block.code, block.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    heard: list[str] = []

    async def listening(ctx: Any) -> AsyncIterator[Any]:
        heard.append(ctx.message)
        yield ctx.text(ctx.message)

    async with serving(listening) as names:
        names |= {"Activities": example.Activities, "Question": example.Question, "heard": heard}
        capsys.readouterr()
        await eval(code, names)
    check_output(block, capsys.readouterr().out)
