"""The program that survives restarts, killed where it hurts and started again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolhouse_async.testing import RunningEmulator

from .blocks import marked
from .setups import AGENT_ID, analyst
from .test_examples import REAL_JOB_SECONDS, check_output, environment

(BLOCK,) = [block for block in marked("program") if block.place.startswith("docs/how-to/restarts.md")]
QUICK = "AsyncToolhouse(recovery=__import__('toolhouse_async').RecoveryPolicy(quiet=0.2, absence=1))"
"""The client of the program, with little to wait for."""
ANSWER = "I will work through it.Done: 344 rows, 3 outliers."
NOTE = Path("question.json")


@pytest.fixture
def start(
    toolhouse_emulator: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], subprocess.Popen[str]]:
    """Starts the program, each time in a new process and in the same folder."""
    monkeypatch.chdir(tmp_path)
    assert BLOCK.code.count("AsyncToolhouse() as") == 1
    Path("program.py").write_text(BLOCK.code.replace("AsyncToolhouse()", QUICK), "utf-8")
    toolhouse_emulator.worker(AGENT_ID)(analyst(REAL_JOB_SECONDS))
    env = environment(TOOLHOUSE_BASE_URL=toolhouse_emulator.url, TOOLHOUSE_API_KEY="key-of-the-example")
    command = [sys.executable, "-W", "error", "program.py"]
    return lambda: subprocess.Popen(command, env=env, stdout=subprocess.PIPE, encoding="utf-8")


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Look at the server or the disk until something has happened there; the program must still be running."""
    while not condition():
        try:
            process.wait(0.01)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"the program ended with {process.returncode} before that")


def messages(emulator: RunningEmulator) -> list[tuple[str, object]]:
    return [(request.method, request.json()["message"]) for request in emulator.accepted if request.method != "GET"]


ONCE = [("POST", "Analyze this CSV"), ("PUT", "")]


def has_run_id() -> bool:
    return NOTE.exists() and json.loads(NOTE.read_text())["run_id"] is not None


@pytest.mark.parametrize("times", [1, 2])
def test_killed_while_the_job_runs(
    start: Callable[[], subprocess.Popen[str]], toolhouse_emulator: RunningEmulator, times: int
) -> None:
    for _ in range(times):
        seen = len(toolhouse_emulator.requests)
        process = start()
        wait_until(lambda seen=seen: len(toolhouse_emulator.requests) > seen and has_run_id(), process)  # type: ignore[misc]
        kill(process)
    printed, _ = start().communicate(timeout=50)
    assert printed.strip() == ANSWER
    assert messages(toolhouse_emulator) == ONCE
    assert not NOTE.exists()


@pytest.mark.parametrize("accepted", [True, False])
def test_killed_while_it_resumes(
    start: Callable[[], subprocess.Popen[str]], toolhouse_emulator: RunningEmulator, *, accepted: bool
) -> None:
    """Whether the resume had arrived or not, the worker is resumed once."""
    fault = toolhouse_emulator.faults.add(method="PUT", cut="silence", accept=accepted)
    first = start()
    wait_until(lambda: fault.hits == 1, first)
    wait_until(lambda: len(messages(toolhouse_emulator)) == 1 + accepted, first)
    kill(first)
    printed, _ = start().communicate(timeout=50)
    assert printed.strip() == ANSWER
    assert messages(toolhouse_emulator) == ONCE


@pytest.mark.parametrize("accepted", [True, False])
def test_killed_before_it_knows_the_run(
    start: Callable[[], subprocess.Popen[str]], toolhouse_emulator: RunningEmulator, *, accepted: bool
) -> None:
    fault = toolhouse_emulator.faults.add(method="POST", cut="silence", accept=accepted)
    first = start()
    wait_until(lambda: fault.hits == 1, first)
    kill(first)
    again = start()
    assert again.communicate(timeout=50) == ("", None)
    assert again.returncode == 1
    assert len(messages(toolhouse_emulator)) == accepted
    assert NOTE.exists()


def test_never_killed(start: Callable[[], subprocess.Popen[str]], toolhouse_emulator: RunningEmulator) -> None:
    printed, _ = start().communicate(timeout=50)
    check_output(BLOCK, printed)
    assert messages(toolhouse_emulator) == ONCE
