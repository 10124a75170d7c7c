"""Programs that begin alike, each in a process of its own: what all of them import is loaded once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import frozen

FORKING = """
import json, os, sys

begin, programs, folder = json.loads(sys.argv.pop(1))
exec(compile(begin, "begin", "exec"))
children = []
for number, each in enumerate(programs):
    child = os.fork()
    if not child:
        for stream in (1, 2):
            os.dup2(os.open(f"{folder}/{number}-{stream}", os.O_WRONLY | os.O_CREAT, 0o600), stream)
        program = each
        break
    children.append(child)
else:
    program = "print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))"
exec(compile(program, "program", "exec"))
"""


@frozen
class Done:
    """How a program ended and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def run_programs(begin: str, programs: Sequence[str], folder: Path, *options: str) -> list[Done]:
    """Run all at once, each behind ``begin``, which imports; ``options`` are the interpreter's.

    They are forked from one process where the system can do that, and in ``folder`` is then what they wrote.
    """
    if not hasattr(os, "fork"):
        with ThreadPoolExecutor(len(programs)) as threads:
            return [*threads.map(lambda each: _run(f"{begin}\n{each}", options), programs)]
    done = _run(FORKING, options, json.dumps([begin, programs, str(folder)]))
    assert done.returncode == 0, done.stderr
    written = [
        [(folder / f"{number}-{stream}").read_text("utf-8") for stream in (1, 2)] for number in range(len(programs))
    ]
    return [Done(code, *texts) for code, texts in zip(json.loads(done.stdout), written, strict=True)]


def _run(program: str, options: Sequence[str], *arguments: str) -> Done:
    done = subprocess.run(
        [sys.executable, *options, "-c", program, *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)
