import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from tests.cli.support import COMMAND, environment, processes_with, run, wait_until, write_slow_file

if sys.platform != "win32":
    import pty

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def test_without_a_terminal_it_tells_the_whole_turn_in_plain_lines():
    began = time.monotonic()
    done = run("demo")
    assert time.monotonic() - began < 60
    assert done.returncode == 0
    assert done.stderr == ""
    text = done.stdout
    assert not CONTROLS.search(text)
    for expected in (
        "Analyze this CSV and plot a histogram",
        "read_file path=",
        "code_interpreter module=",
        "job over after",
        "resumed (round 1)",
        "resumed (round 2)",
        "344 rows are in.",
        "turn completed",
        "2 background jobs",
        "Adelie (152)",
        "4201.75",  # mean body mass
        "95% confidence",
        "Histogram of bill_length_mm",
        "█",
    ):
        assert expected in text
    bars = re.findall(r"^ +(\d\d\.\d) – (\d\d\.\d)  [▏▎▍▌▋▊▉█]+ (\d+)$", text, re.MULTILINE)
    assert sum(int(count) for _, _, count in bars) == 342


def terminal_run(*arguments):
    """Run the command line on a pseudo-terminal and return its status and all that it wrote there."""
    pid, master = pty.fork()
    if not pid:
        os.execve(sys.executable, [*COMMAND, *arguments], environment(COLUMNS="90", LINES="40"))
    written = bytearray()
    try:
        while chunk := os.read(master, 65536):
            written += chunk
    except OSError:  # as Linux tells of the end
        pass
    finally:
        os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), written.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
def test_on_a_terminal_a_live_line_counts_the_seconds_and_the_file_s_own_escapes_are_harmless(tmp_path):
    path = tmp_path / "größe \x1b[31m.csv"
    rows = "".join(f"{i};{i % 5},5;\x1b[2J\n" for i in range(40))
    path.write_text(f"id;Größe;[bold]note[/bold]\n{rows}", "cp1252")
    status, text = terminal_run("demo", str(path), "--column", "Größe")
    assert status == 0
    assert re.search(r"0\.\d s\x1b\[0m", text)
    assert "0 polls" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0  # the cursor is shown again
    assert "Histogram of Größe" in text
    assert "2.50" in text
    assert "[bold]note[/bold]" in text
    assert "\\x1b[2J" in text
    assert "\x1b[2J" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"a,b\n", "a header and no rows"),
        (b"\0\1\2\3" * 100, "binary"),
        (b'a,b\n1,"x\n2,y\n', "lines 2 to 3: a quote is opened on line 2 and never closed"),
        (b"a,b\n1,x\n2,y\n", "no column \"c\"; it has: 'a', 'b'"),
    ],
)
def test_a_bad_file_is_a_clear_error_and_status_2(cli, tmp_path, content, message):
    path = tmp_path / "data.csv"
    if content is not None:
        path.write_bytes(content)
    done = cli("demo", path, "--column", "c")
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_only_the_analysis_finds_wrong_is_status_2_too(cli, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,x\n2,y\n")
    done = cli("demo", path, "--column", "b")
    assert done.returncode == 2
    assert done.stderr == 'Error: column "b" holds no numbers: it is text\n'


@pytest.fixture
def working(tmp_path):
    """The demo while its analysis runs, the only process that it has started."""
    path = str(write_slow_file(tmp_path / "slow.csv"))
    with subprocess.Popen(
        [*COMMAND, "demo", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        wait_until(lambda: set(processes_with(path)) - {process.pid})
        yield process, path
        process.kill()


def test_killed_outright_it_leaves_no_process(working):
    process, path = working
    process.kill()
    process.wait(timeout=50)
    wait_until(lambda: not processes_with(path))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_leaves_no_process_and_is_quiet(working, number, status):
    process, path = working
    process.send_signal(number)
    _, errors = process.communicate(timeout=50)
    assert process.returncode == status
    assert b"Traceback" not in errors
    assert processes_with(path) == []


def test_nobody_else_on_the_machine_can_talk_to_its_worker(working):
    process, path = working
    url = re.search(rb"http://127\.0\.0\.1:\d+", process.stdout.readline())[0].decode()
    request = urllib.request.Request(f"{url}/csv-analyst", json.dumps({"vars": {"csv_path": path}}).encode())
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request, timeout=10):
        pass
    with caught.value as refused:
        assert refused.code == 401
