from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from tests.run.support import Holder, waits
from toolhouse_async._run.shared import SharedRun
from toolhouse_async._turn.knowledge import Run


async def test_who_waits_for_the_run_and_inherits_a_resume_goes_on_without_the_run() -> None:
    run, sender, waiting, other = SharedRun(Run()), Holder(), Holder(), Holder()
    await run.queue.acquire(sender)
    run.waiting |= dict.fromkeys([sender, waiting])
    task, behind = await waits(run.queue, waiting), await waits(run.queue, other)
    resume: Any = object()
    run.share(resume, sender)
    await task
    assert (waiting.inherited, sender.inherited, other.inherited) == ([resume], [], [])
    assert not run.waiting
    assert run.resuming is resume
    assert not behind.done()
    run.queue.pass_on(waiting, other)  # who has it not cannot pass it on
    run.queue.pass_on(sender, waiting)
    run.queue.release(sender)
    await asyncio.sleep(1)
    assert not behind.done()
    run.queue.release(waiting)
    await behind


async def test_who_has_just_been_cancelled_inherits_nothing_that_hurts() -> None:
    run, sender, waiting = SharedRun(Run()), Holder(), Holder()
    await run.queue.acquire(sender)
    run.waiting |= dict.fromkeys([waiting])
    task = await waits(run.queue, waiting)
    task.cancel()
    resume: Any = object()
    run.share(resume, sender)
    await asyncio.wait([task])
    assert task.cancelled()
    run.queue.release(sender)
    await run.queue.acquire(Holder())


async def test_who_is_cancelled_just_when_they_inherit() -> None:
    run, sender, waiting = SharedRun(Run()), Holder(), Holder()
    await run.queue.acquire(sender)
    run.waiting |= dict.fromkeys([waiting])
    task = await waits(run.queue, waiting)
    resume: Any = object()
    run.share(resume, sender)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    run.queue.release(sender)
    await run.queue.acquire(Holder())


def test_a_resume_is_forgotten_once_nobody_can_take_part_in_it() -> None:
    run = SharedRun(Run())
    resume, other = (SimpleNamespace(may_join=may_join) for may_join in (True, False))
    run.resuming = resume  # type: ignore[assignment]
    run.leave(other)  # type: ignore[arg-type]
    run.leave(resume)  # type: ignore[arg-type]
    assert run.resuming is resume
    resume.may_join = False
    run.leave(resume)  # type: ignore[arg-type]
    assert run.resuming is None
