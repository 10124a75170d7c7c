"""A check ends in time, whatever it does, and takes along what it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import processes_with, wait_until
from tests.docs.blocks import ROOT

LIMIT = [sys.executable, str(ROOT / ".ci/limit.py")]
FOREVER = 600
BEGUN = 10
"""Seconds in which a command has begun to hang, on a busy machine too."""
HANGS = {
    "sleeping": "import time; time.sleep(600)",
    "in native code": "import ctypes; ctypes.CDLL(None).pause()",
    "in native code that holds the interpreter": "import ctypes; ctypes.PyDLL(None).pause()",
    "deaf to signals": (
        "import ctypes, signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nctypes.PyDLL(None).sleep(600)"
    ),
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc and orphans that are adopted")


def limited(seconds: float, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*LIMIT, str(seconds), sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=50, check=False)


@pytest.mark.parametrize("status", [0, 1, 7])
def test_the_status_is_the_commands(status: int) -> None:
    done = limited(FOREVER, f"print('done'); raise SystemExit({status})")
    assert (done.returncode, done.stdout, done.stderr) == (status, "done\n", "")


def test_the_status_of_a_command_that_has_ended_at_once_is_its_own() -> None:
    code = (
        "import os, runpy, subprocess, sys\n"
        "class Ended(subprocess.Popen):\n"
        "    def __init__(self, *args, **options):\n"
        "        super().__init__(*args, **options)\n"
        "        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)\n"
        "subprocess.Popen = Ended\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    command = [sys.executable, "-c", code, LIMIT[1], str(FOREVER), sys.executable, "-c", "raise SystemExit(7)"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (7, "")


def test_a_signal_that_ends_the_command_is_told_as_a_shell_does() -> None:
    assert limited(FOREVER, "import os; os.kill(os.getpid(), 9)").returncode == 128 + 9


@pytest.mark.parametrize("how", HANGS)
def test_a_command_that_hangs_is_ended(how: str) -> None:
    done = limited(BEGUN, HANGS[how])
    assert done.returncode == 124
    assert f"not done after {BEGUN} s" in done.stderr
    if how != "deaf to signals":
        assert 'File "<string>", line 1 in <module>' in done.stderr


def test_processes_have_some_seconds_for_their_last_words() -> None:
    code = (
        "import os, signal, time\n"
        "def speak(*_):\n"
        "    time.sleep(1)\n"
        "    print('where I am', flush=True)\n"
        "    os._exit(0)\n"
        "signal.signal(signal.SIGABRT, speak)\n"
        "time.sleep(600)\n"
    )
    done = limited(BEGUN, code)
    assert (done.returncode, done.stdout) == (124, "where I am\n")


@pytest.mark.parametrize("leader", ["hangs", "ends"])
def test_what_it_started_ends_with_it(tmp_path: Path, leader: str) -> None:
    """So does a process of another session, whose parent has ended, and that holds on to the output."""
    mark = str(tmp_path / "mark")
    code = (
        "import subprocess, sys, time\n"
        "child = 'import signal, time; signal.signal(signal.SIGABRT, signal.SIG_IGN); print(1, flush=True);"
        " time.sleep(600)'\n"
        'middle = \'import subprocess, sys; subprocess.Popen([sys.executable, "-c", *sys.argv[1:]],'
        " start_new_session=True)'\n"
        "subprocess.run([sys.executable, '-c', middle, child, sys.argv[1]], check=True)\n"
        f"time.sleep({600 if leader == 'hangs' else 0})\n"
    )
    done = limited(BEGUN if leader == "hangs" else FOREVER, code, mark)
    assert done.returncode == (124 if leader == "hangs" else 0)
    assert processes_with(mark) == []
    if leader == "ends":
        assert "left running, and ended now" in done.stderr


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_interrupted_as_soon_as_there_is_a_command_it_takes_that_along(tmp_path: Path, name: str) -> None:
    mark = str(tmp_path / "mark")
    command = [*LIMIT, str(FOREVER), "sh", "-c", f"kill -{name} $PPID; sleep 600; true", mark]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, timeout=50, check=False)
    assert done.returncode == 128 + signal.Signals[f"SIG{name}"]
    assert processes_with(mark) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_takes_the_command_along(tmp_path: Path, number: int) -> None:
    mark = str(tmp_path / "mark")
    command = [*LIMIT, str(FOREVER), sys.executable, "-c", "print(1, flush=True); import time; time.sleep(600)", mark]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(timeout=50) == 128 + number
    wait_until(lambda: not processes_with(mark), seconds=50.0)
