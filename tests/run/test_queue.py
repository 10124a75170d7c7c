from __future__ import annotations

import asyncio
from typing import Any

import pytest

from toolhouse_async import Message, SessionBusyError
from toolhouse_async._run import Run


class Holder:
    """Who holds a run, as an exchange does; resumes that it inherits are kept."""

    def __init__(self) -> None:
        self.stepped_by: asyncio.Task[object] | None = None
        self.inherited: list[Any] = []

    def inherit(self, resume: Any) -> None:
        self.inherited.append(resume)


async def waits(run: Run, holder: Holder) -> asyncio.Task[None]:
    task = asyncio.ensure_future(run.acquire(holder))
    await asyncio.sleep(0)
    return task


async def test_first_come_first_served() -> None:
    run, holders = Run(), [Holder() for _ in range(4)]
    await run.acquire(holders[0])
    await run.acquire(holders[0])  # who has it does not wait
    tasks = [await waits(run, holder) for holder in holders[1:]]
    for place, task in enumerate(tasks):
        assert not task.done()
        run.release(holders[place])
        run.release(holders[place])  # who has it no more gives nothing away
        await asyncio.sleep(0)
        await task
    assert not any(task.cancelled() for task in tasks)


async def test_nobody_overtakes_while_the_run_is_handed_over() -> None:
    run, first, second, third = Run(), Holder(), Holder(), Holder()
    await run.acquire(first)
    task = await waits(run, second)
    run.release(first)
    late = asyncio.ensure_future(run.acquire(third))
    await task
    await asyncio.sleep(1)
    assert not late.done()
    run.release(second)
    await late


async def test_who_is_cancelled_in_the_queue_is_passed_over() -> None:
    run, holders = Run(), [Holder() for _ in range(3)]
    await run.acquire(holders[0])
    tasks = [await waits(run, holder) for holder in holders[1:]]
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    run.release(holders[0])
    await tasks[1]


async def test_who_is_cancelled_just_when_it_is_their_turn_hands_on() -> None:
    run, holders = Run(), [Holder() for _ in range(3)]
    await run.acquire(holders[0])
    tasks = [await waits(run, holder) for holder in holders[1:]]
    run.release(holders[0])
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    assert tasks[0].cancelled()
    await tasks[1]


async def test_waiting_for_oneself_is_refused() -> None:
    run, mine, theirs = Run(), Holder(), Holder()
    mine.stepped_by = asyncio.current_task()
    await run.acquire(mine)
    with pytest.raises(SessionBusyError, match="another turn open"):
        await run.acquire(theirs)
    other = await waits(run, theirs)  # another task may wait
    run.release(mine)
    await other


async def test_who_waits_for_the_run_and_inherits_a_resume_goes_on_without_the_run() -> None:
    run, sender, waiting, other = Run(), Holder(), Holder(), Holder()
    await run.acquire(sender)
    run.waiting |= dict.fromkeys([sender, waiting])
    task, behind = await waits(run, waiting), await waits(run, other)
    resume: Any = object()
    run.share(resume, sender)
    await task
    assert (waiting.inherited, sender.inherited, other.inherited) == ([resume], [], [])
    assert not run.waiting
    assert not behind.done()
    run.pass_on(waiting, other)  # who has it not cannot pass it on
    run.pass_on(sender, waiting)
    run.release(sender)
    await asyncio.sleep(1)
    assert not behind.done()
    run.release(waiting)
    await behind


async def test_who_has_just_been_cancelled_inherits_nothing_that_hurts() -> None:
    run, sender, waiting = Run(), Holder(), Holder()
    await run.acquire(sender)
    run.waiting |= dict.fromkeys([waiting])
    task = await waits(run, waiting)
    task.cancel()
    resume: Any = object()
    run.share(resume, sender)
    await asyncio.wait([task])
    assert task.cancelled()
    run.release(sender)
    await run.acquire(Holder())


async def test_who_is_cancelled_just_when_they_inherit() -> None:
    run, sender, waiting = Run(), Holder(), Holder()
    await run.acquire(sender)
    run.waiting |= dict.fromkeys([waiting])
    task = await waits(run, waiting)
    resume: Any = object()
    run.share(resume, sender)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    run.release(sender)
    await run.acquire(Holder())


def test_how_often_words_were_said() -> None:
    run = Run()
    assert run.times_said("x") is None  # others may have said them
    run.begun = 1.0
    assert run.times_said("x") == 0
    run.said("x")
    run.said("x")
    run.said(None)
    assert (run.times_said("x"), run.times_said(""), run.times_said(None), run.times_said("y")) == (2, 1, 1, 0)


@pytest.mark.parametrize(
    ("entries", "shown"),
    [
        (["u: hi", "a: one", "t: x", "u: ", "a: t wo", "u: hi"], True),
        (["u: hi", "a: one", "u: hi", "a: two"], True),  # an empty message may not be recorded
        (["u: hi", "a: one", "u: hi"], False),
        (["u: hi", "a: two"], False),
        (["u: hi ", "a: one", "u: hi", "a: two"], False),  # stored in another form
        (["a: one", "u: hi", "a: two"], False),  # a window
        ([], False),
    ],
)
def test_a_history_that_lags_does_not_show_all_that_was_said_and_heard(entries: list[str], shown: bool) -> None:
    run = Run()
    for words in ("hi", None, "hi"):
        run.said(words)
    run.heard = "two"
    roles = {"u": "user", "a": "assistant", "t": "tool"}
    history = [Message(roles[entry[0]], entry[3:], None) for entry in entries]
    assert run.is_shown_in(history) is shown


def test_where_nothing_was_said_or_heard_any_history_will_do() -> None:
    assert Run().is_shown_in([])
