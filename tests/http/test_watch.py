from __future__ import annotations

import asyncio
import socket

import pytest

from toolhouse_async._http.watch import Watch


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_limits_are_called_in_order_and_on_time() -> None:
    watch, called, began = Watch(), list[tuple[str, float]](), now()
    for name, seconds in (("late", 30.0), ("soon", 2.0), ("later", 40.0), ("dropped", 3.0), ("moved", 1.0)):
        watch.at(name, began + seconds, lambda name=name: called.append((name, now() - began)))  # type: ignore[misc]
    watch.at("moved", began + 35, lambda: called.append(("moved", now() - began)))
    watch.drop("dropped")
    watch.drop("never set")
    await asyncio.sleep(60)
    assert [name for name, _ in called] == ["soon", "late", "moved", "later"]
    assert [round(seconds) for _, seconds in called] == [2, 30, 35, 40]


async def test_a_limit_may_drop_another_of_the_same_time_and_set_one() -> None:
    watch, called, when = Watch(), list[str](), now() + 5

    def first() -> None:
        called.append("first")
        watch.drop("second")
        watch.at("third", when + 5, lambda: called.append("third"))

    watch.at("first", when, first)
    watch.at("second", when, lambda: called.append("second"))
    await asyncio.sleep(60)
    assert called == ["first", "third"]


async def test_nothing_is_called_once_it_is_closed() -> None:
    watch, called = Watch(), list[str]()
    watch.close()
    watch.at("one", now() + 1, lambda: called.append("one"))
    watch.close()
    await asyncio.sleep(5)
    assert not called


async def test_its_clock_is_that_of_the_loop() -> None:
    assert Watch().time() == now()


async def test_a_function_that_fails_stops_no_other() -> None:
    watch, called, when = Watch(), list[str](), now() + 5
    reported = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context.get("exception")))

    def fails() -> None:
        raise LookupError

    watch.at("fails", when, fails)
    watch.at("same time", when, lambda: called.append("same time"))
    watch.at("later", when + 5, lambda: called.append("later"))
    await asyncio.sleep(6)
    watch.at("new", when + 2, lambda: called.append("new"))
    await asyncio.sleep(60)
    assert [type(error) for error in reported] == [LookupError]
    assert called == ["same time", "new", "later"]


async def test_the_loop_reads_once_more_before_a_limit_counts() -> None:
    watch, called = Watch(), list[str]()
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        loop = asyncio.get_running_loop()

        async def read() -> None:
            await loop.sock_recv(here, 1)
            watch.drop("reading")

        reading = asyncio.ensure_future(read())
        await asyncio.sleep(1)
        watch.at("reading", now(), lambda: called.append("reading"))
        watch.at("nothing to read", now(), lambda: called.append("nothing to read"), may_read=lambda: False)
        there.send(b"x")
        await asyncio.sleep(1)
        assert called == ["nothing to read"]
        await reading


async def test_a_block_is_bounded() -> None:
    watch, began = Watch(), now()
    with pytest.raises(TimeoutError):
        async with watch.within(5):
            await asyncio.sleep(60)
    assert round(now() - began) == 5
    for seconds in (5, None):
        async with watch.within(seconds):
            await asyncio.sleep(1)
    await asyncio.sleep(60)


async def test_a_block_that_fails_for_itself_at_its_limit_fails_so() -> None:
    watch = Watch()
    with pytest.raises(LookupError):
        async with watch.within(5):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError as reached:
                raise LookupError from reached
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("at", [4, 5, 6])
async def test_whoever_cancels_a_block_sees_it_cancelled(at: float) -> None:
    """Also at its very limit: only what the block itself has asked for is a time that ran out."""
    watch = Watch()

    async def bounded() -> None:
        async with watch.within(5):
            await asyncio.shield(asyncio.sleep(60))

    async def outer() -> None:
        async with asyncio.timeout(5), watch.within(20):
            await asyncio.sleep(60)

    task, other = asyncio.ensure_future(bounded()), asyncio.ensure_future(outer())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(at, task.cancel)
    done, _ = await asyncio.wait({task, other})
    assert done == {task, other}
    assert task.cancelled() == (at <= 5)
    assert isinstance(None if task.cancelled() else task.exception(), TimeoutError) == (at > 5)
    assert isinstance(other.exception(), TimeoutError)
    assert other.cancelling() == 0
    await asyncio.sleep(60)
