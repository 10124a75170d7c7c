"""What the page on pipelines promises of chains: backpressure, and cancellation both ways."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from toolhouse_async import ErrorEvent, Timeouts, WorkerError
from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo

from .scenes import LONG, block_with, cancel, causes, code_with, failing, now, scene
from .setups import TEAM, says

ONE_AFTER_ANOTHER = "async def sentences"
AT_THE_SAME_TIME = "async def translate"
both = pytest.mark.parametrize("chain", [ONE_AFTER_ANOTHER, AT_THE_SAME_TIME])


class Endless:
    """A worker that never stops telling a story."""

    def __init__(self, pause: float = 0.0, sentence: str = "On it went. ") -> None:
        self.pause = pause
        self.sentence = sentence
        self.said = 0
        self.stopped = asyncio.Event()

    async def worker(self, ctx: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield ctx.text(self.sentence)
                self.said += 1
                await asyncio.sleep(self.pause)
        finally:
            self.stopped.set()


@both
async def test_nobody_reads_the_first_worker_while_the_second_one_works(chain: str) -> None:
    novelist = Endless(sentence=f"{'o' * 60_000}h. ")
    translator = says("late", after=LONG)
    async with scene({"novelist": novelist.worker, "translator": translator}) as it:
        running = asyncio.create_task(it.run(block_with(chain)))
        said = -1
        while novelist.said != said:  # the novelist waits
            said = novelist.said
            await asyncio.sleep(1)
        assert 0 < said < 500  # 30 MB would fill whatever buffers a machine has for one connection
        await cancel(running)


@both
async def test_a_slow_translator_does_not_make_the_story_idle(chain: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with scene(TEAM, timeouts=Timeouts(idle=1.5)) as it:
        await it.run(block_with(chain))
        assert capsys.readouterr().out.splitlines() == ["IT WAS A COLD SPRING.", "NOBODY BOUGHT TULIPS.", "THE END."]


@both
async def test_the_rest_of_a_story_that_was_cut_is_read(chain: str, capsys: pytest.CaptureFixture[str]) -> None:
    emulator = WorkersEmulator()
    emulator.faults.add(agent="novelist", cut="rst", cut_after=200)
    async with scene(TEAM, emulator) as it:
        await it.run(block_with(chain))
        assert capsys.readouterr().out.splitlines() == ["IT WAS A COLD SPRING.", "NOBODY BOUGHT TULIPS.", "THE END."]
        assert it.asked.count("novelist") == 1


@both
async def test_an_error_of_the_second_worker_closes_the_story(chain: str) -> None:
    novelist = Endless(pause=3)
    workers = {"novelist": novelist.worker, "translator": failing}
    async with scene(workers, WorkersEmulator(on_disconnect="stop")) as it:
        with pytest.raises((WorkerError, ExceptionGroup)) as caught:
            await it.run(block_with(chain))
        assert causes(caught.value) == [WorkerError]
        await novelist.stopped.wait()
        assert it.asked == ["novelist", "translator"]


@both
async def test_an_error_of_the_first_worker_ends_the_second_ones_turn_too(chain: str) -> None:
    async def novelist(ctx: Any) -> AsyncIterator[Any]:
        yield ctx.text("It was. ")
        yield ctx.text("It")
        await asyncio.sleep(1)
        yield ErrorEvent("no more ideas")

    async with scene({"novelist": novelist, "translator": says("so", after=5)}) as it:
        began = now()
        with pytest.raises((WorkerError, ExceptionGroup)) as caught:
            await it.run(block_with(chain))
        assert causes(caught.value) == [WorkerError]
        assert now() - began == pytest.approx(5 if chain == ONE_AFTER_ANOTHER else 1, abs=0.1)
        assert await it.connections() <= 2 - (chain == AT_THE_SAME_TIME)  # the cancelled turn's is closed


@both
@pytest.mark.parametrize("after", [0.0, 0.5, 2.5, 3.5])
async def test_cancelling_the_chain_closes_both(chain: str, after: float) -> None:
    novelist = Endless(pause=3)
    async with scene({"novelist": novelist.worker, "translator": says("so it did", between=1)}) as it:
        running = asyncio.create_task(it.run(block_with(chain)))
        await asyncio.sleep(after)
        await cancel(running)
        assert await it.connections() <= 1  # an idle one of the translator's, ready for its next turn


LEFT_EARLY = {
    ONE_AFTER_ANOTHER: ("        print()\n", "        break\n"),
    AT_THE_SAME_TIME: ("            print((await translator.send(sentence)).text)\n", "            break\n"),
}


@both
async def test_a_chain_that_is_left_early_does_not_wait_for_the_story(chain: str) -> None:
    novelist = Endless(pause=1)
    line, left = LEFT_EARLY[chain]
    code = code_with(chain)
    assert line in code
    workers = {"novelist": novelist.worker, "translator": echo}
    async with scene(workers, WorkersEmulator(on_disconnect="stop")) as it:
        await it.run(ast.parse(code.replace(line, left)))
        await novelist.stopped.wait()


async def test_at_most_two_sentences_are_read_ahead() -> None:
    novelist = Endless()
    async with scene({"novelist": novelist.worker}) as it:
        write = await it.function("write")
        queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=2)
        writing = asyncio.create_task(write(queue))
        await asyncio.sleep(1)
        assert queue.qsize() == 2
        await cancel(writing)
