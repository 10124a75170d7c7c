"""Workers that begin a job behind words, which the headers did not tell of: ``--settle`` finds it."""

import asyncio

import pytest

from toolhouse_async._cli.batch.running import Request as BatchRequest
from toolhouse_async._cli.batch.running import run as run_batch
from toolhouse_async._cli.run import Request, run
from toolhouse_async.testing import WorkersEmulator

emulator = WorkersEmulator()


@emulator.worker("late")
async def late(ctx):
    """Says words, and begins a job behind them."""
    if ctx.job_result is None:
        yield ctx.text("First. ")
        yield ctx.background(asyncio.sleep, 5, 42)
    else:
        yield ctx.text(f"Then {ctx.job_result}.")


@pytest.mark.parametrize(("settle", "answer"), [(True, "First. Then 42."), (False, "First. ")])
async def test_run(capsys, settle, answer):
    async with emulator.serve() as server:
        request = Request(
            agent_id="late",
            message="Hello",
            base_url=server.url,
            api_key="",
            allow_insecure=False,
            format="ndjson",
            run_id=None,
            timeout=None,
            settle=settle,
            vars=None,
            json=False,
        )
        assert await run(request) == 0
    assert "".join(capsys.readouterr().out.split("\n")).strip() == answer.strip()


@pytest.mark.parametrize(("settle", "answer"), [(True, "First. Then 42."), (False, "First. ")])
async def test_batch_run(tmp_path, settle, answer):
    (tmp_path / "rows.jsonl").write_text('"Hello"\n')
    async with emulator.serve() as server:
        request = BatchRequest(
            path=tmp_path / "rows.jsonl",
            agent_id="late",
            store=str(tmp_path / "batch.db"),
            name="rows",
            key=None,
            template=None,
            out=tmp_path / "out.jsonl",
            parse=False,
            rate=None,
            concurrency=10,
            retry_unknown=False,
            timeout=None,
            settle=settle,
            base_url=server.url,
            api_key="",
            allow_insecure=False,
        )
        assert await run_batch(request) == 0
    assert f'"answer":"{answer}"' in (tmp_path / "out.jsonl").read_text()
