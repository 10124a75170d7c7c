"""The processes of a benchmark: the client on one core, the server on another, children for what needs a fresh one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).parents[2]
LIBRARIES = ("aiohttp", "anyio", "attrs", "orjson", "uvloop", "httpx", "langgraph-sdk", "openai", "anthropic")


def cores() -> tuple[int, int]:
    """The client's core and the server's; the same one if there is no other."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def pin() -> int:
    """Keep this process on the client's core; return the server's."""
    client, server = cores()
    os.sched_setaffinity(0, {client})
    return server


@contextmanager
def serving(core: int) -> Iterator[str]:
    """Run a server in a process of its own; gives its URL."""
    command = [sys.executable, "-m", "tests.benchmarks.server", str(core)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def in_child(module: str, *arguments: object) -> Any:
    """Run a module of this package in a fresh process and return what it prints as JSON."""
    return run_python("-m", f"tests.benchmarks.{module}", *map(str, arguments))


def run_python(*arguments: str) -> Any:
    """Run Python in a fresh process, which may keep what it compiles, and return what it prints as JSON."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT, env=environment)
    return orjson.loads(done.stdout)


def described() -> dict[str, object]:
    """What the figures were measured on."""
    libraries = {}
    for name in LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} on {platform.machine()}",
        "cores": os.cpu_count(),
        "libraries": libraries,
    }
