"""Processes killed at any moment: every key goes on, or says that it does not know."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.support.redis_server import RedisServer
from tests.support.stores import new_schema
from toolhouse_async.testing import WorkersEmulator

from .victim import AGENT, LEASE

REAL_TIME = True

KILLS = int(os.environ.get("TOOLHOUSE_CRASH_KILLS", "40"))
"""Processes killed for each store."""
PROCESSES = 4
SLACK = 1.0
"""Seconds that a busy machine may add to a lease."""
PROGRAM = Path(__file__).with_name("victim.py")
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(60 + 2 * KILLS)


class Record:
    """The service's own record: what it accepted, by conversation."""

    def __init__(self) -> None:
        self.emulator = WorkersEmulator(keep_runs=10**9, keep_requests=1)
        self.emulator.worker(AGENT)(self._worker)
        self.told: defaultdict[str, list[str]] = defaultdict(list)

    async def _worker(self, ctx: Any) -> Any:
        self.told[ctx.run_id].append(ctx.message)
        if ctx.job_result is not None:
            yield ctx.text(f"[{ctx.job_result}]")
        if "|job|" in ctx.message:
            yield ctx.background(self._job, ctx.message)
        if ctx.message:
            yield ctx.text("<")
            await asyncio.sleep(0.005)
            yield ctx.text(f"{ctx.message}>")

    @staticmethod
    async def _job(message: str) -> str:
        await asyncio.sleep(0.1)
        return message


async def run(settings: dict[str, Any], program: str = "victim") -> None:
    """Run the program to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", f"tests.crash.{program}", json.dumps(settings), cwd=ROOT, stderr=-1
    )
    try:
        _, errors = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, errors.decode()[-4000:]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
async def test_processes_killed_at_any_moment(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    where = str(tmp_path / "sessions.db")
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        where = server.url
    elif kind == "postgres":
        where = new_schema(request.getfixturevalue("postgres_server"))
    record = Record()
    log = tmp_path / "log"
    async with record.emulator.serve() as server_:
        settings = {"url": server_.url, "kind": kind, "where": where, "log": str(log), "keys": 20 + KILLS}
        seeds = range(1, PROCESSES + 1)
        kills = [KILLS // PROCESSES] * PROCESSES
        async with asyncio.TaskGroup() as tasks:
            for seed, count in zip(seeds, kills, strict=True):
                tasks.create_task(run({**settings, "seed": seed, "kills": count}))
        await run({**settings, "seed": 0, "kills": 0})
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    with capsys.disabled():
        print(f"\n{kind}: {sum(kills)} kills, {report(record, lines)}")
    check(record, lines)


def check(record: Record, lines: list[dict[str, Any]]) -> None:
    messages = [message for told in record.told.values() for message in told if message]
    twice = [message for message, count in Counter(messages).items() if count > 1]
    assert not twice

    of_key: dict[str, list[str]] = defaultdict(list)
    for run_id, told in record.told.items():
        keys = {message.partition("|")[0] for message in told if message}
        assert len(keys) == 1, f"run {run_id} was told of {keys}"
        of_key[keys.pop()].append(run_id)
        jobs = sum("|job|" in message for message in told)
        assert told.count("") <= jobs, told

    # A key goes on in its conversation, unless a first message's fate was reported as unknown.
    forgotten = Counter(line["key"] for line in lines if line["what"] == "forget")
    for key, runs in of_key.items():
        assert len(runs) <= 1 + forgotten[key], key

    # Answers are those of their keys, and to their messages.
    for line in lines:
        if line["what"] in ("answer", "delivered", "settled", "resumed") and line["text"]:
            assert f"{line['key']}|" in line["text"], line
            if line["what"] == "answer":
                assert f"<{line['message']}>" in line["text"], line

    # What was answered was accepted; what was accepted is where it belongs.
    answered = {line["message"] for line in lines if line["what"] == "answer"}
    assert answered <= set(messages)
    known = {line["key"] for line in lines if line["what"] == "entered"}
    assert {f"{key}|word|last" for key in known} <= answered
    for key in of_key.keys() - known:  # forgotten, and whoever did it was killed before the key began anew
        happened = [line for line in lines if line.get("key") == key]
        last = max(index for index, line in enumerate(happened) if line["what"] != "sending")
        assert happened[last]["what"] == "forget", key
        assert not {line["message"] for line in happened[last + 1 :]} & set(messages), key

    entered = [line["after"] for line in lines if line["what"] == "entered"]
    assert entered
    assert max(entered) < LEASE + SLACK
    (left,) = [line["keys"] for line in lines if line["what"] == "left"]
    assert left == []


def report(record: Record, lines: list[dict[str, Any]]) -> str:
    counts = Counter(line["what"] for line in lines)
    entered = [line["after"] for line in lines if line["what"] == "entered"]
    accepted = sum(map(len, record.told.values()))
    words = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    return f"{accepted} messages accepted in {len(record.told)} runs; {words}; longest wait {max(entered):.2f} s"
