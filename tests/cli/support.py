"""The command line as a program of its own, seen from outside."""

import os
import subprocess
import sys
import time

import psutil

COMMAND = [sys.executable, "-c", "import sys; from toolhouse_async_cli import main; sys.exit(main())"]


def environment(**changes):
    """This process's environment without what would change how programs print, or have their lines counted."""
    changing = ("TOOLHOUSE_", "FORCE_", "TTY_", "NO_COLOR", "COVERAGE_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(changing)}
    return {**kept, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", "TERM": "xterm-256color", **changes}


def run(*arguments, stdin=b"", timeout=50, **changes):
    """Run the command line to its end; stdout and stderr are decoded."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=timeout,
        env=environment(**changes),
        check=False,
    )
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def processes_with(argument):
    """The ids of processes that carry an argument, without those that have ended."""
    every = psutil.process_iter(["cmdline"])
    return [process.pid for process in every if argument in (process.info["cmdline"] or ())]


def wait_until(condition, seconds=50.0):
    """Wait for another process to bring something about."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def write_slow_file(path):
    """A file whose analysis takes seconds: hundreds of thousands of rows, hardly two alike."""
    block = "".join(f"{i}.{i * 7919 % 9973},{i * 31 % 8191}.5,word {i}\n" for i in range(20_000)).encode()
    path.write_bytes(b"x,y,label\n" + block * 40)
    return path
