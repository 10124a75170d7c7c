from __future__ import annotations

import asyncio

import pytest

from tests.run.support import Holder, waits
from toolhouse_async import SessionBusyError
from toolhouse_async._run.queue import Queue


async def test_first_come_first_served() -> None:
    queue, holders = Queue(), [Holder() for _ in range(4)]
    await queue.acquire(holders[0])
    await queue.acquire(holders[0])  # who has it does not wait
    tasks = [await waits(queue, holder) for holder in holders[1:]]
    for place, task in enumerate(tasks):
        assert not task.done()
        queue.release(holders[place])
        queue.release(holders[place])  # who has it no more gives nothing away
        await asyncio.sleep(0)
        await task
    assert not any(task.cancelled() for task in tasks)


async def test_nobody_overtakes_while_the_run_is_handed_over() -> None:
    queue, first, second, third = Queue(), Holder(), Holder(), Holder()
    await queue.acquire(first)
    task = await waits(queue, second)
    queue.release(first)
    late = asyncio.ensure_future(queue.acquire(third))
    await task
    await asyncio.sleep(1)
    assert not late.done()
    queue.release(second)
    await late


async def test_who_is_cancelled_in_the_queue_is_passed_over() -> None:
    queue, holders = Queue(), [Holder() for _ in range(3)]
    await queue.acquire(holders[0])
    tasks = [await waits(queue, holder) for holder in holders[1:]]
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    queue.release(holders[0])
    await tasks[1]


async def test_who_is_just_being_cancelled_in_the_queue_is_passed_over() -> None:
    queue, holders = Queue(), [Holder() for _ in range(3)]
    await queue.acquire(holders[0])
    tasks = [await waits(queue, holder) for holder in holders[1:]]
    tasks[0].cancel()
    queue.release(holders[0])
    await tasks[1]
    assert queue.is_held_by(holders[2])
    assert tasks[0].cancelled()


async def test_who_is_cancelled_just_when_it_is_their_turn_hands_on() -> None:
    queue, holders = Queue(), [Holder() for _ in range(3)]
    await queue.acquire(holders[0])
    tasks = [await waits(queue, holder) for holder in holders[1:]]
    queue.release(holders[0])
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    assert tasks[0].cancelled()
    await tasks[1]


async def test_waiting_for_oneself_is_refused() -> None:
    queue, mine, theirs = Queue(), Holder(), Holder()
    mine.stepped_by = asyncio.current_task()
    await queue.acquire(mine)
    with pytest.raises(SessionBusyError, match="another turn open"):
        await queue.acquire(theirs)
    other = await waits(queue, theirs)  # another task may wait
    queue.release(mine)
    await other


async def test_who_is_called_out_of_the_queue_goes_on_without_the_run() -> None:
    queue, holders = Queue(), [Holder() for _ in range(3)]
    await queue.acquire(holders[0])
    called, behind = [await waits(queue, holder) for holder in holders[1:]]
    queue.call(holders[1])
    queue.call(holders[1])  # it is in the queue no more
    await called
    assert queue.is_held_by(holders[0])
    assert not queue.is_held_by(holders[1])
    assert not behind.done()
    queue.release(holders[0])
    await behind


async def test_calling_one_who_is_just_being_cancelled_hurts_nobody() -> None:
    queue, holders = Queue(), [Holder() for _ in range(3)]
    await queue.acquire(holders[0])
    called, behind = [await waits(queue, holder) for holder in holders[1:]]
    called.cancel()
    queue.call(holders[1])
    await asyncio.wait([called])
    assert called.cancelled()
    queue.release(holders[0])
    await behind


async def test_the_run_is_passed_on_ahead_of_the_queue() -> None:
    queue, sender, reader, waiting = Queue(), Holder(), Holder(), Holder()
    await queue.acquire(sender)
    behind = await waits(queue, waiting)
    queue.pass_on(reader, waiting)  # who has it not cannot pass it on
    assert queue.is_held_by(sender)
    queue.pass_on(sender, reader)
    queue.release(sender)
    await asyncio.sleep(1)
    assert not behind.done()
    queue.release(reader)
    await behind
