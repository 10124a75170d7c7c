import asyncio
import os
import signal

import pytest

from toolhouse_async._cli.conversation.interrupting import Interrupted, Interrupts


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


async def for_ever():
    await asyncio.Event().wait()


async def test_it_ends_what_is_awaited_and_nothing_else():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        for _ in range(2):
            asyncio.get_running_loop().call_later(1, interrupt)
            with pytest.raises(Interrupted):
                await interrupts.until(for_ever())
        assert await interrupts.until(asyncio.sleep(1, 42)) == 42
    assert signal.getsignal(signal.SIGINT) is before


async def test_one_that_comes_in_between_ends_the_next_before_it_begins():
    begun = False

    async def work():
        nonlocal begun
        begun = True

    with Interrupts() as interrupts:
        interrupt()
        await asyncio.sleep(0)
        with pytest.raises(Interrupted):
            await interrupts.until(work())
        assert not begun
        await interrupts.until(work())
        assert begun


async def test_two_at_once_are_one_while_what_is_awaited_ends():
    async def slow_to_end():
        try:
            await for_ever()
        finally:
            interrupt()
            await asyncio.sleep(1)

    with Interrupts() as interrupts:
        asyncio.get_running_loop().call_later(1, interrupt)
        with pytest.raises(Interrupted):
            await interrupts.until(slow_to_end())


async def test_a_timeout_of_the_work_itself_is_no_interruption():
    with Interrupts() as interrupts, pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await interrupts.until(for_ever())
    with Interrupts() as interrupts, pytest.raises(TimeoutError):
        await interrupts.until(asyncio.wait_for(for_ever(), 1))


async def test_cancelling_goes_through():
    with Interrupts() as interrupts:
        task = asyncio.create_task(interrupts.until(for_ever()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
