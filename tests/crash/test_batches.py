"""Processes killed at any moment while they work on one batch: each row is asked once, and none is lost."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.redis_server import RedisServer
from tests.support.stores import new_schema
from toolhouse_async.testing import WorkersEmulator

from .batch_victim import AGENT, rows_of
from .test_kills import run

REAL_TIME = True

KILLS = int(os.environ.get("TOOLHOUSE_CRASH_KILLS", "40"))
"""Processes killed for each store."""
PROCESSES = 4
ROWS = max(200, min(1_000, 5 * KILLS))

pytestmark = pytest.mark.timeout(120 + 3 * KILLS)


class Record:
    """The service's own record: what it accepted, and how often each run was resumed."""

    def __init__(self) -> None:
        self.emulator = WorkersEmulator(keep_runs=10**9, keep_requests=1)
        self.emulator.worker(AGENT)(self._worker)
        self.told: Counter[str] = Counter()
        self.resumed: Counter[str] = Counter()

    async def _worker(self, ctx: Any) -> Any:
        if ctx.job_result is not None:
            self.resumed[ctx.run_id] += 1
            yield ctx.text(f"[{ctx.job_result}]")
            return
        self.told[ctx.message] += 1
        if ctx.message.startswith("job"):
            yield ctx.background(self._job, ctx.message)
        yield ctx.text("<")
        await asyncio.sleep(0.02)
        yield ctx.text(f"{ctx.message}>")

    @staticmethod
    async def _job(message: str) -> str:
        await asyncio.sleep(0.1)
        return message


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
async def test_processes_killed_at_any_moment(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    where = str(tmp_path / "batch.db")
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        where = server.url
    elif kind == "postgres":
        where = new_schema(request.getfixturevalue("postgres_server"))
    record, log = Record(), tmp_path / "log"
    async with record.emulator.serve() as server_:
        settings = {"url": server_.url, "kind": kind, "where": where, "log": str(log), "rows": ROWS}
        async with asyncio.TaskGroup() as tasks:
            for seed in range(1, PROCESSES + 1):
                victim = {**settings, "seed": seed, "kills": KILLS // PROCESSES}
                tasks.create_task(run(victim, program="batch_victim"))
        by_then = record.told.total()
        began = time.monotonic()
        await run({**settings, "seed": 0, "kills": 0}, program="batch_victim")
        took = time.monotonic() - began
        await run({**settings, "seed": 0, "kills": 0, "log": str(tmp_path / "again")}, program="batch_victim")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    again = [json.loads(line) for line in (tmp_path / "again").read_text().splitlines()]
    last = [line for line in lines if line["what"] == "item" and line["is_last"]]
    statuses = Counter(line["status"] for line in last)
    never = sum(line["status"] == "unknown" and not record.told[line["row"]] for line in last)
    with capsys.disabled():
        print(
            f"\n{kind}: {KILLS // PROCESSES * PROCESSES} kills, {ROWS} rows, {by_then} accepted while killing; "
            f"{record.told.total()} accepted in all, {dict(statuses)}, of the unknown {never} not accepted; "
            f"the last process took {took:.1f} s"
        )
    check(record, settings, lines, last, again)


def check(
    record: Record,
    settings: dict[str, Any],
    lines: list[dict[str, Any]],
    last: list[dict[str, Any]],
    again: list[dict[str, Any]],
) -> None:
    rows = rows_of(settings)
    # Nothing twice: neither a message nor a resume.
    assert [message for message, count in record.told.items() if count > 1] == []
    assert [run_id for run_id, count in record.resumed.items() if count > 1] == []
    # Nothing lost: every row comes, and is what it was in every process that has given it out.
    assert sorted(line["row"] for line in last) == sorted(rows)
    came_to = {line["key"]: (line["status"], line["text"], line["error"]) for line in last}
    for line in [line for line in lines + again if line["what"] == "item"]:
        assert (line["status"], line["text"]) == came_to[line["key"]][:2], line
    # What was answered was accepted, and answered right; nobody knows only of what was just being sent.
    for line in last:
        if line["status"] == "done":
            assert record.told[line["row"]] == 1
            resumed = f"[{line['row']}]" if line["row"].startswith("job") else ""
            assert line["text"] == f"<{line['row']}>{resumed}", line
        else:
            assert line["status"] == "unknown", line
            assert "nobody knows whether it was accepted" in line["error"]
    unknown = [line["row"] for line in last if line["status"] == "unknown"]
    assert record.told.total() == len(rows) - sum(not record.told[row] for row in unknown)
    assert len(unknown) < len(rows) / 2
