"""What users do: each program is played against every sequence of faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from toolhouse_async import (
    OutcomeUnknownError,
    ToolhouseError,
    TurnResult,
    TurnTimeoutError,
)

from .loop import TimerLoop
from .scene import Found, Scene
from .truth import Sending, Violation
from .world import AGENT

TIMEOUTS: Final = (*(f"{0.125 + 0.25 * step:.3f}" for step in range(24)), "8.125", "12.125", "16.125")
"""Seconds: between any two steps of a turn, and in the middle of its waiting."""


async def first(scene: Scene) -> None:
    """A first message."""
    await scene.recover(await scene.send("a"))


async def second(scene: Scene) -> None:
    """A second message."""
    await scene.before()
    await scene.recover(await scene.send("b"))


async def straight(scene: Scene) -> None:
    """A second message, and the next one without asking what became of it."""
    await scene.before()
    sending = await scene.send("b")
    await scene.go_on(knows=isinstance(sending.result, TurnResult))


async def same_words(scene: Scene) -> None:
    """The same words again."""
    await scene.before()
    await scene.recover(await scene.send("a"))


async def three_times(scene: Scene) -> None:
    """The same words twice more, the faults in either."""
    await scene.before()
    sending = await scene.send("a")
    if sending.result is None:
        await scene.reconcile()
    await scene.recover(await scene.send("a"))


async def two_bad(scene: Scene) -> None:
    """Two messages in a row that something may happen to, with nobody asking in between."""
    await scene.before()
    await scene.send("b")
    await scene.recover(await scene.send("c"))


async def two_bad_same(scene: Scene) -> None:
    """The same, with the same words."""
    await scene.before()
    await scene.send("b")
    await scene.recover(await scene.send("b"))


async def troubled(scene: Scene) -> None:
    """The faults go on while it is found out what became of a message."""
    await scene.before()
    sending = await scene.send("b")
    if sending.result is None:
        await scene.recover(sending, await scene.reconcile())


async def settled(scene: Scene) -> None:
    """A second message that is compared with the history."""
    await scene.before()
    await scene.recover(await scene.send("b", settle=True))


async def unhealed(scene: Scene) -> None:
    """A second message whose answer is not healed if it is cut."""
    await scene.before()
    scene.judge.heals = False
    await scene.recover(await scene.send("b", recover=False))


async def asked_again(scene: Scene) -> None:
    """After a whole turn, ``reconcile()`` brings its result."""
    await scene.before()
    sending = await scene.send("b")
    if sending.result is None:
        return
    scene.world.calm = True
    found = await scene.session.reconcile()
    if found is None or found.text != sending.result.text:
        raise Violation("after a whole turn, reconcile() does not bring its result", repr(found))


async def closed(scene: Scene) -> None:
    """A turn that is closed after each of its events."""
    await scene.before()
    await scene.recover(await scene.send("b", closes=True))


async def timed_out(scene: Scene) -> None:
    """A turn that is out of time at each of its steps."""
    await scene.before()
    timeout = float(scene.world.pick("out of time after", *((seconds, 0) for seconds in TIMEOUTS)))
    sending = await scene.send("b", timeout=timeout)
    error = sending.error
    if isinstance(error, TurnTimeoutError) and error.token is not None:
        scene.told.append("token")
    await scene.recover(sending)


async def cancelled(scene: Scene) -> None:
    """A turn that is cancelled at each pass of the event loop."""
    await scene.before()
    task = asyncio.ensure_future(scene.send("b"))
    await _stopped(scene, task, task.cancel)
    await scene.recover(scene.judge.sendings[-1])


async def closed_by_another(scene: Scene) -> None:
    """A turn that another task closes at each pass of the event loop."""
    await scene.before()
    turn = scene.session.stream(scene.world.words("b"))
    closing: list[asyncio.Task[None]] = []
    task = asyncio.ensure_future(scene.send("b", turn=turn))
    await _stopped(scene, task, lambda: closing.append(asyncio.ensure_future(turn.aclose())))
    await asyncio.gather(*closing)
    await scene.recover(task.result())


async def asking_cancelled(scene: Scene) -> None:
    """``reconcile()`` is cancelled at each pass of the event loop, and asked again."""
    await scene.before()
    sending = await scene.send("b")
    if sending.result is None:
        scene.world.calm = True
        task = asyncio.ensure_future(scene.reconcile())
        scene.world.calm = False
        await _stopped(scene, task, task.cancel)
        scene.world.calm = True
        await scene.recover(sending, *([] if task.cancelled() else [task.result()]))


async def _stopped(scene: Scene, task: asyncio.Task[Any], stop: Callable[[], object]) -> None:
    """Await a task that is stopped at a pass of the event loop, or is not."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, TimerLoop)

    def on_pass() -> None:
        if not task.done() and scene.world.pick("pass", ("goes by", 0), ("is the last", 0)) == "is the last":
            loop.on_pass = None
            stop()

    loop.on_pass = on_pass
    try:
        await asyncio.wait([task])
    finally:
        loop.on_pass = None


async def queued(scene: Scene) -> None:
    """Two sessions on one run send at once."""
    await scene.before()
    other = scene.client.session(AGENT, run_id=scene.session.run_id)
    sendings = await asyncio.gather(scene.send("b"), scene.send("c", session=other))
    if all(sending.result for sending in sendings):
        await scene.go_on(knows=True)


async def queued_out_of_time(scene: Scene) -> None:
    """A turn that is out of time while another holds the run, or soon after."""
    await scene.before()
    other = scene.client.session(AGENT, run_id=scene.session.run_id)
    timeout = float(scene.world.pick("out of time after", ("0.625", 0), ("1.625", 0), ("2.125", 0), ("6.125", 0)))
    _, sending = await asyncio.gather(scene.send("b"), scene.send("c", session=other, timeout=timeout))
    scene.session = other
    if scene.judge.sendings[-2].result is not None:
        await scene.recover(sending)


async def wordless(scene: Scene) -> None:
    """A message without words."""
    scene.world.resume = "go on"
    await scene.before()
    await scene.recover(await scene.send("", resume_message="go on"))


async def asked_by_two(scene: Scene) -> None:
    """Two ask at once what became of a message, and the faults go on meanwhile."""
    await scene.before()
    sending = await scene.send("b")
    if sending.result is None:
        await scene.recover(sending, *await asyncio.gather(scene.reconcile(), scene.reconcile()))
    else:
        await scene.recover(sending)


async def asked_meanwhile(scene: Scene) -> None:
    """It is asked what became of a message while that is on its way, or its answer."""
    await scene.before()
    passes = int(scene.world.pick("asked after so many passes", *((f"{number}", 0) for number in (1, 2, 4, 8, 16, 32))))
    sending = asyncio.ensure_future(scene.send("b"))
    for _ in range(passes):
        await asyncio.sleep(0)
    found = await scene.reconcile()
    await scene.recover(await sending, found)


async def looking(scene: Scene) -> None:
    """The user reads the history, before and behind a message."""
    await scene.before()
    await _look(scene)
    sending = await scene.send("a")
    await _look(scene)
    await scene.recover(sending)


async def _look(scene: Scene) -> None:
    try:
        await scene.session.history()
    except ToolhouseError as error:
        scene.told.append(f"history {type(error).__name__}")


async def detached(scene: Scene) -> None:
    """A turn that leaves its job, which is waited for later."""
    await scene.before()
    sending = await scene.send("b", background="detach")
    await _wait_together(scene, sending, [scene.session], [0])


async def waiting_together(scene: Scene) -> None:
    """Two wait for one job, in one session."""
    await scene.before()
    sending = await scene.send("b", background="detach")
    await _wait_together(scene, sending, [scene.session, scene.session], [0, 0])


async def waiting_with_a_token(scene: Scene) -> None:
    """Two wait with one token, one of them a while after the other."""
    await scene.before()
    sending = await scene.send("b", background="detach")
    token = None if sending.result is None else sending.result.token
    delay = float(scene.world.pick("the second comes after", ("0", 0), ("1.1", 0), ("2.6", 0), ("30", 0)))
    await _wait_together(scene, sending, [token, token], [0, delay])


async def waiting_in_two_sessions(scene: Scene) -> None:
    """Two sessions on one run wait, one of them a while after the other."""
    await scene.before()
    sending = await scene.send("b", background="detach")
    other = scene.client.session(AGENT, run_id=scene.session.run_id)
    delay = float(scene.world.pick("the second comes after", ("0", 0), ("1.1", 0), ("2.6", 0), ("30", 0)))
    await _wait_together(scene, sending, [scene.session, other], [0, delay])


async def _wait_together(scene: Scene, sending: Sending, whose: list[Any], delays: list[float]) -> None:
    """Wait for a job that a turn has left, once for each; they get the same, and again after a failure."""
    if sending.result is None or sending.result.status != "background":
        await scene.recover(sending)
        return

    async def wait(one: Any, delay: float, *, again: bool = False) -> Found:
        await asyncio.sleep(delay)
        try:
            result = await scene.client.wait_for_job(one)
        except ToolhouseError as error:
            scene.judge.waiter_failed(error)
            return error
        scene.judge.waited(result, again=again)
        return result

    found = await asyncio.gather(*(wait(one, delay) for one, delay in zip(whose, delays, strict=True)))
    scene.told += [type(each).__name__ for each in found]
    kinds = {type(each).__name__ for each in found}
    if len(kinds) > 1:
        raise Violation(f"of those who wait together, one gets {' and another '.join(sorted(kinds))}", repr(found))
    scene.world.calm = True
    if isinstance(found[0], ToolhouseError):
        again = await wait(whose[0], 0, again=True)
        scene.told.append(f"again {type(again).__name__}")
        if isinstance(again, ToolhouseError) and scene.world.switches.is_understood:
            raise Violation(f"waiting again fails although the service works ({type(again).__name__})", str(again))
    await scene.go_on(knows=not isinstance(found[0], OutcomeUnknownError))


Program: TypeAlias = Callable[[Scene], Awaitable[None]]
PROGRAMS: Final[Mapping[str, Program]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        first,
        second,
        straight,
        same_words,
        three_times,
        two_bad,
        two_bad_same,
        troubled,
        settled,
        unhealed,
        asked_again,
        closed,
        timed_out,
        cancelled,
        closed_by_another,
        asking_cancelled,
        queued,
        queued_out_of_time,
        wordless,
        asked_by_two,
        asked_meanwhile,
        looking,
        detached,
        waiting_together,
        waiting_with_a_token,
        waiting_in_two_sessions,
    )
}
