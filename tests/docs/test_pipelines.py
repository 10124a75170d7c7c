"""What the page on pipelines promises beyond what its examples print: failures, deadlines, cancellation, limits."""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiolimiter import AsyncLimiter
from attrs import define, field

from toolhouse_async import AsyncToolhouse, ErrorEvent, Limits, Timeouts, WorkerError
from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo

from .blocks import marked
from .setups import AGENT_ID, TEAM, says

BLOCKS = [block for block in marked("example") if block.place.startswith("docs/how-to/pipelines.md")]
QUESTION = "Will tulips be dear?"
LONG = 100_000.0


async def failing(ctx: Any) -> AsyncIterator[Any]:
    """A worker that reports an error after a second."""
    await asyncio.sleep(1)
    yield ErrorEvent("out of order")


def block_with(words: str) -> ast.Module:
    """The one example that has these words."""
    (block,) = [block for block in BLOCKS if words in block.code]
    return ast.parse(block.code)


@define
class Scene:
    """A client and the server that it talks to."""

    server: Any
    toolhouse: AsyncToolhouse
    names: dict[str, Any] = field(factory=dict[str, Any])

    async def run(self, tree: ast.Module) -> None:
        """Run an example."""
        code = compile(tree, "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        module = ModuleType("example")
        self.names = vars(module)
        self.names.update(toolhouse=self.toolhouse, AGENT_ID=AGENT_ID)
        if (running := eval(code, self.names)) is not None:
            await running

    async def function(self, name: str) -> Callable[..., Any]:
        """The function of that name as the page defines it, without what the page does with it."""
        tree = block_with(f"def {name}(")
        kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef)
        tree.body = [each for each in tree.body if isinstance(each, kept)]
        await self.run(tree)
        return self.names[name]  # type: ignore[no-any-return]

    async def connections(self) -> int:
        """How many connections there are, once the server has heard of those that were closed."""
        await asyncio.sleep(0.1)
        return self.server.connections  # type: ignore[no-any-return]

    @property
    def asked(self) -> list[str]:
        """The workers whose messages were accepted, in order."""
        return [request.path.split("/")[2] for request in self.server.accepted]


@asynccontextmanager
async def scene(workers: dict[str, Any], emulator: WorkersEmulator | None = None, **settings: Any) -> Any:
    emulator = emulator or WorkersEmulator()
    for agent_id, worker in workers.items():
        emulator.worker(agent_id)(worker)
    async with emulator.serve() as server, AsyncToolhouse("", base_url=server.url, **settings) as toolhouse:
        yield Scene(server, toolhouse)


def now() -> float:
    return asyncio.get_running_loop().time()


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- Ask several workers at once


async def test_a_failed_turn_cancels_the_others_and_comes_out_in_a_group() -> None:
    finished = asyncio.Event()

    async def slow(ctx: Any) -> AsyncIterator[Any]:
        yield ctx.text("Well, ")
        await asyncio.sleep(50)
        finished.set()

    async with scene({**TEAM, "economist": failing, "historian": slow}) as it:
        ask_the_panel = await it.function("ask_the_panel")
        began = now()
        with pytest.raises(ExceptionGroup) as caught:
            await ask_the_panel(QUESTION)
        assert [type(error) for error in caught.value.exceptions] == [WorkerError]
        assert now() - began < 1.1
        assert sorted(it.asked) == ["economist", "historian"]  # and no editor
        assert await it.connections() == 1  # the failed turn's, which may be used again
        assert not finished.is_set()
        await finished.wait()  # the worker was not told


async def test_the_deadline_of_the_panel_cancels_all() -> None:
    async with scene({**TEAM, "historian": says("late", after=LONG)}) as it:
        ask_the_panel = await it.function("ask_the_panel")
        began = now()
        with pytest.raises(TimeoutError):
            await ask_the_panel(QUESTION)
        assert 60 <= now() - began < 60.1
        assert sorted(it.asked) == ["economist", "historian"]
        assert await it.connections() <= 1


async def test_the_deadline_holds_for_the_last_step_too() -> None:
    async with scene({**TEAM, "editor": says("late", after=LONG)}) as it:
        ask_the_panel = await it.function("ask_the_panel")
        began = now()
        with pytest.raises(TimeoutError):
            await ask_the_panel(QUESTION)
        assert 60 <= now() - began < 60.1
        assert it.asked[-1] == "editor"


async def test_who_is_cancelled_cancels_the_panel() -> None:
    async with scene({worker: says("late", after=LONG) for worker in TEAM}) as it:
        panel = asyncio.create_task((await it.function("ask_the_panel"))(QUESTION))
        await asyncio.sleep(1)
        assert await it.connections() == 2
        await cancel(panel)
        assert await it.connections() == 0


async def test_a_message_that_was_still_to_be_sent_never_is() -> None:
    async with scene({**TEAM, "economist": says("late", after=LONG)}, limits=Limits(max_connections=1)) as it:
        with pytest.raises(TimeoutError):
            await (await it.function("ask_the_panel"))(QUESTION)
        await asyncio.sleep(60)
        assert it.asked == ["economist"]


async def test_a_background_job_goes_on_for_certain() -> None:
    over = asyncio.Event()

    async def job() -> None:
        await asyncio.sleep(90)
        over.set()

    async def busy(ctx: Any) -> AsyncIterator[Any]:
        yield ctx.background(job)

    async with scene({**TEAM, "economist": busy}, WorkersEmulator(on_disconnect="stop")) as it:
        with pytest.raises(TimeoutError):
            await (await it.function("ask_the_panel"))(QUESTION)
        await over.wait()


# --- Keep the answers that came in time


@pytest.mark.parametrize("most", [1, 10])
async def test_each_answer_is_there_or_what_had_come_of_it(most: int) -> None:
    """Also where the first one has the only connection, and the second is never sent."""
    async with scene({"slow": says("Well, then", between=LONG)}, limits=Limits(max_connections=most)) as it:
        ask = await it.function("ask")
        began = now()
        answers = await asyncio.gather(ask("slow", QUESTION), ask("slow", QUESTION))
        assert answers == ["Well, …", "…" if most == 1 else "Well, …"]
        assert now() - began < 10.1
        assert len(it.asked) == min(most, 2)


# --- Use anyio


async def test_a_failed_turn_cancels_the_others_of_an_anyio_group() -> None:
    async with scene({**TEAM, "philosopher": failing}) as it:
        began = now()
        with pytest.raises(ExceptionGroup) as caught:
            await it.run(block_with("move_on_after"))
        assert [type(error) for error in caught.value.exceptions] == [WorkerError]
        assert now() - began < 1.1
        assert it.names["answers"] == {}


# --- Feed one worker's stream to the next

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


def causes(error: BaseException) -> list[type[BaseException]]:
    """The types of the errors in a group, or of the one that is none."""
    return [type(each) for each in error.exceptions] if isinstance(error, ExceptionGroup) else [type(error)]


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
    (block,) = [block for block in BLOCKS if chain in block.code]
    line, left = LEFT_EARLY[chain]
    assert line in block.code
    workers = {"novelist": novelist.worker, "translator": echo}
    async with scene(workers, WorkersEmulator(on_disconnect="stop")) as it:
        await it.run(ast.parse(block.code.replace(line, left)))
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


# --- Race two workers


async def test_the_losers_message_was_accepted_and_its_worker_goes_on() -> None:
    finished = asyncio.Event()

    async def loser(ctx: Any) -> AsyncIterator[Any]:
        yield ctx.text("Well, ")
        await asyncio.sleep(50)
        finished.set()

    async with scene({**TEAM, "loser": loser}) as it:
        race = await it.function("race")
        began = now()
        assert (await race(QUESTION, "loser", "economist")).agent_id == "economist"
        assert now() - began < 3.1
        assert sorted(it.asked) == ["economist", "loser"]
        assert await it.connections() == 1  # the winner's
        await finished.wait()


async def test_who_was_never_asked_was_sent_nothing() -> None:
    async with scene(TEAM) as it:
        race = await it.function("race")
        assert (await race(QUESTION, "historian", "economist", head_start=5.5)).agent_id == "historian"
        await asyncio.sleep(10)
        assert it.asked == ["historian"]
        assert (await race(QUESTION, "historian", "economist", head_start=1)).agent_id == "economist"


async def test_a_worker_that_fails_does_not_win() -> None:
    async with scene({**TEAM, "failing": failing}) as it:
        race = await it.function("race")
        assert (await race(QUESTION, "failing", "nobody", "economist")).agent_id == "economist"
        with pytest.raises(ExceptionGroup, match="no worker has answered") as caught:
            await race(QUESTION, "failing", "failing")
        assert causes(caught.value) == [WorkerError] * 2


async def test_cancelling_a_race_closes_all() -> None:
    async with scene(TEAM) as it:
        running = asyncio.create_task((await it.function("race"))(QUESTION, "economist", "historian"))
        await asyncio.sleep(1)
        assert await it.connections() == 2
        await cancel(running)
        assert await it.connections() == 0


# --- Ask what is in a file, at a bounded rate


@pytest.mark.parametrize(("limit", "burst"), [((1, 0.5), 1), ((120, 60), 120)])
async def test_messages_begin_at_the_limiters_pace(limit: tuple[float, float], burst: int) -> None:
    began: list[float] = []

    async def worker(ctx: Any) -> AsyncIterator[Any]:
        began.append(now())
        await asyncio.sleep(3)
        yield ctx.text("so")

    async with scene({AGENT_ID: worker}) as it:
        paced = await it.function("paced")
        messages = paced(["?"] * (burst + 10), AsyncLimiter(*limit))
        async with it.toolhouse.map(AGENT_ID, messages, concurrency=200) as items:
            assert len([item async for item in items if item.error is None]) == burst + 10
    assert max(began[:burst]) - began[0] < 0.4
    pauses = [later - earlier for earlier, later in zip(began[burst - 1 :], began[burst:], strict=False)]
    assert pauses == pytest.approx([0.5] * 10, abs=0.4 if burst > 1 else 0.05)


async def test_the_number_under_way_is_bounded_as_ever() -> None:
    async with scene({AGENT_ID: says("so", after=100)}) as it:
        paced = await it.function("paced")
        async with it.toolhouse.map(AGENT_ID, paced(["?"] * 9, AsyncLimiter(1, 0.5)), concurrency=3) as items:
            waiting = asyncio.ensure_future(anext(items))
            await asyncio.sleep(50)
            assert len(it.asked) == 3
            await cancel(waiting)


async def test_what_is_sent_again_after_429_is_not_held_back() -> None:
    emulator = WorkersEmulator()
    emulator.faults.add(status=429, retry_after=0.1)
    came: list[float] = []

    async def worker(ctx: Any) -> AsyncIterator[Any]:
        came.append(now())
        yield ctx.text("so")

    async with scene({AGENT_ID: worker}, emulator) as it:
        paced = await it.function("paced")
        began = now()
        async with it.toolhouse.map(AGENT_ID, paced(["?"] * 2, AsyncLimiter(1, 64)), concurrency=2) as items:
            assert [item.error async for item in items] == [None, None]
        assert len(it.server.requests) == 3
        assert came[0] - began < 1
        assert came[1] - began >= 64


async def test_a_program_that_stops_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("questions.txt").write_text("quick\n" + "slow\n" * 8)

    async def worker(ctx: Any) -> AsyncIterator[Any]:
        await asyncio.sleep(0 if ctx.message == "quick" else 100)
        yield ctx.text("so")

    async with scene({AGENT_ID: worker}) as it:
        running = asyncio.create_task(it.run(block_with("aiolimiter")))
        await asyncio.sleep(1.2)
        await cancel(running)
        await asyncio.sleep(10)
        assert [request.json()["message"] for request in it.server.accepted] == ["quick", "slow", "slow"]
        (line,) = Path("answers.jsonl").read_text().splitlines()
        assert json.loads(line) == {"index": 0, "question": "quick", "text": "so"}
        assert await it.connections() <= 1


async def test_the_progress_is_shown_beside_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("questions.txt").write_text("one\ntwo\n")
    async with scene({AGENT_ID: echo}) as it:
        await it.run(block_with("aiolimiter"))
    printed = capsys.readouterr()
    assert "Asking" in printed.err
    assert "100%" in printed.err
    assert "Asking" not in printed.out
