import asyncio
import os
import signal
from contextlib import aclosing

import pytest

from tests.cli.support import processes_with, wait_until, write_slow_file
from toolhouse_async import AsyncToolhouse
from toolhouse_async._cli import csv_analyst as module
from toolhouse_async.events import TextDelta, ToolCall, ToolResult
from toolhouse_async.testing import BackgroundCall, WorkerContext, WorkersEmulator

REAL_TIME = True


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    monkeypatch.setattr(module, "_PACE", 0)


async def answer(worker=module.csv_analyst, **context):
    """What the worker yields, its words joined."""
    words, events = [], []
    async for event in worker(WorkerContext(agent_id="a", run_id="r", message="", history=[], **context)):
        if isinstance(event, TextDelta):
            words.append(event.text)
        else:
            events.append(event)
    return "".join(words), events


async def test_a_turn_reads_the_file_profiles_it_and_resamples_it(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("id,size\n" + "".join(f"{i},{i % 7 + 0.5}\n" for i in range(1, 50)) + "50,\n")

    words, (job, call, preview, code_call) = await answer(body={"vars": {"csv_path": str(path), "column": "id"}})
    assert words.startswith("I'll look at data.csv first. It has 2 columns.")
    assert (call.name, call.arguments) == ("read_file", {"path": str(path)})
    assert preview.content["columns"] == ["id", "size"]
    assert code_call.name == "code_interpreter"
    assert isinstance(job, BackgroundCall)  # first, so that the answer's headers name the job

    done = await job.function(*job.args)
    words, (job, result, next_call) = await answer(job_result=done)
    assert isinstance(job, BackgroundCall)
    assert (result.id, result.content["rows"]) == (code_call.id, 50)
    assert result.content["histogram"]["column"] == "id"
    assert words.startswith("50 rows are in. 1 cell is empty, in size.")

    done = await job.function(*job.args)
    words, (result,) = await answer(job_result=done)
    assert result.id == next_call.id
    assert [i["column"] for i in result.content["intervals"]] == ["size"]
    assert words.startswith("The mean of size lies between ")


async def test_behind_an_analysis_json_is_answered_with_the_outliers(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("name,size\n" + "".join(f"n,{i % 7}\n" for i in range(50)) + "n,60\n")
    emulator = WorkersEmulator()
    emulator.worker("csv-analyst")(module.csv_analyst)
    async with (
        emulator.serve() as server,
        AsyncToolhouse("", base_url=server.url) as toolhouse,
        toolhouse.session("csv-analyst", vars={"csv_path": str(path)}) as session,
    ):
        first = await session.send("The outliers, as JSON")  # nothing is known yet, so it is found out first
        assert len(first.jobs) == 2
        answer = await session.send("Only the outliers, as JSON")
        assert answer.json() == [{"column": "size", "values": [60.0], "count": 1}]
        assert answer.jobs == ()
        again = await session.send("Once more")
        assert len(again.jobs) == 2


async def test_in_mid_stream_each_job_comes_last(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("id,size\n" + "".join(f"{i},{i % 7 + 0.5}\n" for i in range(1, 50)))
    same = {"body": {"vars": {"csv_path": str(path)}}}
    done = None
    for _ in range(2):
        documented, (job, *events) = await answer(job_result=done, **same)
        words, (*others, last) = await answer(module.csv_analyst_midstream, job_result=done, **same)
        assert words == documented
        assert [type(event) for event in others] == [type(event) for event in events]
        assert isinstance(others[-1], ToolCall)
        assert isinstance(last, BackgroundCall)
        done = await last.function(*last.args)
        job.function(*job.args).close()
    assert "intervals" in done["content"]


async def test_an_announced_job_begins_its_work_behind_the_words(tmp_path):
    path = write_slow_file(tmp_path / "slow.csv")
    context = WorkerContext(agent_id="a", run_id="r", message="", history=[], body={"vars": {"csv_path": str(path)}})
    async with aclosing(module.csv_analyst(context)) as events:
        job = await anext(events)
        work = asyncio.create_task(job.function(*job.args))
        async for event in events:
            assert processes_with(str(path)) == [], event
    await asyncio.to_thread(wait_until, lambda: processes_with(str(path)))
    work.cancel()
    await asyncio.wait([work])


async def test_a_job_begins_also_where_its_answer_is_broken_off():
    context = WorkerContext(agent_id="a", run_id="r", message="", history=[])
    async with aclosing(module.csv_analyst(context)) as events:
        job = await anext(events)
    assert (await job.function(*job.args))["content"]["rows"] == 344


async def test_without_variables_the_worker_reads_the_penguins():
    _, events = await answer()
    assert events[2].content["columns"][0] == "species"


async def test_without_numbers_there_is_one_job_only(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,b\nx,y\nz,w\n")
    _, events = await answer(body={"vars": {"csv_path": str(path)}})
    words, events = await answer(job_result=await events[0].function(*events[0].args))
    assert [type(event) for event in events] == [ToolResult]
    assert "no histogram" in words


async def test_a_file_that_cannot_be_read_is_an_answer_without_a_job(tmp_path):
    words, events = await answer(body={"vars": {"csv_path": str(tmp_path / "nothing.csv")}})
    assert [type(event) for event in events] == [ToolCall, ToolResult]
    assert events[-1].is_error
    assert "No such file" in words


async def test_what_the_analysis_refuses_is_its_result(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,y\n2,w\n")
    _, events = await answer(body={"vars": {"csv_path": str(path), "column": "b"}})
    words, (result,) = await answer(job_result=await events[0].function(*events[0].args))
    assert result.is_error
    assert 'column "b" holds no numbers' in words


@pytest.fixture
async def slow_job(tmp_path):
    path = write_slow_file(tmp_path / "slow.csv")
    _, events = await answer(body={"vars": {"csv_path": str(path)}})
    return asyncio.create_task(events[0].function(*events[0].args)), str(path)


async def test_cancelling_the_job_ends_its_process(slow_job):
    task, path = slow_job
    await asyncio.to_thread(wait_until, lambda: processes_with(path))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert processes_with(path) == []


async def test_a_process_that_is_killed_is_an_error_in_the_answer(slow_job):
    task, path = slow_job
    (pid,) = await asyncio.to_thread(wait_until, lambda: processes_with(path))
    os.kill(pid, signal.SIGKILL)
    words, (result,) = await answer(job_result=await task)
    assert result.is_error
    assert "exit status -9" in words
