"""The commands among standard streams that are closed, full or left, and settings of the terminal that are odd."""

import asyncio
import subprocess
import sys

import pytest

from tests.cli.support import COMMAND, environment
from toolhouse_async.testing.workers import echo

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these redirections are those of POSIX shells")

FULL = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
OK = ["run", "echo", "Good morning"]
DEMO = ["demo", "small.csv"]
COMMANDS = [OK, [*OK, "--json"], DEMO, ["emulator"], ["--help"], ["emulator", "--help"]]


@pytest.fixture
def shell(toolhouse_emulator, tmp_path):
    """Runs the command line under a redirection that a shell makes."""
    toolhouse_emulator.worker("echo")(echo)
    (tmp_path / "small.csv").write_text("name,size\n" + "".join(f"n,{size * 5}\n" for size in range(9)))
    surroundings = {"TOOLHOUSE_BASE_URL": toolhouse_emulator.url, "TOOLHOUSE_API_KEY": "secret"}

    def call(arguments, redirection="", before="", **changes):
        done = subprocess.run(
            ["/bin/sh", "-c", f'{before} "$@" {redirection}', "sh", *COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment(**surroundings, **changes),
            cwd=tmp_path,
            timeout=50,
            check=False,
        )
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in done.stderr
        return done

    return call


@pytest.mark.parametrize("arguments", COMMANDS)
@pytest.mark.parametrize(
    ("redirection", "reason"), [(">&-", "it is closed"), pytest.param(">/dev/full", "No space left", marks=FULL)]
)
def test_a_stdout_that_cannot_be_written_is_status_1_and_a_word(shell, arguments, redirection, reason):
    done = shell(arguments, redirection)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith(f"Error: cannot write to stdout: {reason}")
    assert done.stderr.count("Error: ") == 1


def test_nothing_is_sent_where_the_answer_could_not_be_written(shell, toolhouse_emulator):
    shell(OK, ">&-")
    assert not toolhouse_emulator.requests


@pytest.mark.parametrize("redirection", [">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", COMMANDS)
def test_with_both_closed_the_status_tells(shell, arguments, redirection):
    assert shell(arguments, redirection).returncode == 1


@pytest.mark.parametrize("redirection", ["2>&-", "<&-", "<&- 2>&-", pytest.param("2>/dev/full", marks=FULL)])
def test_the_answer_is_whole_where_only_the_other_streams_are_amiss(shell, redirection):
    done = shell(OK, redirection)
    assert (done.returncode, done.stdout) == (0, "Good morning\n")
    done = shell([*OK, "--json"], redirection)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith('{"event":"TurnCompleted"')
    done = shell(DEMO, redirection)
    assert done.returncode == 0
    assert "Histogram of size" in done.stdout


@pytest.mark.parametrize("redirection", ["2>&-", pytest.param("2>/dev/full", marks=FULL)])
@pytest.mark.parametrize(
    ("arguments", "status"), [(["run", "nobody", "hi"], 1), (["demo", "nothing.csv"], 2), (["run"], 2)]
)
def test_an_error_that_cannot_be_told_keeps_its_status(shell, arguments, status, redirection):
    done = shell(arguments, redirection)
    assert (done.returncode, done.stdout) == (status, "")


def test_a_reader_that_has_seen_enough_is_status_141(shell):
    done = shell(DEMO, "; echo $? >&2; } | head -c 1", before="{")
    assert done.stderr == "141\n"


def test_a_stdin_that_cannot_be_read_is_status_2(shell):
    done = shell(["run", "echo"], "0>/dev/null")
    assert done.returncode == 2
    assert "stdin cannot be read" in done.stderr


@pytest.mark.parametrize(
    "changes",
    [
        {"COLUMNS": "0", "LINES": "0", "TERM": "dumb"},
        {"COLUMNS": "1", "LINES": "1", "TERM": ""},
        {"COLUMNS": "²", "LINES": "-5", "NO_COLOR": "1"},
        {"COLUMNS": "9" * 30, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""},
        {"COLUMNS": "-5", "PYTHONIOENCODING": "ascii:strict"},
    ],
)
def test_odd_settings_lose_nothing_of_the_output(shell, changes):
    done = shell(DEMO, **changes)
    assert (done.returncode, done.stderr) == (0, "")
    for expected in ("9 rows are in.", "Histogram of size", "40", "turn completed"):
        assert expected in " ".join(done.stdout.split())
    done = shell(OK, **changes)
    assert (done.returncode, done.stdout) == (0, "Good morning\n")


def test_a_current_folder_that_is_removed_matters_only_where_it_is_needed(shell, tmp_path):
    def from_nowhere(*arguments):
        (tmp_path / "gone").mkdir()
        return shell(arguments, before="cd gone; rmdir ../gone;")

    assert from_nowhere(*OK).stdout == "Good morning\n"
    assert from_nowhere("demo").returncode == 0
    for arguments in (["demo", "data.csv"], ["emulator"]):
        done = from_nowhere(*arguments)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1] == "Error: the current folder has been removed"


async def sleeper(ctx):
    """Has one background job."""
    if ctx.job_result is None:
        yield ctx.background(asyncio.sleep, 0.1, 42)
        yield ctx.text("First. ")
    else:
        yield ctx.text(f"Then {ctx.job_result}.")


@pytest.mark.parametrize(
    ("arguments", "stdin", "lines"),
    [
        (["run", "echo", "Hello"], "", ["Hello", "[run id: "]),
        (["run", "sleeper", "go"], "", ["First. ", "[job ", "[job over ", "[resumed]", "Then 42.", "[run id: "]),
        (["chat", "--new", "echo"], "printf 'Hello\nBye\n' |", ["Hello", "[run id: ", "Bye", "[run id: "]),
    ],
)
@pytest.mark.parametrize("target", ["", ">both"])
def test_where_both_streams_are_one_notices_are_lines_of_their_own(
    shell, toolhouse_emulator, tmp_path, arguments, stdin, lines, target
):
    toolhouse_emulator.worker("sleeper")(sleeper)
    done = shell(arguments, f"{target} 2>&1", stdin, XDG_STATE_HOME=str(tmp_path))
    found = (tmp_path / "both").read_text() if target else done.stdout
    shown = [line for line in found.splitlines() if not line.startswith("[still running")]
    assert [line[: len(start)] for line, start in zip(shown, lines, strict=True)] == lines
    assert [line for line in shown if not line.startswith("[")] == [line for line in lines if line[0] != "["]
