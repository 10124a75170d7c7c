"""Ctrl-C and SIGTERM for ``toolhouse-async batch run``."""

import asyncio
import json
import signal
import subprocess
from types import SimpleNamespace

import pytest

from tests.cli.support import COMMAND, environment, wait_until

ROWS = 30


@pytest.fixture
def slow(toolhouse_emulator):
    """A worker that takes its time, and remembers what it was told."""
    it = SimpleNamespace(told=[], seconds=0.3, url=toolhouse_emulator.url)

    async def slow(ctx):
        it.told.append(ctx.message)
        yield ctx.text("so ")
        for _ in range(round(it.seconds * 10)):
            await asyncio.sleep(0.1 if it.seconds else 0)
        yield ctx.text(ctx.message)

    toolhouse_emulator.worker("slow")(slow)
    return it


def start(slow, folder, *more, rows=ROWS):
    (folder / "rows.jsonl").write_text("".join(f'"row {number}"\n' for number in range(rows)))
    arguments = ["batch", "run", "rows.jsonl", "--agent", "slow", "--out", "out.jsonl", "--concurrency", "3", *more]
    url = ["--base-url", slow.url, "--api-key", ""]
    return subprocess.Popen(
        [*COMMAND, *arguments, *url], cwd=folder, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )


def ended(process):
    out, err = process.communicate(timeout=50)
    assert out == b""
    return process.returncode, err.decode()


def check_that_it_goes_on(slow, folder):
    slow.seconds = 0
    status, err = ended(start(slow, folder))
    assert (status, err.splitlines()[-1]) == (0, f"{ROWS} of {ROWS} rows: {ROWS} done")
    out = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [line["row"] for line in out] == [f"row {number}" for number in range(ROWS)]
    for line in out:
        assert line["answer"] == f"so {line['row']}"
    assert len(slow.told) == len(set(slow.told))


@pytest.mark.parametrize(
    ("number", "expected", "again"),
    [(signal.SIGINT, 130, "Ctrl-C again"), (signal.SIGTERM, 143, "another SIGTERM")],
)
def test_the_first_signal_finishes_what_is_under_way(slow, tmp_path, number, expected, again):
    process = start(slow, tmp_path)
    wait_until(lambda: len(slow.told) >= 5)
    process.send_signal(number)
    status, err = ended(process)
    assert status == expected
    assert (
        f"Finishing what is under way; {again} ends it: the same command then reads the answers that have begun, and a "
        "row whose answer has not is unknown.\n"
    ) in err
    assert "were under way" not in err
    told = len(slow.told)
    assert f"\n{told} of 30 rows: {told} done\nStopped; the same command goes on.\n" in err
    assert not (tmp_path / "out.jsonl").exists()
    check_that_it_goes_on(slow, tmp_path)


def test_it_is_said_that_other_processes_have_rows(slow, tmp_path):
    slow.seconds = 3600
    first = start(slow, tmp_path, rows=1)
    wait_until(lambda: slow.told)
    first.kill()
    ended(first)
    second = start(slow, tmp_path, rows=1)
    line = second.stderr.readline().decode()
    second.terminate()
    ended(second)
    assert line.startswith("the batch waits for rows that other starts of it have (1, of ")
    assert line.endswith(
        f":{first.pid}): until they are done, or at most 31 s where a process has stopped; their answers are "
        "then looked for, some seconds more\n"
    )


@pytest.mark.parametrize(("number", "another"), [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)])
def test_the_second_signal_ends_it_and_it_goes_on_too(slow, tmp_path, number, another):
    """Another one at once: the same one would count as the first (``test_stopping.py``)."""
    slow.seconds = 3600
    process = start(slow, tmp_path)
    wait_until(lambda: len(slow.told) >= 3)
    process.send_signal(number)
    assert b"Finishing what is under way" in process.stderr.readline()
    process.send_signal(another)
    status, err = ended(process)
    assert status == (130 if another == signal.SIGINT else 143)
    assert "Traceback" not in err
    assert err.endswith(
        "Stopped; the same command goes on.\n"
        "3 rows were under way. The same command reads the answers that had begun; a row whose answer had not is "
        "unknown then, and only --retry-unknown asks it again.\n"
    )
    check_that_it_goes_on(slow, tmp_path)


def test_with_retry_unknown_it_is_said_that_a_row_may_be_done_twice(slow, tmp_path):
    slow.seconds = 3600
    process = start(slow, tmp_path, "--retry-unknown")
    wait_until(lambda: len(slow.told) >= 3)
    process.send_signal(signal.SIGINT)
    first = process.stderr.readline().decode()
    process.send_signal(signal.SIGTERM)
    _, err = ended(process)
    assert first == (
        "Finishing what is under way; Ctrl-C again ends it: the same command then reads the answers that have begun, "
        "and asks a row whose answer has not once more, which the worker may then do twice.\n"
    )
    assert err.endswith(
        "3 rows were under way. The same command reads the answers that had begun, and asks a row whose answer had not "
        "once more, which the worker may then do twice; without --retry-unknown, such a row is unknown.\n"
    )
