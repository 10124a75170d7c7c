"""Taking over a job that another process had left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING

from .._wire.stage import Stage
from ..errors import LeaseLostError, OutcomeUnknownError

if TYPE_CHECKING:
    from .._session import Session
    from .._values.results import TurnResult
    from .._values.settings import PollingPolicy
    from .checkout import Checkout
    from .house import House


async def finish(
    house: House,
    checkout: Checkout,
    session: Session,
    resume_message: str,
    polling: PollingPolicy | None,
    timeout: float | None,
    deliver: Callable[[str, TurnResult], Awaitable[None]] | None,
) -> TurnResult | None:
    """Wait for the job of a key, resume its run, and hand the answer over; ``None`` if it is not ours to do.

    Raises:
        OutcomeUnknownError: The process was sending a message when it stopped, and nobody knows its outcome.
        ClosedError: The manager was closed while this waited.
        ToolhouseError: The job or the resume failed.
    """
    if house.gates.is_used(checkout.key):
        return None  # this process is at work with it
    task = asyncio.current_task()
    if not await checkout.enter(lambda: task, unless_alive=True):
        return None
    checkout.keeps_token = True
    result = None
    try:
        if checkout.pending is not None:
            async with house.until_closed():
                result = await _answer(checkout, session, resume_message, polling, timeout)
            if deliver is not None:
                delivery = deliver(checkout.key, result)
                if isawaitable(delivery):  # a plain function has delivered it by now
                    await delivery
            checkout.delivered()
    finally:
        checkout.conversation.close()
        checkout.leave()
    error = await checkout.left()
    if error is not None and not isinstance(error, LeaseLostError):
        raise error
    return result


async def _answer(
    checkout: Checkout, session: Session, resume_message: str, polling: PollingPolicy | None, timeout: float | None
) -> TurnResult:
    unsettled = checkout.unsettled
    if unsettled is not None and unsettled.bars:
        raise OutcomeUnknownError(
            "a message of this conversation was being sent when its turn was closed or its process ended, and nobody "
            "knows whether it was accepted: session.reconcile() of a checkout finds out"
        )
    if unsettled is not None and unsettled.resumes and unsettled.stage is not Stage.JOB:
        checkout.goes_on_from_job()  # the resume may have been sent already
        return await session.recover(resume_message=resume_message, timeout=timeout)
    return await session.wait_for_job(resume_message=resume_message, polling=polling, timeout=timeout)
