"""``toolhouse-async reconcile``: what became of messages that another process has sent."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from ...errors import ConfigurationError, OutcomeUnknownError, ToolhouseError
from ..jsonlines import document_line
from ..statuses import Status, status_of
from ..telling import show_result
from ..terminal import described, fail, one_line
from ..words import Words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..._client import AsyncToolhouse
    from ..._session import Session
    from ..._values.results import TurnResult
    from .target import Target

__all__ = ["reconcile"]

_OUTCOMES: Final[Mapping[Status, str]] = {
    Status.DONE: "answered",
    Status.RUNNING: "accepted",
    Status.UNKNOWN: "unknown",
    Status.FAILED: "failed",
}


async def reconcile(
    toolhouse: AsyncToolhouse, target: Target, messages: Sequence[str | None], *, timeout: float | None, as_json: bool
) -> int:
    """Find the answers to messages in a run's history, and print them; what became of each is said on stderr.

    Jobs that run are waited for, and the run is resumed where it waits for that. Nothing else is sent.

    Args:
        toolhouse: The client.
        target: The run.
        messages: The messages, looked for one after the other; ``None`` is the run's last one.
        timeout: Seconds for each.
        as_json: Write a line of JSON for each in place of the answers.

    Returns:
        The exit status: 0 if all have their answer, else the largest of what they have by themselves.

    Raises:
        ConfigurationError: An argument is wrong.
        OutputError: Stdout cannot be written to.

    Cancelling ends the search, and changes nothing.
    """
    worst = Status.DONE
    words = Words()
    async with toolhouse, toolhouse.session(target.agent_id, run_id=target.run_id) as session:
        refusal = await _refusal(session)
        for message in messages:
            what = "the last message" if message is None else f'"{one_line(message)}"'
            words.notice(f"looking in the history for {what}")
            result, failure = None, refusal
            try:
                if failure is None:
                    result, failure = await _look(session, message, timeout)
            except asyncio.CancelledError:
                _tell_way_on(target, messages)
                raise
            status = Status.DONE if failure is None else status_of(failure)
            unread = isinstance(failure, OutcomeUnknownError) and isinstance(failure.__cause__, ToolhouseError)
            if refusal is not None or unread:
                status = Status.FAILED  # the service could never be asked
            worst = max(worst, status)
            outcome = _OUTCOMES[status]
            if as_json:
                document = {"message": message, "outcome": outcome, "result": result}
                document["error"] = None if failure is None else described(failure)
                sys.stdout.write(document_line(document))
                sys.stdout.flush()
            elif result is not None:
                show_result(result, as_json=False)
            if failure is not None:
                fail(described(failure))
            words.notice(f"{what}: {outcome}")
    if worst is Status.RUNNING:
        _tell_way_on(target, messages)
    return worst


async def _look(
    session: Session, message: str | None, timeout: float | None
) -> tuple[TurnResult | None, ToolhouseError | None]:
    """The answer to a message, or why there is none."""
    try:
        return await session.recover(message, timeout=timeout), None
    except ConfigurationError:
        raise
    except ToolhouseError as error:
        return None, error


def _tell_way_on(target: Target, messages: Sequence[str | None]) -> None:
    said = [message for message in messages if message is not None]
    print(target.way_to_find_out(*said), file=sys.stderr, flush=True)


async def _refusal(session: Session) -> ToolhouseError | None:
    """Why the run cannot be read at all. A search by itself would wait for a service that is not there."""
    try:
        await session.job_status()
    except ConfigurationError:
        raise
    except ToolhouseError as error:
        return error
    return None
