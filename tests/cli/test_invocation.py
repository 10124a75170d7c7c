"""How a command's work is run to its end, and how it ends before."""

import asyncio
import signal

import pytest

from toolhouse_async._cli.invocation import complete
from toolhouse_async._cli.statuses import Status

REAL_TIME = True


@pytest.fixture(autouse=True)
def handler():
    """The handler that was there stays."""
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def test_its_status_is_that_of_the_work():
    async def work():
        return 7

    assert complete(work()) == 7


def test_ctrl_c_cancels_between_two_callbacks_and_not_between_two_instructions():
    """As it comes anywhere in aiohttp's code too, which does not expect it."""
    seen = []

    async def work():
        signal.raise_signal(signal.SIGINT)
        seen.append(asyncio.current_task().cancelling())
        try:
            await asyncio.sleep(50)
        finally:
            seen.append("cleaned up")

    assert complete(work()) == Status.INTERRUPTED
    assert seen == [0, "cleaned up"]


def test_a_second_ctrl_c_ends_it_at_once():
    seen = []

    async def work():
        signal.raise_signal(signal.SIGINT)
        try:
            await asyncio.sleep(50)
        finally:
            seen.append("cleaning up")
            signal.raise_signal(signal.SIGINT)
            seen.append("cleaned up")

    assert complete(work()) == Status.INTERRUPTED
    assert seen == ["cleaning up"]


def test_what_takes_ctrl_c_as_an_order_to_finish_has_its_own_status():
    async def work():
        signal.raise_signal(signal.SIGINT)
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            return 5

    assert complete(work()) == 5


def test_sigterm_is_a_cancellation():
    async def work():
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(50)

    with pytest.raises(asyncio.CancelledError):
        complete(work())


def test_ctrl_c_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:

        async def work():
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0)
            return 0

        assert complete(work()) == 0
    finally:
        signal.signal(signal.SIGINT, before)
