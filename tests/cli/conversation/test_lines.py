import shlex
import signal
import subprocess
import threading

import pytest

from tests.cli.support import COMMAND, environment, wait_until
from toolhouse_async import RecoveryPolicy


@pytest.fixture
def chat(service, cli):
    """Runs the chat with lines on stdin."""

    def call(worker, stdin, *options, **more):
        key = service.api_key or ""
        return cli("chat", worker, "--base-url", service.url, "--api-key", key, *options, stdin=stdin, **more)

    return call


def messages(service):
    return [(each.method, each.json()["message"]) for each in service.accepted]


def test_each_line_is_a_message_of_one_conversation(chat, service, kept):
    done = chat("echo", b"Hello\r\n\n  \nWhat is new?\n/history \xe2\x82\xac")
    assert (done.returncode, done.stdout) == (0, "Hello\nWhat is new?\n/history €\n")
    assert messages(service) == [("POST", "Hello"), ("PUT", "What is new?"), ("PUT", "/history €")]
    assert kept()["run_id"] in done.stderr
    assert kept()["message"] is None


def test_the_last_conversation_goes_on(chat, service, kept):
    chat("echo", b"Hello\n")
    run_id = kept()["run_id"]
    chat("echo", b"again\n")
    assert kept()["run_id"] == run_id
    chat("echo", b"anew\n", "--new")
    assert kept()["run_id"] != run_id
    chat("echo", b"back\n", "--run-id", run_id)
    assert kept()["run_id"] == run_id
    assert [method for method, _ in messages(service)] == ["POST", "PUT", "POST", "PUT"]


def test_a_job_is_waited_for(chat, finish):
    finish()
    done = chat("analyst", b"Analyse\n")
    assert done.stdout == "First. Then 42.\n"
    assert "[tool call: code]" in done.stderr
    assert "[resumed]" in done.stderr


def test_what_a_worker_says_is_harmless(chat):
    done = chat("rude", b"Hello\n")
    assert "owned" in done.stdout
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(done.stdout)


def test_no_message_is_no_conversation(chat, service):
    assert chat("echo", b"").returncode == 0
    assert service.requests == []


def test_a_message_that_is_not_accepted_ends_it(chat, service, kept):
    service.faults.add(method="PUT", status=422)
    done = chat("echo", b"Hello\nWhat is new?\nBye\n")
    assert (done.returncode, done.stdout) == (1, "Hello\n")
    assert "Error: UnprocessableEntityError" in done.stderr
    assert messages(service) == [("POST", "Hello")]
    assert kept()["message"] is None


def test_an_answer_that_was_lost_is_found_in_the_history(chat, service):
    service.faults.add(method="PUT", cut="fin", accept=True)
    done = chat("echo", b"Hello\nBook a table\nBye\n")
    assert (done.returncode, done.stdout) == (0, "Hello\nBook a table\nBye\n")
    assert "looking in the history" in done.stderr
    assert messages(service) == [("POST", "Hello"), ("PUT", "Book a table"), ("PUT", "Bye")]


def test_a_message_of_which_nobody_knows_ends_it_and_is_told_at_the_next_start(chat, service, kept):
    service.faults.add(method="POST", cut="fin", accept=True)
    done = chat("echo", b"Hello\nBye\n")
    assert done.returncode == 4
    assert done.stderr.count("Error: OutcomeUnknownError") == 1
    assert "reconcile" not in done.stderr
    assert done.stderr.endswith("nobody can look what became of it. The next message begins a new conversation.\n")
    assert len(messages(service)) == 1
    assert kept()["message"] == "Hello"
    again = chat("echo", b"Bye\n")
    assert 'the answer to the last message was not seen: "Hello"' in again.stderr
    assert "nobody can look what became of it" in again.stderr
    assert "reconcile" not in again.stderr
    assert messages(service)[1:] == [("POST", "Bye")]


def test_a_job_that_cannot_be_asked_after_says_how_to_find_its_answer(chat, service, kept, finish):
    service.faults.add(method="GET", status=403, skip=1, times=None)
    done = chat("analyst", b"Analyse\n")
    assert done.returncode == 1
    way_on = done.stderr.splitlines()[-1]
    run_id = kept()["run_id"]
    options = ["--base-url", service.url, "--api-key", "", "--"]
    assert way_on.startswith(f"Run {run_id} has a background job; wait for it (may take ")
    assert shlex.split(way_on.partition(": ")[2]) == ["toolhouse-async", "wait", *options, "analyst", run_id]
    # The next start knows of no job, and says how to look, which waits for one.
    (look,) = [line for line in chat("analyst", b"").stderr.splitlines() if " with: " in line]
    command = ["toolhouse-async", "reconcile", *options, "analyst", run_id, "MESSAGE"]
    assert look.startswith("Find out (may take ")
    assert shlex.split(look.partition(": ")[2]) == command


@pytest.mark.parametrize(
    ("worker", "stdin", "options", "status", "message"),
    [
        ("nobody", b"Hello\n", [], 1, "NotFoundError"),
        ("echo", b"Hello\n", ["--run-id", "unknown"], 1, "NotFoundError"),
        ("echo", b"\xff\n", [], 2, "not UTF-8"),
        ("no/id", b"Hello\n", [], 2, "agent id"),
        ("echo", b"Hello\n", ["--run-id", "../x"], 2, "run id"),
        ("echo", b"Hello\n", ["--run-id", "x", "--new"], 2, "exclude"),
        ("echo", b"Hello\n", ["--base-url", "http://127.0.0.1:9"], 1, "NotSentError"),
    ],
)
def test_what_is_wrong_is_said(chat, worker, stdin, options, status, message):
    done = chat(worker, stdin, *options)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_is_needed_and_has_to_be_right(service, cli, chat):
    assert cli("chat", "echo", stdin=b"Hello\n").returncode == 2
    service.api_key = "secret"
    done = cli("chat", "echo", "--base-url", service.url, "--api-key", "wrong", stdin=b"Hello\n")
    assert done.returncode == 1
    assert "AuthenticationError" in done.stderr


def test_where_nothing_can_be_kept_it_talks_all_the_same(chat, tmp_path):
    (tmp_path / ".local").write_text("no folder")
    done = chat("echo", b"Hello\n")
    assert (done.returncode, done.stdout) == (0, "Hello\n")
    assert "Warning: this conversation is not remembered" in done.stderr


def start(service, worker, tmp_path, **pipes):
    command = [*COMMAND, "chat", worker, "--base-url", service.url, "--api-key", ""]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes}
    return subprocess.Popen(command, env=environment(HOME=str(tmp_path), XDG_STATE_HOME=""), **pipes)


def test_an_answer_comes_before_the_next_line(service, tmp_path):
    with start(service, "echo", tmp_path) as process:
        for line in (b"Hello\n", b"Bye\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line
        process.stdin.close()
        assert process.wait(50) == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("between", [True, False])
def test_a_signal_ends_it(service, tmp_path, kept, number, status, between):
    with start(service, "echo" if between else "slow", tmp_path) as process:
        process.stdin.write(b"Hello\n")
        process.stdin.flush()
        assert process.stdout.read(5) in (b"Hello", b"word0")
        if between:
            wait_until(lambda: kept()["message"] is None)
        process.send_signal(number)
        _, errors = process.communicate(timeout=50)
    assert process.returncode == status
    assert b"Traceback" not in errors
    assert kept()["message"] == (None if between else "Hello")
    assert (b"was cut; get the rest of the answer with: toolhouse-async wait " in errors) == (not between)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_mid_job_says_how_to_wait_for_it(service, cli, finish, tmp_path, kept, number):
    with start(service, "analyst", tmp_path) as process:
        process.stdin.write(b"Analyse\n")
        process.stdin.flush()
        # The answer to the first tells of the job.
        wait_until(lambda: sum(request.method == "GET" for request in service.requests) > 1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=50)
    way_on = errors.decode().splitlines()[-1]
    assert f"wait for it (may take {RecoveryPolicy().deadline:g} s if the job is over by then) with: " in way_on
    program, *command = shlex.split(way_on.partition(" with: ")[2])
    assert (program, command[0], command[-1]) == ("toolhouse-async", "wait", kept()["run_id"])
    asked = len(service.requests)
    threading.Thread(target=lambda: (wait_until(lambda: len(service.requests) > asked), finish())).start()
    done = cli(*command)
    assert (done.returncode, done.stdout) == (0, "Then 42.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_looks_says_how_to_look(service, tmp_path, kept, number):
    with start(service, "echo", tmp_path) as process:
        process.stdin.write(b"Hello\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"Hello\n"
        service.faults.add(method="PUT", cut="fin", accept=False)
        process.stdin.write(b"Book a table\n")
        process.stdin.flush()
        wait_until(lambda: any(request.method == "GET" for request in service.requests))
        process.send_signal(number)
        _, errors = process.communicate(timeout=50)
    last = errors.decode().splitlines()[-1]
    assert last.startswith("Find out (may take ")
    assert shlex.split(last)[-3:] == ["echo", kept()["run_id"], "MESSAGE"]


def test_a_file_is_read_too(service, tmp_path):
    (tmp_path / "messages").write_text("Hello\nBye")
    with (tmp_path / "messages").open() as file, start(service, "echo", tmp_path, stdin=file) as process:
        assert process.communicate(timeout=50)[0] == b"Hello\nBye\n"


def test_a_reader_that_goes_away_ends_it_quietly(service, tmp_path):
    with start(service, "slow", tmp_path) as process:
        process.stdin.write(b"Hello\n")
        process.stdin.flush()
        process.stdout.read(5)
        process.stdout.close()
        assert process.wait(50) == 141
        assert process.stderr.read() == b""


def test_no_stdin_is_no_message(service, tmp_path):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, "chat", "echo", "--base-url", service.url, "--api-key", ""],
        env=environment(HOME=str(tmp_path), XDG_STATE_HOME=""),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"")
