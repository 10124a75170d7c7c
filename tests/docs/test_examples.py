"""The Python and shell examples of README.md and the documentation do what the text says."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from attrs import evolve

from toolhouse_async._cli.csv_analyst import csv_analyst
from toolhouse_async.testing import RunningEmulator
from toolhouse_async.testing.workers import echo

from .blocks import ROOT, Block, marked
from .setups import AGENT_ID, SETUPS, analyst

REAL_JOB_SECONDS = 0.2


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples read and write files where they are."""
    monkeypatch.chdir(tmp_path)


def check_output(block: Block, printed: str) -> None:
    """Compare what a block printed with what the page says; ``...`` is anything, and all white space is alike."""
    if block.output is None:
        return
    parts = [re.escape(" ".join(part.split())) for part in block.output.split("...")]
    if not re.fullmatch(" ?.*".join(parts), " ".join(printed.split())):
        pytest.fail(f"{block}: the page says\n{block.output}\nand it prints\n{printed}", pytrace=False)


IN_A_PROCESS = [block for block in marked("program") if block.argument == "analyst"]
"""Programs that run by the clock; the others meet faults or long waits, and run on virtual time."""
ON_OUR_LOOP = [block for block in marked("program") if block not in IN_A_PROCESS]
RUN = "\nasyncio.run(main())\n"


@pytest.mark.parametrize("block", [*marked("example"), *ON_OUR_LOOP], ids=str)
async def test_an_example_runs(
    block: Block, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = block.code
    if block.kind == "program":
        assert block.output is not None
        assert text.endswith(RUN)
        text = text.replace(RUN, "\nawait main()\n")
    code = compile(text, block.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    module = ModuleType("example")  # classes look for the module that they are defined in
    monkeypatch.setitem(sys.modules, module.__name__, module)
    async with SETUPS[block.argument]() as names:
        if block.kind == "example":
            vars(module).update(names)
        capsys.readouterr()
        await eval(code, vars(module))
    check_output(block, capsys.readouterr().out)


@pytest.fixture
def service(toolhouse_emulator: RunningEmulator) -> dict[str, str]:
    """Workers for programs of their own, and the environment that leads to them."""
    toolhouse_emulator.worker(AGENT_ID)(analyst(REAL_JOB_SECONDS))
    toolhouse_emulator.worker("echo")(echo)
    toolhouse_emulator.worker("csv-analyst")(csv_analyst)
    return environment(
        TOOLHOUSE_BASE_URL=toolhouse_emulator.url,
        TOOLHOUSE_API_KEY="key-of-the-example",
        XDG_STATE_HOME=str(Path.cwd() / "state"),  # the chat keeps its last conversation there
    )


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, with the commands of its Python on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOOLHOUSE_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, "PATH": path, "PYTHONIOENCODING": "utf-8", **changes}


@pytest.mark.parametrize("block", IN_A_PROCESS, ids=str)
def test_a_program_runs(block: Block, service: dict[str, str]) -> None:
    assert block.output is not None
    check_output(block, printed_by(block.code, service))


def test_the_readmes_program_runs_with_the_emulators_analyst(service: dict[str, str]) -> None:
    (block,) = (block for block in marked("program") if block.place.startswith("README.md"))
    printed = printed_by(block.code.replace(AGENT_ID, "csv-analyst"), {**service, "TOOLHOUSE_API_KEY": ""})
    (shown,) = marked("emulator-output")
    check_output(evolve(block, output=shown.code), printed)
    assert printed.count("[job ") == 2
    assert printed.endswith("\n[]\n")  # no penguin stands out


@pytest.mark.parametrize("page", ["batches", "json"])
def test_a_pages_first_program_runs_with_the_emulators_echo(page: str, service: dict[str, str]) -> None:
    block = next(block for block in marked("program") if block.place.startswith(f"docs/how-to/{page}.md"))
    program = block.code.replace(AGENT_ID, "echo")
    for _ in range(2):
        check_output(block, printed_by(program, {**service, "TOOLHOUSE_API_KEY": ""}))


def test_the_first_program_about_batches_takes_answers_of_any_form(service: dict[str, str]) -> None:
    block = next(block for block in marked("program") if block.place.startswith("docs/how-to/batches.md"))
    printed = printed_by(block.code.replace(AGENT_ID, "csv-analyst"), service)
    assert [line.split()[0] for line in printed.splitlines()] == ["Graz", "Kyoto"]


def printed_by(program: str, env: dict[str, str]) -> str:
    """What a program prints that ends well and warns of nothing."""
    Path("program.py").write_text(program, "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "program.py"],
        env=env,
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_tests_pass(pytester: pytest.Pytester) -> None:
    blocks = marked("pytest")
    pytester.makepyfile(**{f"test_{number}": f"# {block}\n{block.code}" for number, block in enumerate(blocks)})
    bots = ROOT / "docs" / "examples" / "bots"  # the page on them has a test beside their files
    pytester.makeini(f"[pytest]\nfilterwarnings = error\npythonpath = {bots}")
    tests = [re.findall(r"^(?:async )?def test_", block.code, re.MULTILINE) for block in blocks]
    done = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider", timeout=50)
    done.assert_outcomes(passed=sum(map(len, tests)))
    assert all(tests)


@pytest.mark.parametrize("block", marked("shell"), ids=str)
def test_a_command_runs(block: Block, service: dict[str, str]) -> None:
    if "curl" in block.code and shutil.which("curl") is None:
        pytest.skip("needs curl")
    command = block.code.replace("http://127.0.0.1:8000", service["TOOLHOUSE_BASE_URL"])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env=service,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check_output(block, done.stdout)


@pytest.mark.parametrize("printed", ["1 and 3\n", "1\n3\n", "1 3"])
def test_output_is_compared(printed: str) -> None:
    check_output(Block("page.md:1", "python", "", output="1\n...\n3\n"), printed)


@pytest.mark.parametrize("printed", ["", "1 and 2", "2 and 3", "0 1 3", "1 3 4"])
def test_a_wrong_output_is_noticed(printed: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="page says"):
        check_output(Block("page.md:1", "python", "", output="1\n...\n3\n"), printed)
