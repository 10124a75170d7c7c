"""The tutorial, done as a reader does it: the server in one process, each program in another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .blocks import Block, marked
from .test_examples import check_output, environment

WRITTEN_URL = "http://127.0.0.1:8000"
TYPED = {"chat.py": ["Analyze this CSV", ""]}
"""What the reader types."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The server as the page starts it, but for its port, which may be taken."""
    (command,) = {block.code for block in marked("server")}
    assert command.endswith(" --port 8000\n")
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command.replace('8000', '0')}"],
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        yield process.stdout.readline().split(" on ")[1].split()[0]
        process.terminate()


def test_ctrl_c_ends_the_program_that_waits_for_words(url: str, tmp_path: Path) -> None:
    (block,) = [block for block in marked("file") if block.argument == "chat.py"]
    program = tmp_path / "chat.py"
    program.write_text(block.code.replace(WRITTEN_URL, url), "utf-8")
    process = subprocess.Popen(
        [sys.executable, "-u", str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"\nyou: "
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=50)
    assert (process.returncode, told) == (-signal.SIGINT, b"")


@pytest.mark.parametrize("block", marked("file"), ids=lambda block: block.argument)
def test_a_program_of_the_tutorial_does_what_it_says(block: Block, url: str, tmp_path: Path) -> None:
    assert WRITTEN_URL in block.code
    assert block.output is not None
    program = tmp_path / block.argument
    program.write_text(block.code.replace(WRITTEN_URL, url), "utf-8")
    typed = TYPED.get(block.argument, [])
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        input="".join(line + "\n" for line in typed),
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout
    for line in typed:  # a terminal shows what is typed into it
        printed = printed.replace("you: ", f"you:\x00{line}{os.linesep}", 1)
    check_output(block, printed.replace("\x00", " "))
