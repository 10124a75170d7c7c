"""``toolhouse-async wait``: wait for a run's background job, and bring the answer behind it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from attrs import evolve

from ..._values.settings import PollingPolicy
from ...errors import ConfigurationError, ToolhouseError, TurnTimeoutError
from ..statuses import Status, status_of
from ..telling import show_failure, show_json, show_result
from ..words import Words
from .reading import show_status
from .target import IF_OVER, SEARCH

if TYPE_CHECKING:
    from ..._client import AsyncToolhouse
    from ..._session import BackgroundJobWaiter, Session
    from .target import Target

__all__ = ["PATIENT", "wait"]

PATIENT: Final = PollingPolicy(deadline=None)
"""Waits as long as a job runs: ``--timeout`` is the only limit, however long ago the job began."""


async def wait(toolhouse: AsyncToolhouse, target: Target, *, resume: bool, timeout: float | None, as_json: bool) -> int:
    """Wait for a run's job, resume the run, and print the answer; notices go to stderr.

    A run that has no job is not resumed, unless its history shows that it waits for that.

    Returns:
        The exit status: 0 with the answer, or, without ``resume``, once no job runs; else by what is known.

    Raises:
        ConfigurationError: An argument is wrong.
        OutputError: Stdout cannot be written to.

    Cancelling ends the wait; the job goes on.
    """
    async with toolhouse, toolhouse.session(target.agent_id, run_id=target.run_id) as session:
        running: bool | None = None
        try:
            # Read once before all else: a waiter by itself would wait for a service that is not there.
            running = (await session.job_status()).running
            if not resume:
                await _watch(toolhouse, session, target, timeout, as_json=as_json)
            elif running:
                await _follow(toolhouse, session, target, timeout, as_json=as_json)
            else:
                await _search(session, timeout, as_json=as_json)
        except ConfigurationError:
            raise
        except (ToolhouseError, asyncio.CancelledError) as error:
            show_failure(error, target.run_id, as_json=as_json and resume)
            if isinstance(error, asyncio.CancelledError):
                status = Status.RUNNING
            else:  # a reading that fails says nothing of a message
                status = Status.FAILED if running is None else status_of(error)
            if status is Status.RUNNING:
                again = target if resume else evolve(target, options=(*target.options, "--no-resume"))
                time = f" {IF_OVER}" if resume else ""
                print(f"Go on{time} with: {again.command('wait')}", file=sys.stderr, flush=True)
            if isinstance(error, asyncio.CancelledError):
                raise
            return status
    return Status.DONE


async def _watch(
    toolhouse: AsyncToolhouse, session: Session, target: Target, timeout: float | None, *, as_json: bool
) -> None:
    """Wait until no job runs, send nothing, and say where the run stands."""
    status = await _waiter(toolhouse, session, target, timeout).wait()
    history = await session.history() if status.history is None else status.history
    show_status(status, history, target, as_json=as_json)


async def _follow(
    toolhouse: AsyncToolhouse, session: Session, target: Target, timeout: float | None, *, as_json: bool
) -> None:
    """Wait for the job that runs, and show the answer as it comes."""
    words = Words()
    show = show_json if as_json else words
    waiter = _waiter(toolhouse, session, target, timeout)
    try:
        async for event in waiter:
            show(event)
    finally:
        await waiter.aclose()
        words.end_line()


async def _search(session: Session, timeout: float | None, *, as_json: bool) -> None:
    """Show the answer that the history has; resume the run where the history shows that it waits for that."""
    words = Words()
    words.notice(f"no job runs; looking in the history for the answer, which may take {SEARCH} s")
    try:
        result = await session.recover(timeout=timeout)
    except TurnTimeoutError:
        words.notice(f"each call looks anew, for {SEARCH} s until it resumes: leave --timeout out, or give it more")
        raise
    show_result(result, as_json=as_json)


def _waiter(toolhouse: AsyncToolhouse, session: Session, target: Target, timeout: float | None) -> BackgroundJobWaiter:
    return toolhouse.wait_for_job(target.token or session, polling=PATIENT, timeout=timeout)
