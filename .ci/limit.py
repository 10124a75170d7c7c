"""Run a command that ends in time, whatever it does: ``python .ci/limit.py SECONDS COMMAND [ARGUMENT ...]``.

The command may hang in native code, where no handler of Python's runs. When its time is over, every process below it is
asked where it is, by SIGABRT: a Python that runs with PYTHONFAULTHANDLER=1 writes the stacks of all its threads, from
native code too. What is left a little later is killed. The exit status is 124 then, and the command's own otherwise.

Nothing that the command has started outlives it, in process groups and sessions of its own neither: on Linux, processes
whose parents have ended become children of this one.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

LAST_WORDS = 5.0
"""Seconds that processes have for their stacks."""
LOOK = 0.05
_PR_SET_CHILD_SUBREAPER = 36


def say(text: str) -> None:
    """Write a line that is found again between the command's own."""
    print(f"\n*** {text}", file=sys.stderr, flush=True)


def adopt_orphans() -> None:
    """Let processes below this one become its children where their parents end."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def running_below(parent: int) -> Iterator[int]:
    """The processes below one, itself left out, that have not ended."""
    children: dict[int, list[tuple[int, str]]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, above = place.read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(int(above), []).append((int(place.parent.name), state))
    left = [parent]
    while left:
        for process, state in children.get(left.pop(), []):
            left.append(process)
            if state != "Z":
                yield process


def send(number: int, processes: Iterable[int]) -> None:
    """Send a signal to processes, some of which may have ended."""
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


def name_of(process: int) -> str:
    """The command line of a process, shortened."""
    try:
        return (
            Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[:100].strip()
        )
    except OSError:
        return "?"


def wait_for(command: int | None, seconds: float) -> int | None:
    """Wait for the command, and for orphans meanwhile; return its status, or ``None`` where the time is over.

    Without a command it waits until there are no children left.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if ended == command:
            return os.waitstatus_to_exitcode(status)
        if not ended:
            time.sleep(LOOK)
    return None


def end_all() -> None:
    """Kill what is left, and what that starts meanwhile."""
    while left := list(running_below(os.getpid())):
        send(signal.SIGKILL, left)
        wait_for(None, LOOK)


def interrupted(number: int, frame: object) -> NoReturn:
    """Take the command along."""
    end_all()
    os._exit(128 + number)


def main(seconds: float, command: list[str]) -> int:
    """Run the command; return the exit status."""
    adopt_orphans()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)  # before there is a command that could be left running
    # In a session of its own, so that the terminal's Ctrl-C comes here alone. The object is kept: as it goes, it would
    # take the status of a process that has ended.
    process = subprocess.Popen(command, start_new_session=True)
    status = wait_for(process.pid, seconds)
    if status is None:
        say(f"not done after {seconds:g} s, so it is ended: {' '.join(command)}")
        stuck = list(running_below(os.getpid()))
        for each in stuck:
            print(f"    {each}: {name_of(each)}", file=sys.stderr, flush=True)
        send(signal.SIGABRT, stuck)
        wait_for(None, LAST_WORDS)
        status = 124
    elif left := list(running_below(os.getpid())):
        say(f"left running, and ended now: {'; '.join(map(name_of, left))}")
    end_all()
    process.returncode = status  # it has been taken by hand
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
