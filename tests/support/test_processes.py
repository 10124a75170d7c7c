import os
import subprocess
import sys

import psutil
import pytest

from .processes import children, has_ended

REAL_TIME = True


@pytest.fixture
def started():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    yield process
    process.kill()
    process.communicate()


def test_a_process_has_ended_once_it_waits_for_its_parent_and_once_it_is_gone(started):
    seen = psutil.Process(started.pid)
    assert not has_ended(seen)
    started.kill()
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)  # it is looked at, and stays
    assert has_ended(seen)
    started.wait()
    assert has_ended(seen)


def test_what_a_process_has_started_are_its_children(started):
    assert [child.pid for child in children(os.getpid()) if child.pid == started.pid] == [started.pid]
