"""Workers of Toolhouse's as activities of Temporal: each message is accepted once, whatever becomes of the process.

It needs a Temporal service: TEMPORAL_ADDRESS names it, else it is the one that `temporal server start-dev` starts on
this machine. With a message it runs one workflow and ends; without one it serves until Ctrl-C:

    pip install toolhouse-async temporalio
    TOOLHOUSE_API_KEY=… AGENT_ID=… python temporal_worker.py 'Analyze this CSV'
"""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from toolhouse_async import (
        APIStatusError,
        AsyncToolhouse,
        AuthenticationError,
        BadRequestError,
        ConfigurationError,
        NotFoundError,
        PermissionDeniedError,
        ToolhouseError,
        TurnStarted,
        UnprocessableEntityError,
    )

TASK_QUEUE = "toolhouse"
SILENCE = timedelta(seconds=30)
"""After how much silence Temporal takes an attempt for dead, and begins the next one."""
PAUSE = 10.0
"""Seconds between heartbeats where the workflow sets no heartbeat timeout."""
MISTAKES = (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    UnprocessableEntityError,
)
"""What is refused again, however often it is sent."""
LONGEST_DELAY = 3600
"""Seconds until the next attempt, where the service asks for more."""
FATES = {
    True: "The worker does not have the message.",
    False: "The worker has the message, and its answer was not received whole.",
    None: "Nobody knows whether the worker has the message: find out before it is sent again.",
}
"""What ``safe_to_retry`` says, in words."""


@dataclass
class Question:
    """What to say to a worker.

    Attributes:
        agent_id: The worker's id or URL.
        message: What to say.
        may_repeat: Whether to send the message again where nobody knows if the worker has it: it may do all twice then.
    """

    agent_id: str
    message: str
    may_repeat: bool = False


@dataclass
class Answer:
    """What a worker has answered, and in which run."""

    run_id: str | None
    text: str


class Heartbeats:
    """How far an attempt has come, as the next one will know it."""

    def __init__(self, *details: Any) -> None:
        self._details = details

    def tell(self, *details: Any) -> None:
        """Tell Temporal something new."""
        self._details = details
        activity.heartbeat(*details)

    @asynccontextmanager
    async def go_on(self) -> AsyncIterator[None]:
        """Tell it again and again for the length of a block: the attempt is alive. Temporal's answer may cancel it."""
        silence = activity.info().heartbeat_timeout
        task = asyncio.create_task(self._repeat(PAUSE if silence is None else silence.total_seconds() / 3))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _repeat(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            activity.heartbeat(*self._details)


class Activities:
    """The activities, with the client that they share."""

    def __init__(self, toolhouse: AsyncToolhouse) -> None:
        self._toolhouse = toolhouse

    @activity.defn
    async def ask(self, question: Question) -> Answer:
        """Send a message in a run of its own and bring the answer; a further attempt brings it from that run."""
        attempt, details = activity.info().attempt, list(activity.info().heartbeat_details)
        run_id: str | None = details[0] if details else None
        is_first = attempt == 1 or details == [None, attempt - 1]  # by what the attempt just before this one has told
        if run_id is None and not (is_first or question.may_repeat):
            raise ApplicationError(
                f"An earlier attempt ended before its run was known. {FATES[None]}", type="Unknown", non_retryable=True
            )
        heartbeats = Heartbeats() if run_id is None else Heartbeats(run_id)
        try:
            async with heartbeats.go_on():
                if run_id is not None:
                    result = await self._toolhouse.recover(question.agent_id, run_id, question.message)
                else:
                    async with self._toolhouse.stream(question.agent_id, question.message) as turn:
                        async for event in turn:
                            if isinstance(event, TurnStarted) and event.run_id is not None:
                                run_id = event.run_id
                                heartbeats.tell(run_id)
                        result = await turn.result()
        except ToolhouseError as error:
            if run_id is None and error.safe_to_retry is True:
                heartbeats.tell(None, attempt)  # nothing is under way: the next attempt may send it
            raise failed(error, run_id, may_repeat=question.may_repeat) from error
        return Answer(result.run_id, result.text)


def failed(error: ToolhouseError, run_id: str | None, *, may_repeat: bool) -> ApplicationError:
    """What Temporal is told of an error: in words, whether to try again, and when."""
    fate = error.safe_to_retry if run_id is None else False  # where the run is known, its message was accepted
    may_retry = (fate is True and not isinstance(error, MISTAKES)) or (fate is None and may_repeat)
    after = error.retry_after if isinstance(error, APIStatusError) else None
    return ApplicationError(
        f"{FATES[fate]} {type(error).__name__}: {error}",
        {"run_id": run_id or error.run_id, "job": None if error.token is None else error.token.to_json()},
        type=type(error).__name__,
        non_retryable=not may_retry,
        next_retry_delay=None if after is None else timedelta(seconds=min(after, LONGEST_DELAY)),
    )


@workflow.defn
class AskOnce:
    """A workflow of one question; any other calls the activity in the same way."""

    @workflow.run
    async def run(self, question: Question) -> str:
        """Return the worker's words."""
        answer = await workflow.execute_activity_method(
            Activities.ask,
            question,
            start_to_close_timeout=timedelta(hours=1),  # of one attempt, background jobs included
            heartbeat_timeout=SILENCE,
            retry_policy=RetryPolicy(maximum_attempts=10),
        )
        return answer.text


async def main(message: str | None) -> None:
    """Serve the workflow and the activity; ask one question by them, or go on until Ctrl-C."""
    temporal = await Client.connect(os.environ.get("TEMPORAL_ADDRESS", "localhost:7233"))
    async with (
        AsyncToolhouse() as toolhouse,
        Worker(
            temporal,
            task_queue=TASK_QUEUE,
            workflows=[AskOnce],
            activities=[Activities(toolhouse).ask],
            graceful_shutdown_timeout=timedelta(seconds=20),  # for turns that are under way
        ),
    ):
        if message is None:
            await asyncio.Event().wait()
        else:
            question = Question(os.environ["AGENT_ID"], message)
            print(
                await temporal.execute_workflow(AskOnce.run, question, id=f"ask-{uuid.uuid4()}", task_queue=TASK_QUEUE)
            )


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
